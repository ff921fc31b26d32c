#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demo proxy as its users meet it: the real program between real clients and servers.

usage: tests/demos/test_proxy.py PROXY
"""

import contextlib
import fcntl
import hashlib
import http.client
import http.server
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from served import Server, TIMEOUT, read_exactly, read_to_end, retried

PROXY = None


class Upstream:
    """A server that runs `serve(connection)` in a thread for each connection, while in `with`."""

    def __init__(self, serve, address="127.0.0.1"):
        if address.startswith("unix:"):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address[5:])
            self.listener.listen(500)
            self.address = address
        else:
            self.listener = socket.create_server((address, 0), backlog=500)
            self.address = f"{address}:{self.listener.getsockname()[1]}"
        self.serve = serve
        self.failures = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.settimeout(TIMEOUT)
                threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        try:
            with connection:
                self.serve(connection)
        except Exception as failure:  # pylint: disable=broad-except
            self.failures.append(failure)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


class Proxy(Server):
    """A running proxy to an upstream."""

    def __init__(self, upstream, *arguments, **options):
        address = upstream if isinstance(upstream, str) else upstream.address
        super().__init__(PROXY, "--to", address, *arguments, **options)

    def log(self):
        """The next line that --verbose prints, without the peer."""
        line = self.process.stdout.readline().decode()
        return line.split(": ", 1)[1].rstrip("\n")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Console:
    """What --console opens: coil's backdoor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        self.input = self.socket.makefile("r")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\n")
        lines = []
        while (line := self.input.readline()) != "ok\n":
            if not line or line.startswith("error"):
                raise AssertionError(f"{lines} and then {line!r}")
            lines.append(line)
        return "".join(lines)


def wait_for(condition):
    """Waits until `condition()` is true, and returns what it returned."""
    end = time.monotonic() + TIMEOUT
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError("never came true")
        time.sleep(0.02)
    return result


