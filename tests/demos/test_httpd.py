#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demo httpd as its user meets it: the real program, real sockets, a real directory.

usage: tests/demos/test_httpd.py HTTPD

What the server library does is tested in tests/http; here it is the program: its arguments and
errors, which files it serves and as what, that no path leads out of the root, and its end.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from served import Server, TIMEOUT, UNPRIVILEGED, read_to_end, retried

HTTPD = None
SECRET = b"nobody may read this"


class Httpd(Server):
    """A running httpd."""

    def __init__(self, *arguments, **options):
        super().__init__(HTTPD, *arguments, **options)

    def say(self, request):
        """What comes back for raw bytes until the server closes."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
            return read_to_end(connection)

    def get(self, target, method="GET", **headers):
        """(status, headers, body) of one request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse(self.say("\r\n".join(lines + ["", ""]).encode("latin-1")))


def parse(reply):
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def run(*arguments):
    return subprocess.run([HTTPD, *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT)


class Arguments(unittest.TestCase):
    def test_help_is_printed_to_standard_output(self):
        done = run("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--listen", "--root", "--concurrency"):
            self.assertIn(word, done.stdout)

    def test_wrong_arguments_are_explained(self):
        for arguments, message in (
            ([], "usage:"),
            (["--what"], "unknown argument --what"),
            (["--listen"], "unknown argument --listen"),
            (["--listen", ":0", "--concurrency", "0"], "--concurrency wants a number from 1"),
            (["--listen", ":0", "--concurrency", "-1"], "not -1"),
            (["--listen", ":0", "--concurrency", "2x"], "not 2x"),
            (["--listen", ":0", "--concurrency", "9" * 30], "wants a number"),
        ):
            with self.subTest(arguments):
                done = run(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(message, done.stderr)

    def test_an_address_that_can_not_be_used_is_named(self):
        for address in ("nonsense", "127.0.0.1:99999", "unix:/nowhere/at/all"):
            with self.subTest(address):
                done = run("--listen", address)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(f"cannot listen on {address}: ", done.stderr)

    def test_a_port_in_use_is_named(self):
        with Httpd() as server:
            done = run("--listen", server.address)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on {server.address}: ", done.stderr)

    def test_a_root_that_can_not_be_read_is_named(self):
        with tempfile.NamedTemporaryFile() as file:
            for root in ("/nowhere/at/all", file.name):
                with self.subTest(root):
                    done = run("--listen", "127.0.0.1:0", "--root", root)
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertIn(f"cannot read the directory {root}: ", done.stderr)
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0)
            command = [*UNPRIVILEGED, HTTPD, "--listen", "127.0.0.1:0", "--root", root]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"cannot read the directory {root}: ", done.stderr)


