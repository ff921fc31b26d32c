#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests `bench/run core --peers`, and how it and --against measure, on programs that say what a
measurement would have given, built by compilers that write such programs.

usage: tests/bench/test_peers.py
"""
import os
import re
import unittest
import unittest.mock

from trees import CASES, Trees, options, printed_by
import core
import harness
import peers

BENCH = harness.ROOT / "bench"
PEER_SOURCES = ("peer_go.go", "peer_boost.cpp", "peer_st.c")


class Measure(Trees):
    def measure(self, runners, **changed):
        return peers.measure(runners, CASES[:1], options(**changed))

    def test_takes_turns_and_changes_who_comes_first(self):
        runners = [peers.of_tree(name, self.make(name, {"yield": {"yield_2": 1}}))
                   for name in ("new", "old")]

        self.measure(runners, rounds=4)

        order = [line.split()[0] for line in self.log.read_text().splitlines()]
        self.assertEqual(order, ["new", "old", "old", "new", "new", "old", "old", "new"])

    def test_gives_each_round_of_each_runner(self):
        runners = [peers.of_tree(name, self.make(name, {"yield": {"yield_2": ns}}))
                   for name, ns in (("new", 1), ("old", 2))]

        slices = self.measure(runners, rounds=3)

        self.assertEqual(slices.ns, {"yield_2": {"new": [1, 1, 1], "old": [2, 2, 2]}})

    def test_measures_once_what_only_one_has(self):
        runners = [peers.of_tree(name, self.make(name, {"yield": cases}))
                   for name, cases in (("new", {"yield_2": 1}), ("old", {}))]

        slices = self.measure(runners, rounds=5)

        self.assertEqual(slices.ns, {"yield_2": {"new": [1]}})
        self.assertEqual(len(self.log.read_text().splitlines()), 2)

    def test_asks_nobody_for_a_program_that_is_not_there(self):
        runners = [peers.of_tree(name, self.make(name, programs))
                   for name, programs in (("new", {"yield": {"yield_2": 1}}), ("old", {}))]

        self.assertEqual(self.measure(runners, rounds=3).ns, {"yield_2": {"new": [1]}})

    def test_takes_the_median_of_the_repetitions(self):
        self.write(self.root / "peer", "echo '{\"yield_2\": [5, 100, 4, 6, 3]}'")

        slices = self.measure([peers.one_program("one", self.root / "peer")], rounds=1)

        self.assertEqual(slices.ns, {"yield_2": {"one": [5]}})

    def test_gives_both_cores_to_cases_that_are_about_two_and_one_to_others(self):
        self.write(self.root / "peer", "echo \"{\\\"$2\\\": [$(nproc)]}\"")
        peer = peers.one_program("one", self.root / "peer")
        chosen = [one for one in peers.CASES if one[0] in ("cross", "yield")]

        slices = peers.measure([peer], chosen, options(rounds=1))

        for _, case, _ in chosen:
            cores = len(harness.CPUS) if case in peers.TWO_CORES else 1
            self.assertEqual(slices.ns[case], {"one": [cores]}, case)

    def test_tells_how_long_the_programs_waited_for_their_core(self):
        slices = peers.Slices(["yield_2"])
        self.assertEqual(slices.disturbed(), 0)
        for ran, waited, share in ((98, 2, 0.02), (97, 3, 0.03)):
            slices.ran, slices.waited = ran, waited
            self.assertEqual(slices.disturbed(), share)
            printed, _ = printed_by(peers.report_disturbance, slices)
            self.assertEqual(printed, "" if share == 0.02 else
                             "\n- disturbed: the programs waited for the core 3% of their time\n")


class Ratio(unittest.TestCase):
    def test_ratio_is_bold_where_coil_is_behind_for_certain_and_only_there(self):
        self.assertEqual(peers.ratio_text([3] * 6, [2] * 6), "**1.50 (1.50-1.50)**")
        self.assertEqual(peers.ratio_text([1] * 6, [2] * 6), "0.50 (0.50-0.50)")
        self.assertEqual(peers.ratio_text([3] * 5 + [1], [2] * 6), "1.50 (0.50-1.50)")
        self.assertEqual(peers.ratio_text([3] * 5, [2] * 5), "1.50 (1.50-1.50)")
        self.assertEqual(peers.ratio_text([3], None), "-")


class Report(Trees):
    def setUp(self):
        super().setUp()
        self.tools = self.root / "tools"
        self.tools.mkdir()
        path = unittest.mock.patch.dict(os.environ, PATH=f"{self.tools}:{os.environ['PATH']}")
        path.start()
        self.addCleanup(path.stop)

    def install(self, compiler, cases):
        """A compiler whose programs have the cases {case: ns}."""
        tree = self.make(compiler, {"program": cases})
        self.write(self.tools / compiler,
                   f"echo {compiler} \"$@\" >>{self.root / 'compiled'}\n"
                   f"while [ \"$1\" != -o ]; do shift; done\ncp {tree}/bench/program \"$2\"\n")

    def test_has_each_peer_that_can_be_built_and_what_it_lacks(self):
        self.install("go", {"yield_2": 20, "sem_hand_over": 2000})
        self.install("g++", {"yield_2": 5})
        tree = self.make("coil", {"yield": {"yield_2": 10}, "sem": {"sem_hand_over": 1234}})

        printed, ns = printed_by(peers.report, tree, options())

        self.assertIn("### core beside peers (6 rounds)", printed)
        self.assertIn("| operation, CPU ns | coil | Go | coil / it | Boost.Fiber | coil / it |\n",
                      printed)
        self.assertIn("| yield, 2 fibers | 10 | 20 | 0.50 (0.50-0.50) "
                      "| 5 | **2.00 (2.00-2.00)** |\n", printed)
        self.assertIn("| semaphore hand-over | 1,234 | 2,000 | 0.62 (0.62-0.62) | - | - |\n",
                      printed)
        self.assertIn("| item through imap, 200 workers | - | - | - | - | - |\n", printed)
        self.assertEqual(ns["yield_2"], {"coil": [10] * 6, "Go": [20] * 6, "Boost.Fiber": [5] * 6})
        compiled = (self.root / "compiled").read_text()
        self.assertIn(f"{BENCH}/peer_go.go\n", compiled)
        self.assertRegex(compiled, rf"g\+\+ .*-O2 -DNDEBUG {BENCH}/peer_boost\.cpp .*-lboost_fiber")

    def test_has_state_threads_if_its_program_was_built(self):
        self.install("go", {})
        self.install("g++", {})
        tree = self.make("coil", {"yield": {"yield_2": 10}, "peer_st": {"yield_2": 40}})

        printed, _ = printed_by(peers.report, tree, options(rounds=1, only="yield_2"))

        self.assertIn("| State Threads | coil / it |\n", printed)
        self.assertIn("| yield, 2 fibers | 10 | - | - | - | - | 40 | 0.25 (0.25-0.25) |\n", printed)
        self.assertNotIn("yield, 64 fibers", printed)

    def test_of_no_case_or_no_compiler_fails(self):
        tree = self.make("coil", {"yield": {"yield_2": 10}})
        with self.assertRaisesRegex(SystemExit, "--only nothing names none"):
            peers.report(tree, options(only="nothing"))
        self.write(self.tools / "go", "exit 1\n")
        with self.assertRaisesRegex(SystemExit, "go failed"):
            peers.report(tree, options())


class Table(unittest.TestCase):
    def test_names_each_case_once_and_as_coil_has_it(self):
        cases = [case for _, case, _ in peers.CASES]

        self.assertEqual(len(cases), len(set(cases)))
        self.assertLessEqual(peers.TWO_CORES, set(cases))
        for program, case, _ in peers.CASES:
            self.assertIn(f'{{"{case}", ', (BENCH / f"{program}.c").read_text())
        programs = {case: program for program, case, *_ in core.OPERATIONS}
        for program, case, _ in peers.CASES:
            self.assertEqual(programs.get(case, program), program)

    def test_has_all_cases_of_the_peers_and_none_that_none_of_them_has(self):
        cases = {case for _, case, _ in peers.CASES}
        theirs = set()
        for name in PEER_SOURCES:
            its = set(re.findall(r'^\s+\{"(\w+)", ', (BENCH / name).read_text(), re.M))
            self.assertTrue(its, name)
            self.assertLessEqual(its, cases, name)
            theirs |= its
        self.assertEqual(theirs, cases)


if __name__ == "__main__":
    unittest.main()
