# SPDX-License-Identifier: MIT
"""bench/run process: how many child processes a second, beside posix_spawn and waitpid in a loop.

In each round every case is run anew, one after the other, in an order that rotates. Reported is the
median over the rounds of the time per process, its 95 % interval, and the ratio to the plain loop
within a round with its own. It is the time that passes, on all cores, and mostly the kernel's work
for fork, exec and exit.
"""

import argparse

import harness
import stats

CASES = {
    "plain": "posix_spawn, waitpid",
    "fiber": "coil_process_spawn, _wait, _free in one fiber",
    "fibers": "the same in 8 fibers at once",
    "run": "coil_process_run: output collected",
}


def parse(argv):
    parser = argparse.ArgumentParser(prog="bench/run process", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="rounds (default 11)")
    parser.add_argument("--count", type=int, default=200, help="processes per case and round")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.count < 8:
        parser.error("--rounds must be positive, --count 8 or more")
    return options


def main(argv=None):
    options = parse(argv)
    harness.prepare()
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    taken = {case: [] for case in CASES}
    for number in range(options.rounds):
        harness.note(f"round {number + 1} of {options.rounds}")
        names = list(CASES)
        turn = number % len(names)
        for case in names[turn:] + names[:turn]:
            command = [tree / "bench" / "process", case, options.count]
            taken[case].append(harness.run_program(command, set(harness.CPUS))[0])

    report = harness.machine()
    print(f"{report['date']}, {report['machine']}")
    rows = []
    for case, title in CASES.items():
        middle, low, high = stats.median_interval(taken[case])
        ratio, least, most = stats.ratio_interval(taken[case], taken["plain"])
        interval = f"{low / 1000:.0f}-{high / 1000:.0f}"
        rate = f"{1e9 / middle:.0f}"
        rows.append([title, f"{middle / 1000:.0f}", interval, rate, f"{ratio:.2f}",
                     "" if case == "plain" else f"{least:.2f}-{most:.2f}"])
    head = ["case", "us per process", "95 %", "processes/s", "time, plain = 1", "95 %"]
    print(f"\n### process ({options.rounds} rounds)\n\n{harness.table(head, rows)}")
    report["nanoseconds"] = taken
    harness.write_json("process", report)


if __name__ == "__main__":
    main()
