#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests `bench/run file` on programs that say what a measurement would have given.

usage: tests/bench/test_file.py
"""
import contextlib
import io
import unittest

from trees import Trees
import file

NS = {"raw": 1000, "fixed": 900, "file": 1100, "threads": 3000}


class File(Trees):
    def run_file(self, *words):
        programs = {}
        for program, name, _ in file.READERS:
            for suffix, factor in (("cached", 1), ("direct", 10)):
                programs.setdefault(program, {})[f"{name}_{suffix}"] = NS[name] * factor
        tree = self.make("coil", programs)
        return self.run_main(file, "--tree", tree, *words)

    def test_divides_each_reader_by_the_bare_ring_in_both_kinds(self):
        printed, numbers = self.run_file("--rounds", 6)

        for kind, factor in (("cached", 1), ("direct", 10)):
            for name, ns in NS.items():
                self.assertEqual(numbers[kind][name]["ns"], ns * factor)
                self.assertEqual(numbers[kind][name]["ratio"], ns / 1000)
                self.assertEqual(len(numbers[kind][name]["rounds"]), 6)
        self.assertIn("| bare ring = 1.00 | 1,000 | 1.000 |  |\n", printed)
        self.assertIn("| 32 fibers | 11,000 | 1.100 | 1.100-1.100 |\n", printed)

    def test_starts_without_options_and_takes_turns(self):
        self.run_file()

        names = [line.split()[1] for line in self.log.read_text().splitlines()]
        self.assertEqual(len(names), 2 * 11 * 4)
        self.assertEqual(names[:4], ["raw_cached", "fixed_cached", "file_cached", "threads_cached"])
        self.assertEqual(names[4:8], [*names[1:4], names[0]])

    def test_refuses_nonsense(self):
        for words in (["--rounds", "0"], ["--repeat", "0"], ["--quick"], ["word"]):
            with self.subTest(words=words), self.assertRaises(SystemExit) as end:
                with contextlib.redirect_stderr(io.StringIO()):
                    file.parse(words)
            self.assertEqual(end.exception.code, 2)


if __name__ == "__main__":
    unittest.main()
