# SPDX-License-Identifier: GPL-2.0
"""Scripts that are always replayed: what once went wrong, with us or with others.

Each packet stands with the ctinfo that it must have ("-" is INVALID; "" is whatever stock says).
"""

import struct

import packets as p
import plan

CLIENT, SERVER = p.address("192.0.2.1"), p.address("198.51.100.9")
CLIENT6, SERVER6 = p.address("2001:db8::1"), p.address("2001:db8::9")
SPORT, DPORT = 40000, 80
NEW, OPEN, ANSWER, INVALID = "NEW", "ESTABLISHED", "ESTABLISHED_REPLY", "-"


def case(name, packets, *, settings=None, pause=100):
    steps = [packet if packet[0] == "sleep" else ("forward", packet[0], False) for packet in packets]
    expect = [packet[1] for packet in packets if packet[0] != "sleep"]
    return plan.Script(name, steps, settings or {}, pause, expect)


def from_text(name, settings, text):
    """As `make difftest` prints a script that differs."""
    return plan.Script(name, plan.from_text(text), settings, 100)


def tcp(reply, flags, seq, ack, **rest):
    ends, ports = ((SERVER, CLIENT), (DPORT, SPORT)) if reply else ((CLIENT, SERVER), (SPORT, DPORT))
    return p.ip(*ends, p.TCP, p.tcp(*ends, *ports, flags, seq, ack, **rest))


def handshake(client=1000, server=5000, **rest):
    return [(tcp(0, "S", client, 0, **rest), NEW), (tcp(1, "SA", server, client + 1, **rest), ANSWER),
            (tcp(0, "A", client + 1, server + 1), OPEN)]


def scale(bits):
    return b"\1\3\3" + bytes([bits])


def sctp(reply, tag, *chunks, raw=None, sport=SPORT):
    ends, ports = ((SERVER, CLIENT), (DPORT, sport)) if reply else ((CLIENT, SERVER), (sport, DPORT))
    body = p.sctp(*ports, tag, chunks) if raw is None else p.sctp_raw(*ports, tag, raw)
    return p.ip(*ends, p.SCTP, body)


def init(tag):
    return struct.pack("!IIHHI", tag, 65535, 1, 1, 1)


ASSOCIATION = [(sctp(0, 0, (1, 0, init(7))), NEW), (sctp(1, 7, (2, 0, init(9))), ANSWER),
               (sctp(0, 9, (10, 0, bytes(4))), OPEN), (sctp(1, 7, (11, 0, b"")), ANSWER)]


def udp(reply=0, six=False, size=8):
    client, server = (CLIENT6, SERVER6) if six else (CLIENT, SERVER)
    ends, ports = ((server, client), (53, SPORT)) if reply else ((client, server), (SPORT, 53))
    return p.ip(*ends, p.UDP, p.udp(*ends, *ports, bytes(size)))


def error(quoted, cut, kind, code):
    """An ICMP error that quotes so many bytes."""
    six = quoted[0] >> 4 == 6
    to = quoted[8:24] if six else quoted[12:16]
    by = p.address("2001:db8:9::1" if six else "203.0.113.7")
    return p.ip(by, to, p.ICMPV6 if six else p.ICMP, p.icmp(by, to, kind, code, data=quoted[:cut]))


def quotes(quoted, kind, code, least):
    """A datagram, and an error about it cut after each of its bytes."""
    return [(quoted, NEW), *((error(quoted, cut, kind, code), "RELATED_REPLY" if cut >= least else INVALID)
                             for cut in range(len(quoted) + 1))]


