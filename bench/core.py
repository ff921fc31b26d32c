# SPDX-License-Identifier: MIT
"""bench/run core: what coil's own parts cost, in time, instructions and memory.

Times are CPU time of small programs that run one operation some hundred thousand times. In each
round every program is started anew, pinned to the first core, and gives the median of its
repetitions; reported is the median over the rounds. Instructions are counted by callgrind, as the
difference between a long and a short run. Memory is what the kernel says of a program with 100,000
parked fibers, and of the echo demo with 10,000 idle connections.
"""

import argparse
import pathlib
import re
import socket
import statistics
import time

import against
import harness
import peers
import stats

# (program, case, what an operation is, target in ns or None)
OPERATIONS = [
    ("raw_switch", "switch", "context switch", 4),
    ("yield", "yield_2", "yield, 2 fibers", None),
    ("yield", "yield_64", "yield, 64 fibers", 15),
    ("yield", "yield_10000", "yield, 10,000 fibers", None),
    ("spawn", "spawn_join", "spawn + run + join", 60),
    ("spawn", "spawn_join_64", "the same, 64 at a time", None),
    ("spawn", "spawn_detached", "spawn + run, detached", None),
    ("sem", "sem_hand_over", "semaphore hand-over", None),
    ("sem", "sem_free", "semaphore, nobody waits", None),
    ("chan", "chan_ping_pong", "channel ping-pong, no capacity", 217),
    ("chan", "chan_ping_pong_1", "the same, room for one item", 217),
    ("chan", "chan_stream", "item through a channel of 64", None),
    ("chan", "chan_free", "send + receive, nobody waits", None),
    ("select", "select_8", "select of 8 channels, 8 senders", None),
    ("select", "select_8_parks", "the same, waiting each time", None),
    ("select", "select_1_parks", "select of 1 channel, waiting each time", None),
    ("imap", "imap", "item through imap, 200 workers", None),
    ("imap", "imap_chan", "the same by a channel, unordered", None),
    ("io", "udp_echo", "datagram between two fibers", None),
    ("io", "file_read_32", "4 KiB file read, 32 readers", None),
    ("mutex", "mutex_hand_over", "mutex hand-over, 3 fibers", None),
    ("mutex", "mutex_contended", "the same, of 2 that yield in it", None),
    ("mutex", "mutex_free", "mutex, nobody waits", None),
    ("mutex", "rwlock_read", "read lock, nobody writes", None),
    ("mutex", "cond_signal", "condition: signal and wait", None),
    ("cross", "xsem_free", "semaphore between cores, nobody waits", None),
    ("cross", "xsem_hand_over", "the same, hand-over to the other core", None),
    ("cross", "xchan_stream", "item through a channel of 256 between cores", None),
    ("cross", "xchan_rendezvous", "the same, no capacity", None),
    ("cross", "cross_post", "post to a core that is awake", None),
    ("cross", "cross_call", "call of another core, there and back", None),
    ("cross", "cross_spawn", "spawn on another core", None),
    ("timer", "timer", "timer set + cancel", 40),
    ("timer", "timer_1000", "the same beside 1,000 others", 40),
    ("timer", "timer_million", "the same, a million at once", None),
    ("timer", "timer_expiry", "fiber that sleeps, 100,000 at once", None),
    ("timer", "clock", "reading the clock once", None),
    ("timer", "sleep_cancel", "spawn, sleep, cancel, join", None),
]
COUNTS = (10_000, 20_000)
# Cases work in batches, up to a round of 10,000 fibers, and do a whole one for a part.
COUNT_MIN = 10_000
# These do a fixed amount of work, whatever the count: callgrind's difference would say nothing.
# How often two threads wait for each other is chance.
UNCOUNTED = {"xsem_free", "xsem_hand_over", "xchan_stream", "xchan_rendezvous", "cross_post",
             "cross_call", "cross_spawn", "timer_million", "timer_expiry", "imap", "imap_chan",
             "udp_echo", "file_read_32"}
FIBER_LIMIT = 4.6 * 1024
CONNECTION_LIMIT = 5 * 1024
MAPPINGS_LIMIT = 1000
CHAIN_LIMIT = 2100


