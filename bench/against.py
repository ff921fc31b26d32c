# SPDX-License-Identifier: MIT
"""The table of `bench/run core --against DIR`: this tree beside another built checkout of coil.

For a developer before and after a change: absolute times of a virtual machine differ by a factor of
two from day to day, ratios of what ran side by side do not. Both trees run the programs that were
built with them, in turns, case by case; a ratio is this tree's time divided by the other's of the
same round, so below 1 this tree is faster. What one of them lacks is skipped.
"""

import pathlib
import statistics
import subprocess

import harness
import peers
import stats

THIS, OTHER = "this", "other"
# What makes two builds of the same source differ.
SETTINGS = ("CMAKE_BUILD_TYPE", "CMAKE_C_COMPILER", "CMAKE_C_FLAGS", "CMAKE_C_FLAGS_RELWITHDEBINFO",
            "CMAKE_EXE_LINKER_FLAGS", "CMAKE_SHARED_LINKER_FLAGS", "BUILD_SHARED_LIBS",
            "COIL_SANITIZE")
HOW = "cmake --preset release -DCOIL_BUILD_BENCH=ON && cmake --build --preset release"


# ---- The other tree ----


def find_tree(text):
    """The build tree that DIR is, or that a checkout DIR has."""
    root = harness.ROOT / text
    for tree in (root, root / ".build" / "release"):
        if (tree / "bench" / "yield").is_file() and (tree / "CMakeCache.txt").is_file():
            return tree.resolve()
    return harness.fail(f"{root} has no built benchmarks; in that checkout: {HOW}")


def cache(tree):
    """What the tree was configured with, by name."""
    lines = (tree / "CMakeCache.txt").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line[:1] not in ("#", "/", ""))
    return {name.partition(":")[0]: value for name, _, value in pairs}


def output_of(*command):
    """What a command printed; nothing when it failed or, as git on a new machine, is not there."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit(tree):
    """The commit that the tree's source is at, and whether it was changed since."""
    home = cache(tree)["CMAKE_HOME_DIRECTORY"]
    name = output_of("git", "-C", home, "describe", "--always", "--dirty")
    return name or "no commit"


def check_library(tree):
    """That the tree's programs use the tree's library: of a copied tree they use the original's."""
    for line in output_of("ldd", tree / "bench" / "yield").splitlines():
        words = line.split()
        if words[0].startswith("libcoil.") and not pathlib.Path(words[2]).is_relative_to(tree):
            harness.fail(f"the programs in {tree} use {words[2]}: build them there")


def doubts(tree, other):
    """Reasons why a difference may not be the change's."""
    mine, its = cache(tree), cache(other)
    for name in SETTINGS:
        if mine.get(name, "") != its.get(name, ""):
            yield f"{name} is '{mine.get(name, '')}' here and '{its.get(name, '')}' there"
    if "no work to do" not in output_of("ninja", "-C", other, "-n"):
        yield "the other tree was changed since it was built"


def changed_programs(tree, other, programs):
    """Programs whose own source is not the same in both trees: their cases may be other work."""
    homes = [pathlib.Path(cache(one)["CMAKE_HOME_DIRECTORY"]) / "bench" for one in (tree, other)]

    def text(home, name):
        path = home / f"{name}.c"
        return path.read_bytes() if path.is_file() else None

    return {one for one in programs if text(homes[0], one) != text(homes[1], one)}


# ---- The report ----


def summary_of(rounds):
    middle, low, high = stats.ratio_interval(rounds[THIS], rounds[OTHER])
    return {
        "ns": statistics.median(rounds[THIS]),
        "other_ns": statistics.median(rounds[OTHER]),
        "ratio": middle,
        "low": low,
        "high": high,
        "direction": stats.direction(low, high, len(rounds[THIS])),
        "rounds": rounds,
    }


def row_of(title, one):
    mine, its = one["instructions"]
    row = [title, f"{one['ns']:,.1f}", f"{one['other_ns']:,.1f}", f"{one['ratio']:.3f}"]
    row += [f"{one['low']:.3f}-{one['high']:.3f}"]
    row += [f"**{one['direction']}**" if one["direction"] else ""]
    if mine is None or its is None:
        return row + ["-", "-", ""]
    return row + [f"{mine:,.0f}", f"{its:,.0f}", f"{mine - its:+,.0f}" if mine != its else "0"]


def notes(chosen, both, changed):
    yield "ratio: this tree's time by the other's of the same round; below 1 this tree is faster"
    chance = 0.05 * len(both)
    yield f"of {len(both)} operations up to {chance:.1f} are faster or slower by chance alone"
    for program, case, title, *_ in chosen:
        if case not in both:
            yield f"only one of the trees has: {title} ({case})"
        elif program in changed:
            yield f"bench/{program}.c is not the same in both: {title} ({case}) may be other work"


def report(tree, chosen, options, count):
    """Prints the table. count(tree, program, case) counts instructions. Returns the numbers."""
    other = find_tree(options.against)
    for one in (tree, other):
        check_library(one)
    print(f"this: {commit(tree)}, the other: {commit(other)} in {other}")
    for doubt in doubts(tree, other):
        print(f"- beware: {doubt}")

    slices = peers.measure(
        [peers.of_tree(THIS, tree), peers.of_tree(OTHER, other)], chosen, options
    )
    rows, numbers = [], {}
    for program, case, title, *_ in chosen:
        if len(slices.ns[case]) < 2:
            continue
        one = summary_of(slices.ns[case])
        one["instructions"] = [count(which, program, case) for which in (tree, other)]
        numbers[case] = one
        rows.append(row_of(title, one))
    if not rows:
        harness.fail("the trees have none of these operations in common")
    head = ["operation", "ns", "other's", "ratio", "95 %", "", "instructions", "other's", "more"]
    title = f"core against {other} ({options.rounds} rounds)"
    print(f"\n### {title}\n\n{harness.table(head, rows)}\n")
    changed = changed_programs(tree, other, {one[0] for one in chosen})
    for line in notes(chosen, numbers, changed):
        print(f"- {line}")
    peers.report_disturbance(slices)
    return numbers
