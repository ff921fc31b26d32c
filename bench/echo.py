# SPDX-License-Identifier: MIT
"""bench/run echo: what a request costs the server, against loops written by hand.

A cell is a number of connections, a message size and a pipeline depth. In each round of a cell
every server gets one slice of load, alone on the machine, in an order that rotates from round to
round. The cost is CPU time of the server's process per request. 1.00 is the variant of raw_uring
whose median cost is the lowest of the cell; each other server is divided by that variant's slice of
the same round. Beside it two figures that do not scatter: user-space instructions and system calls
per request, each the difference between a long and a short run.
"""

import argparse
import itertools
import statistics

import harness
import stats

LIMIT_COIL = 1 / 0.95
LIMIT_RAW = 1.05
LIMIT_INSTRUCTIONS = 250
TARGET_CONNECTIONS = (1, 64, 1000, 5000)
TARGET_SIZE = 64
# Calls per request are 1/batch. Batches vary with what else the machine does, so calls are counted
# in rounds as time is; this much is the slack of two servers whose batches are the same.
CALLS_SLACK = 0.01
CALLS_ROUNDS = 7
COUNT_CELL = {"connections": 64, "size": 64, "pipeline": 1}
COUNT_REQUESTS = (10_000, 20_000)


# They compete for 1.00; how they receive and send is in their names.
RAW = [
    "raw_uring-oneshot-ring",
    "raw_uring-oneshot-inline",
    "raw_uring-multishot-ring",
    "raw_uring-multishot-inline",
]


def servers(tree):
    """The programs to compare. To add one, name it and say how it is started; what it must do is
    said in harness.py."""
    bench = tree / "bench"
    listen = ["--listen", "127.0.0.1:0"]
    table = [
        harness.Server("coil", [tree / "demos" / "echo", "--raw", *listen]),
        harness.Server("raw_epoll", [bench / "raw_epoll", *listen]),
    ]
    for name in RAW:
        _, recv, send = name.split("-")
        argv = [bench / "raw_uring", *listen, "--recv", recv, "--send", send]
        table.append(harness.Server(name, argv))
    return table


def parse(argv):
    def numbers(text):
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(prog="bench/run echo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.4 s: a smoke test")
    cells = list(TARGET_CONNECTIONS)
    parser.add_argument("--connections", type=numbers, default=cells, metavar="N,...")
    parser.add_argument("--size", type=numbers, default=[64], metavar="BYTES,...")
    parser.add_argument("--pipeline", type=numbers, default=[1], metavar="DEPTH,...")
    parser.add_argument("--churn", action="store_true", help="a new connection for each message")
    parser.add_argument("--rounds", type=int, default=11, help="rounds per cell (default 11)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a slice")
    parser.add_argument("--warmup", type=float, default=0.3, help="load before each slice")
    parser.add_argument("--servers", metavar="NAME,...", help="only these (prefixes will do)")
    parser.add_argument("--no-counts", action="store_true", help="no instructions, no system calls")
    parser.add_argument("--no-slices", action="store_true", help="only instructions, system calls")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds, options.warmup = 3, 0.4, 0.1
    if options.rounds < 1 or options.seconds <= 0 or options.warmup < 0:
        parser.error("--rounds and --seconds must be positive, --warmup not negative")
    if min(options.connections + options.size + options.pipeline) < 1:
        parser.error("--connections, --size and --pipeline must be positive")
    if options.churn and options.pipeline != [1]:
        parser.error("--churn has one message on each connection: no --pipeline")
    return options


def choose(table, text):
    """The servers whose names begin with one of the words in text, or all of them."""
    if not text:
        return table
    for word in text.split(","):
        if not any(server.name.startswith(word) for server in table):
            harness.fail(f"--servers: no server's name begins with {word!r}")
    return [server for server in table if server.name.startswith(tuple(text.split(",")))]


# ---- Slices ----


def measure_slice(tree, server, cell, options):
    with harness.Running(server) as running:
        result = harness.run_load(
            tree,
            running,
            program="load_churn" if "churn" in cell else "load",
            **{name: value for name, value in cell.items() if name != "churn"},
            seconds=options.seconds,
            warmup=options.warmup,
            measure_pid=running.pid,
        )
        running.stop()
    result["ns_per_request"] = result["server_cpu_ns"] / result["requests"]
    waited = max(result["server_wait_ns"], result["load_wait_ns"])
    result["disturbed"] = waited / 1e9 / result["seconds"]
    return result


