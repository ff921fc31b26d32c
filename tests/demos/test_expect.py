#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The judge of demos/run judged: a right crawl passes, and each way to be wrong is found.

usage: tests/demos/test_expect.py
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

EXPECT = pathlib.Path(__file__).resolve().parents[2] / "demos" / "expect.py"
URL = "http://127.0.0.1:1/"
SITE = {
    "index.html": b"<a href='sub/'><a href='a b.txt?x=1'><a href='dead.html#x'>"
                  b"<img srcset='i.png 2x'><a href='http://127.0.0.2:1/'>"
                  b"<!-- <a href=unlinked> --><a href='mailto:x'>",
    "sub/index.html": b"<a href='../index.html'><a href='../../../sub/../%61%20b.txt'>",
    "a b.txt": b"<a href=unlinked>",
    "i.png": b"\x00\xff",
    "unlinked": b"",
}
PAGES = {"": "index.html", "index.html": "index.html", "sub/": "sub/index.html", "i.png": "i.png",
         "a%20b.txt?x=1": "a b.txt?x=1", "a%20b.txt": "a b.txt"}


class ExpectTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        for path, body in SITE.items():
            self.write("site/" + path, body)
        for path in PAGES.values():
            self.write("mirror/127.0.0.1:1/" + path, SITE[path.split("?")[0]])
        self.lines = [{"url": URL + path, "status": 200} for path in PAGES]
        self.lines.append({"url": URL + "dead.html", "status": 404, "error": "no"})

    def write(self, path, body):
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)

    def judge(self):
        summary = {"pages": len(self.lines), "bytes": 1, "seconds": 1, "pages_per_second": 1,
                   "peak_rss_kib": 1}
        self.write("report", "".join(json.dumps(line) + "\n"
                                     for line in [*self.lines, summary]).encode())
        done = subprocess.run([sys.executable, "-B", EXPECT, self.directory / "site", URL,
                               self.directory / "mirror", self.directory / "report"],
                              capture_output=True, text=True, timeout=30)
        return done.returncode, json.loads(done.stdout), done.stderr

    def expect_found(self, what):
        status, result, complaints = self.judge()
        self.assertEqual(status, 1)
        self.assertEqual(result["differences"], 1, complaints)
        self.assertIn(f"expect: {what}: ", complaints)

    def test_a_right_crawl_passes_and_the_dead_link_is_named(self):
        status, result, complaints = self.judge()
        self.assertEqual((status, complaints), (0, ""))
        self.assertEqual(result["dead"], ["/dead.html"])
        self.assertEqual((result["expected"], result["same"]), (6, 6))

    def test_a_page_that_was_not_fetched_is_found(self):
        self.lines = [line for line in self.lines if not line["url"].endswith("sub/")]
        self.expect_found("not fetched")

    def test_a_dead_link_that_was_not_tried_is_found(self):
        self.lines.pop()
        self.expect_found("not fetched")

    def test_a_page_too_many_is_found(self):
        self.lines.append({"url": URL + "unlinked", "status": 200})
        self.expect_found("not expected")

    def test_a_page_that_was_fetched_twice_is_found(self):
        self.lines.append(dict(self.lines[1]))
        self.expect_found("fetched twice")

    def test_a_failure_is_found(self):
        self.lines[0]["error"] = "Connection reset by peer"
        self.expect_found("not 200")

    def test_a_dead_link_with_a_page_is_found(self):
        self.lines[-1]["status"] = 200
        self.expect_found("dead, but not 404")

    def test_one_wrong_byte_is_found(self):
        self.write("mirror/127.0.0.1:1/i.png", b"\x00\xfe")
        self.expect_found("not the same bytes")

    def test_a_missing_file_is_found(self):
        (self.directory / "mirror/127.0.0.1:1/i.png").unlink()
        self.expect_found("not the same bytes")

    def test_a_file_too_many_is_found(self):
        self.write("mirror/127.0.0.1:1/.crawler-1-1", b"")
        self.expect_found("a file too many")

    def test_an_empty_site_proves_nothing(self):
        self.write("site/index.html", b"nothing")
        self.write("mirror/127.0.0.1:1/index.html", b"nothing")
        status, _, complaints = self.judge()
        self.assertEqual(status, 1)
        self.assertIn("too little found", complaints)


if __name__ == "__main__":
    unittest.main()
