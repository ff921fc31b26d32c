# SPDX-License-Identifier: MIT
"""The table of `bench/run core --peers`: coil beside other programs for many small threads.

Each case is the same work as each program's users would write it, in a process of its own, pinned
to the first core, counted in CPU time. In a round coil and its peers take turns case by case; a
ratio is coil's time divided by the peer's of the same round, so below 1 coil is ahead. Cases that
coil or a peer does not have are left out.
"""

import os
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
    ("mutex", "mutex_contended", "mutex, contended by 2 that yield in it"),
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
    program: typing.Callable  # from the name of coil's program for a case to the path of this one's


def of_tree(name, tree):
    """coil itself, as a tree was built from it."""
    return Peer(name, lambda program: tree / "bench" / program)


def one_program(name, path):
    """A peer that has all its cases in one program."""
    return Peer(name, lambda _: path)


def build(tree):
    """The peers that can be built here."""
    bench = harness.ROOT / "bench"
    go, boost = tree / "bench" / "peer_go", tree / "bench" / "peer_boost"
    environment = dict(os.environ, GOCACHE=str(tree / "go-cache"), GO111MODULE="off")
    flags = ["-std=c++17", "-O2", "-DNDEBUG"]  # Boost asserts a lot, and not where users are
    libraries = ["-lboost_fiber", "-lboost_context", "-lpthread"]
    run(["go", "build", "-o", go, bench / "peer_go.go"], environment)
    run(["g++", *flags, bench / "peer_boost.cpp", "-o", boost, *libraries], environment)
    threads = tree / "bench" / "peer_st"
    peers = [one_program("Go", go), one_program("Boost.Fiber", boost)]
    return peers + [one_program("State Threads", threads)] * threads.exists()


def run(command, environment):
    done = subprocess.run([str(word) for word in command], env=environment)
    if done.returncode:
        harness.fail(f"{command[0]} failed")


class Slices:
    """What was measured: `ns` is {case: {name: [nanoseconds of each round]}}."""

    def __init__(self, cases):
        self.ns = {case: {} for case in cases}
        self.ran = self.waited = 0

    def take(self, peer, program, case, options):
        """Adds the median of the case's repetitions, if the peer has such a case."""
        path = peer.program(program)
        if not path.exists():
            return
        cpus = set(harness.CPUS) if case in TWO_CORES else {harness.SERVER_CPU}
        words = ["--only", case, "--repeat", options.repeat, "--count", options.count]
        taken, (ran, waited) = harness.run_program([path, *words], cpus)
        self.ran += ran
        self.waited += waited
        if case in taken:
            self.ns[case].setdefault(peer.name, []).append(statistics.median(taken[case]))

    def disturbed(self):
        """The share of their time for which the programs waited because others had the core."""
        return self.waited / (self.ran + self.waited) if self.ran else 0


def measure(runners, chosen, options):
    """In each round every case is measured of each runner that has it, one after the other, in an
    order that rotates. What only one has is nothing to compare and measured once."""
    slices = Slices([one[1] for one in chosen])
    for number in range(options.rounds):
        harness.note(f"round {number + 1} of {options.rounds}")
        turn = number % len(runners)
        for program, case, *_ in chosen:
            known = slices.ns[case]
            if number > 0 and len(known) < 2:
                continue
            for peer in runners[turn:] + runners[:turn]:
                if number == 0 or peer.name in known:
                    slices.take(peer, program, case, options)
    return slices


def ratio_text(mine, theirs):
    """The median ratio and its interval; bold where the whole interval says that coil is behind."""
    if not mine or not theirs:
        return "-"
    middle, low, high = stats.ratio_interval(mine, theirs)
    text = f"{middle:.2f} ({low:.2f}-{high:.2f})"
    return f"**{text}**" if stats.direction(low, high, len(mine)) == "slower" else text


def nanoseconds(rounds):
    return f"{statistics.median(rounds):,.0f}" if rounds else "-"


def report(tree, options):
    chosen = [one for one in CASES if not options.only or options.only in one[1]]
    if not chosen:
        harness.fail(f"--only {options.only} names none of the operations that peers have")
    peers = build(tree)
    slices = measure([of_tree("coil", tree), *peers], chosen, options)
    rows = []
    for _, case, title in chosen:
        rounds = slices.ns[case]
        row = [title, nanoseconds(rounds.get("coil"))]
        for peer in peers:
            row.append(nanoseconds(rounds.get(peer.name)))
            row.append(ratio_text(rounds.get("coil"), rounds.get(peer.name)))
        rows.append(row)
    head = ["operation, CPU ns", "coil"]
    for peer in peers:
        head += [peer.name, "coil / it"]
    print(f"\n### core beside peers ({options.rounds} rounds)\n\n{harness.table(head, rows)}")
    report_disturbance(slices)
    return slices.ns


def report_disturbance(slices):
    share = slices.disturbed()
    if share > harness.DISTURBED_LIMIT:
        print(f"\n- disturbed: the programs waited for the core {share:.0%} of their time")
