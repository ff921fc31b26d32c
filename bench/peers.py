# SPDX-License-Identifier: MIT
"""The table of `bench/run core --peers`: coil beside other programs for many small threads.

Each case is the same work as each program's users would write it, in a process of its own, pinned
to the first core, counted in CPU time. In a round coil and its peers take turns case by case; a
ratio is coil's time divided by the peer's of the same round, so below 1 coil is ahead. Cases that
coil or a peer does not have are left out.
"""

import json
import os
import pathlib
import statistics
import subprocess
import typing

import harness
import stats

# (program of coil's, case, what an operation is)
CASES = [
    ("yield", "yield_2", "yield, 2 fibers"),
    ("yield", "yield_64", "yield, 64 fibers"),
    ("yield", "yield_10000", "yield, 10,000 fibers"),
    ("spawn", "spawn_join", "spawn + run + join"),
    ("spawn", "spawn_join_64", "the same, 64 at a time"),
    ("chan", "chan_ping_pong", "channel ping-pong, no capacity"),
    ("chan", "chan_ping_pong_1", "the same, room for one item"),
    ("chan", "chan_stream", "item through a channel of 64"),
    ("select", "select_8", "select of 8 channels, 8 senders"),
    ("select", "select_8_parks", "the same, waiting each time"),
    ("mutex", "mutex_hand_over", "mutex, contended by 2"),
    ("sem", "sem_hand_over", "semaphore hand-over"),
    ("imap", "imap", "item through imap, 200 workers"),
    ("timer", "timer", "timer set + cancel"),
    ("timer", "timer_million", "the same, a million at once"),
    ("timer", "timer_expiry", "fiber that sleeps, 100,000 at once"),
    ("cross", "xchan_stream", "item through a channel of 256, two cores"),
    ("cross", "xchan_rendezvous", "the same, no capacity"),
    ("io", "process_spawn", "/bin/true started + awaited"),
    ("io", "udp_echo", "datagram between two fibers"),
    ("io", "file_read_32", "4 KiB file read, 32 readers"),
]
TWO_CORES = {"xchan_stream", "xchan_rendezvous"}


class Peer(typing.NamedTuple):
    name: str
    program: pathlib.Path


def build(tree):
    """The peers that can be built here."""
    bench = harness.ROOT / "bench"
    go, boost = tree / "bench" / "peer_go", tree / "bench" / "peer_boost"
    environment = dict(os.environ, GOCACHE=str(tree / "go-cache"), GO111MODULE="off")
    flags = ["-std=c++17", "-O2"]
    libraries = ["-lboost_fiber", "-lboost_context", "-lpthread"]
    run(["go", "build", "-o", go, bench / "peer_go.go"], environment)
    run(["g++", *flags, bench / "peer_boost.cpp", "-o", boost, *libraries], environment)
    peers = [Peer("Go", go), Peer("Boost.Fiber", boost)]
    if (tree / "bench" / "peer_st").exists():
        peers.append(Peer("State Threads", tree / "bench" / "peer_st"))
    return peers


def run(command, environment):
    done = subprocess.run([str(word) for word in command], env=environment)
    if done.returncode:
        harness.fail(f"{command[0]} failed")


def measure_once(program, case, options):
    """The median of the case's repetitions in ns, or None where there is no such case."""
    cpus = set(harness.CPUS) if case in TWO_CORES else {harness.SERVER_CPU}
    words = ["--only", case, "--repeat", str(options.repeat), "--count", str(options.count)]
    done = subprocess.run(
        [str(program), *words],
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    if done.returncode:
        harness.fail(f"{program} {case}: {done.stderr or done.stdout}")
    taken = json.loads(done.stdout or "{}")
    return statistics.median(taken[case]) if case in taken else None


def measure(tree, peers, chosen, options):
    """{case: {name: [ns of each round]}}, coil's under "coil"."""
    taken = {case: {} for _, case, _ in chosen}
    for number in range(options.rounds):
        harness.note(f"peers: round {number + 1} of {options.rounds}")
        for program, case, _ in chosen:
            runners = [("coil", tree / "bench" / program)]
            runners += [(peer.name, peer.program) for peer in peers]
            turn = number % len(runners)
            for name, path in runners[turn:] + runners[:turn]:
                if number > 0 and name not in taken[case]:
                    continue
                ns = measure_once(path, case, options) if path.exists() else None
                if ns is not None:
                    taken[case].setdefault(name, []).append(ns)
    return taken


def ratio_text(mine, theirs):
    """The median ratio and its interval; bold where the whole interval says that coil is behind."""
    if not mine or not theirs:
        return "-"
    pairs = [one / other for one, other in zip(mine, theirs)]
    middle, low, high = stats.median_interval(pairs)
    text = f"{middle:.2f} ({low:.2f}-{high:.2f})"
    return f"**{text}**" if low > 1 else text


def nanoseconds(rounds):
    return f"{statistics.median(rounds):,.0f}" if rounds else "-"


def report(tree, options):
    peers = build(tree)
    chosen = [one for one in CASES if not options.only or options.only in one[1]]
    taken = measure(tree, peers, chosen, options)
    rows = []
    for _, case, title in chosen:
        rounds = taken[case]
        row = [title, nanoseconds(rounds.get("coil"))]
        for peer in peers:
            row.append(nanoseconds(rounds.get(peer.name)))
            row.append(ratio_text(rounds.get("coil"), rounds.get(peer.name)))
        rows.append(row)
    head = ["operation, CPU ns", "coil"]
    for peer in peers:
        head += [peer.name, "coil / it"]
    print(f"\n### core beside peers ({options.rounds} rounds)\n\n{harness.table(head, rows)}")
    return taken
