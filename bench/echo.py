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
import sys

import harness
import stats

LIMIT_COIL = 1 / 0.95
LIMIT_RAW = 1.05
LIMIT_INSTRUCTIONS = 250
TARGET_CONNECTIONS = (1, 64, 1000, 5000)
TARGET_SIZE = 64
# Calls per request are 1/batch, and batches vary: the same server differs by this much by itself.
CALLS_SLACK = 0.01
COUNT_CELL = {"connections": 64, "size": 64, "pipeline": 1}
DISTURBED_LIMIT = 0.02  # share of a slice that server or load waited for its core
COUNT_REQUESTS = (10_000, 20_000)


def servers(tree):
    """The programs to compare. To add one, name it and say how it is started; what it must do is
    said in harness.py. Names that begin with raw_uring compete for 1.00."""
    bench = tree / "bench"
    listen = ["--listen", "127.0.0.1:0"]
    table = [
        harness.Server("coil", [tree / "demos" / "echo", "--raw", *listen]),
        harness.Server("raw_epoll", [bench / "raw_epoll", *listen]),
    ]
    for recv in ("oneshot", "multishot"):
        for send in ("ring", "inline"):
            argv = [bench / "raw_uring", *listen, "--recv", recv, "--send", send]
            table.append(harness.Server(f"raw_uring-{recv}-{send}", argv))
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
    parser.add_argument("--pairs", type=int, default=11, help="rounds per cell (default 11)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a slice")
    parser.add_argument("--warmup", type=float, default=0.3, help="load before each slice")
    parser.add_argument("--servers", metavar="NAME,...", help="only these (prefixes will do)")
    parser.add_argument("--no-counts", action="store_true", help="no instructions, no system calls")
    parser.add_argument("--no-slices", action="store_true", help="only instructions, system calls")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.quick:
        options.pairs, options.seconds, options.warmup = 3, 0.4, 0.1
    if options.pairs < 1 or options.seconds <= 0:
        parser.error("--pairs and --seconds must be positive")
    return options


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
    for number in range(options.pairs):
        harness.note(f"{describe(cell)}: round {number + 1} of {options.pairs}")
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
    pairs = zip(slices[name], slices[base])
    return stats.median_interval([one[key] / other[key] for one, other in pairs])


def limit_of(slices):
    """The server that is 1.00 in this cell: the best raw_uring, else whatever is the cheapest."""
    raw = [name for name in slices if name.startswith("raw_uring")]
    return min(raw or slices, key=lambda name: median_of(slices[name], "ns_per_request"))


def judgement(promise, slices, name, base, limit):
    middle, low, high = ratio(slices, name, base)
    verdict = stats.verdict(low, high, limit, len(slices[base]))
    return f"{promise}: **{verdict}** ({middle:.3f}, {low:.3f} to {high:.3f})"


def judge(cell, slices, base):
    lines = []
    wanted = cell["size"] == TARGET_SIZE and cell["connections"] in TARGET_CONNECTIONS
    if "coil" in slices and wanted and cell.get("pipeline") == 1:
        promise = f"coil at most {LIMIT_COIL:.2f} of the limit"
        lines.append(judgement(promise, slices, "coil", base, LIMIT_COIL))
    if "raw_epoll" in slices and base.startswith("raw_uring"):
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
    if disturbed > DISTURBED_LIMIT:
        verdicts.append(f"disturbed: other programs held a core {disturbed:.0%} of the time")
    for line in verdicts:
        print(f"- {line}")
    return {"cell": cell, "limit": base, "summary": summary, "verdicts": verdicts, "slices": slices}


# ---- Counts ----


def count_server(tree, server):
    """Instructions (or None) and system calls by name, both per request."""
    short, long = COUNT_REQUESTS
    per_request = None
    if server.callgrind:
        few, many = harness.instructions(tree, server, COUNT_REQUESTS, **COUNT_CELL)
        per_request = (many - few) / (long - short)
    runs = [harness.system_calls(tree, server, count, **COUNT_CELL) for count in COUNT_REQUESTS]
    few, many = runs
    calls = {name: (many[name] - few.get(name, 0)) / (long - short) for name in many}
    return {"instructions": per_request, "calls": sum(calls.values()), "calls_by_name": calls}


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
        rows.append(
            [
                name + (" = limit" if name == limit else ""),
                f"{count['instructions']:.0f}" if known else "-",
                f"{count['instructions'] - base['instructions']:+.0f}" if over else "-",
                f"{count['calls']:.3f}",
                ", ".join(main),
            ]
        )
    head = ["server", "instructions", "over the limit's", "system calls", "of which"]
    print(f"\n### echo per request, {describe(COUNT_CELL)}\n")
    print(harness.table(head, rows) + "\n")
    if "coil" in counts and base:
        for line in judge_counts(counts, limit):
            print(f"- {line}")


def judge_counts(counts, limit):
    """Instructions are held against the limit, system calls against the raw_uring with fewest:
    the limit may be a variant that pays a call for each reply."""
    coil = counts["coil"]
    over = coil["instructions"] - counts[limit]["instructions"]
    lines = [
        f"coil at most {LIMIT_INSTRUCTIONS} instructions over the limit: "
        f"**{stats.verdict(over, over, LIMIT_INSTRUCTIONS)}** ({over:+.0f})"
    ]
    raw = [name for name in counts if name.startswith("raw_uring")]
    fewest = min(raw, key=lambda name: counts[name]["calls"])
    calls = counts[fewest]["calls"]
    verdict = stats.verdict(coil["calls"], coil["calls"], calls + CALLS_SLACK)
    lines.append(
        f"coil no more system calls than the raw loop: **{verdict}** "
        f"({coil['calls']:.3f}, {fewest} {calls:.3f})"
    )
    return lines


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
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    chosen = servers(tree)
    if options.servers:
        wanted = tuple(options.servers.split(","))
        chosen = [server for server in chosen if server.name.startswith(wanted)]
    if not chosen:
        harness.fail(f"--servers {options.servers} names none of the servers")
    if harness.SERVER_CPU == harness.LOAD_CPU:
        harness.note("only one core: server and load share it, the ratios mean little")

    sys.stdout.reconfigure(line_buffering=True)
    report = harness.machine()
    print(f"{report['date']}, {report['machine']}")
    limit = "raw_uring-multishot-ring"
    if not options.no_slices:
        report["cells"] = measure_cells(tree, chosen, options)
        for one in report["cells"]:
            if one["cell"] == COUNT_CELL:
                limit = one["limit"]
    if not options.no_counts:
        report["counts"] = {}
        for server in chosen:
            harness.note(f"counting {server.name}")
            report["counts"][server.name] = count_server(tree, server)
        report_counts(report["counts"], limit)
    harness.write_json("echo", report)


if __name__ == "__main__":
    main()