class Greeting(unittest.TestCase):
    def test_the_root_is_a_greeting_and_all_else_is_missing(self):
        with Httpd() as server:
            status, headers, body = server.get("/")
            self.assertEqual((status, body), (200, b"Hello, World!"))
            self.assertEqual(headers["Content-Type"], "text/plain")
            self.assertEqual(headers["Content-Length"], "13")
            self.assertEqual(server.get("/?a=b")[0], 200)
            self.assertEqual(server.get("/x")[0], 404)
            self.assertEqual(server.get("/", "HEAD")[::2], (200, b""))

    def test_other_methods_are_told_what_is_allowed(self):
        with Httpd() as server:
            for method in ("POST", "PUT", "DELETE", "get", "OPTIONS"):
                status, headers, _ = server.get("/", method)
                self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))

    def test_pipelined_requests_are_answered_on_one_connection(self):
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        with Httpd() as server, server.connect() as connection:
            connection.sendall(request * 100)
            connection.shutdown(socket.SHUT_WR)
            reply = read_to_end(connection)
        self.assertEqual(reply.count(b"HTTP/1.1 200 OK\r\n"), 100)
        self.assertEqual(reply.count(b"\r\n\r\nHello, World!"), 100)

    @retried(ConnectionError)  # httpd lingers for 2 s
    def test_bodies_are_dropped_within_limits(self, _scale):
        head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        with Httpd() as server:
            sized = head + b"Content-Length: 500000\r\n\r\n" + b"x" * 500_000
            self.assertEqual(parse(server.say(sized))[0], 200)
            self.assertEqual(parse(server.say(head + b"Content-Length: 2000000\r\n\r\n"))[0], 413)
            chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            coded = head + b"Transfer-Encoding: chunked\r\n\r\n"
            self.assertEqual(parse(server.say(coded + chunk * 3 + b"0\r\n\r\n"))[0], 200)
            self.assertEqual(parse(server.say(coded + chunk * 40 + b"0\r\n\r\n"))[0], 413)
            self.assertEqual(parse(server.say(coded + b"cats\r\n"))[0], 400)

    @retried(ConnectionError)  # httpd lingers for 2 s
    def test_wrong_requests_get_the_status_that_says_why(self, _scale):
        with Httpd() as server:
            for request, status in (
                (b"nonsense\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n", 400),
                (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
                (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: " + b"b" * 9000 + b"\r\n\r\n", 431),
                (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"abcdefg: hijklm\r\n" * 61680, 431),
                (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
            ):
                self.assertEqual(parse(server.say(request))[0], status, request[:40])
            self.assertEqual(server.get("/")[0], 200)

    def test_it_listens_on_unix_sockets_and_ipv6(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "socket"
            with Httpd(listen=f"unix:{path}") as server:
                self.assertEqual(server.get("/")[2], b"Hello, World!")
            self.assertFalse(path.exists())
        with Httpd(listen="[::1]:0") as server:
            self.assertEqual(server.get("/")[2], b"Hello, World!")

    def test_connections_beyond_the_limit_wait_and_are_served(self):
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        with Httpd("--concurrency", 1) as server, contextlib.ExitStack() as stack:
            with server.connect() as first:
                first.sendall(request)
                self.assertIn(b"Hello", first.recv(1000))
                others = [stack.enter_context(server.connect()) for _ in range(20)]
                for other in others:
                    other.sendall(request)
                # The server, which has turned since, serves the first one and nobody else.
                for _ in range(3):
                    first.sendall(request)
                    self.assertIn(b"Hello", first.recv(1000))
                self.assertEqual(select.select(others, [], [], 0)[0], [], "they wait")
            for other in others:
                self.assertIn(b"Hello", other.recv(1000))
                other.close()

    def test_sigterm_answers_what_was_asked_and_ends_idle_connections(self):
        with Httpd() as server, server.connect() as idle, server.connect() as used:
            used.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"Hello", used.recv(1000))
            server.stop()
            self.assertEqual(read_to_end(idle), b"")
            self.assertEqual(read_to_end(used), b"")
            self.assertEqual(server.process.wait(TIMEOUT), 0)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        base = pathlib.Path(cls.directory.name)
        root = base / "root"
        (root / "sub dir" / "empty").mkdir(parents=True)
        (base / "secret.txt").write_bytes(SECRET)
        (base / "root-sibling").mkdir()
        (base / "root-sibling" / "secret.txt").write_bytes(SECRET)
        (root / "index.html").write_text("<h1>root</h1>")
        (root / "sub dir" / "index.html").write_text("<h1>sub</h1>")
        (root / "sub dir" / "%41.txt").write_text("percent")
        for extension in ("html", "css", "js", "png", "svg", "txt", "json", "unknown"):
            (root / f"file.{extension}").write_text(extension)
        (root / "plain").write_text("no extension")
        (root / "empty.txt").touch()
        (root / "big.bin").write_bytes(random.Random(1).randbytes(5_000_001))
        (root / "inside").symlink_to("file.txt")
        (root / "outside").symlink_to("../secret.txt")
        (root / "outside-absolute").symlink_to(base / "secret.txt")
        (root / "outside-directory").symlink_to("..")
        os.mkfifo(root / "fifo")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(root / "socket"))
        cls.base, cls.root = base, root
        cls.server = Httpd("--root", root)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None)
        cls.directory.cleanup()

    def get(self, target, method="GET", **headers):
        return self.server.get(target, method, **headers)

    def test_files_come_with_their_type(self):
        for extension, kind in (
            ("html", "text/html; charset=utf-8"),
            ("css", "text/css; charset=utf-8"),
            ("js", "text/javascript; charset=utf-8"),
            ("png", "image/png"),
            ("svg", "image/svg+xml"),
            ("txt", "text/plain; charset=utf-8"),
            ("json", "application/json"),
            ("unknown", "application/octet-stream"),
        ):
            status, headers, body = self.get(f"/file.{extension}?query")
            self.assertEqual((status, body), (200, extension.encode()))
            self.assertEqual(headers["Content-Type"], kind)
        self.assertEqual(self.get("/plain")[1]["Content-Type"], "application/octet-stream")

    def test_a_directory_is_its_index_and_redirects_to_its_slash(self):
        self.assertEqual(self.get("/")[2], b"<h1>root</h1>")
        self.assertEqual(self.get("/sub%20dir/")[2], b"<h1>sub</h1>")
        self.assertEqual(self.get("/sub%20dir/empty/")[0], 404)
        for target, location in (
            ("/sub%20dir", "/sub%20dir/"),
            ("/sub%20dir?a=b", "/sub%20dir/?a=b"),
            ("http://x/sub%20dir/empty", "http://x/sub%20dir/empty/"),
        ):
            status, headers, _ = self.get(target)
            self.assertEqual((status, headers["Location"]), (301, location))

    def test_a_directory_that_is_called_as_an_index_is_missing_and_no_circle(self):
        (self.root / "odd" / "index.html").mkdir(parents=True)
        self.addCleanup((self.root / "odd").rmdir)
        self.addCleanup((self.root / "odd" / "index.html").rmdir)
        self.assertEqual(self.get("/odd/")[0], 404)
        self.assertEqual(self.get("/odd%2F")[0], 404)
        self.assertEqual(self.get("/odd/index.html")[1]["Location"], "/odd/index.html/")

    def test_a_redirect_never_names_another_host(self):
        self.assertEqual(self.get("//sub%20dir")[0], 404)
        self.assertEqual(self.get("/%2Fsub%20dir")[0], 404)

    def test_escapes_are_decoded_once(self):
        self.assertEqual(self.get("/sub%20dir/%2541.txt")[2], b"percent")
        self.assertEqual(self.get("/file%2Etxt")[2], b"txt")
        self.assertEqual(self.get("/sub%20dir%2F%2e%2E/file.txt")[2], b"txt")
        self.assertEqual(self.get("/file.txt%00.html")[0], 400)
        self.assertEqual(self.get("/%zz")[0], 400)

    def test_what_is_not_there_is_404(self):
        for target in ("/nothing", "/file.txt/", "/file.txt/x", "/sub%20dir/nothing", "/fifo",
                       "/socket", "/" + "a" * 300, "/" + "a/" * 3000):
            with self.subTest(target[:20]):
                self.assertEqual(self.get(target)[0], 404)

    def test_no_path_leads_out_of_the_root(self):
        absolute = str(self.base / "secret.txt")
        for target in (
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/%2E%2E%2Fsecret.txt",
            "/..%2fsecret.txt",
            "/sub%20dir/../../secret.txt",
            "/./.././secret.txt",
            "/../root-sibling/secret.txt",
            "/../root/../secret.txt",
            "/..\\secret.txt",
            "/%252e%252e/secret.txt",
            absolute,
            "/" + absolute,
            "/%2f" + absolute[1:],
            "http://x/../secret.txt",
            "/outside",
            "/outside-absolute",
            "/outside-directory/secret.txt",
            "/outside-directory/root/file.txt",
            "/proc/self/root/etc/passwd",
            "/..",
            "/../",
            "/outside-directory",
            "/outside-directory/",
        ):
            with self.subTest(target):
                status, _, body = self.get(target)
                self.assertIn(status, (400, 404))
                self.assertNotIn(SECRET, body)

    def test_links_inside_the_root_are_followed(self):
        self.assertEqual(self.get("/inside")[2], b"txt")

    def test_a_file_without_permission_is_403(self):
        path = self.root / "locked"
        path.touch(mode=0)
        self.addCleanup(path.unlink)
        with Httpd("--root", self.root, prefix=UNPRIVILEGED) as server:
            self.assertEqual(server.get("/locked")[0], 403)

    def test_a_big_file_arrives_whole(self):
        expected = (self.root / "big.bin").read_bytes()
        results = []

        def fetch():
            status, headers, body = self.get("/big.bin")
            digest = hashlib.sha256(body).hexdigest()
            results.append((status, headers["Content-Length"], digest))

        threads = [threading.Thread(target=fetch) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        wanted = (200, str(len(expected)), hashlib.sha256(expected).hexdigest())
        self.assertEqual(results, [wanted] * 8)

    def test_an_empty_file_is_an_empty_body(self):
        status, headers, body = self.get("/empty.txt")
        self.assertEqual((status, headers["Content-Length"], body), (200, "0", b""))

    def test_head_has_the_headers_of_get_and_no_body(self):
        for target in ("/big.bin", "/file.html", "/nothing", "/sub%20dir"):
            got, headed = self.get(target), self.get(target, "HEAD")
            for reply in (got, headed):
                reply[1].pop("Date")
            self.assertEqual(got[:2], headed[:2])
            self.assertEqual(headed[2], b"")

    def test_a_client_that_has_the_file_is_told_so(self):
        date = self.get("/file.txt")[1]["Last-Modified"]
        status, headers, body = self.get("/file.txt", If_Modified_Since=date)
        self.assertEqual((status, body), (304, b""))
        self.assertNotIn("Content-Length", headers)
        # Whoever knows it by an entity tag has it from elsewhere (RFC 9110, 13.1.3).
        self.assertEqual(self.get("/file.txt", If_Modified_Since=date, If_None_Match='"x"')[0], 200)
        past = "Thu, 01 Jan 1970 00:00:00 GMT"
        self.assertEqual(self.get("/file.txt", If_Modified_Since=past)[0], 200)

    def test_files_are_served_one_after_another_on_one_connection(self):
        with self.server.connect() as connection:
            for target in ("/file.txt", "/nothing", "/file.css", "/sub%20dir", "/file.js"):
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            reply = read_to_end(connection)
        statuses = re.findall(rb"HTTP/1.1 (\d+) ", reply)
        self.assertEqual(statuses, [b"200", b"404", b"200", b"301", b"200"])

    def test_a_client_that_leaves_in_mid_file_harms_nobody(self):
        for _ in range(20):
            with self.server.connect() as connection:
                connection.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                connection.recv(10)
        self.assertEqual(self.get("/file.txt")[0], 200)
        descriptors = f"/proc/{self.server.process.pid}/fd"
        for _ in range(100):
            if len(os.listdir(descriptors)) < 20:
                break
            time.sleep(0.1)
        self.assertLess(len(os.listdir(descriptors)), 20, "descriptors are left open")


class Shortage(unittest.TestCase):
    def test_running_out_of_descriptors_is_survived_without_burning_a_core(self):
        with tempfile.TemporaryDirectory() as root, contextlib.ExitStack() as stack:
            (pathlib.Path(root) / "index.html").write_text("here")
            prefix = ["prlimit", "--nofile=40:40"]
            server = stack.enter_context(Httpd("--root", root, prefix=prefix))
            crowd = [server.connect() for _ in range(100)]
            for connection in crowd:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            before = server.cpu_seconds()
            time.sleep(1)
            self.assertLess(server.cpu_seconds() - before, 0.3)
            # What the server could not take yet is answered as places become free.
            statuses = []
            for connection in crowd:
                with connection:
                    statuses.append(connection.recv(4096).split()[1])
            self.assertLessEqual(set(statuses), {b"200", b"503"})
            self.assertEqual(len(statuses), 100)
            self.assertEqual(server.get("/")[2], b"here")


class Stopping(unittest.TestCase):
    def test_sigterm_lets_a_download_finish(self):
        with tempfile.TemporaryDirectory() as root:
            content = random.Random(2).randbytes(20_000_000)
            (pathlib.Path(root) / "big.bin").write_bytes(content)
            with Httpd("--root", root) as server, server.connect() as connection:
                connection.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                begin = connection.recv(1000)
                server.stop()
                reply = begin + read_to_end(connection)
                self.assertEqual(server.process.wait(TIMEOUT), 0)
        self.assertEqual(parse(reply)[2], content)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    HTTPD = sys.argv.pop(1)
    unittest.main()
