# SPDX-License-Identifier: MIT
"""Statistics that the benchmarks share.

Single runs on a shared machine scatter by tens of percent, mostly together: what is slow now is
slow for every program. So runs are interleaved, each is compared with the one beside it in time,
and what is reported is the median of those ratios with a bootstrap interval. A target counts as
met or missed only if the whole interval lies on one side of it.
"""

import random
import statistics

RESAMPLES = 10_000
# Fewer values than this lie all on one side of the true median more often than 5 % of the time.
PAIRS_MIN = 6


def median_interval(values, confidence=0.95):
    """The median of values and the bounds of its bootstrap interval. The seed is fixed, so the
    same measurements always give the same interval."""
    middle = statistics.median(values)
    if len(values) < 2:
        return middle, middle, middle
    chance = random.Random(1)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    tail = (1 - confidence) / 2
    low = medians[int(tail * RESAMPLES)]
    high = medians[min(RESAMPLES - 1, int((1 - tail) * RESAMPLES))]
    return middle, low, high


def verdict(low, high, limit, count=PAIRS_MIN):
    """How the interval of `count` pairs stands to "at most limit"."""
    if count < PAIRS_MIN:
        return "undecided"
    if high <= limit:
        return "met"
    return "missed" if low > limit else "undecided"
