#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demo chat as its users meet it: the real program, and people of all kinds.

usage: tests/demos/test_chat.py CHAT
"""

import contextlib
import json
import os
import pathlib
import random
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from served import Server, TIMEOUT, read_to_end, retried

CHAT = None
CROWD = pathlib.Path(__file__).resolve().parents[2] / "demos/crowd.py"


class Chat(Server):
    """A running chat server."""

    def __init__(self, *arguments, **options):
        super().__init__(CHAT, *arguments, **options)

    def enter(self, name):
        return Person(self, name)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Person:
    """A client with a nickname."""

    def __init__(self, server, name=None):
        self.socket = server.connect()
        self.input = self.socket.makefile("rb")
        self.expect("* welcome; what is your nickname?")
        if name:
            self.say(name)
            self.expect(f"* you are {name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def hear(self):
        """The next line, without its newline; None at the end."""
        line = self.input.readline()
        return line.decode(errors="replace")[:-1] if line else None

    def expect(self, *lines):
        for line in lines:
            heard = self.hear()
            if heard != line:
                raise AssertionError(f"{heard!r} instead of {line!r}")

    def hear_until(self, last):
        """All lines up to `last`, without it."""
        lines = []
        while (line := self.hear()) != last:
            if line is None:
                raise AssertionError(f"ended before {last!r}, behind {lines[-3:]}")
            lines.append(line)
        return lines

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.__exit__()


def run(*arguments):
    return subprocess.run([CHAT, *arguments], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False)


class Arguments(unittest.TestCase):
    def test_help_is_printed_and_is_no_error(self):
        done = run("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--listen", "--idle", "--naming"):
            self.assertIn(word, done.stdout)

    def test_wrong_arguments_are_explained(self):
        for arguments in ([], ["--nonsense"], ["--listen"], ["--listen", ":0", "--idle", "0"],
                          ["--listen", ":0", "--idle", "1x"], ["--listen", ":0", "--idle", ""],
                          ["--listen", ":0", "--naming"], ["--listen", ":0", "--naming", "-1"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("usage:", done.stderr)

    def test_an_address_that_cannot_be_used_is_an_error_that_names_it(self):
        done = run("--listen", "nonsense")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot listen on nonsense: ", done.stderr)


class Talking(unittest.TestCase):
    def test_lines_go_to_all_others_and_to_no_one_else(self):
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob, \
                server.enter("eve") as eve, Person(server) as stranger:
            ann.expect("* bob has come", "* eve has come")
            bob.expect("* eve has come")
            ann.say("hello")
            bob.expect("<ann> hello")
            eve.expect("<ann> hello")
            bob.say("hello ann\r")
            ann.expect("<bob> hello ann")
            eve.expect("<bob> hello ann")
            stranger.say("sam")
            stranger.expect("* you are sam")
            for person in (ann, bob, eve):
                person.expect("* sam has come")

    def test_who_lists_those_who_have_a_name(self):
        with Chat() as server, server.enter("ann") as ann, Person(server), \
                server.enter("bob") as bob:
            ann.expect("* bob has come")
            ann.say("/who")
            self.assertEqual(sorted(ann.hear().split()[2:]), ["ann", "bob"])
            bob.say("/quit")
            ann.expect("* bob has left")
            ann.say("/who")
            ann.expect("* here: ann")

    def test_a_name_has_one_owner_whatever_its_case(self):
        with Chat() as server, server.enter("ann") as ann, Person(server) as other:
            other.say("Ann")
            other.expect("* that nickname is taken")
            other.say("bob")
            other.expect("* you are bob")
            ann.expect("* bob has come")
            ann.say("/nick BOB")
            ann.expect("* that nickname is taken")
            ann.say("/nick eve")
            ann.expect("* ann is now eve", "* you are eve")
            other.expect("* ann is now eve")
            other.say("/nick ann")
            other.expect("* bob is now ann", "* you are ann")
            other.say("I was bob")
            ann.expect("* bob is now ann", "<ann> I was bob")

    def test_a_name_is_free_when_its_owner_has_left(self):
        with Chat() as server, server.enter("ann") as ann:
            for _ in range(20):
                with server.enter("bob") as bob:
                    bob.say("/quit")
                    bob.expect("* goodbye", None)
                ann.expect("* bob has come", "* bob has left")

    def test_bad_names_and_commands_are_refused(self):
        with Chat() as server, Person(server) as person:
            for name in ("", "a" * 17):
                person.say(name)
                person.expect("* a nickname has 1 to 16 characters")
            for name in ("a b", "<ann>", "\x1b[2J", "\0", "/quit?", "ä"):
                person.say(name)
                person.expect("* a nickname is made of letters, digits, - and _")
            person.say("a" * 16)
            person.expect(f"* you are {'a' * 16}")
            for command in ("/", "/nick", "/what", "/who?"):
                person.say(command)
                person.expect("* there is /nick NAME, /who and /quit")
            person.say("/nick ")
            person.expect("* a nickname has 1 to 16 characters")

    def test_quit_and_the_end_of_the_input_get_a_last_line(self):
        with Chat() as server, server.enter("ann") as ann:
            with server.enter("bob") as bob:
                bob.say("bye\n/quit\nignored")
                bob.expect("* goodbye", None)
            ann.expect("* bob has come", "<bob> bye", "* bob has left")
            with server.enter("eve") as eve:
                eve.socket.sendall(b"last words")
                eve.socket.shutdown(socket.SHUT_WR)
                eve.expect("* goodbye", None)
            ann.expect("* eve has come", "<eve> last words", "* eve has left")

    def test_unix_and_ipv6_addresses_serve(self):
        with tempfile.TemporaryDirectory() as directory:
            for address in (f"unix:{directory}/socket", "[::1]:0"):
                with Chat(listen=address) as server, server.enter("ann") as ann, \
                        server.enter("bob") as bob:
                    ann.expect("* bob has come")
                    bob.say("hello")
                    ann.expect("<bob> hello")


class Order(unittest.TestCase):
    def test_what_each_says_arrives_complete_and_in_order(self):
        names = ["ann", "bob", "eve", "sam", "joe"]
        count = 2000
        with Chat() as server:
            people = [server.enter(name) for name in names]
            for index, person in enumerate(people):
                person.expect(*(f"* {name} has come" for name in names[index + 1:]))

            def talk(person, seed):
                lines = [b"%d\n" % number for number in range(count)]
                chance = random.Random(seed)
                while lines:
                    some = chance.randint(1, 300)
                    person.socket.sendall(b"".join(lines[:some]))
                    del lines[:some]

            heard = {}

            def listen(person, name):
                wanted = count * (len(names) - 1)
                heard[name] = [person.hear() for _ in range(wanted)]

            threads = [threading.Thread(target=listen, args=pair) for pair in zip(people, names)]
            threads += [threading.Thread(target=talk, args=(person, seed))
                        for seed, person in enumerate(people)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(TIMEOUT)
            for listener in names:
                for speaker in names:
                    said = [line for line in heard[listener] if line.startswith(f"<{speaker}>")]
                    wanted = [] if speaker == listener else \
                        [f"<{speaker}> {number}" for number in range(count)]
                    self.assertEqual(said, wanted, f"{speaker} to {listener}")
            for person in people:
                person.__exit__()

    def test_a_burst_costs_nobody_who_reads_the_place(self):
        count = 10_000
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob:
            ann.expect("* bob has come")
            data = b"".join(b"%d\n" % number for number in range(count))
            sender = threading.Thread(target=bob.socket.sendall, args=(data,))
            start = time.monotonic()
            sender.start()
            ann.expect(*(f"<bob> {number}" for number in range(count)))
            sender.join(TIMEOUT)
            self.assertGreater(time.monotonic() - start, 1.0, "who pours lines in is slowed down")

    def test_a_crowd_that_talks_all_at_once_loses_nobody(self):
        with Chat() as server:
            done = subprocess.run(
                [sys.executable, CROWD, server.address, "100", "50", str(server.process.pid)],
                capture_output=True, text=True, timeout=3 * TIMEOUT, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(json.loads(done.stdout)["heard"], 100 * 99 * 50)
            server.is_stopping = True

    def test_two_hundred_people_hear_each_other(self):
        with Chat() as server:
            people = [server.enter(f"p{number}") for number in range(200)]
            for person in people:
                person.say("here I am")
            for index, person in enumerate(people):
                lines = [person.hear() for _ in range(199 - index + 199)]
                self.assertEqual(sorted(lines), sorted(
                    [f"* p{other} has come" for other in range(index + 1, 200)] +
                    [f"<p{other}> here I am" for other in range(200) if other != index]))
            people[0].say("/who")
            self.assertEqual(len(people[0].hear().split()), 202)
            server.stop()
            for person in people:
                person.expect("* the server stops, goodbye", None)
                person.__exit__()


class Hostile(unittest.TestCase):
    def test_who_does_not_read_has_to_go_and_holds_up_nobody(self):
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob:
            ann.expect("* bob has come")
            with server.enter("slow") as slow:
                ann.expect("* slow has come")
                bob.expect("* slow has come")
                said = 0
                slow_is_here = True
                while slow_is_here and said < 200_000:
                    bob.socket.sendall(b"".join(b"%07d" % n + b"x" * 492 + b"\n"
                                                for n in range(said, said + 100)))
                    said += 100
                    bob.say(f"{said} lines")
                    # Bob waits for ann: she may stand still, and is never too slow herself.
                    lines = ann.hear_until(f"<bob> {said} lines")
                    if "* slow was too slow" in lines:
                        lines.remove("* slow was too slow")
                        slow_is_here = False
                    self.assertEqual([int(line[6:13]) for line in lines],
                                     list(range(said - 100, said)), "ann hears all, in order")
                self.assertFalse(slow_is_here)
                bob.expect("* slow was too slow")
                bob.say("/who")
                self.assertEqual(sorted(bob.hear().split()[2:]), ["ann", "bob"])

    def test_a_line_over_the_limit_is_dropped_and_the_next_one_heard(self):
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob:
            ann.expect("* bob has come")
            bob.say("x" * 510)
            ann.expect("<bob> " + "x" * 510)
            for size in (511, 5000, 2_000_000):
                bob.say("y" * size)
                bob.expect("* too long: 511 bytes at most")
            bob.say("hello")
            ann.expect("<bob> hello")

    def test_control_characters_are_made_harmless(self):
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob:
            ann.expect("* bob has come")
            bob.say("a\0b\x1b[2Jc\rd\x7fü")
            ann.expect("<bob> a?b?[2Jc?d?ü")
            bob.say("\0" * 100)
            ann.expect("<bob> " + "?" * 100)

    def test_nobody_hears_what_is_no_utf8_and_no_control_character_beyond_ascii(self):
        wrong = [b"\x9b", b"\xc2\x9b", b"\xc2\x85", b"\x80", b"\xbf", b"\xff", b"\xfe", b"\xc0\xaf",
                 b"\xc1\x9b", b"\xe0\x82\x9b", b"\xed\xa0\x80", b"\xf0\x80\x82\x9b",
                 b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", "\u2028".encode(), "\u202e".encode(),
                 "\u2066".encode(), "\u2069".encode()]
        cut = [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"]
        right = ("~\xa0\u00bf\u07ff\u0800\u2027\u202f\u2065\u206a\u20ac\ud7ff\ue000\uffff\U00010000"
                 "\U0001f600\U0010ffff")
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob:
            ann.expect("* bob has come")
            for data in [*wrong, *cut]:
                bob.socket.sendall(b"a" + data + b"z" + data + b"\n")
                marks = "?" * len(data)
                self.assertEqual(ann.input.readline(), f"<bob> a{marks}z{marks}\n".encode())
            bob.say(right)
            ann.expect("<bob> " + right)

    def test_random_bytes_harm_nobody(self):
        with Chat() as server, server.enter("ann") as ann:
            for seed in range(20):
                with server.connect() as connection:
                    connection.sendall(b"n%d\n" % seed + random.Random(seed).randbytes(20_000))
                    connection.shutdown(socket.SHUT_WR)
                    self.assertIn(b"* you are n%d\n" % seed, read_to_end(connection))
                ann.hear_until(f"* n{seed} has left")
            ann.say("/who")
            ann.expect("* here: ann")

    def test_resets_at_any_time_are_survived(self):
        with Chat() as server, server.enter("ann") as ann:
            before = server.descriptors()
            for number in range(50):
                server.connect().close()
                Person(server).reset()
                person = server.enter(f"p{number}")
                person.socket.sendall(b"in mid-line" if number % 2 else b"line\nline\n")
                person.reset()
                ann.hear_until(f"* p{number} has left")
            self.wait_for(lambda: server.descriptors() == before)

    def test_thousands_who_come_and_go_leave_nothing(self):
        with Chat() as server, server.enter("ann") as ann:
            before = server.descriptors()

            def come_and_go(seed):
                chance = random.Random(seed)
                for number in range(500):
                    with server.connect() as connection:
                        way = chance.randrange(3)
                        if way > 0:
                            connection.sendall(b"s%dn%d\n" % (seed, number))
                        if way > 1:
                            linger = struct.pack("ii", 1, 0)
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

            threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(TIMEOUT)
            with server.enter("bob") as bob:  # when all before him have been accepted
                ann.hear_until("* bob has come")
                ann.say("still here")
                bob.hear_until("<ann> still here")
            self.wait_for(lambda: server.descriptors() == before)

    @retried()
    def test_who_is_silent_for_too_long_has_to_go(self, scale):
        with Chat("--idle", 2 * scale) as server, server.enter("ann") as ann, \
                server.enter("bob") as bob, Person(server) as stranger:
            ann.expect("* bob has come")
            end = time.monotonic() + 10 * scale
            # A room that is never quiet must keep its time all the same.
            ann_heard = []
            listener = threading.Thread(
                target=lambda: ann_heard.extend(ann.hear_until("* silent for too long, goodbye")))
            listener.start()
            while listener.is_alive() and time.monotonic() < end:
                bob.say("not me")
                time.sleep(0.01)
            self.assertLess(time.monotonic(), end, "ann was never dismissed")
            self.assertEqual(set(ann_heard), {"<bob> not me"})
            self.assertIsNone(ann.hear())
            stranger.expect("* silent for too long, goodbye", None)
            bob.expect("* ann was silent for too long")

    @retried()
    def test_who_has_no_nickname_in_time_has_to_go_whatever_he_says(self, scale):
        with Chat("--naming", scale) as server, server.enter("ann") as ann, \
                Person(server) as silent, Person(server) as babbler:
            refusal = "* a nickname has 1 to 16 characters"
            last = "* no nickname for too long, goodbye"
            babbler.say("")
            while (line := babbler.hear()) == refusal:
                babbler.say("")
                time.sleep(0.01)
            self.assertEqual([line, babbler.hear()], [last, None])
            silent.expect(last, None)
            ann.say("/who")
            ann.expect("* here: ann")

    @retried()
    def test_a_thousand_silent_strangers_keep_nobody_out_for_long(self, scale):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with Chat("--naming", scale) as server:
            strangers = [Person(server) for _ in range(1000)]
            with server.enter("ann") as ann:
                ann.say("/who")
                ann.expect("* here: ann")
            for stranger in strangers:
                stranger.__exit__()

    def test_running_out_of_descriptors_keeps_those_who_are_there(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        with Chat(preexec_fn=limit) as server, server.enter("ann") as ann, \
                server.enter("bob") as bob:
            ann.expect("* bob has come")
            crowd = [server.connect() for _ in range(80)]
            for number in range(10):
                bob.say(f"{number}")
                ann.expect(f"<bob> {number}")
            for connection in crowd:
                connection.close()
            with server.enter("eve"):
                ann.expect("* eve has come")

    def wait_for(self, condition):
        end = time.monotonic() + TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), end, "never came true")
            time.sleep(0.02)


class Stop(unittest.TestCase):
    def test_everybody_gets_a_last_line_also_within_a_line_and_without_a_name(self):
        with Chat() as server, server.enter("ann") as ann, Person(server) as stranger:
            ann.socket.sendall(b"half a li")
            server.stop()
            for person in (ann, stranger):
                person.expect("* the server stops, goodbye", None)
            self.assertEqual(server.process.wait(TIMEOUT), 0)

    def test_last_lines_arrive_in_the_middle_of_talk(self):
        with Chat() as server, server.enter("ann") as ann, server.enter("bob") as bob:
            ann.expect("* bob has come")

            def talk():
                try:
                    while True:
                        bob.socket.sendall(b"bla\n" * 100)
                except OSError:
                    pass

            talker = threading.Thread(target=talk)
            talker.start()
            ann.expect("<bob> bla")
            server.stop()
            self.assertEqual(set(ann.hear_until("* the server stops, goodbye")), {"<bob> bla"})
            self.assertIsNone(ann.hear())
            self.assertEqual(bob.hear(), "* the server stops, goodbye")
            with contextlib.suppress(OSError):  # the server may have reset it
                bob.socket.shutdown(socket.SHUT_RDWR)
            talker.join(TIMEOUT)

    def test_who_does_not_read_delays_the_end_by_seconds_only(self):
        with Chat() as server, server.enter("ann"), server.connect():
            start = time.monotonic()
            server.stop()
            server.process.wait(TIMEOUT)
            self.assertLess(time.monotonic() - start, 20)


if __name__ == "__main__":
    CHAT = sys.argv.pop(1)
    unittest.main()