def measure_cell(tree, chosen, cell, options):
    """Slices by server name, one per round."""
    slices = {server.name: [] for server in chosen}
    for number in range(options.rounds):
        harness.note(f"{describe(cell)}: round {number + 1} of {options.rounds}")
        turn = number % len(chosen)
        for server in chosen[turn:] + chosen[:turn]:
            slices[server.name].append(measure_slice(tree, server, cell, options))
    return slices


def describe(cell):
    if "churn" in cell:
        return f"{cell['size']} B, one message per connection, {cell['connections']} at once"
    text = f"{cell['size']} B, {cell['connections']} connections"
    return text + (f", pipeline {cell['pipeline']}" if cell["pipeline"] > 1 else "")


def median_of(slices, key):
    return statistics.median(one[key] for one in slices)


def ratio(slices, name, base, key="ns_per_request"):
    """Median of the ratios to the base within the same round, and its interval."""
    return stats.ratio_interval(*([one[key] for one in slices[who]] for who in (name, base)))


def limit_of(slices):
    """The server that is 1.00 in this cell: the best raw_uring, else whatever is the cheapest."""
    candidates = [name for name in RAW if name in slices] or slices
    return min(candidates, key=lambda name: median_of(slices[name], "ns_per_request"))


def judgement(promise, slices, name, base, limit):
    middle, low, high = ratio(slices, name, base)
    verdict = stats.verdict(low, high, limit, len(slices[base]))
    return f"{promise}: **{verdict}** ({middle:.3f}, {low:.3f} to {high:.3f})"


def judge(cell, slices, base):
    """Verdicts, if all of the raw_uring were there: the best of some is a limit easy to reach."""
    lines = []
    if not slices.keys() >= set(RAW):
        return ["no verdicts: they need all variants of raw_uring"]
    wanted = cell["size"] == TARGET_SIZE and cell["connections"] in TARGET_CONNECTIONS
    if "coil" in slices and wanted and cell.get("pipeline") == 1:
        promise = f"coil at most {LIMIT_COIL:.3f} of the limit"
        lines.append(judgement(promise, slices, "coil", base, LIMIT_COIL))
    if "raw_epoll" in slices:
        promise = f"the limit ({base}) at most {LIMIT_RAW:.2f} of raw_epoll"
        lines.append(judgement(promise, slices, base, "raw_epoll", LIMIT_RAW))
    return lines


def report_cell(cell, slices):
    base = limit_of(slices)
    rows = []
    summary = {}
    for name, taken in slices.items():
        middle, low, high = ratio(slices, name, base)
        speed = ratio(slices, name, base, "throughput")[0]
        cost = median_of(taken, "ns_per_request")
        summary[name] = {"ratio": middle, "low": low, "high": high, "ns_per_request": cost}
        rows.append(
            [
                name + (" = 1.00" if name == base else ""),
                f"{cost:,.0f}",
                f"{middle:.3f}",
                f"{low:.3f}-{high:.3f}",
                f"{median_of(taken, 'throughput') / 1000:,.0f}",
                f"{speed:.3f}",
                f"{median_of(taken, 'p50_us'):,.0f}",
                f"{median_of(taken, 'p99_us'):,.0f}",
            ]
        )
    head = ["server", "CPU ns/request", "ratio", "95 %", "1000/s", "ratio", "p50 us", "p99 us"]
    rounds = len(slices[base])
    print(f"\n### echo {describe(cell)} ({rounds} rounds)\n\n{harness.table(head, rows)}\n")
    verdicts = judge(cell, slices, base)
    disturbed = statistics.mean(one["disturbed"] for taken in slices.values() for one in taken)
    if disturbed > harness.DISTURBED_LIMIT:
        verdicts.append(f"disturbed: other programs held a core {disturbed:.0%} of the time")
    for line in verdicts:
        print(f"- {line}")
    return {"cell": cell, "limit": base, "summary": summary, "verdicts": verdicts, "slices": slices}


# ---- Counts ----


def count_calls(tree, server):
    """System calls per request, by name: the difference between a long and a short load."""
    short, long = COUNT_REQUESTS
    few, many = (harness.system_calls(tree, server, one, **COUNT_CELL) for one in COUNT_REQUESTS)
    return {name: (many[name] - few.get(name, 0)) / (long - short) for name in many}