def parse(argv):
    parser = argparse.ArgumentParser(prog="bench/run core", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds, no counts: a smoke test")
    parser.add_argument("--rounds", type=int, default=21, help="rounds (default 21)")
    parser.add_argument("--repeat", type=int, default=7, help="repetitions in a round")
    parser.add_argument("--count", type=int, default=200_000, help="operations in a repetition")
    parser.add_argument("--fibers", type=int, default=100_000, help="parked fibers")
    parser.add_argument("--connections", type=int, default=10_000, help="idle connections")
    parser.add_argument("--idle", type=float, default=10, metavar="S", help="watch the idle server")
    parser.add_argument("--only", metavar="WORD", help="only operations with this in their name")
    parser.add_argument("--no-counts", action="store_true", help="no instructions")
    parser.add_argument("--no-memory", action="store_true", help="no fibers, no connections")
    parser.add_argument("--peers", action="store_true", help="only: beside Go, Boost, ...")
    parser.add_argument("--against", metavar="DIR", help="only: beside another built checkout")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.idle, options.no_counts = 3, 1, True
    if options.peers and options.against:
        parser.error("--peers and --against are different tables")
    if min(options.rounds, options.repeat, options.fibers, options.connections) < 1:
        parser.error("--rounds, --repeat, --fibers and --connections must be positive")
    if options.count < COUNT_MIN or options.idle < 0:
        parser.error(f"--count must be {COUNT_MIN} or more, --idle must not be negative")
    return options


# ---- Operations ----


def measure_operations(tree, chosen, options):
    """Of each case its medians per round, its fastest repetition, and the share of their time for
    which the programs waited because others had the core."""
    rounds = {case: [] for _, case, _, _ in chosen}
    fastest = {case: float("inf") for case in rounds}
    programs = sorted({program for program, _, _, _ in chosen})
    ran = waited = 0
    for number in range(options.rounds):
        harness.note(f"round {number + 1} of {options.rounds}")
        turn = number % len(programs)
        for program in programs[turn:] + programs[:turn]:
            cases = [case for its, case, _, _ in chosen if its == program]
            command = [tree / "bench" / program, "--repeat", options.repeat]
            command += ["--count", options.count, "--only", ",".join(cases)]
            taken, account = harness.run_program(command)
            ran += account[0]
            waited += account[1]
            for case in cases:
                if case not in taken:
                    harness.fail(f"{program} has no case {case}")
                rounds[case].append(statistics.median(taken[case]))
                fastest[case] = min(fastest[case], *taken[case])
    return rounds, fastest, waited / (ran + waited)


def count_instructions(tree, program, case):
    """Instructions per operation; None where that says nothing or there is no such case. A program
    warms up with one repetition as long as the one it reports, hence the factor of two."""
    if case in UNCOUNTED:
        return None
    harness.note(f"counting {case}")
    out = harness.RESULTS / "callgrind.out"
    totals = []
    for count in COUNTS:
        out.unlink(missing_ok=True)
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "-q"]
        words = ["--only", case, "--repeat", 1, "--count", count]
        taken, _ = harness.run_program([*valgrind, tree / "bench" / program, *words])
        if case not in taken:
            return None
        totals.append(harness.total_of(out))
    return (totals[1] - totals[0]) / (2 * (COUNTS[1] - COUNTS[0]))


def no_instructions(*_):
    return None


def report_operations(tree, chosen, options):
    rounds, fastest, disturbed = measure_operations(tree, chosen, options)
    rows, summary = [], {}
    for program, case, title, target in chosen:
        middle, low, high = stats.median_interval(rounds[case])
        count = None if options.no_counts else count_instructions(tree, program, case)
        verdict = stats.verdict(low, high, target, len(rounds[case])) if target else None
        summary[case] = {
            "ns": middle,
            "low": low,
            "high": high,
            "fastest": fastest[case],
            "instructions": count,
            "verdict": verdict,
            "rounds": rounds[case],
        }
        rows.append(
            [
                title,
                f"{middle:.1f}",
                f"{low:.1f}-{high:.1f}",
                f"{fastest[case]:.1f}",
                f"{count:.0f}" if count is not None else "-",
                f"{target}" if target else "",
                f"**{verdict}**" if verdict else "",
            ]
        )
    head = ["operation", "ns", "95 %", "fastest", "instructions", "at most", ""]
    print(f"\n### core operations ({options.rounds} rounds)\n\n{harness.table(head, rows)}")
    if disturbed > harness.DISTURBED_LIMIT:
        print(f"\n- disturbed: the programs waited for the core {disturbed:.0%} of their time")
    return summary


# ---- Memory ----


def status(process):
    """The numbers by name in the status of a process or thread under /proc; memory in bytes."""
    numbers = {}
    for line in (pathlib.Path("/proc") / str(process) / "status").read_text().splitlines():
        found = re.fullmatch(r"(\w+):\s+(\d+)( kB)?", line)
        if found:
            numbers[found[1]] = int(found[2]) * (1024 if found[3] else 1)
    return numbers


def resident(numbers):
    return numbers["VmRSS"] + numbers.get("VmSwap", 0)


