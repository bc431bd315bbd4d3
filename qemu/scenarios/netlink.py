# SPDX-License-Identifier: GPL-2.0
"""ctnetlink as programs use it: messages made by hand, and transcripts of what `conntrack` says."""

import difflib
import errno
import os
import re
import socket
import struct
import subprocess
from pathlib import Path

from scapy.layers.inet import GRE, ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import (
    SCTP,
    SCTPChunkCookieAck,
    SCTPChunkCookieEcho,
    SCTPChunkInit,
    SCTPChunkInitAck,
)
from scapy.packet import Raw

import world as w

TRANSCRIPTS = Path(__file__).resolve().parent / "transcripts"

# linux/netlink.h, linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
REQUEST, MULTI, ACK, EXCL, DUMP, CREATE = 1, 2, 4, 0x200, 0x300, 0x400
ERROR, DONE = 2, 3
NESTED = 1 << 15
CT, EXP = 1, 2
NEW, GET, DELETE, GET_CTRZERO, STATS_CPU, STATS, DYING, UNCONFIRMED = range(8)
EXP_NEW, EXP_GET, EXP_DELETE, EXP_STATS_CPU = range(4)


def attr(kind, value=b""):
    """An attribute; a list of attributes is nested."""
    if isinstance(value, list):
        kind, value = kind | NESTED, b"".join(value)
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def u8(kind, value):
    return attr(kind, struct.pack("B", value))


def be16(kind, value):
    return attr(kind, struct.pack("!H", value))


def be32(kind, value):
    return attr(kind, struct.pack("!I", value))


def flow(kind, src, dst, protocol, sport=None, dport=None, zone=None):
    """A tuple with ports."""
    six = ":" in src
    family = socket.AF_INET6 if six else socket.AF_INET
    addresses = [attr(k, socket.inet_pton(family, a)) for k, a in (((3, src), (4, dst)) if six else ((1, src), (2, dst)))]
    ports = [be16(k, port) for k, port in ((2, sport), (3, dport)) if port is not None]
    return attr(kind, [attr(1, addresses), attr(2, [u8(1, protocol), *ports])] + ([] if zone is None else [be16(3, zone)]))


def attributes(row):
    """The attributes of a row, as (number, value)."""
    found, at = [], 0
    while at + 4 <= len(row):
        size, kind = struct.unpack_from("=HH", row, at)
        if size < 4:
            break
        value = row[at + 4:at + size]
        found.append((kind & 0x3FFF, attributes(value) if kind & NESTED else value))
        at += size + 3 & ~3
    return found


class Error(Exception):
    """What the kernel refuses a request with."""

    def __init__(self, number, extended):
        super().__init__(errno.errorcode.get(number, number), extended)
        self.number = number
        self.extended = extended


class Socket:
    """A netlink socket of a namespace."""

    def __init__(self, namespace="firewall", extended=True):
        with w.inside(namespace):
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.bind((0, 0))
        self.socket.settimeout(30)
        self.seq = 0
        if extended:
            self.socket.setsockopt(270, 11, 1)  # NETLINK_EXT_ACK

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, subsystem, message, flags, *attrs, family=2, version=0):
        self.seq += 1
        body = struct.pack("=BBH", family, version, 0) + b"".join(attrs)
        head = struct.pack("=IHHII", 16 + len(body), subsystem << 8 | message, REQUEST | flags, self.seq, 0)
        self.socket.send(head + body)

    def messages(self, size=1 << 17):
        """The messages of a part of an answer, as (type, flags, bytes behind the header); lists come in parts of this size."""
        part, found = self.socket.recv(size), []
        while part:
            size, kind, flags, seq = struct.unpack_from("=IHHI", part)
            w.check_equal(seq, self.seq, "number of an answer")
            found.append((kind, flags, part[16:size]))
            part = part[size + 3 & ~3:]
        return found

    def ask(self, subsystem, message, flags, *attrs, **more):
        """A request, and all that comes of it: messages as (type, flags, nfgenmsg, attributes). A refusal is raised."""
        self.send(subsystem, message, flags, *attrs, **more)
        found = []
        while True:
            for kind, bits, body in self.messages():
                if kind in (ERROR, DONE):
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise Error(number, extended(bits, body) if kind == ERROR else [])
                    return found
                found.append((kind, bits, body[:4], attributes(body[4:])))
            # The one answer to one request ends it, unless it is to be acknowledged.
            if not flags & (DUMP | ACK):
                return found

    def outcome(self, *request, **more):
        """The same, but for a refusal, which is told by its name."""
        try:
            return self.ask(*request, **more)
        except Error as error:
            return error.args


def extended(flags, body):
    """An extended acknowledgement: its attributes, behind the header of the request that it quotes."""
    if not flags & 0x200:  # NLM_F_ACK_TLVS
        return []
    (size,) = struct.unpack_from("=I", body, 4)
    quoted = 16 if flags & 0x100 else size + 3 & ~3  # NLM_F_CAPPED
    return [(kind, bare(value)) for kind, value in attributes(body[4 + quoted:])]


def bare(value):
    return value.hex() if isinstance(value, bytes) else [(kind, bare(inner)) for kind, inner in value]


C, S = w.GHOST_CLIENT, w.GHOST_SERVER
C6, S6 = w.GHOST_CLIENT6, w.GHOST_SERVER6


