# SPDX-License-Identifier: MIT
"""What the benchmarks share: building, starting servers and load on their own cores, reporting.

A server is any program that prints "listening on HOST:PORT" as its first line, serves until
SIGTERM and then exits with status 0. It is started anew for each slice: how its memory happens to
lie then varies between slices and shows in the interval, instead of favouring one server for the
whole run.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".build" / "bench"
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = CPUS[0]
LOAD_CPU = CPUS[-1]
START_TIMEOUT = 20
STOP_TIMEOUT = 20


def fail(message):
    sys.exit(f"bench: {message}")


def note(message):
    """Progress, for the person who waits; never part of the report."""
    print(message, file=sys.stderr, flush=True)


def build(preset="release"):
    """Builds the preset and returns its tree."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for command in (
        ["cmake", "--preset", preset, "-DCOIL_BUILD_BENCH=ON", "-DCOIL_BUILD_DEMOS=ON"],
        ["cmake", "--build", "--preset", preset, "-j", str(len(CPUS))],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            fail(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return ROOT / ".build" / preset


def machine():
    """One line that says where and when the numbers were taken."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{model}, {len(CPUS)} cores, Linux {os.uname().release.split('-')[0]}",
    }


@dataclasses.dataclass
class Server:
    """One row of a benchmark's table of servers."""

    name: str
    argv: list
    callgrind: bool = True  # valgrind can run it


class Running:
    """A server process; use it with `with`."""

    def __init__(self, server, prefix=()):
        self.server = server
        self.prefix = list(prefix)

    def __enter__(self):
        try:
            self.process = subprocess.Popen(
                self.prefix + [str(word) for word in self.server.argv],
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CPU}),
            )
        except OSError as error:
            fail(f"{self.server.name} cannot be started: {error}")
        # A server that dies closes the pipe; one that hangs is ended by the alarm.
        signal.signal(signal.SIGALRM, lambda *_: self.process.kill())
        signal.alarm(START_TIMEOUT)
        line = self.process.stdout.readline()
        signal.alarm(0)
        found = re.fullmatch(r"listening on (?:\w+:(?=.*:))?(\S+:\d+)\s*", line)
        if not found:
            self.process.kill()
            fail(f"{self.server.name} did not start; its first line was {line!r}")
        self.address = found[1]
        self.pid = self.process.pid
        return self

    def traced_pid(self):
        """The server's own process id when the prefix is a tracer that has it as its child."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0])

    def stop(self, pid=None):
        """Ends the server as its user would, and checks that it ends well."""
        os.kill(pid or self.pid, signal.SIGTERM)
        try:
            status = self.process.wait(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            fail(f"{self.server.name} did not end within {STOP_TIMEOUT} s of SIGTERM")
        if status != 0:
            fail(f"{self.server.name} ended with status {status} after SIGTERM")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def run_load(tree, running, program="load", **options):
    """Runs bench/load.c, or another program that reports like it, against a running server; its
    options are keywords. Returns its report."""
    command = [tree / "bench" / program, "--connect", running.address, "--cpu", LOAD_CPU]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", value]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        fail(f"load against {running.server.name} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def instructions(tree, server, requests, **options):
    """User-space instructions of loads of `requests` requests, one number for each in the list.

    The counts are dumped from outside between the loads, and the server is then killed: valgrind
    3.19 holds a signal back while a program waits in io_uring_enter, so it would not end by
    SIGTERM. A first load that is not counted leaves only steady work to the others."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for old in RESULTS.glob("callgrind.*"):
        old.unlink()
    out, log = RESULTS / "callgrind.out", RESULTS / "callgrind.log"
    prefix = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--log-file={log}"]
    totals = []
    with Running(server, prefix) as running:
        for number, count in enumerate([1000, *requests], start=1):
            run_load(tree, running, requests=count, **options)
            dump = ["vgdb", f"--pid={running.pid}", "--wait=10", "dump"]
            subprocess.run(dump, capture_output=True, timeout=60, check=True)
            text = pathlib.Path(f"{out}.{number}").read_text()
            totals.append(int(re.search(r"^totals: (\d+)", text, re.MULTILINE)[1]))
    return totals[1:]


def system_calls(tree, server, requests, **options):
    """System calls of one whole run, by name."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    log = RESULTS / "strace.log"
    log.unlink(missing_ok=True)
    with Running(server, ["strace", "-f", "-c", "-o", str(log), "--"]) as running:
        run_load(tree, running, requests=requests, **options)
        running.stop(running.traced_pid())
    calls = {}
    for line in log.read_text().splitlines():
        words = line.split()
        if len(words) in (5, 6) and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls


def write_json(name, report):
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    note(f"raw numbers: {path.relative_to(ROOT)}")


def table(head, rows):
    """A Markdown table with the first column left and the rest right aligned."""
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
