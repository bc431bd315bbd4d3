# SPDX-License-Identifier: GPL-2.0
"""What is replayed: scripts, and the file that they are in.

A script is a list of steps: `(way, packet, blocked)` or `("sleep", milliseconds)`. The file holds for
each script a block of JSON and one of requests, as /proc/ip_conntrack_replay takes them; so are
the results blocks. A block begins with its length.
"""

import json
import struct
from typing import NamedTuple

WAYS = {"forward": 0, "out": 1, "in": 2, "sleep": 3}
NAMES = {number: way for way, number in WAYS.items()}
BLOCKED = 0x80
REQUEST = struct.Struct("=HBBI")


class Script(NamedTuple):
    name: str
    steps: list
    # What is set in the namespace that it begins; None: it goes on in the one before.
    settings: dict | None = None
    # Milliseconds that pass after each packet.
    pause: int = 0
    # What the packets must be: names of ctinfo, "-" for INVALID, "" for whatever stock says.
    expect: list | None = None

    def packets(self):
        return [step[1] for step in self.steps if step[0] != "sleep"]


def block(out, data):
    out.write(struct.pack("=I", len(data)) + data)


def blocks(path):
    with open(path, "rb") as file:
        while head := file.read(4):
            yield file.read(struct.unpack("=I", head)[0])


def encode(script):
    """Its requests."""
    out = []
    for step in script.steps:
        if step[0] == "sleep":
            out.append(REQUEST.pack(0, WAYS["sleep"], 0, step[1]))
        else:
            way, packet, blocked = step
            out.append(REQUEST.pack(len(packet), WAYS[way] | (BLOCKED if blocked else 0), 0, script.pause) + packet)
    return b"".join(out)


def decode(requests):
    """The steps of requests."""
    steps, at = [], 0
    while at < len(requests):
        size, way, _, milliseconds = REQUEST.unpack_from(requests, at)
        at += REQUEST.size
        name = NAMES[way & ~BLOCKED]
        steps.append((name, milliseconds) if name == "sleep" else (name, requests[at:at + size], bool(way & BLOCKED)))
        at += size
    return steps


def write(path, scripts):
    """Returns how many packets there are."""
    packets = 0
    with open(path, "wb") as out:
        for script in scripts:
            block(out, json.dumps(script._replace(steps=None)._asdict()).encode())
            block(out, encode(script))
            packets += len(script.packets())
    return packets


def raw(path):
    """Settings and requests of each script: what a replay needs."""
    parts = blocks(path)
    for head in parts:
        yield json.loads(head)["settings"], next(parts)


def read(path):
    parts = blocks(path)
    for head in parts:
        yield Script(**json.loads(head) | {"steps": decode(next(parts))})


def to_text(steps):
    """A script as text, a line a step."""
    return "".join(f"sleep {step[1]}\n" if step[0] == "sleep" else f"{step[0]}{' blocked' if step[2] else ''} {step[1].hex()}\n"
                   for step in steps)


def from_text(text):
    steps = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "sleep":
            steps.append(("sleep", int(words[1])))
        else:
            steps.append((words[0], bytes.fromhex(words[-1]), "blocked" in words))
    return steps
