#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests `bench/run process` on a program that says what a measurement would have given.

usage: tests/bench/test_process.py
"""
import contextlib
import io
import unittest

from trees import Trees
import process

NS = {"plain": 500_000, "fiber": 600_000, "fibers": 400_000, "run": 1_000_000}


class Process(Trees):
    def run_process(self, *words):
        tree = self.make("coil", {})
        cases = "".join(f"{case}) echo {ns};;" for case, ns in NS.items())
        self.write(tree / "bench" / "process",
                   f"echo $1 $2 $(nproc) >>{self.log}\ncase $1 in {cases} esac\n")
        printed, numbers = self.run_main(process, "--tree", tree, *words)
        return printed, numbers, [line.split() for line in self.log.read_text().splitlines()]

    def test_tells_the_rate_and_the_ratio_to_the_plain_loop(self):
        printed, numbers, _ = self.run_process("--rounds", 6)

        self.assertEqual(numbers["nanoseconds"], {case: [ns] * 6 for case, ns in NS.items()})
        self.assertIn("| posix_spawn, waitpid | 500 | 500-500 | 2000 | 1.00 |  |\n", printed)
        self.assertIn("| coil_process_run: output collected | 1000 | 1000-1000 | 1000 "
                      "| 2.00 | 2.00-2.00 |\n", printed)

    def test_starts_without_options_on_all_cores_and_takes_turns(self):
        _, _, lines = self.run_process()

        cores = str(len(process.harness.CPUS))
        self.assertEqual(len(lines), 11 * 4)
        self.assertEqual(lines[:4], [[case, "200", cores] for case in NS])
        self.assertEqual(lines[4:8], [*lines[1:4], lines[0]])

    def test_refuses_nonsense(self):
        for words in (["--rounds", "0"], ["--count", "7"], ["--quick"], ["word"]):
            with self.subTest(words=words), self.assertRaises(SystemExit) as end:
                with contextlib.redirect_stderr(io.StringIO()):
                    process.parse(words)
            self.assertEqual(end.exception.code, 2)


if __name__ == "__main__":
    unittest.main()