def activity(pid):
    """What an idle server must not increase, over all of its threads."""
    tasks = [status(path) for path in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return {
        "CPU ns": harness.cpu_ns(pid),
        "voluntary switches": sum(one["voluntary_ctxt_switches"] for one in tasks),
        "involuntary switches": sum(one["nonvoluntary_ctxt_switches"] for one in tasks),
    }


def open_connection(host, port):
    """A connection that has had one reply, so that its handler waits for the next message."""
    connection = socket.create_connection((host, port))
    connection.sendall(b"hello\n")
    if connection.recv(16) != b"hello\n":
        harness.fail("the echo server sent something else")
    return connection


def measure_connections(tree, arguments, options):
    """Memory per idle connection of the echo demo, and what it did while all of them idled."""
    argv = [tree / "demos" / "echo", *arguments, "--listen", "127.0.0.1:0"]
    count = harness.raise_descriptor_limit(options.connections)
    with harness.Running(harness.Server("echo", argv)) as running:
        host, _, port = running.address.rpartition(":")
        connections = [open_connection(host, int(port))]
        before = status(running.pid)
        for _ in range(count):
            connections.append(open_connection(host, int(port)))
        after = status(running.pid)
        time.sleep(1)  # what the kernel still does about the last connection
        begin = activity(running.pid)
        time.sleep(options.idle)
        end = activity(running.pid)
        mappings = pathlib.Path(f"/proc/{running.pid}/maps").read_text().count("\n")
        for connection in connections:
            connection.close()
        running.stop()
    return {
        "connections": count,
        "resident": (resident(after) - resident(before)) / count,
        "tables": (after["VmPTE"] - before["VmPTE"]) / count,
        "mappings": mappings,
        "idle": {name: end[name] - begin[name] for name in begin},
    }


def judged(value, limit):
    return f"**{stats.verdict(value, value, limit)}**"


def memory_rows(fibers, servers):
    rows = []
    for name, one in [(f"{fibers['fibers']:,} parked fibers", fibers)] + [
        (f"{one['connections']:,} idle connections, {name}", one) for name, one in servers.items()
    ]:
        whole = one["resident"] + one["tables"]
        limit = FIBER_LIMIT if one is fibers else CONNECTION_LIMIT
        rows.append(
            [
                name,
                f"{one['resident']:,.0f}",
                f"{one['tables']:,.0f}",
                f"{whole:,.0f}",
                f"{limit:,.0f}",
                judged(whole, limit),
                f"{one['mappings']:,} {judged(one['mappings'], MAPPINGS_LIMIT)}",
            ]
        )
    return rows


def report_stack(tree):
    stack, _ = harness.run_program([tree / "bench" / "raw_stack"])
    rows = []
    for name in ("echo_lines", "echo_bytes"):
        whole = stack["control_block"] + stack["stream"] + stack[name]["parked"]
        rows.append(
            [
                name,
                *(f"{stack[key]:,}" for key in ("control_block", "stream")),
                *(f"{stack[name][key]:,}" for key in ("parked", "touched")),
                f"{whole:,}",
                f"{CHAIN_LIMIT:,}",
                judged(whole, CHAIN_LIMIT),
            ]
        )
    head = ["handler, bytes", "control block", "stream", "parked", "touched", "sum", "at most", ""]
    print(f"\n### core stack of a parked echo handler\n\n{harness.table(head, rows)}")
    return stack


def report_memory(tree, options):
    harness.note("counting the bytes of parked fibers and idle connections")
    fibers, _ = harness.run_program([tree / "bench" / "memory", options.fibers])
    servers = {
        "echo": measure_connections(tree, [], options),
        "echo --raw": measure_connections(tree, ["--raw"], options),
    }
    head = ["bytes each", "resident", "page tables", "sum", "at most", "", "mappings"]
    print(f"\n### core memory\n\n{harness.table(head, memory_rows(fibers, servers))}")
    stack = report_stack(tree)
    print(f"\n### core idle server, over {options.idle:g} s\n")
    for name, one in servers.items():
        moved = [f"{what} +{by}" for what, by in one["idle"].items() if by]
        verdict = f"**missed** ({', '.join(moved)})" if moved else "**met**"
        print(f"- {name}, {one['connections']:,} connections: nothing moves: {verdict}")
    return {"fibers": fibers, "servers": servers, "stack": stack}


def main(argv=None):
    options = parse(argv)
    harness.prepare()
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    report = harness.machine()
    print(f"{report['date']}, {report['machine']}")
    if options.peers:
        report["peers"] = peers.report(tree, options)
        harness.write_json("peers", report)
        return
    chosen = [one for one in OPERATIONS if not options.only or options.only in one[1]]
    if not chosen:
        harness.fail(f"--only {options.only} names none of the operations")
    if options.against:
        count = no_instructions if options.no_counts else count_instructions
        report["against"] = against.report(tree, chosen, options, count)
        harness.write_json("against", report)
        return
    report["operations"] = report_operations(tree, chosen, options)
    if not options.no_memory:
        report["memory"] = report_memory(tree, options)
    harness.write_json("core", report)


if __name__ == "__main__":
    main()