def behind_the_end(claimed):
    """An ICMPv6 message with an extension header that claims so many bytes."""
    message = p.icmp(CLIENT6, SERVER6, 128, 0, data=b"ping")
    extension = bytes([p.ICMPV6, claimed // 8 - 1, 1, 4, 0, 0, 0, 0])
    return p.ip(CLIENT6, SERVER6, p.ICMPV6, message, extensions=extension, first=60)


def options(raw):
    """A SYN with options, whatever they are, and an answer."""
    return [(tcp(0, "S", 1000, 0, options=raw), NEW), (tcp(1, "SA", 5000, 1001, options=raw), ANSWER),
            (tcp(0, "A", 1001, 5001), OPEN), (tcp(1, "A", 5001, 1001, options=raw), ANSWER)]


# The numbers are those of the table of faults that others have had.
CASES = [
    # CVE-2006-1527: a chunk without a length is the end of the way, not the beginning of a long one
    # (here others of less than 16 bytes lead to one).
    case("SCTP: lengths of chunks", [
        *ASSOCIATION, *((sctp(0, 9, raw=struct.pack("!BBH", 0, 3, length) + bytes(12)), OPEN if length >= 16 else INVALID)
                        for length in (0, 1, 2, 3, 4, 16, 17, 400, 65535)),
        (sctp(0, 9, raw=struct.pack("!BBH", 0, 3, 16) + bytes(12) + bytes(4)), INVALID)]),
    # CVE-2006-2934.
    case("SCTP: no chunk", [(sctp(0, 0, raw=b""), INVALID), (sctp(0, 0, raw=b"\1"), INVALID),
                            (sctp(0, 0, raw=b"\1\0\0"), INVALID), *ASSOCIATION, (sctp(0, 9, raw=b""), INVALID)]),
    # CVE-2007-2876: a first chunk of any type.
    case("SCTP: any chunk first", [packet for kind in range(256) for packet in (
        (sctp(0, 0, (kind, 0, init(7)), sport=1024 + kind), NEW if kind in (1, 2, 4, 5, 7, 8, 9, 10) else INVALID),
        (sctp(1, 7, (2, 0, init(9)), sport=1024 + kind), ""))]),
    # A path with tags of its own is set right by the answer to its heartbeat.
    case("SCTP: a heartbeat with another tag", [
        *ASSOCIATION, (sctp(0, 55, (4, 0, bytes(8))), OPEN), (sctp(1, 66, (5, 0, bytes(8))), ANSWER),
        (sctp(1, 7, (0, 3, bytes(12))), INVALID), (sctp(0, 55, (4, 0, bytes(8))), OPEN),
        (sctp(0, 55, (0, 3, bytes(12))), OPEN), (sctp(1, 66, (0, 3, bytes(12))), ANSWER)]),
    # Who has settled for a tag does not ask for another.
    case("SCTP: a late answer with another tag", [
        *ASSOCIATION, (sctp(1, 7, (2, 0, init(1234))), INVALID), (sctp(0, 9, (0, 3, bytes(12))), OPEN),
        (sctp(0, 1234, (0, 3, bytes(12))), INVALID)]),
    # CVE-2026-63913: a SYN that the other end would challenge does not make a wrong reset right.
    case("TCP: SYN, then a wrong reset", [
        *handshake(), (tcp(0, "S", 777777, 0), ""), (tcp(0, "R", 3333333, 0), INVALID),
        (tcp(0, "A", 1001, 5001, data=b"x"), OPEN), (tcp(1, "A", 5001, 1002), ANSWER)]),
    # c7aab4f17021: who uses a tuple anew has options of his own.
    case("TCP: used anew with another scale", [
        *handshake(options=scale(10)), (tcp(0, "FA", 1001, 5001), OPEN), (tcp(1, "FA", 5001, 1002), ANSWER),
        (tcp(0, "A", 1002, 5002), OPEN), ("sleep", 1000),
        *handshake(900000, 800000, options=scale(2), window=60000),
        *((tcp(0, "A", 900001 + at, 800001, data=bytes(1400), window=60000), OPEN) for at in range(0, 42000, 1400)),
        (tcp(1, "A", 800001, 900001 + 42000, window=60000), ANSWER)]),
    # A challenge (RFC 5961) of a stray SYN is not the last acknowledgement.
    case("TCP: a stray SYN in LAST_ACK", [
        *handshake(), (tcp(0, "FA", 1001, 5001), OPEN), (tcp(1, "A", 5001, 1002), ANSWER),
        (tcp(1, "FA", 5001, 1002), ANSWER), (tcp(0, "S", 55555, 0), ""), (tcp(1, "A", 5002, 1002), ANSWER),
        (tcp(0, "A", 1002, 5002), OPEN)]),
    # RFC 9293, 3.8.6.1: a closed window is probed with one byte, and perhaps with the next.
    case("TCP: a closed window", [
        *handshake(), (tcp(1, "A", 5001, 1001, window=0), ANSWER), (tcp(0, "A", 1001, 5001, data=b"x"), OPEN),
        (tcp(0, "A", 1002, 5001, data=b"x"), OPEN), (tcp(0, "A", 1003, 5001, data=b"x"), OPEN),
        (tcp(1, "A", 5001, 1002, window=0), ANSWER), (tcp(0, "A", 1002, 5001, data=b"x"), OPEN),
        (tcp(1, "A", 5001, 1003), ANSWER)]),
    case("TCP: a window that was never open", [
        (tcp(0, "S", 1000, 0), NEW), (tcp(1, "SA", 5000, 1001, window=0), ANSWER), (tcp(0, "A", 1001, 5001), OPEN),
        (tcp(0, "A", 1001, 5001, data=b"x"), OPEN), (tcp(0, "A", 1002, 5001, data=b"x"), OPEN),
        (tcp(0, "A", 1003, 5001, data=b"x"), INVALID)]),
    # CVE-2004-0626 and the like.
    *(case(f"TCP: options {raw.hex()}", options(raw)) for raw in (
        b"\3\0", b"\3\1", b"\3\xff", b"\2\4\5\xb4\1\1\1\3", b"\2\4\5\xb4\1\1\3\3", b"\4\1\1\1", b"\5\x0a" + bytes(8), b"\5\x0b" + bytes(10),
        b"\5\0\0\0", b"\x08\xff\1\1", b"\1" * 39 + b"\5", b"\xfe\2\3\3")),
    # A quote is believed where it reaches to the ports, and no earlier.
    case("ICMP: a quote cut after each byte", quotes(udp(), 3, 3, 24)),
    case("ICMPv6: a quote cut after each byte", quotes(udp(six=True), 1, 4, 44)),
    case("ICMP: errors about a stranger's datagram", [(udp(), NEW), (error(udp(reply=1), 28, 3, 3), "RELATED"),
                                                      (error(udp(size=1)[:12] + SERVER + CLIENT + udp()[20:], 28, 3, 3), INVALID)]),
    # CVE-2007-1497.
    case("IPv6: fragments of a new flow", [(part, "" if at < 3 else NEW) for at, part in
                                           enumerate(p.fragments(udp(six=True, size=100), [40, 40], 77), 1)]),
    # Our own: the machine stopped.
    case("ICMPv6: a message behind the packet's end", [
        *((behind_the_end(claimed), NEW if claimed == 8 else INVALID) for claimed in (8, 16, 24, 32, 256, 2048)),
    ]),
]
