# SPDX-License-Identifier: MIT
"""bench/run http: what a small HTTP reply costs httpd, beside nginx.

Both answer GET / with the 13 bytes "Hello, World!" and keep connections open; each is one thread on
the first core, the load (wrk) is one on the last. In each round both get one slice, freshly
started, in turns. The cost is CPU time of the server's process per request; the ratio is httpd's
slice by nginx's of the same round. Beside it how many replies to 16 pipelined requests share a
segment on the wire.
"""

import argparse
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time

import harness
import stats

GREETING = b"Hello, World!"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
NGINX = harness.ROOT / ".build" / "packages" / "nginx" / "usr" / "sbin" / "nginx"
START_TIMEOUT = 10
DEPTH = 16
BURSTS = 200
DATA_SEGMENTS_IN = 152  # offset of tcpi_data_segs_in in struct tcp_info
UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}

# One worker and no master: one process whose account is the server's. Everything lies in a
# directory of its own; nothing is logged.
NGINX_CONF = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port};
        location = / {{ return 200 "Hello, World!"; }}
    }}
}}
"""

# wrk counts each reply of a pipelined batch as a request.
PIPELINE_LUA = """
init = function(args)
    local one = wrk.format("GET", "/")
    batch = string.rep(one, {depth})
end
request = function() return batch end
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RunningNginx(harness.Running):
    """nginx says nothing when it listens: its port is chosen here and tried until it answers."""

    def start(self):
        directory = harness.RESULTS / "nginx"
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        conf = directory / "nginx.conf"
        conf.write_text(NGINX_CONF.format(directory=directory, port=port))
        self.spawn([NGINX, "-p", directory, "-c", conf])
        self.address = f"127.0.0.1:{port}"
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                connect(self).close()
                return
            except ConnectionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    harness.fail("nginx does not start")
                time.sleep(0.01)


def servers(tree):
    """How each server is started: a class and its row."""
    httpd = harness.Server("httpd", [tree / "demos" / "httpd", "--listen", "127.0.0.1:0"])
    return {
        "httpd": lambda: harness.Running(httpd),
        "nginx": lambda: RunningNginx(harness.Server("nginx", [NGINX])),
    }


def parse(argv):
    def numbers(text):
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(prog="bench/run http", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s: a smoke test")
    parser.add_argument("--connections", type=numbers, default=[64], metavar="N,...")
    parser.add_argument("--pipeline", type=numbers, default=[1, DEPTH], metavar="DEPTH,...")
    parser.add_argument("--rounds", type=int, default=11, help="rounds per cell (default 11)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a slice")
    parser.add_argument("--tree", metavar="DIR", help="use this build tree as it is")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds = 3, 1
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds must be positive")
    return options


# ---- Talking to a server ----


def connect(running):
    host, port = running.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def receive(connection, count):
    """`count` replies, as the bytes that came."""
    received = b""
    while received.count(GREETING) < count or not received.endswith(GREETING):
        piece = connection.recv(65536)
        if not piece:
            harness.fail("the server closed a connection")
        received += piece
    return received


def check(running):
    """That the server really serves what is measured. Returns the bytes of a reply."""
    with connect(running) as connection:
        connection.sendall(REQUEST)
        reply = receive(connection, 1)
    if not reply.startswith(b"HTTP/1.1 200 OK\r\n") or b"Content-Length: 13\r\n" not in reply:
        harness.fail(f"{running.server.name} answers {reply!r}")
    return len(reply)


def segments_per_burst(running):
    """Segments with data that bring the replies to DEPTH requests sent at once."""
    with connect(running) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(BURSTS):
            connection.sendall(REQUEST * DEPTH)
            receive(connection, DEPTH)
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[DATA_SEGMENTS_IN:][:4], sys.byteorder) / BURSTS


# ---- Slices ----


