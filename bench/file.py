# SPDX-License-Identifier: MIT
"""bench/run file: random reads of 4 KiB, 32 under way: fibers beside a bare ring and threads.

CPU time per read of three programs that read the same blocks of the same kind of file, in the page
cache and around it (O_DIRECT). In each round every one is started anew, pinned to the first core,
and gives the median of its repetitions, which is divided by the bare ring's of the same round.
"""

import argparse
import statistics

import harness
import stats

# (program, its case without the suffix, what it is)
READERS = [
    ("raw_file", "raw", "bare ring = 1.00"),
    ("raw_file", "fixed", "the same, file and memory registered"),
    ("file", "file", "32 fibers"),
    ("raw_file", "threads", "32 threads, pread"),
]
# (suffix, title, reads in a repetition)
KINDS = [("cached", "in the page cache", 100_000), ("direct", "O_DIRECT", 20_000)]


def parse(argv):
    parser = argparse.ArgumentParser(prog="bench/run file", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="rounds (default 11)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions in a round")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.repeat < 1:
        parser.error("--rounds and --repeat must be positive")
    return options


def measure(tree, kind, count, options):
    """Of each reader its CPU ns per read, by round."""
    taken = {name: [] for _, name, _ in READERS}
    for number in range(options.rounds):
        harness.note(f"{kind}: round {number + 1} of {options.rounds}")
        turn = number % len(READERS)
        for program, name, _ in READERS[turn:] + READERS[:turn]:
            case = f"{name}_{kind}"
            command = [tree / "bench" / program, "--only", case, "--repeat", options.repeat]
            values, _ = harness.run_program([*command, "--count", count])
            taken[name].append(statistics.median(values[case]))
    return taken


def report(tree, kind, title, count, options):
    taken = measure(tree, kind, count, options)
    rows, summary = [], {}
    for _, name, reader in READERS:
        middle, low, high = stats.ratio_interval(taken[name], taken["raw"])
        ns = statistics.median(taken[name])
        summary[name] = {"ns": ns, "ratio": middle, "low": low, "high": high, "rounds": taken[name]}
        interval = "" if name == "raw" else f"{low:.3f}-{high:.3f}"
        rows.append([reader, f"{ns:,.0f}", f"{middle:.3f}", interval])
    head = [f"4 KiB, {title}", "CPU ns/read", "ratio", "95 %"]
    print(f"\n{harness.table(head, rows)}")
    return summary


def main(argv=None):
    options = parse(argv)
    harness.prepare()
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    result = harness.machine()
    print(f"{result['date']}, {result['machine']}")
    for kind, title, count in KINDS:
        result[kind] = report(tree, kind, title, count, options)
    harness.write_json("file", result)


if __name__ == "__main__":
    main()