def run(*arguments):
    return subprocess.run([PROXY, *arguments], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Arguments(unittest.TestCase):
    def test_help_is_printed_and_is_no_error(self):
        done = run("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--listen", "--to", "--idle", "--connect-timeout", "--console"):
            self.assertIn(word, done.stdout)

    def test_wrong_arguments_are_explained(self):
        both = ["--listen", ":0", "--to", ":1"]
        for arguments in ([], both[:2], both[2:], both[:3], [*both, "--what"],
                          [*both, "--idle", "0"], [*both, "--idle", "1x"],
                          [*both, "--connect-timeout", "-1"], [*both, "--idle", "9" * 30]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("usage:", done.stderr)

    def test_an_address_that_cannot_be_used_is_an_error_that_names_it(self):
        done = run("--listen", "nonsense", "--to", ":1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot listen on nonsense: ", done.stderr)
        done = run("--listen", "127.0.0.1:0", "--to", ":1", "--console", "unix:/no/such/place")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no console at /no/such/place: ", done.stderr)


class Passing(unittest.TestCase):
    def test_bytes_of_any_kind_arrive_the_same_in_both_directions_at_once(self):
        up = random.Random(1).randbytes(10_000_003)
        down = random.Random(2).randbytes(9_000_001)
        arrived = {}

        def serve(connection):
            sender = threading.Thread(target=connection.sendall, args=(down,))
            sender.start()
            arrived["up"] = read_to_end(connection)
            sender.join(TIMEOUT)

        with Upstream(serve) as upstream, Proxy(upstream, "--verbose") as server:
            with server.connect() as client:
                reader = threading.Thread(
                    target=lambda: arrived.update(down=read_exactly(client, len(down))))
                reader.start()
                client.sendall(up)
                client.shutdown(socket.SHUT_WR)
                reader.join(TIMEOUT)
                self.assertEqual(client.recv(1), b"")
            self.assertEqual(server.log(), f"{len(up)} bytes up, {len(down)} down, ended")
        for name, sent in (("up", up), ("down", down)):
            self.assertEqual(hashlib.sha256(arrived[name]).digest(), hashlib.sha256(sent).digest())

    def test_an_http_server_is_reached_through_it(self):
        with tempfile.TemporaryDirectory() as directory:
            content = random.Random(3).randbytes(1_000_000)
            with open(f"{directory}/file", "wb") as file:
                file.write(content)

            class Handler(http.server.SimpleHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def __init__(self, *arguments):
                    super().__init__(*arguments, directory=directory)

                def log_message(self, *_):
                    pass

            with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as upstream:
                threading.Thread(target=upstream.serve_forever, daemon=True).start()
                with Proxy(f"127.0.0.1:{upstream.server_port}") as server:
                    host, port = server.address.split(":")
                    client = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
                    for target, status in (("/file", 200), ("/nothing", 404), ("/file", 200)):
                        client.request("GET", target)
                        response = client.getresponse()
                        self.assertEqual(response.status, status)
                        body = response.read()
                        if status == 200:
                            self.assertEqual(body, content)
                    client.close()
                upstream.shutdown()

    def test_the_end_of_the_input_is_passed_on_and_the_answer_still_comes(self):
        def serve(connection):
            question = read_to_end(connection)
            connection.sendall(b"you said " + question)

        with Upstream(serve) as upstream, Proxy(upstream) as server, server.connect() as client:
            client.sendall(b"nothing")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"you said nothing")

    def test_the_end_of_the_answer_is_passed_on_and_the_rest_still_goes_up(self):
        heard = []

        def serve(connection):
            connection.sendall(b"all I have to say")
            connection.shutdown(socket.SHUT_WR)
            heard.append(read_to_end(connection))

        with Upstream(serve) as upstream, Proxy(upstream) as server:
            with server.connect() as client:
                self.assertEqual(read_to_end(client), b"all I have to say")
                client.sendall(b"I have more")
            wait_for(lambda: heard)
        self.assertEqual(heard, [b"I have more"])

    def test_names_ipv6_and_unix_sockets_work_on_either_side(self):
        with tempfile.TemporaryDirectory() as directory:
            for to, listen in (("127.0.0.1", f"unix:{directory}/proxy"),
                               (f"unix:{directory}/upstream", "[::1]:0")):
                with Upstream(echo, to) as upstream, Proxy(upstream, listen=listen) as server, \
                        server.connect() as client:
                    client.sendall(b"hello")
                    self.assertEqual(read_exactly(client, 5), b"hello")
        with Upstream(echo) as upstream:
            port = upstream.address.rsplit(":", 1)[1]
            with Proxy(f"localhost:{port}") as server, server.connect() as client:
                client.sendall(b"hello")
                self.assertEqual(read_exactly(client, 5), b"hello")

    def test_the_name_of_a_unix_client_is_plain_in_the_log(self):
        with tempfile.TemporaryDirectory() as directory, Upstream(echo) as upstream, \
                Proxy(upstream, "--verbose", listen=f"unix:{directory}/proxy") as server:
            client = socket.socket(socket.AF_UNIX)
            client.bind(os.fsencode(directory) + "/ü\x1b[2J\x9b\u202e".encode() + b"\x9b")
            client.connect(f"{directory}/proxy")
            client.close()
            line = server.process.stdout.readline()
            self.assertIn(f"{directory}/ü?[2J??????: 0 bytes up".encode(), line)

    def test_two_hundred_connections_do_not_mix(self):
        with Upstream(echo) as upstream, Proxy(upstream) as server:
            clients = [server.connect() for _ in range(200)]
            for turn in range(3):
                for number, client in enumerate(clients):
                    client.sendall(b"%d of %d\n" % (turn, number))
                for number, client in enumerate(clients):
                    expected = b"%d of %d\n" % (turn, number)
                    self.assertEqual(read_exactly(client, len(expected)), expected)
            for client in clients:
                client.close()


class Failures(unittest.TestCase):
    def test_an_upstream_that_is_not_there_ends_the_connection(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        with Proxy(address, "--verbose") as server:
            for _ in range(3):
                with server.connect() as client:
                    self.assertEqual(read_to_end(client), b"")
                self.assertRegex(server.log(), "^0 bytes up, 0 down, not connected: .*refused")

    def test_an_upstream_that_does_not_answer_is_given_up_in_time(self):
        # A listener whose queue is full drops what comes, as an unreachable host would.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, \
                contextlib.ExitStack() as stack:
            address = full.getsockname()
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
            upstream = "127.0.0.1:%d" % address[1]
            with Proxy(upstream, "--verbose", "--connect-timeout", "1") as server:
                start = time.monotonic()
                with server.connect() as client:
                    self.assertEqual(read_to_end(client), b"")
                self.assertRegex(server.log(), "not connected: .*timed out")
                self.assertGreater(time.monotonic() - start, 0.9)

    def test_a_reset_on_either_side_ends_the_other(self):
        ended = []

        def serve(connection):
            question = connection.recv(100)
            if question == b"reset":
                reset(connection)
            else:
                connection.sendall(b"yes")
                with contextlib.suppress(ConnectionError):
                    read_to_end(connection)
                ended.append(question)

        with Upstream(serve) as upstream, Proxy(upstream, "--verbose") as server:
            with server.connect() as client:
                client.sendall(b"reset")
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(read_to_end(client), b"")
            self.assertIn("failed: ", server.log())
            client = server.connect()
            client.sendall(b"question")
            self.assertEqual(read_exactly(client, 3), b"yes")
            reset(client)
            self.assertIn("failed: ", server.log())
            wait_for(lambda: ended)

    def test_what_is_cut_short_by_a_reset_looks_complete_on_neither_side(self):
        ends = []

        def serve(connection):
            if connection.recv(1) == b"d":
                connection.sendall(b"half a downl")
                reset(connection)
                return
            connection.sendall(b"!")
            try:
                ends.append(read_to_end(connection))
            except ConnectionResetError:
                ends.append("reset")

        with Upstream(serve) as upstream, Proxy(upstream) as server:
            with server.connect() as client:
                client.sendall(b"d")
                with self.assertRaises(ConnectionResetError):
                    read_to_end(client)
            client = server.connect()
            client.sendall(b"u")
            self.assertEqual(read_exactly(client, 1), b"!")
            client.sendall(b"half an upl")
            reset(client)
            wait_for(lambda: ends)
        self.assertEqual(ends, ["reset"])

    def test_resets_leave_nothing_open(self):
        with Upstream(echo) as upstream, Proxy(upstream) as server:
            with server.connect() as client:
                client.sendall(b"x")
                client.recv(1)
            before = wait_for(lambda: server.descriptors())
            for number in range(200):
                client = server.connect()
                if number % 2:
                    client.sendall(b"x" * number * 100)
                reset(client)
            wait_for(lambda: server.descriptors() <= before)


    def test_a_log_that_nobody_reads_holds_up_no_connection(self):
        with Upstream(lambda connection: None) as upstream, Proxy(upstream, "--verbose") as server:
            fcntl.fcntl(server.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
            with server.connect() as client:
                self.assertEqual(read_to_end(client), b"")
            server.log()
            before = server.descriptors()
            for _ in range(500):
                with server.connect() as client:
                    self.assertEqual(read_to_end(client), b"")
            wait_for(lambda: server.descriptors() <= before)


class Deadlines(unittest.TestCase):
    @retried()
    def test_a_connection_without_a_byte_is_ended_in_time(self, scale):
        with Upstream(echo) as upstream, Proxy(upstream, "--idle", scale, "--verbose") as server, \
                server.connect() as client:
            start = time.monotonic()
            client.sendall(b"hello")
            self.assertEqual(read_exactly(client, 5), b"hello")
            self.assertEqual(read_to_end(client), b"")
            self.assertGreaterEqual(time.monotonic() - start, scale)
            self.assertRegex(server.log(), "^5 bytes up, 5 down, failed: .*timed out")

    @retried()
    def test_bytes_in_one_direction_keep_the_other_one(self, scale):
        def serve(connection):
            connection.recv(1)
            for _ in range(15):
                connection.sendall(b"x")
                time.sleep(0.2 * scale)
            self.assertEqual(connection.recv(4), b"more")
            connection.sendall(b"!")

        with Upstream(serve) as upstream, Proxy(upstream, "--idle", scale) as server, \
                server.connect() as client:
            client.sendall(b"?")
            self.assertEqual(read_exactly(client, 15), b"x" * 15)
            client.sendall(b"more")
            self.assertEqual(read_exactly(client, 1), b"!")
            self.assertEqual(upstream.failures, [])

    @retried()
    def test_a_peer_that_does_not_read_is_ended_in_time(self, scale):
        def serve(connection):
            with contextlib.suppress(ConnectionError):
                while True:
                    connection.sendall(bytes(65536))

        with Upstream(serve) as upstream, Proxy(upstream, "--idle", scale, "--verbose") as server, \
                server.connect() as client:
            self.assertRegex(server.log(), "failed: .*timed out")
            with self.assertRaises(ConnectionResetError):
                read_to_end(client)

    def test_a_peer_that_only_talks_is_ended_in_time(self):
        def serve(connection):
            def read():
                with contextlib.suppress(OSError):
                    read_to_end(connection)

            threading.Thread(target=read, daemon=True).start()
            with contextlib.suppress(ConnectionError):
                while True:
                    connection.sendall(bytes(65536))

        with Upstream(serve) as upstream, Proxy(upstream, "--idle", "1", "--verbose") as server, \
                server.connect() as client:
            end = time.monotonic() + TIMEOUT
            with self.assertRaises(ConnectionError):
                while time.monotonic() < end:
                    client.sendall(b"x")
                    time.sleep(0.1)
            self.assertRegex(server.log(), "failed: .*timed out")


class Seeing(unittest.TestCase):
    def test_the_console_shows_the_fibers_of_a_live_connection_by_name(self):
        with tempfile.TemporaryDirectory() as directory, Upstream(echo) as upstream, \
                Proxy(upstream, "--console", f"unix:{directory}/console") as server, \
                Console(f"{directory}/console") as console:
            with server.connect() as client:
                client.sendall(b"hello")
                read_exactly(client, 5)
                host, port = client.getsockname()
                peer = f"{host}:{port}"
                fibers = console.ask("ps")
                self.assertRegex(fibers, rf"'{peer}': waits for group")
                for way in ("up", "down"):
                    self.assertRegex(fibers, rf"'{way} {peer}': waits for read.*deadline in")
                self.assertIn("#0", console.ask("dump"))
            wait_for(lambda: peer not in console.ask("ps"))

    def test_sigquit_dumps_all_fibers_and_ends_nothing(self):
        with Upstream(echo) as upstream:
            server = Proxy(upstream)
            with server.connect() as client:
                client.sendall(b"hello")
                read_exactly(client, 5)
                peer = "%s:%d" % client.getsockname()
                server.process.send_signal(signal.SIGQUIT)
                text = ""
                while f"'up {peer}'" not in text:
                    line = server.process.stderr.readline().decode()
                    self.assertTrue(line, text)
                    text += line
                client.sendall(b"hello")
                self.assertEqual(read_exactly(client, 5), b"hello")
            server.stop()
            server.process.communicate(timeout=TIMEOUT)
            self.assertEqual(server.process.returncode, 0)


class Stop(unittest.TestCase):
    @retried()  # who stands still for 2 s is quiet
    def test_a_transfer_under_way_is_finished_and_the_quiet_are_ended(self, _scale):
        content = random.Random(4).randbytes(5_000_000)
        begun = threading.Event()
        idle_has_ended = threading.Event()

        def serve(connection):
            if connection.recv(1) == b"i":
                connection.sendall(b"i")
                self.assertEqual(connection.recv(1), b"")
                return
            sent = 0
            while not idle_has_ended.wait(0.08):
                connection.sendall(content[sent:sent + 1000])
                sent += 1000
                begun.set()
            for start in range(sent, len(content), 100_000):
                connection.sendall(content[start:start + 100_000])
                time.sleep(0.02)

        with Upstream(serve) as upstream, Proxy(upstream) as server, server.connect() as client, \
                server.connect() as idle:
            idle.sendall(b"i")
            self.assertEqual(read_exactly(idle, 1), b"i")
            client.sendall(b"?")
            begun.wait(TIMEOUT)
            server.stop()
            start = time.monotonic()
            self.assertEqual(read_to_end(idle), b"")
            idle_has_ended.set()
            self.assertLess(time.monotonic() - start, 20, "only the end of the grace ended it")
            self.assertEqual(read_to_end(client), content)
            self.assertEqual(server.process.wait(TIMEOUT), 0)
            self.assertEqual(upstream.failures, [])

    @retried()  # who stands still for 2 s is quiet
    def test_an_upload_under_way_is_finished(self, _scale):
        content = random.Random(5).randbytes(3_000_000)
        arrived = []

        def serve(connection):
            arrived.append(read_to_end(connection))
            connection.sendall(b"thanks")

        with Upstream(serve) as upstream, Proxy(upstream) as server, server.connect() as client:
            for start in range(0, len(content), 100_000):
                client.sendall(content[start:start + 100_000])
                time.sleep(0.05)
                if start == 500_000:
                    server.stop()
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"thanks")
        self.assertEqual(arrived, [content])

    def test_nothing_under_way_is_no_reason_to_stay(self):
        with Upstream(echo) as upstream, tempfile.TemporaryDirectory() as directory, \
                Proxy(upstream, "--console", f"unix:{directory}/console") as server, \
                Console(f"{directory}/console"):
            start = time.monotonic()
            server.stop()
            self.assertEqual(server.process.wait(TIMEOUT), 0)
            self.assertLess(time.monotonic() - start, 20)
            self.assertFalse(os.path.exists(f"{directory}/console"))

    def test_the_console_can_stop_it_too(self):
        with Upstream(echo) as upstream, tempfile.TemporaryDirectory() as directory, \
                Proxy(upstream, "--console", f"unix:{directory}/console") as server, \
                Console(f"{directory}/console") as console, server.connect() as idle:
            console.ask("drain")
            self.assertEqual(read_to_end(idle), b"")
            self.assertEqual(server.process.wait(TIMEOUT), 0)
            server.is_stopping = True


if __name__ == "__main__":
    PROXY = sys.argv.pop(1)
    unittest.main()
