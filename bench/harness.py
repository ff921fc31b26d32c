# SPDX-License-Identifier: MIT
"""What the benchmarks share: building, starting servers and load on their own cores, reporting.

A server is any program that prints "listening on HOST:PORT" as its first line, serves until
SIGTERM and then exits with status 0. It is started anew for each slice: how its memory happens to
lie then varies between slices and shows in the interval, instead of favouring one server for the
whole run.
"""

import ctypes
import dataclasses
import datetime
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".build" / "bench"
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = CPUS[0]
LOAD_CPU = CPUS[-1]
START_TIMEOUT = 20
STOP_TIMEOUT = 20
PR_SET_PDEATHSIG = 1
DISTURBED_LIMIT = 0.02  # share of their time that programs waited for their core


def fail(message):
    sys.exit(f"bench: {message}")


def note(message):
    """Progress, for the person who waits; never part of the report."""
    print(message, file=sys.stderr, flush=True)


def prepare():
    """To be called first by a benchmark. What is measured is coil as it comes, so its switches in
    the environment are taken out; and whoever ends the benchmark ends what it has started."""
    for name in [name for name in os.environ if name.startswith("COIL_")]:
        note(f"{name} is in the environment and is ignored")
        del os.environ[name]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sys.stdout.reconfigure(line_buffering=True)
    RESULTS.mkdir(parents=True, exist_ok=True)


def raise_descriptor_limit(wanted):
    """Lets this program and what it starts open as many descriptors as root has allowed. Returns
    how many connections of `wanted` are then possible."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < wanted + 100:
        note(f"only {hard - 100} connections: RLIMIT_NOFILE is {hard}")
        return hard - 100
    return wanted


def build(preset="release"):
    """Builds the preset and returns its tree."""
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


def on_cpus(cpus):
    """What a child does before it becomes the program: it goes to its cores, and will not outlive
    this program, however that ends."""
    libc = ctypes.CDLL(None)

    def become():
        os.sched_setaffinity(0, cpus)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return become


class Running:
    """A server process; use it with `with`."""

    def __init__(self, server, prefix=()):
        self.server = server
        self.prefix = list(prefix)
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()  # `with` does not, when it has not begun
            raise
        return self

    def start(self):
        """Starts the server and learns its address."""
        self.spawn(self.prefix + self.server.argv, text=True)
        # A server that dies closes the pipe; one that hangs is ended by the alarm.
        signal.signal(signal.SIGALRM, lambda *_: self.kill())
        signal.alarm(START_TIMEOUT)
        line = self.process.stdout.readline()
        signal.alarm(0)
        found = re.fullmatch(r"listening on (?:\w+:(?=.*:))?(\S+:\d+)\s*", line)
        if not found:
            fail(f"{self.server.name} did not start; its first line was {line!r}")
        self.address = found[1]

    def spawn(self, command, **options):
        """In a process group of its own: a tracer that is killed lets its child go on."""
        try:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdout=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=on_cpus({SERVER_CPU}),
                **options,
            )
        except OSError as error:
            fail(f"{self.server.name} cannot be started: {error}")
        self.pid = self.process.pid

    def kill(self):
        os.killpg(self.pid, signal.SIGKILL)

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
        if not self.process:
            return
        if self.process.poll() is None:
            self.kill()
            self.process.wait()
        self.process.stdout.close()


def run_program(command, cpus=None):
    """Runs one of the small programs to its end, on the first core unless told where. Returns what
    it printed as JSON, and the nanoseconds that its main thread ran and waited for its core."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(
                words, stdout=output, stderr=errors, preexec_fn=on_cpus(cpus or {SERVER_CPU})
            )
        except OSError as error:
            fail(f"{words[0]} cannot be started: {error}")
        try:
            # The kernel's account of it lasts until its end has been taken notice of.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            account = pathlib.Path(f"/proc/{process.pid}/schedstat").read_text().split()
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        errors.seek(0)
        printed = output.read()
        if process.returncode:
            fail(f"{' '.join(words)}: status {process.returncode}: {errors.read() or printed}")
    try:
        return json.loads(printed), (int(account[0]), int(account[1]))
    except json.JSONDecodeError:
        fail(f"{' '.join(words)} printed {printed!r}")


def cpu_ns(pid):
    """CPU time of all threads of a process, those that have ended included."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python lacks


def run_load(tree, running, program="load", **options):
    """Runs bench/load.c, or another program that reports like it, against a running server; its
    options are keywords, True or False for one without a value. Returns its report."""
    command = [tree / "bench" / program, "--connect", running.address, "--cpu", LOAD_CPU]
    for name, value in options.items():
        word = f"--{name.replace('_', '-')}"
        command += [word] * value if isinstance(value, bool) else [word, value]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        fail(f"{program} against {running.server.name} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def instructions(tree, server, requests, **options):
    """User-space instructions of loads of `requests` requests, one number for each in the list.

    The counts are dumped from outside between the loads, and the server is then killed: valgrind
    3.19 holds a signal back while a program waits in io_uring_enter, so it would not end by
    SIGTERM. A first load that is not counted leaves only steady work to the others."""
    for old in RESULTS.glob("callgrind.*"):
        old.unlink()
    out, log = RESULTS / "callgrind.out", RESULTS / "callgrind.log"
    totals = []
    # Pipes by which vgdb speaks to a valgrind; one that is killed leaves them.
    with tempfile.TemporaryDirectory(prefix="bench-vgdb-") as pipes:
        door = f"--vgdb-prefix={pipes}/vgdb"
        tool = ["valgrind", "--tool=callgrind", door, f"--callgrind-out-file={out}"]
        with Running(server, [*tool, f"--log-file={log}"]) as running:
            for number, count in enumerate([1000, *requests], start=1):
                run_load(tree, running, requests=count, **options)
                dump = ["vgdb", door, f"--pid={running.pid}", "--wait=10", "dump"]
                subprocess.run(dump, capture_output=True, timeout=60, check=True)
                totals.append(total_of(pathlib.Path(f"{out}.{number}")))
    return totals[1:]


def total_of(path):
    """The instructions that a file of callgrind's holds."""
    return int(re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)[1])


class Traced(Running):
    """A server whose system calls are counted; `calls` has them by name once it was stopped."""

    def __init__(self, server):
        self.log = RESULTS / "strace.log"
        self.log.unlink(missing_ok=True)
        super().__init__(server, ["strace", "-f", "-c", "-o", self.log, "--"])

    def stop(self):
        super().stop(self.traced_pid())
        self.calls = parse_strace(self.log.read_text())
        if not self.calls:
            fail(f"strace counted nothing of {self.server.name}: see {self.log}")


def parse_strace(text):
    """The numbers of calls, by name, in the table that strace -c writes."""
    calls = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) in (5, 6) and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls


def system_calls(tree, server, requests, **options):
    """System calls of one whole run, by name."""
    with Traced(server) as running:
        run_load(tree, running, requests=requests, **options)
        running.stop()
    return running.calls


def write_json(name, report):
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    note(f"raw numbers: {path.relative_to(ROOT)}")


def table(head, rows):
    """A Markdown table with the first column left and the rest right aligned."""
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
