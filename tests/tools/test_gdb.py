#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests lib/tools/coil-gdb.py as its user meets it: gdb on a live process and on its core file.

usage: tests/tools/test_gdb.py PROGRAM SCRIPT

PROGRAM is gdb_subject. Exits with 77 where there is no gdb, or none that may trace a process.
"""
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile

PROGRAM, SCRIPT = sys.argv[1:3]
SKIPPED = 77


def gdb(*commands, files):
    arguments = ["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
    for command in commands:
        arguments += ["-ex", command]
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    done = subprocess.run(arguments + list(files), env=environment, text=True, timeout=100,
                          errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.stdout


def expect(text, pattern):
    if not re.search(pattern, text, re.S):
        sys.exit(f"FAILED: no {pattern!r} in:\n{text}")


def expect_not(text, pattern):
    if re.search(pattern, text, re.S):
        sys.exit(f"FAILED: {pattern!r} in:\n{text}")


def part(text, name):
    """What was printed between two marks."""
    return re.split(r"^<\w+>$", text.split(f"<{name}>\n", 1)[-1], maxsplit=1, flags=re.M)[0]


FRAME_POINTER = "$rbp" if platform.machine() == "x86_64" else "$x29"
LOOK = ["echo <fibers>\\n", "coil fibers", "echo <waiter>\\n", "coil bt 2", "echo <joiner>\\n",
        "coil bt 3", "echo <late>\\n", "coil bt 4", "echo <main>\\n", "coil bt 1",
        "echo <all>\\n", "coil all-bt", "echo <select>\\n", "coil select 2", "frame function "
        "wait_outer", "print marker", "frame 1",
        "print (long) $sp - (long) $coil_fiber->context",
        f"print {FRAME_POINTER} == ((long *) $coil_fiber->context)[0]", "coil select",
        "echo <after>\\n", "bt 1", "thread 2", "coil bt 1", "echo <thread>\\n", "thread",
        "thread 1",
        "echo <nobody>\\n", "coil bt 99", "echo <end>\\n"]


def check(text):
    """The same is to be seen in a process and in its core file."""
    fibers = part(text, "fibers")
    expect(fibers, r"fiber 1 'main': running, spawned in main at \S*gdb_subject\.c:\d+\n")
    expect(fibers, r"fiber 2 'waiter': waits for semaphore for 0\.\d+ s, "
                   r"spawned in main_fiber at \S*gdb_subject\.c:\d+ by 1\n")
    expect(fibers, r"fiber 3 'joiner': waits for join of 2 'waiter' for ")
    expect(fibers, r"fiber 4 '': runnable, ")
    expect(fibers, r"fiber 1 'other': running, spawned in other_main at ")

    waiter = part(text, "waiter")
    expect(waiter, r"fiber 2 'waiter'.*\n#0 .*coil_sem_acquire.*wait_inner \(.*marker=42\).*"
                   r"wait_outer \(.*marker=21\).*waiter_main.*fiber_main")
    expect_not(waiter, "main_fiber \\(|all_parked|corrupt")
    expect(part(text, "joiner"), r"#0 .*coil_join.*joiner_main")
    expect(part(text, "late"), r"#0 .*fiber_start")
    expect(part(text, "main"), r"#0 .*all_parked.*main_fiber.*fiber_main")
    everything = part(text, "all")
    expect(everything, r"waiter_main.*joiner_main.*fiber_start")
    expect(everything, r"fiber 1 'other'.*other_fiber")
    expect(part(text, "select"), r"frame 1 and up are those of fiber 2 'waiter'.*\$1 = 21\n")
    expect(part(text, "select"), r"\$2 = 16\n\$3 = 1\n")
    expect(part(text, "after"), r"#0 .*(all_parked|pthread_kill)")
    expect(part(text, "thread"), "Current thread is 2 ")
    expect(part(text, "nobody"), "no fiber 99")
    expect_not(text, "Traceback|Python Exception")


def leave_core(directory):
    """Runs the program until it aborts; returns its core file, or None where the kernel puts core
    files elsewhere."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    subprocess.run([os.path.abspath(PROGRAM), "abort"], cwd=directory, timeout=60,
                   stderr=subprocess.DEVNULL, check=False,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most)))
    return next((str(path) for path in pathlib.Path(directory).glob("*core*")), None)


def main():
    if not shutil.which("gdb"):
        print("no gdb: skipped")
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        live = gdb("break all_parked", "run", f"source {SCRIPT}", *LOOK, "delete", "continue",
                   files=[PROGRAM])
        if re.search("ptrace|Operation not permitted|Could not trace", live):
            print(f"gdb may not trace here: skipped\n{live}")
            return SKIPPED
        check(live)
        expect(live, r"result 143\n.*exited normally")
        print("ok: live process")
        overflow = gdb("run overflow", f"source {SCRIPT}", "coil bt 1", files=[PROGRAM])
        expect(overflow, r"SIGSEGV.*fiber 1 'main': running.*#0 .*recurse.*recurse.*main_fiber")
        print("ok: overflow")
        formatting = gdb("break format_text", "run printf", f"source {SCRIPT}", "coil bt 1",
                         files=[PROGRAM])
        expect(formatting, r"fiber 1 'main': running.*#0 .*coil_printf.*main_fiber")
        print("ok: a call on the loop's stack")
        core = leave_core(directory)
        if core:
            check(gdb(f"source {SCRIPT}", *LOOK, files=[PROGRAM, core]))
        print(f"ok: core file {core or '(none here: /proc/sys/kernel/core_pattern)'}")
        expect(gdb(f"source {SCRIPT}", "coil fibers", files=["/bin/true"]), "no libcoil")
        print("ok: another program")
    return 0


if __name__ == "__main__":
    sys.exit(main())