def count_servers(tree, chosen, rounds):
    """Of each server its instructions (or None) and its system calls, per request."""
    short, long = COUNT_REQUESTS
    counts = {server.name: {"instructions": None, "rounds": []} for server in chosen}
    for server in chosen:
        harness.note(f"counting instructions of {server.name}")
        if server.callgrind:
            few, many = harness.instructions(tree, server, COUNT_REQUESTS, **COUNT_CELL)
            counts[server.name]["instructions"] = (many - few) / (long - short)
    for number in range(rounds):
        harness.note(f"counting system calls: round {number + 1} of {rounds}")
        turn = number % len(chosen)
        for server in chosen[turn:] + chosen[:turn]:
            counts[server.name]["rounds"].append(count_calls(tree, server))
    for count in counts.values():
        names = {name for one in count["rounds"] for name in one}
        count["calls"] = statistics.median(calls_by_round(count))
        count["calls_by_name"] = {
            name: statistics.median(one.get(name, 0) for one in count["rounds"]) for name in names
        }
    return counts


def calls_by_round(count):
    return [sum(one.values()) for one in count["rounds"]]


def report_counts(counts, limit):
    base = counts.get(limit)
    rows = []
    for name, count in counts.items():
        main = [
            f"{call} {number:.3f}"
            for call, number in sorted(count["calls_by_name"].items(), key=lambda item: -item[1])
            if number >= 0.002
        ]
        known = count["instructions"] is not None
        over = known and base and base["instructions"] is not None
        _, low, high = stats.median_interval(calls_by_round(count))
        rows.append(
            [
                name + (" = limit" if name == limit else ""),
                f"{count['instructions']:.0f}" if known else "-",
                f"{count['instructions'] - base['instructions']:+.0f}" if over else "-",
                f"{count['calls']:.3f}",
                f"{low:.3f}-{high:.3f}",
                ", ".join(main),
            ]
        )
    head = ["server", "instructions", "over the limit's", "system calls", "95 %", "of which"]
    print(f"\n### echo per request, {describe(COUNT_CELL)}\n")
    print(harness.table(head, rows) + "\n")
    for line in judge_counts(counts, limit):
        print(f"- {line}")


def judge_counts(counts, limit):
    """Instructions are held against the limit, system calls against the raw_uring with fewest:
    the limit may be a variant that pays a call for each reply."""
    coil = counts.get("coil")
    if not coil or not counts.keys() >= set(RAW):
        yield "no verdicts: they need coil and all variants of raw_uring"
        return
    if coil["instructions"] is not None:
        over = coil["instructions"] - counts[limit]["instructions"]
        verdict = stats.verdict(over, over, LIMIT_INSTRUCTIONS)
        promise = f"coil at most {LIMIT_INSTRUCTIONS} instructions over the limit"
        yield f"{promise}: **{verdict}** ({over:+.0f})"
    fewest = min(RAW, key=lambda name: counts[name]["calls"])
    pairs = zip(calls_by_round(coil), calls_by_round(counts[fewest]), strict=True)
    more, low, high = stats.median_interval([one - other for one, other in pairs])
    verdict = stats.verdict(low, high, CALLS_SLACK, len(coil["rounds"]))
    promise = f"coil at most {CALLS_SLACK} system calls more than {fewest}"
    yield f"{promise}: **{verdict}** ({more:+.3f}, {low:+.3f} to {high:+.3f})"


def measure_cells(tree, chosen, options):
    reports = []
    for numbers in itertools.product(options.connections, options.size, options.pipeline):
        cell = dict(zip(("connections", "size", "pipeline"), numbers))
        if options.churn:
            cell["churn"] = cell.pop("pipeline")
        reports.append(report_cell(cell, measure_cell(tree, chosen, cell, options)))
    return reports


def main(argv=None):
    options = parse(argv)
    harness.prepare()
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    chosen = choose(servers(tree), options.servers)
    most = max(options.connections)
    if harness.raise_descriptor_limit(most) < most:
        harness.fail(f"{most} connections need more descriptors")
    if harness.SERVER_CPU == harness.LOAD_CPU:
        harness.note("only one core: server and load share it, the ratios mean little")

    report = harness.machine()
    print(f"{report['date']}, {report['machine']}")
    limit = "raw_uring-multishot-ring"
    if not options.no_slices:
        report["cells"] = measure_cells(tree, chosen, options)
        for one in report["cells"]:
            if one["cell"] == COUNT_CELL:
                limit = one["limit"]
    if not options.no_counts:
        rounds = 1 if options.quick else CALLS_ROUNDS
        report["counts"] = count_servers(tree, chosen, rounds)
        report_counts(report["counts"], limit)
    harness.write_json("echo", report)


if __name__ == "__main__":
    main()
