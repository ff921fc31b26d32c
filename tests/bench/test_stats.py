#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests bench/stats.py: intervals that hold what they promise, verdicts in the right direction.

usage: tests/bench/test_stats.py
"""
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import stats


class Rank(unittest.TestCase):
    def test_is_that_of_the_tables_of_the_sign_test(self):
        ranks = {count: stats.rank(count) for count in (5, 6, 8, 9, 11, 12, 15, 21, 25, 31)}

        self.assertEqual(ranks, {5: 0, 6: 1, 8: 1, 9: 2, 11: 2, 12: 3, 15: 4, 21: 6, 25: 8, 31: 10})

    def test_begins_with_the_number_of_rounds_that_a_verdict_needs(self):
        self.assertEqual(stats.rank(stats.ROUNDS_MIN - 1), 0)
        self.assertEqual(stats.rank(stats.ROUNDS_MIN), 1)


class MedianInterval(unittest.TestCase):
    def test_of_one_value_is_that_value(self):
        self.assertEqual(stats.median_interval([3]), (3, 3, 3))

    def test_of_too_few_values_is_their_range(self):
        self.assertEqual(stats.median_interval([5, 1, 2, 4, 3]), (3, 1, 5))

    def test_of_six_values_is_their_range_and_the_median_is_between_two(self):
        self.assertEqual(stats.median_interval([6, 1, 5, 2, 4, 3]), (3.5, 1, 6))

    def test_of_eleven_values_leaves_one_out_at_either_end(self):
        self.assertEqual(stats.median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5, 10, 11]), (6, 2, 10))

    def test_does_not_depend_on_the_order(self):
        values = list(range(21))
        shuffled = random.Random(7).sample(values, len(values))

        self.assertEqual(stats.median_interval(shuffled), stats.median_interval(values))

    def test_takes_no_notice_of_one_wild_value(self):
        self.assertEqual(stats.median_interval([1] * 10 + [1000]), (1, 1, 1))

    def test_holds_the_true_median_as_often_as_it_says(self):
        chance = random.Random(11)
        for count in (6, 7, 9, 11, 13, 21):
            held = 0
            for _ in range(2000):
                values = [chance.lognormvariate(0, 0.3) for _ in range(count)]
                _, low, high = stats.median_interval(values)
                held += low <= 1 <= high
            self.assertGreaterEqual(held / 2000, 0.94, f"of {count} values")


class RatioInterval(unittest.TestCase):
    def test_compares_within_a_round(self):
        mine, theirs = [2, 20, 200, 2000, 20000, 200000], [1, 10, 100, 1000, 10000, 100000]

        self.assertEqual(stats.ratio_interval(mine, theirs), (2, 2, 2))

    def test_is_below_one_where_the_first_costs_less(self):
        self.assertEqual(stats.ratio_interval([1] * 6, [2] * 6), (0.5, 0.5, 0.5))

    def test_refuses_rounds_without_a_partner(self):
        with self.assertRaises(ValueError):
            stats.ratio_interval([1, 2], [1])


class Verdict(unittest.TestCase):
    def test_is_met_when_the_whole_interval_is_at_most_the_limit(self):
        self.assertEqual(stats.verdict(0.9, 1.0, 1.0), "met")

    def test_is_missed_when_the_whole_interval_is_above_the_limit(self):
        self.assertEqual(stats.verdict(1.01, 1.2, 1.0), "missed")

    def test_is_undecided_when_the_limit_is_within_the_interval(self):
        self.assertEqual(stats.verdict(0.9, 1.01, 1.0), "undecided")
        self.assertEqual(stats.verdict(1.0, 1.01, 1.0), "undecided")

    def test_is_undecided_with_too_few_rounds_whatever_they_say(self):
        self.assertEqual(stats.verdict(0.1, 0.2, 1.0, stats.ROUNDS_MIN - 1), "undecided")
        self.assertEqual(stats.verdict(9.1, 9.2, 1.0, stats.ROUNDS_MIN - 1), "undecided")
        self.assertEqual(stats.verdict(0.1, 0.2, 1.0, stats.ROUNDS_MIN), "met")


class Direction(unittest.TestCase):
    def test_is_faster_when_the_whole_interval_is_below_one(self):
        self.assertEqual(stats.direction(0.8, 0.99, 11), "faster")

    def test_is_slower_when_the_whole_interval_is_above_one(self):
        self.assertEqual(stats.direction(1.01, 1.2, 11), "slower")

    def test_says_nothing_when_one_is_within_the_interval_or_at_its_end(self):
        for low, high in ((0.9, 1.1), (0.9, 1.0), (1.0, 1.1), (1.0, 1.0)):
            self.assertEqual(stats.direction(low, high, 11), "")

    def test_says_nothing_of_too_few_rounds(self):
        self.assertEqual(stats.direction(0.1, 0.2, stats.ROUNDS_MIN - 1), "")


if __name__ == "__main__":
    unittest.main()