def cpu_account(pid):
    """Nanoseconds on a core, and ready but waiting for one, of a process."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return harness.cpu_ns(pid), sum(int(path.read_text().split()[1]) for path in tasks)


def run_wrk(running, seconds, connections, pipeline):
    command = ["taskset", "-c", str(harness.LOAD_CPU), "wrk", "--threads", "1", "--latency"]
    command += ["--connections", str(connections), "--duration", f"{seconds}s"]
    if pipeline > 1:
        script = harness.RESULTS / "pipeline.lua"
        script.write_text(PIPELINE_LUA.format(depth=pipeline))
        command += ["--script", str(script)]
    command.append(f"http://{running.address}/")
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^ +(\d+) requests in ([\d.]+)s", done.stdout, re.MULTILINE)
    if done.returncode or not found or re.search(r"Non-2xx|Socket errors", done.stdout):
        harness.fail(f"wrk against {running.server.name}: {done.stdout}{done.stderr}")
    result = {"requests": int(found[1]), "seconds": float(found[2])}
    for percent in (50, 99):
        found = re.search(rf"^ +{percent}% +([\d.]+)(us|ms|s|m)$", done.stdout, re.MULTILINE)
        if not found:
            harness.fail(f"wrk says no latency of {percent} %: {done.stdout}")
        result[f"p{percent}_us"] = float(found[1]) * UNITS[found[2]]
    return result


def measure_slice(start, cell, options):
    with start() as running:
        size = check(running)
        run_wrk(running, 1, **cell)
        before, waited_before = cpu_account(running.pid)
        result = run_wrk(running, options.seconds, **cell)
        after, waited_after = cpu_account(running.pid)
        running.stop()
    result["reply_bytes"] = size
    result["ns_per_request"] = (after - before) / result["requests"]
    result["throughput"] = result["requests"] / result["seconds"]
    result["disturbed"] = (waited_after - waited_before) / 1e9 / result["seconds"]
    return result


def measure_cell(table, cell, options):
    slices = {name: [] for name in table}
    names = list(table)
    for number in range(options.rounds):
        harness.note(f"{describe(cell)}: round {number + 1} of {options.rounds}")
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            slices[name].append(measure_slice(table[name], cell, options))
    return slices


def describe(cell):
    text = f"{cell['connections']} connections"
    return text + (f", pipeline {cell['pipeline']}" if cell["pipeline"] > 1 else "")


def ratio(slices, name, key):
    return stats.ratio_interval(*([one[key] for one in slices[who]] for who in (name, "nginx")))


def latency(cell, value):
    """wrk takes the latency of a batch apart wrongly: none is reported then."""
    return f"{value:,.0f}" if cell["pipeline"] == 1 else "-"


def report_cell(cell, slices):
    rows = []
    for name, taken in slices.items():
        middle, low, high = ratio(slices, name, "ns_per_request")
        median = {key: statistics.median(one[key] for one in taken) for key in taken[0]}
        rows.append(
            [
                name + (" = 1.00" if name == "nginx" else ""),
                f"{median['ns_per_request']:,.0f}",
                f"{middle:.3f}",
                f"{low:.3f}-{high:.3f}",
                f"{median['throughput'] / 1000:,.0f}",
                f"{median['reply_bytes']:.0f}",
                *(latency(cell, median[key]) for key in ("p50_us", "p99_us")),
            ]
        )
    head = ["server", "CPU ns/request", "ratio", "95 %", "1000/s", "bytes", "p50 us", "p99 us"]
    rounds = len(slices["nginx"])
    print(f"\n### http {describe(cell)} ({rounds} rounds)\n\n{harness.table(head, rows)}\n")
    disturbed = statistics.mean(one["disturbed"] for taken in slices.values() for one in taken)
    if disturbed > harness.DISTURBED_LIMIT:
        print(f"- disturbed: the servers waited for their core {disturbed:.0%} of the time")
    return {"cell": cell, "slices": slices}


def report_segments(table):
    segments = {}
    for name, start in table.items():
        with start() as running:
            segments[name] = segments_per_burst(running)
            running.stop()
    print(f"\n### http segments for the replies to {DEPTH} pipelined requests\n")
    for name, count in segments.items():
        print(f"- {name}: {count:.2f}")
    verdict = stats.verdict(segments["httpd"], segments["httpd"], 1.01)
    print(f"- httpd answers {DEPTH} requests in one send: **{verdict}**")
    return segments


def main(argv=None):
    options = parse(argv)
    harness.prepare()
    tree = harness.ROOT / options.tree if options.tree else harness.build()
    if not NGINX.exists():
        harness.fail(f"{NGINX.relative_to(harness.ROOT)} is missing: start this by bench/run http")
    table = servers(tree)
    report = harness.machine()
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr.strip()
    report["nginx"] = version.split("/")[-1]
    print(f"{report['date']}, {report['machine']}, nginx {report['nginx']}")
    report["segments"] = report_segments(table)
    report["cells"] = []
    for connections in options.connections:
        for pipeline in options.pipeline:
            cell = {"connections": connections, "pipeline": pipeline}
            report["cells"].append(report_cell(cell, measure_cell(table, cell, options)))
    harness.write_json("http", report)


if __name__ == "__main__":
    main()
