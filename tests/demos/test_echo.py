#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demo echo as its user meets it: the real program and peers that behave badly.

usage: tests/demos/test_echo.py ECHO
"""

import random
import resource
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from served import Server, TIMEOUT, UNPRIVILEGED, read_exactly, read_to_end, retried

ECHO = None
DESCRIPTORS = 40


def echo(*arguments, **options):
    return Server(ECHO, *arguments, **options)


def run(*arguments, prefix=()):
    return subprocess.run([*prefix, ECHO, *arguments], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)


def talk(server, data):
    """What comes back for `data` and the end of the input."""
    with server.connect() as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return read_to_end(connection)


class Arguments(unittest.TestCase):
    def test_help_is_printed_and_is_no_error(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--listen", done.stdout)

    def test_unknown_and_missing_arguments_are_named(self):
        for arguments in ([], ["--nonsense"], ["--listen"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn("usage:", done.stderr)

    def test_an_address_that_cannot_be_used_is_an_error_that_names_it(self):
        for address in ("nonsense", "127.0.0.1:65536", "127.0.0.1:", "[::1:80", "300.1.1.1:80",
                        "192.0.2.1:0", "unix:", "unix:/no/such/directory/socket"):
            done = run("--listen", address)
            self.assertEqual(done.returncode, 1, address)
            self.assertIn(f"cannot listen on {address}: ", done.stderr)

    def test_a_port_in_use_is_an_error(self):
        with echo() as server:
            done = run("--listen", server.address)
        self.assertEqual(done.returncode, 1)
        self.assertIn("in use", done.stderr)

    def test_a_forbidden_place_is_an_error(self):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["chmod", "0555", directory], check=True)
            done = run("--listen", f"unix:{directory}/socket", prefix=UNPRIVILEGED)
        self.assertEqual(done.returncode, 1)
        self.assertIn("denied", done.stderr)


class Lines(unittest.TestCase):
    def test_lines_come_back_in_order_also_the_last_without_newline(self):
        with echo() as server:
            self.assertEqual(talk(server, b"one\n\ntwo\r\nlast"), b"one\n\ntwo\r\nlast")
            self.assertEqual(talk(server, b""), b"")

    def test_a_line_in_single_bytes_and_nul_bytes_come_back(self):
        with echo() as server, server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"a\0b" * 100 + b"\n":
                connection.send(bytes([byte]))
            self.assertEqual(read_exactly(connection, 301), b"a\0b" * 100 + b"\n")

    def test_a_line_over_the_limit_is_told_after_the_replies_before_it(self):
        with echo() as server:
            self.assertEqual(talk(server, b"x" * 1022 + b"\n"), b"x" * 1022 + b"\n")
            self.assertEqual(talk(server, b"ok\n" + b"x" * 5000 + b"\nmore\n"),
                             b"ok\nline too long: at most 1023 bytes\n")

    @retried(ConnectionError)  # echo lingers for 1 s
    def test_a_client_that_sends_a_megabyte_in_one_line_can_read_the_error(self, _scale):
        with echo() as server, server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"x" * 2048)
            select.select([connection], [], [], TIMEOUT)
            # In pieces, of which a server that has closed after the error refuses the second.
            for _ in range(511):
                connection.sendall(b"x" * 2048)
            self.assertEqual(read_to_end(connection), b"line too long: at most 1023 bytes\n")

    def test_unix_and_ipv6_addresses_serve(self):
        with tempfile.TemporaryDirectory() as directory:
            for address in (f"unix:{directory}/socket", "[::1]:0"):
                with echo(listen=address) as server:
                    self.assertEqual(talk(server, b"line\n"), b"line\n")


class Peers(unittest.TestCase):
    def test_bytes_of_any_kind_and_length_come_back_raw(self):
        data = random.Random(1).randbytes(5_000_000)
        received = []
        with echo("--raw") as server, server.connect() as connection:
            reader = threading.Thread(target=lambda: received.append(read_to_end(connection)))
            reader.start()
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            reader.join(TIMEOUT)
        self.assertEqual(received, [data])

    def test_a_peer_that_resets_or_never_reads_disturbs_nobody(self):
        with echo("--raw") as server:
            with server.connect() as silent, server.connect() as greedy:
                for _ in range(20):
                    reset = server.connect()
                    reset.sendall(b"in mid-line")
                    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    reset.close()
                greedy.setblocking(False)
                sent = 0
                while select.select([], [greedy], [], 0.5)[1]:
                    sent += greedy.send(b"y" * 65536)
                self.assertGreater(sent, 0)
                self.assertEqual(talk(server, b"line\n"), b"line\n")
                silent.sendall(b"awake\n")
                self.assertEqual(read_exactly(silent, 6), b"awake\n")

    def test_a_hundred_peers_at_once_are_served(self):
        with echo() as server:
            peers = [server.connect() for _ in range(100)]
            for number, peer in enumerate(peers):
                peer.sendall(b"peer %d\n" % number)
            for number, peer in enumerate(peers):
                expected = b"peer %d\n" % number
                self.assertEqual(read_exactly(peer, len(expected)), expected)
                peer.close()


class Limits(unittest.TestCase):
    def test_running_out_of_descriptors_passes_without_burning_a_core(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        with echo(preexec_fn=limit) as server:
            peers = [server.connect() for _ in range(2 * DESCRIPTORS)]
            for peer in peers:
                peer.sendall(b"line\n")
            served, waiting = set(), set(peers)
            while len(served) <= 10:
                ready = select.select(waiting, [], [], TIMEOUT)[0]
                self.assertTrue(ready, "nobody is served")
                served.update(ready)
                waiting.difference_update(ready)
            while ready := select.select(waiting, [], [], 2.0)[0]:
                served.update(ready)
                waiting.difference_update(ready)
            self.assertLess(len(served), DESCRIPTORS)

            start = server.cpu_seconds()
            time.sleep(2.0)  # what may not happen: that the server is busy
            self.assertLess(server.cpu_seconds() - start, 0.5, "the shortage burnt the core")

            for peer in served:
                peer.close()
            while waiting:
                ready = select.select(waiting, [], [], TIMEOUT)[0]
                self.assertTrue(ready, f"{len(waiting)} are not served")
                for peer in ready:
                    self.assertEqual(read_exactly(peer, 5), b"line\n")
                    peer.close()
                waiting.difference_update(ready)


class Stop(unittest.TestCase):
    def test_idle_peers_see_the_end_and_replies_under_way_arrive(self):
        data = b"line %d\n" % 1 * 100_000
        server = echo()
        with server, server.connect() as idle, server.connect() as busy:
            idle.sendall(b"hello\n")
            self.assertEqual(read_exactly(idle, 6), b"hello\n")
            sender = threading.Thread(target=busy.sendall, args=(data,))
            sender.start()
            self.assertEqual(read_exactly(busy, 7), b"line 1\n")
            server.stop()
            self.assertEqual(idle.recv(1), b"")
            rest = read_to_end(busy)
            sender.join(TIMEOUT)
            self.assertEqual(len(rest) % 7, 0, "cut in the middle of a reply")
            self.assertEqual(rest, data[:len(rest)])
        self.assertEqual(server.process.returncode, 0)

    def test_the_port_is_free_after_the_end(self):
        with echo() as server:
            address = server.address
            self.assertEqual(talk(server, b"line\n"), b"line\n")
        with echo(listen=address) as server:
            self.assertEqual(talk(server, b"line\n"), b"line\n")


if __name__ == "__main__":
    ECHO = sys.argv.pop(1)
    unittest.main()
