#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests what bench/echo.py makes of its numbers: the limit, ratios within a round, verdicts.

usage: tests/bench/test_echo.py
"""
import contextlib
import io
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import echo
import harness

CELL = {"connections": 64, "size": 64, "pipeline": 1}
ROUNDS = 7


def slices_of(costs):
    """Slices whose cost in a round is that of the machine (1, 2, ... times) times the server's."""
    return {name: [{"ns_per_request": cost * machine, "throughput": 1e9 / cost / machine,
                    "p50_us": 1, "p99_us": 2, "disturbed": 0} for machine in range(1, ROUNDS + 1)]
            for name, cost in costs.items()}


def costs(coil, epoll=1200, best=1000):
    raw = {name: best + 50 * number for number, name in enumerate(echo.RAW)}
    return {"coil": coil, "raw_epoll": epoll, **raw}


def counts_of(calls, instructions=300):
    return {name: {"instructions": instructions, "calls": each, "calls_by_name": {"enter": each},
                   "rounds": [{"enter": each}] * ROUNDS} for name, each in calls.items()}


class Limit(unittest.TestCase):
    def test_is_the_cheapest_raw_uring_even_if_others_cost_less(self):
        slices = slices_of(costs(coil=10, epoll=20))

        self.assertEqual(echo.limit_of(slices), echo.RAW[0])

    def test_is_the_cheapest_of_all_where_no_raw_uring_was_measured(self):
        slices = slices_of({"coil": 10, "raw_epoll": 20})

        self.assertEqual(echo.limit_of(slices), "coil")


class Judge(unittest.TestCase):
    def judge(self, cell=CELL, **changed):
        slices = slices_of(costs(**changed))
        return echo.judge(cell, slices, echo.limit_of(slices))

    def test_says_that_coil_met_its_target(self):
        self.assertIn("coil at most 1.053 of the limit: **met** (1.040", self.judge(coil=1040)[0])

    def test_says_that_coil_missed_its_target(self):
        self.assertIn("**missed** (1.060", self.judge(coil=1060)[0])

    def test_holds_the_limit_itself_against_epoll(self):
        self.assertIn("of raw_epoll: **met** (0.833", self.judge(coil=1000)[1])
        self.assertIn("of raw_epoll: **missed** (2.000", self.judge(coil=1000, epoll=500)[1])

    def test_does_not_judge_coil_where_no_target_was_set(self):
        for other in ({"connections": 65}, {"size": 65}, {"pipeline": 2}):
            lines = self.judge(cell={**CELL, **other}, coil=2000)
            self.assertEqual([line for line in lines if line.startswith("coil")], [])

    def test_does_not_judge_against_some_of_the_raw_loops(self):
        slices = slices_of({"coil": 2000, echo.RAW[0]: 1000})

        self.assertEqual(echo.judge(CELL, slices, echo.RAW[0]),
                         ["no verdicts: they need all variants of raw_uring"])


class JudgeCounts(unittest.TestCase):
    CALLS = {"coil": 0.03, **{name: 1.0 for name in echo.RAW}, echo.RAW[2]: 0.025}

    def test_compares_calls_with_the_raw_loop_that_has_fewest(self):
        lines = list(echo.judge_counts(counts_of(self.CALLS), echo.RAW[0]))

        self.assertIn(f"more than {echo.RAW[2]}: **met** (+0.005", lines[1])

    def test_says_that_coil_makes_more_calls(self):
        lines = list(echo.judge_counts(counts_of({**self.CALLS, "coil": 0.05}), echo.RAW[0]))

        self.assertIn("**missed** (+0.025", lines[1])

    def test_leaves_open_what_scatters(self):
        counts = counts_of(self.CALLS)
        counts["coil"]["rounds"] = [{"enter": 0.02}, {"enter": 0.07}] * 3 + [{"enter": 0.03}]

        self.assertIn("**undecided**", list(echo.judge_counts(counts, echo.RAW[0]))[1])

    def test_compares_instructions_with_the_limit(self):
        counts = counts_of(self.CALLS)
        for instructions, verdict in ((550, "**met** (+250)"), (551, "**missed** (+251)")):
            counts["coil"]["instructions"] = instructions
            self.assertIn(verdict, list(echo.judge_counts(counts, echo.RAW[0]))[0])

    def test_does_not_stumble_where_servers_are_missing(self):
        for names in (["coil"], ["coil", "raw_epoll"], ["raw_epoll"], [echo.RAW[0]]):
            counts = counts_of({name: 1.0 for name in names})
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                echo.report_counts(counts, echo.RAW[3])
            self.assertIn("no verdicts", printed.getvalue())


class Report(unittest.TestCase):
    def test_of_a_cell_has_a_row_for_each_server_and_what_disturbed_it(self):
        slices = slices_of(costs(coil=1040))
        for one in slices["coil"]:
            one["disturbed"] = 1
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            echo.report_cell(CELL, slices)

        self.assertIn("| coil | 4,160 | 1.040 | 1.040-1.040 |", printed.getvalue())
        self.assertIn("disturbed: other programs held a core 17% of the time", printed.getvalue())


class Servers(unittest.TestCase):
    TABLE = [harness.Server(name, []) for name in ("coil", "raw_epoll", "raw_uring-oneshot-ring")]

    def test_are_chosen_by_the_beginning_of_their_names(self):
        chosen = echo.choose(self.TABLE, "raw_uring,coil")

        self.assertEqual([server.name for server in chosen], ["coil", "raw_uring-oneshot-ring"])

    def test_that_nobody_knows_are_an_error(self):
        with self.assertRaisesRegex(SystemExit, "'raw_urng'"):
            echo.choose(self.TABLE, "coil,raw_urng")


class Options(unittest.TestCase):
    def test_refuse_nonsense(self):
        for words in (["--rounds", "0"], ["--seconds", "0"], ["--warmup", "-1"], ["--size", "64,0"],
                      ["--connections", "x"], ["--churn", "--pipeline", "16"]):
            with self.subTest(words=words), self.assertRaises(SystemExit) as end:
                with contextlib.redirect_stderr(io.StringIO()):
                    echo.parse(words)
            self.assertEqual(end.exception.code, 2)


if __name__ == "__main__":
    unittest.main()
