#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests bench/harness.py: what it starts ends with it, and accounts are those of the kernel.

usage: tests/bench/test_harness.py
"""
import os
import pathlib
import select
import signal
import subprocess
import sys
import textwrap
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import harness

SHELL = ["/bin/sh", "-c"]
SERVES = "echo listening on 127.0.0.1:1; "
# Says that it serves, then where its own child is, as a server under a tracer is one.
TRACES = SERVES + "sleep 1000 & echo $!; wait"


def server(script):
    return harness.Server("a server", [*SHELL, script])


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def until_gone(pid):
    """Whether the process ends; a process that was killed still needs a moment for it."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if select.select([process], [], [], 20)[0]:
            return True
        os.kill(pid, signal.SIGKILL)
        return False
    finally:
        os.close(process)


class Running(unittest.TestCase):
    def test_knows_the_address_with_and_without_a_scheme(self):
        for text in ("127.0.0.1:80", "tcp:127.0.0.1:80"):
            with harness.Running(server(f"echo listening on {text}; sleep 1000")) as running:
                self.assertEqual(running.address, "127.0.0.1:80")

    def test_fails_when_the_server_says_something_else(self):
        with self.assertRaises(SystemExit):
            with harness.Running(server("echo hello; sleep 1000")):
                pass

    def test_leaves_no_server_that_said_something_else(self):
        running = harness.Running(server("echo hello; sleep 1000"))
        with self.assertRaises(SystemExit):
            running.__enter__()

        self.assertIsNotNone(running.process.returncode)

    def test_leaves_nothing_when_the_measurement_fails(self):
        with self.assertRaises(ZeroDivisionError):
            with harness.Running(server(TRACES)) as running:
                child = int(running.process.stdout.readline())
                1 / 0

        self.assertTrue(until_gone(child))
        self.assertFalse(is_alive(running.pid))

    def test_fails_when_the_server_does_not_end_well(self):
        script = "trap 'exit 3' TERM; " + SERVES + "while :; do sleep 0.01; done"
        with self.assertRaisesRegex(SystemExit, "status 3"):
            with harness.Running(server(script)) as running:
                running.stop()


class Interruption(unittest.TestCase):
    def test_of_the_benchmark_ends_its_server(self):
        script = textwrap.dedent(f"""
            import sys
            sys.path.insert(0, {str(BENCH)!r})
            import harness
            harness.prepare()
            with harness.Running(harness.Server("a server", {[*SHELL, TRACES]!r})) as running:
                print(running.pid, running.process.stdout.readline(), flush=True)
                running.process.wait()
            """)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            bench = subprocess.Popen([sys.executable, "-B", "-c", script], text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            with self.subTest(number=number), bench:
                pid, child = (int(word) for word in bench.stdout.readline().split())
                bench.send_signal(number)

                self.assertNotEqual(bench.wait(timeout=20), 0)
                self.assertTrue(until_gone(pid))
                if number != signal.SIGKILL:
                    self.assertTrue(until_gone(child))
                else:
                    os.kill(child, signal.SIGKILL)


class Program(unittest.TestCase):
    def test_gives_its_json_and_its_account(self):
        taken, (ran, waited) = harness.run_program([*SHELL, 'echo "{\\"a\\": [1, 2]}"'])

        self.assertEqual(taken, {"a": [1, 2]})
        self.assertGreater(ran, 0)
        self.assertGreaterEqual(waited, 0)

    def test_that_fails_ends_the_benchmark(self):
        for script, reason in (("echo no >&2; exit 1", "no"), ("kill -9 $$", "-9"),
                               ("echo {", "printed")):
            with self.assertRaisesRegex(SystemExit, reason):
                harness.run_program([*SHELL, script])

    def test_that_is_not_there_ends_the_benchmark_and_is_named(self):
        with self.assertRaisesRegex(SystemExit, "/no/such/program cannot be started"):
            harness.run_program(["/no/such/program", "--only", "case"])

    def test_runs_on_the_first_core(self):
        show = "import json, os; print(json.dumps(sorted(os.sched_getaffinity(0))))"

        self.assertEqual(harness.run_program([sys.executable, "-c", show])[0],
                         [harness.SERVER_CPU])


class CpuTime(unittest.TestCase):
    def test_of_a_process_counts_threads_that_have_ended(self):
        script = textwrap.dedent("""
            import threading, time
            worker = threading.Thread(target=lambda: sum(range(3_000_000)))
            worker.start()
            worker.join()
            print(time.process_time_ns(), flush=True)
            input()
            """)
        with subprocess.Popen([sys.executable, "-c", script], text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            own = int(process.stdout.readline())
            seen = harness.cpu_ns(process.pid)
            process.communicate("\n")

        self.assertGreaterEqual(seen, own)
        self.assertLess(seen - own, 100_000_000)


class Strace(unittest.TestCase):
    def test_table_is_read_with_and_without_errors(self):
        table = textwrap.dedent("""\
            % time     seconds  usecs/call     calls    errors syscall
            ------ ----------- ----------- --------- --------- ----------------
             60.00    0.000300           3       100           io_uring_enter
             40.00    0.000200           2        90        10 accept4
            ------ ----------- ----------- --------- --------- ----------------
            100.00    0.000500           2       190        10 total
            """)

        self.assertEqual(harness.parse_strace(table), {"io_uring_enter": 100, "accept4": 90})

    def test_of_something_else_counts_nothing(self):
        self.assertEqual(harness.parse_strace("strace: No such file\n"), {})


class Environment(unittest.TestCase):
    def test_has_no_switches_of_coil(self):
        script = (f"import sys; sys.path.insert(0, {str(BENCH)!r})\n"
                  "import harness, os; harness.prepare()\n"
                  "print([name for name in os.environ if name.startswith('COIL_')])")
        environment = dict(os.environ, COIL_URING_SIZE="2,4,4")
        done = subprocess.run([sys.executable, "-B", "-c", script], env=environment, text=True,
                              capture_output=True)

        self.assertEqual(done.stdout, "[]\n")
        self.assertIn("COIL_URING_SIZE", done.stderr)


if __name__ == "__main__":
    unittest.main()
