#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A crowd that talks in coil's chat, all at once, and checks every line that it hears.

usage: demos/crowd.py ADDRESS PEOPLE LINES PID

PEOPLE clients connect to ADDRESS ("127.0.0.1:PORT"), say a nickname, and when all are there each
says LINES numbered lines. Each must hear every line of every other, in the order of whoever said
it. Then the server, process PID, gets SIGTERM, and each must read its last line and the end.

Prints one line of JSON with the numbers, and every difference on standard error. Exit status: 0
when there is none, 1 otherwise.
"""
import asyncio
import json
import os
import re
import signal
import sys
import time

TIMEOUT = 120
SAID = re.compile(rb"<p(\d+)> (\d+)\n")


class Person:
    """One client, number `me`; counts what it heard of each other one."""

    def __init__(self, me, people, lines):
        self.me, self.lines = me, lines
        self.left = (people - 1) * lines
        self.next = [0] * people
        self.wrong = 0

    async def enter(self, host, port):
        self.reader, self.writer = await asyncio.open_connection(host, port)
        self.writer.write(b"p%d\n" % self.me)
        await self.hear_until(b"* you are p%d\n" % self.me)

    async def hear_until(self, last):
        while (line := await self.reader.readline()) != last:
            if not line:
                raise EOFError(f"p{self.me}: ended before {last!r}")

    async def talk(self):
        self.writer.write(b"".join(b"%d\n" % number for number in range(self.lines)))
        await self.writer.drain()
        while self.left > 0:
            line = await self.reader.readline()
            if not line:
                raise EOFError(f"p{self.me}: ended {self.left} lines early")
            if match := SAID.fullmatch(line):
                speaker, number = int(match[1]), int(match[2])
                self.wrong += number != self.next[speaker]
                self.next[speaker] = number + 1
                self.left -= 1

    async def leave(self):
        await self.hear_until(b"* the server stops, goodbye\n")
        rest = await self.reader.read()
        self.wrong += bool(rest)
        self.writer.close()


async def run(address, people, lines, pid):
    host, port = address.rsplit(":", 1)
    crowd = [Person(number, people, lines) for number in range(people)]
    await asyncio.gather(*(person.enter(host, port) for person in crowd))
    start = time.monotonic()
    await asyncio.gather(*(person.talk() for person in crowd))
    seconds = time.monotonic() - start
    os.kill(pid, signal.SIGTERM)
    await asyncio.gather(*(person.leave() for person in crowd))
    heard = people * (people - 1) * lines
    print(json.dumps({"people": people, "heard": heard, "seconds": round(seconds, 2),
                      "wrong": sum(person.wrong for person in crowd)}))
    return any(person.wrong for person in crowd)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    address, numbers = sys.argv[1], map(int, sys.argv[2:])
    try:
        sys.exit(asyncio.run(asyncio.wait_for(run(address, *numbers), TIMEOUT)))
    except (OSError, EOFError, asyncio.TimeoutError) as failure:
        sys.exit(f"crowd: {failure!r}")


if __name__ == "__main__":
    main()
