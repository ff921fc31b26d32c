# SPDX-License-Identifier: MIT
"""A demo that serves, running as a program, for the tests of such demos."""

import functools
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

TIMEOUT = 60
SCALES = (1, 2, 4, 8)
# Root may do everything, unless it gives up its capabilities.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []


class Server:
    """A running demo; `with Server(...) as server` ends it by SIGTERM and checks its status."""

    def __init__(self, program, *arguments, listen="127.0.0.1:0", prefix=(), **options):
        command = [*prefix, program, "--listen", listen, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        line = self.process.stdout.readline().decode()
        match = re.fullmatch(r"listening on (\S+)\n", line)
        if not match:
            raise AssertionError(f"{line!r}: {self.process.communicate(timeout=TIMEOUT)}")
        self.address = match[1]
        self.is_stopping = False

    def stop(self):
        """Sends SIGTERM, once: a second one would cut the graceful stop short."""
        if not self.is_stopping:
            self.process.send_signal(signal.SIGTERM)
        self.is_stopping = True

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.stop()
        try:
            _, errors = self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        if kind is None and (self.process.returncode != 0 or errors):
            raise AssertionError(f"status {self.process.returncode}: {errors.decode()}")

    def connect(self):
        if self.address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(TIMEOUT)
            connection.connect(self.address[5:])
            return connection
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT)

    def cpu_seconds(self):
        """User and system time so far."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def retried(failure=Exception):
    """Decorates a test that fails by `failure` also when somebody stands still at a bad moment.

    It takes a scale, by which it multiplies the times that it can set, and is tried with twice the
    scale until it passes. A fault fails at every scale. What hangs does so again: that is final.
    """
    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for scale in SCALES:
                try:
                    return test(self, scale)
                except (TimeoutError, subprocess.TimeoutExpired):
                    raise
                except failure as what:  # pylint: disable=broad-except
                    if scale == SCALES[-1]:
                        raise
                    print(f"{self.id()}: again, since {what!r}", file=sys.stderr)
        return run
    return decorate


def read_to_end(connection):
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(connection, size):
    pieces = []
    while size > 0:
        piece = connection.recv(min(size, 65536))
        if not piece:
            raise AssertionError(f"ended {size} bytes early")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
