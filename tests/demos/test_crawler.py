#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the crawler against a small site that has everything a crawl can stumble over.

usage: tests/demos/test_crawler.py CRAWLER

The server is Python's own, on loopback: cycles, dead links, redirects, every framing, bodies that
are cut short, pages that never come. Checked are the lines and their order, what was asked for and
how often, the mirrored files byte by byte, the exit status and the memory.
"""
import contextlib
import fcntl
import http.server
import json
import os
import pathlib
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from served import retried

CRAWLER = sys.argv.pop(1)
LARGE = 48 * 1024 * 1024
PAGES = {
    "/": b"<a href=a.html><a href='/a.html#x'><a href='b/'><a href='/./b/../b/'>"
         b"<a href='http://elsewhere.invalid/'><a href='mailto:x@y'><a href='moved'>"
         b"<!-- <a href=hidden> --><a href='q?x=1&amp;y=%7e'><img src=i.png><a href=dead>",
    "/a.html": b"<a href='/'><a href='a.html'><script>'<a href=hidden>'</script>",
    "/b/": b"<base href='/c/'><a href=d><a href='../../../e'>",
    "/c/d": b"chunked <a href='caf\xc3\xa9 1'>",
    "/c/caf%C3%A9%201": b"not ascii",
    "/e": b"<a href='e/f'><a href='%2e%2e/%2e%2e/outside'><a href='..%2f..%2foutside'>",
    "/e/f": b"below a page",
    "/outside": b"inside",
    "/..%2F..%2Foutside": b"a name with slashes",
    "/target": b"<a href=/>",
    "/q?x=1&y=~": b"a query",
    "/i.png": bytes(range(256)) * 1000,
}
REDIRECTS = {"/moved": "/target", "/away": "http://elsewhere.invalid/", "/loop": "/loop"}
HTML_PATHS = {"/", "/a.html", "/b/", "/c/d", "/e", "/target", "/wide", "/endless/0"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, content_type="text/plain", **headers):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def chunks(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for byte in body:
            self.wfile.write(b"1\r\n%c\r\n" % byte)
        self.wfile.write(b"0\r\n\r\n")

    def large(self, count):
        piece = b"<p>" + b"x" * 65533
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(count))
        self.end_headers()
        for _ in range(count // len(piece)):
            self.wfile.write(piece)

    def do_GET(self):
        with self.server.lock:
            self.server.seen.append(self.path)
        kind = "text/html" if self.path in HTML_PATHS else "application/octet-stream"
        if self.path == "/c/d":
            self.chunks(PAGES[self.path])
        elif self.path in PAGES:
            self.answer(200, PAGES[self.path], kind)
        elif self.path in REDIRECTS:
            self.answer(302, b"over there", Location=REDIRECTS[self.path])
        elif self.path.startswith("/slow/"):
            self.server.hold.wait(int(self.path[6:]) % 64 / 1000)
            self.answer(200, self.path.encode())
        elif self.path.startswith("/endless/"):
            number = int(self.path[9:])
            self.answer(200, b"<a href=/endless/%d><a href=/endless/%d>" %
                        (number * 2 + 1, number * 2 + 2), "text/html")
        elif self.path == "/wide":
            self.answer(200, b"".join(b"<a href=/slow/%d>" % n for n in range(300)), kind)
        elif self.path == "/long":
            self.answer(200, b"<a href=%s><a href=%s><a href=outside>" %
                        (b"x" * 5000, b"\xe9" * 2000), "text/html")
        elif self.path == "/large":
            self.large(LARGE)
        elif self.path == "/short":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut")
        elif self.path == "/half":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
            self.server.hold.wait(30)
        elif self.path == "/never":
            self.close_connection = True
            self.server.hold.wait(30)
        else:
            self.answer(404, b"no")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # of a crawl that ended early
            super().handle_error(request, client_address)


class CrawlerTest(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.lock = threading.Lock()
        self.server.seen = []
        self.server.hold = threading.Event()
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def tearDown(self):
        self.server.hold.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def wait_until_nothing_is_asked_for(self):
        seen = -1
        while not 0 < len(self.server.seen) == seen:
            seen = len(self.server.seen)
            time.sleep(0.5)

    def crawl(self, *arguments):
        done = subprocess.run([CRAWLER, *arguments], capture_output=True, timeout=60)
        self.assertNotIn(b"Sanitizer", done.stderr)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def crawl_json(self, *arguments):
        status, out, _ = self.crawl("--json", *arguments)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertTrue(lines[-1]["summary"])
        self.assertEqual(lines[-1]["pages"], len(lines) - 1)
        self.assertEqual(lines[-1]["bytes"], sum(line["bytes"] for line in lines[:-1]))
        self.assertEqual(lines[-1]["failed"], sum("error" in line for line in lines[:-1]))
        return status, lines[:-1], lines[-1]

    def paths(self, pages):
        return [page["url"].removeprefix(self.url) for page in pages]

    def test_results_come_in_the_order_given(self):
        slow = [f"/slow/{n % 7 * 10}" for n in range(50)]
        status, pages, _ = self.crawl_json(*(self.url + path for path in slow))
        self.assertEqual(status, 0)
        self.assertEqual(self.paths(pages), slow)
        self.assertEqual([page["bytes"] for page in pages], [len(path) for path in slow])

    def test_plain_lines_have_status_bytes_seconds_and_url(self):
        status, out, err = self.crawl(self.url + "/outside", self.url + "/dead", "nonsense",
                                      "https://127.0.0.1/", self.url + "/short", self.url + "/dead")
        lines = [line.split(maxsplit=3) for line in out.splitlines()]
        self.assertEqual(status, 1)
        self.assertEqual([line[0] for line in lines], ["200", "404", "0", "0", "200", "404"])
        self.assertEqual([line[1] for line in lines], ["6", "2", "0", "0", "3", "2"])
        self.assertEqual([line[3] for line in lines], [
            self.url + "/outside", self.url + "/dead  HTTP status 404", "nonsense  not a URL",
            "https://127.0.0.1/  only http:// is supported", self.url + "/short  Protocol error",
            self.url + "/dead  HTTP status 404"])
        self.assertRegex(err, r"^6 pages, 13 bytes, 5 failed, [\d.]+ s, \d+ pages/s, \d+ KiB\n")
        self.assertIn("2  HTTP status 404\n", err)
        self.assertNotIn("\r", err, "no progress line unless on a terminal")

    def test_a_recursive_crawl_finds_every_page_once_and_ends(self):
        mirror = self.directory / "mirror"
        status, pages, summary = self.crawl_json("--recursive", "--output", mirror, self.url)
        self.assertEqual(status, 1)
        self.assertEqual(sorted(self.paths(pages)), sorted([*PAGES, "/moved", "/dead"]))
        self.assertEqual(self.paths(pages)[:3], ["/", "/a.html", "/b/"])
        self.assertEqual(sorted(self.server.seen), sorted([*PAGES, "/moved", "/dead"]))
        self.assertEqual(summary["errors"], {"HTTP status 404": 1})
        host = mirror / self.url.removeprefix("http://")
        found = {str(path.relative_to(host)): path.read_bytes()
                 for path in mirror.rglob("*") if path.is_file()}
        self.assertEqual(found, {
            "index.html": PAGES["/"], "a.html": PAGES["/a.html"], "b/index.html": PAGES["/b/"],
            "c/d": PAGES["/c/d"], "c/caf\u00e9 1": b"not ascii", "e%": PAGES["/e"],
            "e/f": b"below a page", "outside": b"inside",
            "..%2F..%2Foutside": b"a name with slashes",
            "target": PAGES["/target"], "q?x=1&y=~": b"a query", "i.png": PAGES["/i.png"]})

    def test_redirects_are_followed_when_not_recursive(self):
        status, pages, _ = self.crawl_json(self.url + "/moved", self.url + "/loop")
        self.assertEqual(status, 1)
        self.assertEqual([page["status"] for page in pages], [200, 0])
        self.assertEqual(self.server.seen.count("/loop"), 11)

    def test_a_redirect_to_another_host_is_not_followed_when_recursive(self):
        status, pages, _ = self.crawl_json("--recursive", self.url + "/away", self.url + "/loop")
        self.assertEqual(status, 0)
        self.assertEqual([page["status"] for page in pages], [302, 302])

    def test_pages_max_ends_a_site_without_end(self):
        status, pages, summary = self.crawl_json("--recursive", "--pages-max", "40",
                                                 self.url + "/endless/0")
        self.assertEqual(status, 0)
        self.assertEqual(len(set(self.paths(pages))), 40)
        self.assertEqual(sorted(self.server.seen), sorted(self.paths(pages)))
        self.assertGreater(summary["dropped"], 0)

    def test_many_links_of_one_page_are_fetched_with_few_at_a_time(self):
        status, pages, _ = self.crawl_json("--recursive", "--concurrency", "7", self.url + "/wide")
        self.assertEqual(status, 0)
        self.assertEqual(self.paths(pages), ["/wide", *(f"/slow/{n}" for n in range(300))])

    def test_links_that_are_too_long_are_counted_and_not_followed(self):
        status, pages, summary = self.crawl_json("--recursive", self.url + "/long")
        self.assertEqual(status, 0)
        self.assertEqual(self.paths(pages), ["/long", "/outside"])
        self.assertEqual(summary["dropped"], 2)

    def test_progress_shows_on_a_terminal(self):
        ours, its = os.openpty()
        done = subprocess.Popen([CRAWLER, self.url + "/outside"], stdout=subprocess.DEVNULL,
                                stderr=its)
        os.close(its)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the terminal's other end is closed
            pass
        os.close(ours)
        self.assertEqual(done.wait(timeout=60), 0)
        self.assertIn(b"\r\x1b[K1 pages, 0 to go, 0 failed", shown)
        self.assertRegex(shown, rb"\r\x1b\[K1 pages, 6 bytes")

    @retried()
    def test_a_page_that_never_comes_times_out_and_the_rest_goes_on(self, scale):
        status, pages, summary = self.crawl_json("--timeout", str(scale), self.url + "/never",
                                                 self.url + "/outside")
        self.assertEqual(status, 1)
        self.assertEqual([page["status"] for page in pages], [0, 200])
        self.assertEqual(summary["errors"], {"Connection timed out": 1})
        self.assertGreaterEqual(pages[0]["seconds"], scale)
        self.assertLess(pages[0]["seconds"], 20)

    def test_a_page_and_a_page_below_it_are_both_mirrored(self):
        for order in (["/e", "/e/f"], ["/e/f", "/e"]):
            mirror = self.directory / order[0].replace("/", "_")
            status, _, _ = self.crawl_json("--concurrency", "1", "--output", mirror,
                                           *[self.url + path for path in order])
            self.assertEqual(status, 0)
            host = mirror / self.url.removeprefix("http://")
            self.assertEqual((host / "e%").read_bytes(), PAGES["/e"])
            self.assertEqual((host / "e/f").read_bytes(), PAGES["/e/f"])

    def test_a_body_that_is_cut_short_leaves_no_file(self):
        mirror = self.directory / "mirror"
        status, _, _ = self.crawl_json("--output", mirror, self.url + "/short")
        self.assertEqual(status, 1)
        self.assertEqual([path for path in mirror.rglob("*") if path.is_file()], [])

    def test_a_signal_ends_the_crawl_and_leaves_no_part_of_a_file(self):
        mirror = self.directory / "mirror"

        def a_part_has_bytes():
            with contextlib.suppress(FileNotFoundError):  # it has got its name just now
                return any(path.stat().st_size for path in mirror.glob(".crawler-*"))
            return False

        for number in (signal.SIGTERM, signal.SIGINT):
            self.server.seen.clear()
            # One at a time: the second begins when the first has been reported.
            crawler = subprocess.Popen([CRAWLER, "--concurrency", "1", "--output", mirror,
                                        self.url + "/outside", self.url + "/half"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            while "/half" not in self.server.seen or not a_part_has_bytes():
                self.assertIsNone(crawler.poll())
                time.sleep(0.01)
            crawler.send_signal(number)
            out, err = crawler.communicate(timeout=60)
            self.assertEqual(crawler.returncode, 1)
            self.assertRegex(out, r"^200 .*/outside\n$")
            self.assertIn("crawler: Operation canceled", err)
            self.assertEqual([path.name for path in mirror.rglob("*") if path.is_file()],
                             ["outside"])

    def test_memory_is_bounded_however_large_the_pages(self):
        mirror = self.directory / "mirror"
        status, pages, summary = self.crawl_json("--recursive", "--output", mirror,
                                                 self.url + "/large")
        self.assertEqual(status, 0)
        self.assertEqual(pages[0]["bytes"], LARGE)
        self.assertEqual(os.stat(next(mirror.rglob("large"))).st_size, LARGE)
        if b"__asan_init" not in pathlib.Path(CRAWLER).read_bytes():
            self.assertLess(summary["peak_rss_kib"], 32 * 1024)

    def test_nobody_there_is_an_error_of_its_own_kind(self):
        with socketserver.TCPServer(("127.0.0.1", 0), None) as closed:
            url = "http://127.0.0.1:%d/" % closed.server_address[1]
        status, _, summary = self.crawl_json("--recursive", url)
        self.assertEqual(status, 1)
        self.assertEqual(summary["errors"], {"Connection refused": 1})

    def test_wrong_arguments_are_explained(self):
        file = self.directory / "file"
        file.write_text("in the way")
        for arguments in ([], ["--what", "http://h/"], ["--concurrency", "0", "http://h/"],
                          ["--concurrency", "x", "http://h/"], ["--pages-max"], ["--output"],
                          ["--output", file, "http://h/"], ["--timeout", "-1", "http://h/"]):
            status, out, err = self.crawl(*arguments)
            self.assertEqual(status, 2, arguments)
            self.assertEqual(out, "")
            self.assertRegex(err, "^crawler: ")
        status, out, _ = self.crawl("--help")
        self.assertEqual(status, 0)
        self.assertIn("usage: crawler", out)

    def test_results_that_can_not_be_written_are_a_failure(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([CRAWLER, self.url + "/outside"], stdout=full, timeout=60,
                                  stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"crawler: No space left on device", done.stderr)

    def test_a_reader_of_the_results_that_has_gone_ends_the_crawl(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([CRAWLER, "--recursive", self.url + "/endless/0"], stdout=writer,
                              timeout=60, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"crawler: Broken pipe", done.stderr)

    @retried()
    def test_a_reader_of_the_results_that_pauses_makes_no_page_late(self, scale):
        count = 600
        self.server.seen.clear()
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        with subprocess.Popen([CRAWLER, "--timeout", str(scale), "--concurrency", "50",
                               *[self.url + "/i.png"] * count], stdout=writer,
                              stderr=subprocess.DEVNULL) as crawler, \
                open(reader, encoding="ascii") as results:
            os.close(writer)
            self.wait_until_nothing_is_asked_for()
            self.assertLess(len(self.server.seen), count, "results are held back without bounds")
            time.sleep(1.5 * scale)  # what may not happen: that pages are late
            statuses = [line.split()[0] for line in results]
        self.assertEqual(crawler.returncode, 0)
        self.assertEqual(statuses, ["200"] * count)


if __name__ == "__main__":
    unittest.main()
