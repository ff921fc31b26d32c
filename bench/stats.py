# SPDX-License-Identifier: MIT
"""Statistics that the benchmarks share.

Single runs on a shared machine scatter by tens of percent, mostly together: what is slow now is
slow for every program. So runs are interleaved, each is compared with the one beside it in time,
and what is reported is the median of those ratios with an interval. A target counts as met or
missed only if the whole interval lies on one side of it.

The interval goes from the k-th smallest to the k-th largest value, k as large as the confidence
allows: each value lies on either side of the true median with a chance of one half, whatever they
are distributed like, so the chance to miss it is known. (A bootstrap interval of a median
misses in 7 % of cases with 11 or 21 values and in 11 % with 7, instead of 5 %.)
"""

import math
import statistics

# Fewer values than this lie all on one side of the true median more often than 5 % of the time.
ROUNDS_MIN = 6


def rank(count, confidence=0.95):
    """The largest k for which the k-th smallest and the k-th largest of `count` values enclose the
    median of what they are drawn from with at least this confidence; 0 if even the extremes miss
    it too often."""
    below = 0.0
    for k in range(count + 1):
        below += math.comb(count, k) / 2**count  # at most k values lie below the median
        if 2 * below > 1 - confidence:
            return k
    return 0


def median_interval(values, confidence=0.95):
    """The median of values and the bounds of its interval; of too few values, their range."""
    ordered = sorted(values)
    skip = max(rank(len(ordered), confidence) - 1, 0)
    return statistics.median(ordered), ordered[skip], ordered[-1 - skip]


def ratio_interval(mine, theirs):
    """The median of the ratios within a round and its interval; of each there is one value for each
    round."""
    return median_interval([one / other for one, other in zip(mine, theirs, strict=True)])


def verdict(low, high, limit, count=ROUNDS_MIN):
    """How the interval of `count` rounds stands to "at most limit"."""
    if count < ROUNDS_MIN:
        return "undecided"
    if high <= limit:
        return "met"
    return "missed" if low > limit else "undecided"


def direction(low, high, count):
    """How the interval of `count` ratios of costs stands to 1: "faster", "slower", or "" where it
    does not say."""
    if count < ROUNDS_MIN:
        return ""
    if high < 1:
        return "faster"
    return "slower" if low > 1 else ""
