# SPDX-License-Identifier: MIT
"""bench/run udp: what a datagram costs, against recvmmsg(2) and a hand-written io_uring loop.

A load keeps windows of small datagrams under way on a few sockets, one way (one answer for each
window) or echoed. In each round every server is started anew for one slice, in an order that
rotates; reported is CPU per datagram and its ratio to the limit of the same round, the raw server
with the lowest median.
"""

import argparse
import statistics

import harness
import stats

RAW = ("mmsg", "oneshot", "multishot")
COIL = ("one", "batch", "serve")
OFF = "COIL_URING_OFF=multishot_recvmsg"


def parse(argv):
    parser = argparse.ArgumentParser(prog="bench/run udp", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.2 s: a smoke test")
    parser.add_argument("--rounds", type=int, default=11, help="rounds (default 11)")
    parser.add_argument("--milliseconds", type=int, default=500, help="of a slice (default 500)")
    parser.add_argument("--sockets", type=int, default=4, help="of the load")
    parser.add_argument("--window", type=int, default=32, help="datagrams under way on each")
    parser.add_argument("--size", type=int, default=64, help="bytes of a datagram")
    parser.add_argument("--servers", help="only these, by name, separated by commas")
    parser.add_argument("--no-counts", action="store_true", help="no system calls")
    parser.add_argument("--add", metavar="NAME=COMMAND", action="append", default=[],
                        help="another server; --echo is added to its command for the second table")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.milliseconds, options.no_counts = 3, 200, True
    if min(options.rounds, options.milliseconds) < 1:
        parser.error("--rounds and --milliseconds must be positive")
    if any("=" not in text or not text.partition("=")[2].split() for text in options.add):
        parser.error("--add is NAME=COMMAND")
    return options


def servers(tree, options):
    """Name and command of each server, without --echo."""
    table = {f"raw-{how}": [tree / "bench" / "raw_udp", "--recv", how] for how in RAW}
    for how in COIL:
        table[f"coil-{how}"] = [tree / "bench" / "udp", "--recv", how]
        table[f"coil-{how}, no standing order"] = ["env", OFF, *table[f"coil-{how}"]]
    for text in options.add:
        name, _, command = text.partition("=")
        table[name] = command.split()
    if options.servers:
        wanted = options.servers.split(",")
        missing = [name for name in wanted if name not in table]
        if missing:
            harness.fail(f"there is no server {missing[0]!r}: {', '.join(table)}")
        table = {name: table[name] for name in wanted}
    return table


def load(tree, running, options, **more):
    words = {name: getattr(options, name) for name in ("milliseconds", "sockets", "window", "size")}
    return harness.run_load(tree, running, "load_udp", **(words | more))


def slice_of(tree, name, argv, options, echo):
    with harness.Running(harness.Server(name, argv + ["--echo"] * echo)) as running:
        taken = load(tree, running, options, echo=echo, measure_pid=running.pid)
        running.stop()
    if taken["datagrams"] == 0:
        harness.fail(f"no datagram was seen to reach {name}")
    return taken


def calls_of(tree, name, argv, options, echo):
    """System calls per datagram: those of a load less those of one that is half as long, so that
    neither start nor end counts."""
    total = []
    for milliseconds in (options.milliseconds, 2 * options.milliseconds):
        with harness.Traced(harness.Server(name, argv + ["--echo"] * echo)) as running:
            taken = load(tree, running, options, echo=echo, milliseconds=milliseconds)
            running.stop()
        total.append((sum(running.calls.values()), taken["datagrams"]))
    (calls, datagrams), (more_calls, more_datagrams) = total
    if more_datagrams <= datagrams:
        return None
    return (more_calls - calls) / (more_datagrams - datagrams)


def measure(tree, table, options, echo):
    slices = {name: [] for name in table}
    names = list(table)
    for number in range(options.rounds):
        harness.note(f"{'echo' if echo else 'one way'}, round {number + 1} of {options.rounds}")
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            slices[name].append(slice_of(tree, name, table[name], options, echo))
    return slices


def report(tree, table, options, echo):
    slices = measure(tree, table, options, echo)
    cost = {
        name: [one["cpu_ns"] / one["datagrams"] for one in all_] for name, all_ in slices.items()
    }
    raw = [name for name in table if name.startswith("raw-")] or list(table)
    limit = min(raw, key=lambda name: statistics.median(cost[name]))
    rows, summary = [], {}
    for name in table:
        middle, low, high = stats.ratio_interval(cost[name], cost[limit])
        rate = statistics.median(one["datagrams"] / one["seconds"] for one in slices[name])
        calls = None if options.no_counts else calls_of(tree, name, table[name], options, echo)
        summary[name] = {"slices": slices[name], "ratio": [middle, low, high], "rate": rate,
                         "calls": calls}
        rows.append([
            name + (" = 1.00" if name == limit else ""),
            f"{statistics.median(cost[name]):,.0f}",
            f"{middle:.3f}",
            "" if name == limit else f"{low:.3f}-{high:.3f}",
            f"{rate / 1000:.0f}",
            "-" if calls is None else f"{calls:.3f}",
        ])
    title = "echo" if echo else "one way"
    head = [f"{options.size} B, {title}", "CPU ns/datagram", "ratio", "95 %", "1000/s",
            "system calls/datagram"]
    print(f"\n{harness.table(head, rows)}")
    for name, all_ in slices.items():
        lost = sum(one["lost_windows"] for one in all_)
        if lost:
            print(f"\n- {name} lost datagrams of {lost} windows, a second's wait for each")
    waited = sum(one["wait_ns"] for all_ in slices.values() for one in all_)
    lasted = sum(one["seconds"] for all_ in slices.values() for one in all_)
    print(f"\n- the servers waited for their core {waited / lasted / 1e9:.0%} of the time")
    return summary


def main(argv=None):
    options = parse(argv)
    harness.prepare()
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    table = servers(tree, options)
    result = harness.machine()
    print(f"{result['date']}, {result['machine']}")
    for echo in (False, True):
        result["echo" if echo else "one way"] = report(tree, table, options, echo)
    harness.write_json("udp", result)


if __name__ == "__main__":
    main()