def handshake(world, src, dst, sport, dport):
    """A TCP connection that is open, with windows that scale."""
    options = [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]

    def segment(src, dst, sport, dport, flags, seq, ack, options=()):
        return w.ip(src, dst) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack, window=8192, options=list(options))

    world.client.send(segment(src, dst, sport, dport, "S", 100, 0, options))
    world.server.send(segment(dst, src, dport, sport, "SA", 500, 101, options))
    world.client.send(segment(src, dst, sport, dport, "A", 101, 501))


# What is over soon, and shall not be over while a slow guest is being looked at.
SHORT = ("tcp_timeout_close", "tcp_timeout_syn_sent", "tcp_timeout_fin_wait", "udp_timeout", "icmp_timeout", "icmpv6_timeout",
         "gre_timeout", "sctp_timeout_closed")


def traffic(world):
    """A connection of every kind that there is, and states of them."""
    with w.inside("firewall"):
        for name in SHORT:
            Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}").write_text("600")
    client, server = world.client.send, world.server.send
    client(w.tcp(C, S, 1000, 80, "S"))
    handshake(world, C, S, 1001, 80)
    handshake(world, C, S, 1002, 443)
    server(w.tcp(S, C, 443, 1002, "FA", seq=501, ack=101))
    handshake(world, C, S, 1003, 22)
    client(w.tcp(C, S, 1003, 22, "RA", seq=101, ack=501))
    client(w.udp(C, S, 2000, 53))
    client(w.udp(C, S, 2001, 53))
    server(w.udp(S, C, 53, 2001))
    client(w.echo(C, S, 7))
    client(w.echo(C, S, 8))
    server(w.echo(S, C, 8, "echo-reply"))
    client(IP(src=C, dst=S) / ICMP(type=13, id=9, seq=1) / Raw(bytes(12)))
    # An association, and one that is only asked for.
    for port in (3000, 3001):
        client(IP(src=C, dst=S) / SCTP(sport=port, dport=9, tag=0) / SCTPChunkInit(init_tag=0x01020304))
    server(IP(src=S, dst=C) / SCTP(sport=9, dport=3001, tag=0x01020304) / SCTPChunkInitAck(init_tag=0x0a0b0c0d))
    client(IP(src=C, dst=S) / SCTP(sport=3001, dport=9, tag=0x0a0b0c0d) / SCTPChunkCookieEcho(cookie=b"cake"))
    server(IP(src=S, dst=C) / SCTP(sport=9, dport=3001, tag=0x01020304) / SCTPChunkCookieAck())
    client(IP(src=C, dst=S, proto=47) / GRE(proto=0x800) / IP(src=C, dst=S))
    client(IP(src=C, dst=S, proto=99) / Raw(b"x"))
    client(w.tcp(C6, S6, 1000, 80, "S"))
    handshake(world, C6, S6, 1001, 80)
    client(w.udp(C6, S6, 2000, 53))
    client(IPv6(src=C6, dst=S6) / ICMPv6EchoRequest(id=7))
    w.time.sleep(0.3)


# What is each tracker's own, or time's.
MASKS = [
    (r"^((?:\[\S+\]\s+)?(?:ipv[46]\s+\d+ )?\w+\s+\d+ )\d+ ", r"\1T "),
    (r"^(\d+) (l3proto|proto) ?=", r"T \2="),
    # ICMP has an id= of its own, behind its code.
    (r"(?<!code=\d )\bid=\d+", "id=N"),
    (r"<(id|timeout|deltatime)>\d+</", r"<\1>N</"),
    (r"<(start|stop)>.*?</", r"<\1>T</"),
    (r"(?<= -t )\d+", "T"),
    (r"delta-time=\d+", "delta-time=T"),
    (r"\[(start|stop)=[^]]*\]", r"[\1=T]"),
    (r"<when>.*?</when>", "<when>T</when>"),
]


def masked(line):
    """A line without what differs from run to run."""
    for pattern, by in MASKS:
        line = re.sub(pattern, by, line)
    return line.rstrip()


class Transcript:
    """What a session says, compared with what is known of it: as the stock tracker has said it."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.said = []
        self.numbers = {}

    def note(self, *lines):
        self.said += lines

    def numbered(self, lines):
        """Lines that come again and again: the first time with a number, then by it alone."""
        again = []
        for line in lines:
            if line in self.numbers:
                again.append(self.numbers[line])
            else:
                self.numbers[line] = len(self.numbers) + 1
                self.note(f"[{self.numbers[line]}] {line}")
        if again:
            self.note("again: " + " ".join(str(number) for number in sorted(again)))

    def run(self, command, order=sorted):
        """A command in the firewall, and what it says: its lines in an order of their own."""
        with w.inside("firewall"):
            done = subprocess.run(command, shell=True, capture_output=True, text=True)
        self.note(f"$ {command}")
        self.numbered(order(masked(line) for line in done.stdout.splitlines()))
        self.note(*(f"! {masked(line)}" for line in done.stderr.splitlines()))
        if done.returncode:
            self.note(f"! ends with {done.returncode}")

    def check(self):
        """Whether all of it is as it was."""
        file = TRANSCRIPTS / f"{self.name}.txt"
        known = file.read_text().splitlines() if file.exists() else []
        if new := os.environ.get("TRANSCRIPTS"):
            Path(new, file.name).write_text("".join(line + "\n" for line in self.said))
        differences = list(difflib.unified_diff(known, self.said, "known", "found", lineterm="", n=1))
        w.check(not differences, "\n".join(["the transcript is another:", *differences[:60]]))
