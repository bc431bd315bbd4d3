# SPDX-License-Identifier: GPL-2.0
"""What a tracker made of packets, and when two have made the same of them."""

import socket
import struct
import sys
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import plan

sys.path.append(str(Path(__file__).resolve().parent.parent))
import differences  # noqa: E402

RESULT = struct.Struct("=BBBBIIi40s40s")
CTINFO = {0: "ESTABLISHED", 1: "RELATED", 2: "NEW", 3: "ESTABLISHED_REPLY", 4: "RELATED_REPLY", 7: "UNTRACKED", 255: "-"}
VERDICT = ("pass", "drop", "stolen")
# The clocks of two runs may be so many milliseconds apart, and so many seconds at the end of a namespace.
TOLERANCE = 60
LIST_TOLERANCE = 2


class Result(NamedTuple):
    """Of one packet. The ctinfo "-" is that of a packet without a connection: INVALID."""
    first: str
    last: str
    ctinfo: str
    last_ctinfo: str
    status: int
    last_status: int
    # Milliseconds.
    left: int
    original: bytes
    reply: bytes

    @classmethod
    def unpack(cls, raw):
        first, last, ctinfo, last_ctinfo, *rest = RESULT.unpack(raw)
        return cls(VERDICT[first], VERDICT[last], CTINFO[ctinfo], CTINFO[last_ctinfo], *rest)

    def __str__(self):
        return (f"{self.first}/{self.last} {self.ctinfo}/{self.last_ctinfo} status {self.status:x}/{self.last_status:x} "
                f"left {self.left / 1000:.1f} s {tuple_text(self.original)} {tuple_text(self.reply)}")


def tuple_text(raw):
    src, sid, family, dst, did, protocol, _ = struct.unpack("=16s2sH16s2sBB", raw)
    if family not in (2, 10):
        return "-"
    size, kind = (4, socket.AF_INET) if family == 2 else (16, socket.AF_INET6)
    sid, did = (int.from_bytes(x, "big") for x in (sid, did))
    return f"{protocol} {socket.inet_ntop(kind, src[:size])}:{sid}>{socket.inet_ntop(kind, dst[:size])}:{did}"


def unpack(raw):
    return [Result.unpack(part) for part in parts(raw)]


def parts(raw):
    return [raw[at:at + RESULT.size] for at in range(0, len(raw), RESULT.size)]


def same(stock, ours):
    return stock[:6] == ours[:6] and stock[7:] == ours[7:] and abs(stock.left - ours.left) <= TOLERANCE


def differences_of(script, stock, ours):
    """Each packet of a script of which the trackers made different things: its number, and the reason
    if that is on purpose."""
    stock, ours, packets = parts(stock), parts(ours), script.packets()
    for at, (packet, one, other) in enumerate(zip(packets, stock, ours, strict=False)):
        if one == other:
            continue
        one, other = Result.unpack(one), Result.unpack(other)
        if not same(one, other):
            yield at, next((reason.__name__ for reason in differences.OF_PACKETS if reason(packet, one, other)), None)
    if not len(stock) == len(ours) == len(packets):
        yield min(len(stock), len(ours)), None


def first_difference(script, stock, ours):
    """The number of the first packet that differs without a reason; `None` if there is none."""
    return next((at for at, reason in differences_of(script, stock, ours) if not reason), None)


def list_lines(raw):
    """A list of connections as pairs of text and seconds left, in an order of its own."""
    out = []
    for line in raw.decode().splitlines():
        words = line.split()
        out.append((" ".join(words[:4] + words[5:]), int(words[4])))
    return sorted(out)


def lists_differ(stock, ours):
    """The lines in which two lists of connections differ."""
    stock, ours = list_lines(stock), list_lines(ours)
    if len(stock) == len(ours) and all(a[0] == b[0] and abs(a[1] - b[1]) <= LIST_TOLERANCE
                                       for a, b in zip(stock, ours, strict=True)):
        return []
    return sorted(set(stock) ^ set(ours))


def by_namespace(source, stock, ours):
    """The scripts of each namespace with what stock and ours made of them, and the lines in which
    their lists of connections differ at its end."""
    stock, ours = plan.blocks(stock), plan.blocks(ours)
    scripts = []
    for script in plan.read(source):
        if script.settings is not None and scripts:
            yield scripts, lists_differ(next(stock), next(ours))
            scripts = []
        scripts.append((script, *islice(stock, 1), *islice(ours, 1)))
    if scripts:
        yield scripts, lists_differ(next(stock), next(ours))
