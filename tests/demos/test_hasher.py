#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hasher beside sha256sum(1): every line the same, every error told, always the same order."""

import fcntl
import hashlib
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

from served import UNPRIVILEGED

PROGRAM = None
TIMEOUT = 100
REAL_TREE = "/usr/include"


def run(*arguments, prefix=(), cwd=None):
    command = [*prefix, PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, cwd=cwd, check=False)


def waiting_in(pipe):
    """The number of bytes that nobody has read."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def walk(top):
    """The regular files below, as the hasher promises them: depth first, names in byte order."""
    for entry in sorted(os.scandir(top), key=lambda entry: os.fsencode(entry.name)):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def sha256sum(paths):
    done = subprocess.run(["xargs", "-0", "sha256sum", "--"], capture_output=True, timeout=TIMEOUT,
                          input=b"".join(os.fsencode(path) + b"\0" for path in paths), check=True)
    return done.stdout


class Hasher(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name)

    def expect(self, done, output, status=0):
        self.assertEqual(done.stdout, output)
        self.assertEqual(done.returncode, status, done.stderr)

    def test_a_tree_of_many_files_gives_what_sha256sum_gives(self):
        for number in range(1000):
            path = self.root / f"d{number % 7}" / f"{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes([number % 251]) * number)
        (self.root / "empty").touch()
        (self.root / "large").write_bytes(os.urandom(5_000_001))
        deep = self.root.joinpath(*["deep"] * 60)
        deep.mkdir(parents=True)
        (deep / "leaf").write_text("leaf")
        (self.root / "nothing").mkdir()

        done = run(self.root)
        self.expect(done, sha256sum(walk(self.root)))
        self.assertRegex(done.stderr.decode(), r"^hasher: 1003 files, \d+ bytes, 0 errors\n$")
        self.expect(run("--jobs", 1, self.root), done.stdout)
        self.expect(run("--jobs", 1000, self.root), done.stdout)

    def test_a_real_tree_gives_what_sha256sum_gives(self):
        self.expect(run(REAL_TREE), sha256sum(walk(REAL_TREE)))

    def test_the_order_of_arguments_is_kept(self):
        for name in "bca":
            (self.root / name).write_text(name)
        paths = [self.root / "c", self.root / "a", self.root / "b", self.root / "a"]
        self.expect(run(*paths), sha256sum(paths))

    def test_names_that_break_lines_are_escaped(self):
        for name in ("new\nline", "back\\slash", "cr\r", "plain \xe9", "-dash"):
            (self.root / name).write_text(name)
        (self.root / os.fsdecode(b"\xff\xfe")).touch()
        self.expect(run(self.root), sha256sum(walk(self.root)))
        self.expect(run("./-dash", cwd=self.root), sha256sum([self.root / "-dash"]).replace(
            os.fsencode(self.root), b"."))

    def test_links_are_followed_as_arguments_only(self):
        (self.root / "file").write_text("text")
        (self.root / "dir").mkdir()
        (self.root / "dir" / "loop").symlink_to("..")
        (self.root / "dir" / "link").symlink_to("../file")
        (self.root / "link").symlink_to("file")
        (self.root / "dangling").symlink_to("missing")
        os.mkfifo(self.root / "fifo")
        self.expect(run(self.root), sha256sum([self.root / "file"]))
        self.expect(run(self.root / "link"), sha256sum([self.root / "link"]))

    def test_what_cannot_be_read_is_told_and_the_rest_is_hashed(self):
        for name in ("a", "b", "c"):
            (self.root / name).write_text(name)
        (self.root / "b").chmod(0)
        (self.root / "d").mkdir()
        (self.root / "d").chmod(0)
        self.addCleanup((self.root / "d").chmod, 0o700)
        os.mkfifo(self.root / "fifo")

        done = run(self.root, self.root / "missing", self.root / "fifo", prefix=UNPRIVILEGED)
        self.expect(done, sha256sum([self.root / "a", self.root / "c"]), 1)
        errors = done.stderr.decode()
        for name in ("b", "d", "missing", "fifo"):
            self.assertRegex(errors, rf"(?m)^hasher: .*/{name}: ")
        self.assertTrue(errors.endswith("hasher: 2 files, 2 bytes, 4 errors\n"), errors)

    def test_names_in_errors_are_one_line_and_play_no_tricks_on_the_terminal(self):
        path = self.root / "a\nhasher: 9 files\x1b[2J\u00e9\x9b[2J\udc9b"
        path.touch(mode=0)
        errors = run(self.root, prefix=UNPRIVILEGED).stderr.decode()
        self.assertRegex(errors, r"\Ahasher: .*/a\?hasher: 9 files\?\[2J\u00e9\?\?\[2J\?: "
                                 r"Permission denied\nhasher: 0 files, 0 bytes, 1 errors\n\Z")

    def test_a_file_that_vanishes_meanwhile_is_an_error_and_no_crash(self):
        for number in range(300):
            (self.root / f"{number:03}").write_text("x")
        with subprocess.Popen([PROGRAM, "--jobs", "1", str(self.root)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            for path in sorted(self.root.iterdir(), reverse=True):
                path.unlink()
            output, errors = process.communicate(timeout=TIMEOUT)
        *failures, totals = errors.decode().splitlines()
        for line in failures:
            self.assertRegex(line, r"^hasher: .*/\d{3}: No such file or directory$")
        hashes = {line.split()[0] for line in output.splitlines()}
        self.assertLessEqual(hashes, {hashlib.sha256(b"x").hexdigest().encode()})
        self.assertRegex(totals, rf"^hasher: {len(output.splitlines())} files, .*"
                                 rf" {len(failures)} errors$")
        self.assertEqual(process.returncode, int(bool(failures)))

    def test_what_takes_the_place_of_a_file_meanwhile_is_not_hashed(self):
        for number in range(400):
            (self.root / f"{number:03}").write_text("x")
        kept = sha256sum(sorted(self.root.iterdir())[:-2])
        secret = self.root.parent / (self.root.name + ".secret")
        secret.write_text("outside of the tree")
        self.addCleanup(secret.unlink)
        reader, writer = os.pipe()
        size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        with subprocess.Popen([PROGRAM, "--jobs", "1", str(self.root)], stdout=writer,
                              stderr=subprocess.PIPE) as process:
            os.close(writer)
            while waiting_in(reader) < size:
                self.assertIsNone(process.poll())
            # Now it waits for the reader, far from the end of its list.
            for name in ("398", "399"):
                (self.root / name).unlink()
            (self.root / "398").symlink_to(secret)
            os.mkfifo(self.root / "399")
            silent = os.open(self.root / "399", os.O_RDWR)
            with open(reader, "rb") as results:
                self.assertEqual(results.read(), kept)
            errors = process.communicate(timeout=TIMEOUT)[1].decode()
        os.close(silent)
        self.assertRegex(errors, r"/398: Too many levels of symbolic links\n"
                                 r"hasher: .*/399: Invalid argument\n")

    def test_a_reader_that_has_gone_is_an_error(self):
        for number in range(2000):
            (self.root / f"{number:03}").touch()
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([PROGRAM, str(self.root)], stdout=writer, stderr=subprocess.PIPE,
                              timeout=TIMEOUT, check=False)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (1, b"hasher: Broken pipe\n"))

    def test_a_full_device_is_an_error(self):
        (self.root / "a").write_text("a")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, str(self.root)], stdout=full, stderr=subprocess.PIPE,
                                  timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 1)

    def test_usage(self):
        self.assertIn(b"--jobs", run("--help").stdout)
        for wrong in ([], ["--jobs"], ["--jobs", "0", "x"], ["--jobs", "1001", "x"], ["--nope"]):
            self.assertEqual(run(*wrong).returncode, 2, wrong)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
