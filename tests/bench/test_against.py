#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests `bench/run core --against` on trees of programs that say what a measurement would have
given, and the options of `bench/run core`.

usage: tests/bench/test_against.py
"""
import contextlib
import io
import unittest

from trees import CASES, Trees, options, printed_by
import against
import core
import harness


def report(tree, other, chosen=CASES, count=lambda *_: None):
    """What the report printed, and what it returned."""
    return printed_by(against.report, tree, chosen, options(against=str(other)), count)


class Report(Trees):
    def test_divides_this_tree_by_the_other(self):
        tree = self.make("new", {"yield": {"yield_2": 10, "yield_64": 30}})
        other = self.make("old", {"yield": {"yield_2": 20, "yield_64": 20}})

        printed, numbers = report(tree, other)

        self.assertEqual(numbers["yield_2"]["ratio"], 0.5)
        self.assertEqual(numbers["yield_2"]["direction"], "faster")
        self.assertEqual(numbers["yield_64"]["ratio"], 1.5)
        self.assertEqual(numbers["yield_64"]["direction"], "slower")
        self.assertIn("| 10.0 | 20.0 | 0.500 | 0.500-0.500 | **faster** |", printed)

    def test_of_the_same_says_neither_faster_nor_slower(self):
        tree = self.make("new", {"yield": {"yield_2": 10}})

        _, numbers = report(tree, self.make("old", {"yield": {"yield_2": 10}}))

        self.assertEqual(numbers["yield_2"]["direction"], "")

    def test_skips_what_one_of_them_lacks_and_says_so(self):
        tree = self.make("new", {"yield": {"yield_2": 10, "yield_64": 10}, "sem": {"sem_free": 1}})
        other = self.make("old", {"yield": {"yield_2": 10}})

        printed, numbers = report(tree, other)

        self.assertEqual(list(numbers), ["yield_2"])
        self.assertIn("only one of the trees has: yield, 64 (yield_64)", printed)
        self.assertIn("only one of the trees has: semaphore (sem_free)", printed)

    def test_of_trees_with_nothing_in_common_fails(self):
        tree = self.make("new", {"yield": {"yield_2": 10}})

        with self.assertRaisesRegex(SystemExit, "in common"):
            report(tree, self.make("old", {"yield": {"yield_64": 10}}))

    def test_has_instructions_of_both(self):
        tree, other = (self.make(name, {"yield": {"yield_2": 10}}) for name in ("new", "old"))

        printed, numbers = report(tree, other, count=lambda which, *_: 70 if which == tree else 67)

        self.assertEqual(numbers["yield_2"]["instructions"], [70, 67])
        self.assertIn("| 70 | 67 | +3 |", printed)

    def test_warns_of_another_configuration_and_of_another_program(self):
        tree = self.make("new", {"yield": {"yield_2": 10}})
        other = self.make("old", {"yield": {"yield_2": 10}}, build_type="Debug")
        (self.root / "new" / "bench" / "yield.c").write_text("int one;\n")
        (self.root / "old" / "bench" / "yield.c").write_text("int two;\n")

        printed, _ = report(tree, other)

        self.assertIn("CMAKE_BUILD_TYPE is 'Release' here and 'Debug' there", printed)
        self.assertIn("bench/yield.c is not the same in both", printed)


class Tree(Trees):
    def test_is_found_from_the_checkout_and_from_itself(self):
        tree = self.make("old", {"yield": {}})

        self.assertEqual(against.find_tree(str(self.root / "old")), tree)
        self.assertEqual(against.find_tree(str(tree)), tree)

    def test_that_was_not_built_is_refused_with_the_way_to_build_it(self):
        with self.assertRaisesRegex(SystemExit, "cmake --preset release"):
            against.find_tree(str(self.root))

    def test_has_the_settings_of_its_cache(self):
        settings = against.cache(self.make("old", {}))

        self.assertEqual(settings["CMAKE_C_FLAGS"], "-DX=1")
        self.assertEqual(settings["CMAKE_BUILD_TYPE"], "Release")


class Options(unittest.TestCase):
    def test_refuse_nonsense(self):
        for words in (["--rounds", "0"], ["--repeat", "-1"], ["--count", "9999"], ["--idle", "-1"],
                      ["--fibers", "0"], ["--connections", "0"], ["--peers", "--against", "x"],
                      ["--rounds", "x"], ["word"]):
            with self.subTest(words=words), self.assertRaises(SystemExit) as end:
                with contextlib.redirect_stderr(io.StringIO()):
                    core.parse(words)
            self.assertEqual(end.exception.code, 2)

    def test_have_targets_that_a_smoke_test_does_not_judge(self):
        self.assertLess(core.parse(["--quick"]).rounds, 6)


class Table(unittest.TestCase):
    def test_names_each_case_once_and_what_is_not_counted_exists(self):
        cases = [case for _, case, _, _ in core.OPERATIONS]

        self.assertEqual(len(cases), len(set(cases)))
        self.assertLessEqual(core.UNCOUNTED, set(cases))

    def test_has_its_first_column_left(self):
        self.assertEqual(harness.table(["a", "b"], [["1", "2"]]), "| a | b |\n|:--|--:|\n| 1 | 2 |")


if __name__ == "__main__":
    unittest.main()
