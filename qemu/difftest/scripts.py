# SPDX-License-Identifier: GPL-2.0
"""Scripts of packets, by seed: conversations that could be, with what goes wrong on a network and
what an attacker makes of it.

A conversation is first written down as it should be, then lost, doubled, swapped and bent, then
mixed with others.
"""

import random
import struct

import packets as p
from plan import Script


# Distances from the right sequence number at which something may change.
NEAR = (-70000, -8193, -8192, -1460, -101, -100, -2, -1, 1, 2, 99, 100, 101, 1460, 8191, 8192, 8193, 65535, 65536,
        66000, 66001, 70000, 0x7FFFFFFF, 0x80000000, 0x80000001)
SLEEPS = (5, 100, 500, 990, 1000, 1100, 1990, 2000, 2100, 3000, 9900, 10100, 29000, 31000, 59000, 61000, 119000,
          121000, 301000, 599000, 601000)
MSS, SACK_OK, NOP = b"\2\4\5\xb4", b"\4\2", b"\1"
STAMP = b"\1\1\x08\x0a" + bytes(8)


# So many scripts are replayed in one namespace, each between hosts of its own.
GROUP = 50
# From this seed on there are millions, most of them without the time that costs time.
DENSE = 100000


# Settings of a group by its number: timeouts that tell every state, and the switches.
TELLING = {
    f"{name}": 1000 + 37 * at for at, name in enumerate((
        "generic_timeout", "tcp_timeout_syn_sent", "tcp_timeout_syn_recv", "tcp_timeout_established",
        "tcp_timeout_fin_wait", "tcp_timeout_close_wait", "tcp_timeout_last_ack", "tcp_timeout_time_wait",
        "tcp_timeout_close", "udp_timeout", "udp_timeout_stream", "icmp_timeout", "icmpv6_timeout",
        "sctp_timeout_closed", "sctp_timeout_cookie_wait", "sctp_timeout_cookie_echoed", "sctp_timeout_established",
        "sctp_timeout_shutdown_sent", "sctp_timeout_shutdown_recd", "sctp_timeout_shutdown_ack_sent",
        "sctp_timeout_heartbeat_sent", "gre_timeout", "gre_timeout_stream"))
} | {"tcp_timeout_max_retrans": 500, "tcp_timeout_unacknowledged": 600}
SETTINGS = (
    {}, TELLING, {}, TELLING | {"tcp_be_liberal": 1}, {}, TELLING | {"tcp_loose": 0}, {"tcp_max_retrans": 1},
    TELLING | {"tcp_ignore_invalid_rst": 1}, {"checksum": 0}, TELLING | {"tcp_max_retrans": 0},
)


def settings(seed):
    """What is set, by name, in the group that a seed begins."""
    return SETTINGS[seed // GROUP % len(SETTINGS)]


class Hosts:
    """A client and a server of one family."""

    def __init__(self, rng, place):
        self.six = rng.random() < 0.35
        if self.six:
            self.client, self.server = p.address(f"2001:db8:1:{place}::6"), p.address(f"2001:db8:2:{place}::9")
        else:
            self.client, self.server = p.address(f"192.168.{place}.6"), p.address(f"10.0.{place}.9")
        self.sport, self.dport = rng.choice((1024, 32775, 40000)), rng.choice((22, 53, 80, 4789))

    def ends(self, reply):
        return (self.server, self.client) if reply else (self.client, self.server)

    def ports(self, reply):
        return (self.dport, self.sport) if reply else (self.sport, self.dport)

    def packet(self, reply, protocol, payload, **fields):
        return p.ip(*self.ends(reply), protocol, payload, **fields)


class Segment:
    """A TCP segment that can still be bent."""

    def __init__(self, hosts, reply, flags, seq, ack, window, options=b"", size=0):
        self.hosts, self.reply, self.flags = hosts, reply, flags
        self.seq, self.ack, self.window, self.options, self.size = seq, ack, window, options, size
        self.wrong, self.offset, self.keep = False, None, None

    def bend(self, rng):
        kind = rng.randrange(12)
        if kind < 3:
            self.seq += rng.choice(NEAR)
        elif kind < 5:
            self.ack += rng.choice(NEAR)
        elif kind == 5:
            self.window = rng.choice((0, 1, 10, 500, 8192, 65535))
        elif kind == 6:
            self.flags = rng.choice(("S", "SA", "A", "FA", "R", "RA", "PA", "F", "", "SF", "SR", "SU", "AU", "FAU", "SAU", "SAE", "SEC"))
        elif kind == 7:
            self.flags = rng.randrange(256)
        elif kind == 8:
            self.options = some_options(rng, self)
        elif kind == 9:
            self.size = rng.choice((0, 1, 10, 100, 1000, 8000, 9000))
        elif kind == 10:
            which = rng.randrange(3)
            if which == 0:
                self.wrong = True
            elif which == 1:
                self.offset = rng.randrange(16)
            else:
                self.keep = rng.randrange(60)
        else:
            self.seq = rng.choice((0, 0xFFFFFFFF, rng.getrandbits(32)))

    def bytes(self):
        src, dst = self.hosts.ends(self.reply)
        body = p.tcp(src, dst, *self.hosts.ports(self.reply), self.flags, self.seq, self.ack, window=self.window,
                     options=self.options[:40], data=bytes(self.size), wrong=self.wrong, offset=self.offset)
        return p.ip(src, dst, p.TCP, body[:self.keep])


def some_options(rng, segment):
    kind = rng.randrange(9)
    if kind == 0:
        return b""
    if kind == 1:
        return MSS + SACK_OK + NOP + b"\3\3" + bytes([rng.randrange(20)]) + NOP
    if kind == 2:
        return STAMP
    if kind == 3:
        return rng.randbytes(rng.randrange(0, 41, 4))
    if kind == 4:
        return MSS + SACK_OK + NOP + NOP
    if kind == 5:
        return b"\3\3" + bytes([rng.choice((0, 1, 7, 14, 15, 255))]) + b"\0"
    # Blocks around what is acknowledged.
    blocks = rng.randrange(1, 4)
    edges = [(segment.ack + rng.choice((0, 1, 100, 1460, 8192, 65536, -100))) & 0xFFFFFFFF for _ in range(2 * blocks)]
    body = struct.pack(f"!{len(edges)}I", *edges)
    if kind == 6:
        return STAMP[:0] + NOP + NOP + bytes([5, 2 + len(body)]) + body
    return NOP + NOP + bytes([5, rng.choice((2 + len(body), 9, 6, 0, 34))]) + body


def syn_options(rng):
    return rng.choice((b"", b"", MSS, MSS + SACK_OK + STAMP + NOP + b"\3\3" + bytes([rng.choice((0, 2, 7, 14))]),
                       MSS + NOP + b"\3\3\7", MSS + SACK_OK + NOP + NOP))


def tcp_conversation(rng, hosts):
    """Segments of a connection from its beginning, or its middle, to one of its ends."""
    seq = [rng.choice((1000, 0xFFFFFF00, rng.getrandbits(32))) for _ in range(2)]
    window = [rng.choice((100, 1000, 8192, 65535)) for _ in range(2)]
    options = [syn_options(rng), syn_options(rng)]
    out = []

    def send(reply, flags, size=0, opts=b""):
        out.append(Segment(hosts, reply, flags, seq[reply], seq[1 - reply], window[reply], opts, size))
        seq[reply] += size + sum(flag in flags for flag in "SF")

    opening = rng.random()
    if opening < 0.75:
        send(0, "S", opts=options[0])
        out[-1].ack = rng.choice((0, 0, 0, 77))
        while rng.random() < 0.15:
            out.append(Segment(hosts, 0, "S", seq[0] - 1, 0, window[0], options[0]))
        send(1, "SA", opts=options[1])
        send(0, "A")
    elif opening < 0.85:
        # Simultaneous: the SYNs cross.
        out.append(Segment(hosts, 0, "S", seq[0], 0, window[0], options[0]))
        out.append(Segment(hosts, 1, "S", seq[1], 0, window[1], options[1]))
        seq[0] += 1
        seq[1] += 1
        out.append(Segment(hosts, 0, "SA", seq[0] - 1, seq[1], window[0], options[0]))
        out.append(Segment(hosts, 1, rng.choice(("SA", "A")), seq[1] - (out[-1].flags == "SA"), seq[0], window[1]))
    for _ in range(rng.randrange(6)):
        reply = rng.randrange(2)
        kind = rng.randrange(9)
        if kind == 8:
            # At the edges of the window that the other end has offered, scaled or not.
            far = (window[1 - reply] << rng.choice((0, 0, 0, 2, 7, 14))) + rng.choice((-1, 0, 1, 2))
            out.append(Segment(hosts, reply, "A", seq[reply] + far, seq[1 - reply], window[reply], size=rng.choice((0, 0, 1, 100))))
        elif kind == 0:
            # Keepalive, and its answer.
            out.append(Segment(hosts, reply, "A", seq[reply] - 1, seq[1 - reply], window[reply], size=rng.randrange(2)))
            send(1 - reply, "A")
        elif kind == 1:
            # A closed window, probed.
            out.append(Segment(hosts, reply, "A", seq[reply], seq[1 - reply], 0))
            out.append(Segment(hosts, 1 - reply, "A", seq[1 - reply], seq[reply], window[1 - reply], size=1))
            send(reply, "A")
        elif kind == 2:
            # The same acknowledgement again and again.
            for _ in range(rng.randrange(2, 6)):
                send(reply, "A")
        else:
            send(reply, rng.choice(("PA", "A")), size=min(rng.choice((1, 10, 100, 1000, 1460)), window[1 - reply]))
            if rng.random() < 0.7:
                send(1 - reply, "A")
    ending = rng.randrange(8)
    first = rng.randrange(2)
    if ending < 3:
        send(first, "FA")
        send(1 - first, "A")
        send(1 - first, "FA")
        send(first, "A")
    elif ending == 3:
        out.append(Segment(hosts, 0, "FA", seq[0], seq[1], window[0]))
        out.append(Segment(hosts, 1, "FA", seq[1], seq[0], window[1]))
        seq[0] += 1
        seq[1] += 1
        send(0, "A")
        send(1, "A")
    elif ending < 6:
        send(first, rng.choice(("R", "RA")))
        if rng.random() < 0.3:
            out[-1].seq += rng.choice((1, 5, 100))
            send(1 - first, "A")
            out.append(Segment(hosts, first, "R", seq[first], 0, 0))
    if rng.random() < 0.5:
        # The tuple is used again, or an end has lost its memory.
        seq = [rng.getrandbits(32), rng.getrandbits(32)]
        send(0, "S", opts=syn_options(rng))
        if rng.random() < 0.3 and len(out) > 1:
            # The other end asks with its old numbers.
            out.append(Segment(hosts, 1, "A", out[-2].ack, out[-2].seq, window[1]))
            out.append(Segment(hosts, 0, "R", out[-1].ack, 0, 0))
            out.append(Segment(hosts, 0, "S", seq[0] - 1, 0, window[0]))
        if rng.random() < 0.8:
            send(1, rng.choice(("SA", "SA", "RA")), opts=syn_options(rng))
            send(0, "A")
            send(0, "PA", size=10)
            send(1, "A")
    return out


def shuffled(rng, steps, bend):
    """What a network, and an attacker, make of a conversation."""
    rate = rng.choice((0, 0.02, 0.1, 0.3))
    out = []
    for step in steps:
        luck = rng.random()
        if luck < rate / 3:
            continue
        if luck < rate and bend:
            step = bend(rng, step)
        out.append(step)
        if luck > 1 - rate / 3:
            out.append(step)
        if luck > 1 - rate / 6 and len(out) > 1:
            at = rng.randrange(len(out) - 1)
            out[-1], out[at] = out[at], out[-1]
    return out


def tcp_flow(rng, hosts):
    def bend(rng, segment):
        bent = Segment(segment.hosts, segment.reply, segment.flags, segment.seq, segment.ack, segment.window,
                       segment.options, segment.size)
        for _ in range(rng.choice((1, 1, 1, 2))):
            bent.bend(rng)
        if rng.random() < 0.05:
            bent.reply = 1 - bent.reply
        return bent

    return [segment.bytes() for segment in shuffled(rng, tcp_conversation(rng, hosts), bend)]


def udp_flow(rng, hosts):
    out = []
    for _ in range(rng.randrange(1, 8)):
        reply = rng.random() < 0.4
        src, dst = hosts.ends(reply)
        size = rng.choice((0, 1, 20, 500))
        fields = {}
        luck = rng.random()
        if luck < 0.05:
            fields["wrong"] = True
        elif luck < 0.1:
            fields["none"] = True
        elif luck < 0.18:
            fields["length"] = rng.choice((0, 7, 8, 8 + size - 1, 8 + size + 1, 65535))
        datagram = p.udp(src, dst, *hosts.ports(reply), bytes(size), **fields)
        if rng.random() < 0.04:
            datagram = datagram[:rng.randrange(len(datagram))]
        out.append(p.ip(src, dst, p.UDP, datagram))
        if rng.random() < 0.3:
            out.append(("sleep", rng.choice(SLEEPS)))
    return out


def icmp_flow(rng, hosts):
    out = []
    requests, replies = ((128, 139), (129, 140)) if hosts.six else ((8, 13, 15, 17), (0, 14, 16, 18))
    which = rng.randrange(len(requests))
    for _ in range(rng.randrange(1, 6)):
        reply = rng.random() < 0.4
        src, dst = hosts.ends(reply)
        kind = (replies if reply else requests)[which]
        if rng.random() < 0.2:
            kind = rng.randrange(256) if rng.random() < 0.5 else rng.choice((*requests, *replies, 9, 10, 130, 133, 135, 137, 143))
        code = rng.choice((0, 0, 0, 0, 1, 255))
        rest = struct.pack("!HH", rng.choice((7, 7, 7, 8)), rng.randrange(4))
        message = p.icmp(src, dst, kind, code, rest, bytes(rng.randrange(40)), wrong=rng.random() < 0.04)
        if rng.random() < 0.04:
            message = message[:rng.randrange(len(message))]
        out.append(p.ip(src, dst, p.ICMPV6 if hosts.six else p.ICMP, message, ttl=rng.choice((64, 255))))
        if rng.random() < 0.2:
            out.append(("sleep", rng.choice(SLEEPS)))
    return out


def other_flow(rng, hosts):
    protocol = rng.choice((2, 4, 33, 41, 50, 51, 89, 99, 103, 136, 255, p.ICMPV6, p.ICMP))
    out = []
    for _ in range(rng.randrange(1, 5)):
        out.append(hosts.packet(rng.random() < 0.4, protocol, rng.randbytes(rng.randrange(30))))
        if rng.random() < 0.2:
            out.append(("sleep", rng.choice(SLEEPS)))
    return out


def gre_flow(rng, hosts):
    out = []
    for _ in range(rng.randrange(1, 5)):
        body = p.gre(rng.choice((0, 0, 1, 1, 2)), rng.choice((None, 5, 6)))
        if rng.random() < 0.1:
            body = body[:rng.randrange(len(body))]
        out.append(hosts.packet(rng.random() < 0.4, p.GRE, body))
        if rng.random() < 0.2:
            out.append(("sleep", rng.choice(SLEEPS)))
    return out


SCTP_DATA, SCTP_INIT, SCTP_INIT_ACK, SCTP_SACK, SCTP_HEARTBEAT, SCTP_HEARTBEAT_ACK, SCTP_ABORT = range(7)
SCTP_SHUTDOWN, SCTP_SHUTDOWN_ACK, SCTP_ERROR, SCTP_COOKIE_ECHO, SCTP_COOKIE_ACK, SCTP_COMPLETE = 7, 8, 9, 10, 11, 14


def sctp_flow(rng, hosts):
    tags = [rng.randrange(1, 1 << 32), rng.randrange(1, 1 << 32)]
    init = [struct.pack("!IIHHI", tag, 65535, 1, 1, 1) for tag in tags]
    plan = [(0, 0, SCTP_INIT, init[0]), (1, tags[0], SCTP_INIT_ACK, init[1]), (0, tags[1], SCTP_COOKIE_ECHO, bytes(4)),
            (1, tags[0], SCTP_COOKIE_ACK, b"")]
    if rng.random() < 0.1:
        plan = []
    for _ in range(rng.randrange(5)):
        reply = rng.randrange(2)
        plan.append((reply, tags[1 - reply], rng.choice((SCTP_DATA, SCTP_SACK, SCTP_HEARTBEAT, SCTP_HEARTBEAT_ACK, SCTP_ERROR)), bytes(12)))
    first = rng.randrange(2)
    if rng.random() < 0.6:
        plan += [(first, tags[1 - first], SCTP_SHUTDOWN, bytes(4)), (1 - first, tags[first], SCTP_SHUTDOWN_ACK, b""),
                 (first, tags[1 - first], SCTP_COMPLETE, b"")]
    elif rng.random() < 0.5:
        plan.append((first, tags[1 - first], SCTP_ABORT, b""))
    if rng.random() < 0.3:
        plan += plan[:rng.randrange(5)]

    def bend(rng, step):
        reply, tag, kind, value = step
        luck = rng.randrange(7)
        if luck == 0:
            tag = rng.choice((0, tag ^ 1, *tags))
        elif luck == 1:
            kind = rng.choice((*range(16), 63, 128, 192, 255))
        elif luck == 2:
            reply = 1 - reply
        elif luck == 3:
            value = init[rng.randrange(2)][:rng.choice((0, 3, 4, 12, 16))]
        elif luck == 4:
            return reply, tag, "wrong", (kind, value)
        elif luck == 5:
            return reply, tag, "length", (kind, value, rng.choice((0, 1, 2, 3, 4, 5, 400)))
        else:
            return reply, tag, "second", (kind, value, rng.randrange(16))
        return reply, tag, kind, value

    out = []
    for reply, tag, kind, value in shuffled(rng, plan, bend):
        flags = rng.choice((0, 0, 0, 1))
        ports = hosts.ports(reply)
        if kind == "wrong":
            body = p.sctp(*ports, tag, [(value[0], flags, value[1])], wrong=True)
        elif kind == "length":
            body = p.sctp_raw(*ports, tag, struct.pack("!BBH", value[0], flags, value[2]) + value[1])
        elif kind == "second":
            body = p.sctp(*ports, tag, [(value[0], flags, value[1]), (value[2], 0, bytes(4))])
        else:
            body = p.sctp(*ports, tag, [(kind, flags, value)])
        if rng.random() < 0.02:
            body = body[:rng.randrange(len(body))]
        out.append(hosts.packet(reply, p.SCTP, body))
        if rng.random() < 0.1:
            out.append(("sleep", rng.choice(SLEEPS)))
    return out


def icmp_error(rng, hosts, quoted):
    """An error about a packet, right or wrong in any of its parts."""
    head = 40 if hosts.six else (quoted[0] & 15) * 4
    src, dst = (quoted[8:24], quoted[24:40]) if hosts.six else (quoted[12:16], quoted[16:20])
    inner = bytearray(quoted[:head + rng.choice((0, 4, 7, 8, 8, 8, 8, 20, 100))])
    if rng.random() < 0.25:
        at = rng.randrange(len(inner))
        inner[at] ^= 1 << rng.randrange(8)
    to = src if rng.random() < 0.85 else rng.choice((dst, hosts.client, hosts.server))
    by = dst if rng.random() < 0.5 else p.address("2001:db8:9::1" if hosts.six else "172.16.0.1")
    if hosts.six:
        kind = rng.choice((1, 2, 3, 4, 1, 3, 127, 0, 100))
    else:
        kind = rng.choice((3, 3, 3, 4, 5, 11, 12))
    message = p.icmp(by, to, kind, rng.randrange(6), data=bytes(inner), wrong=rng.random() < 0.04)
    return p.ip(by, to, p.ICMPV6 if hosts.six else p.ICMP, message)


def neighbour(rng, hosts):
    """What keeps an IPv6 link going, and redirects."""
    src, dst = p.address(rng.choice(("fe80::1", "2001:db8:1::1"))), rng.choice((hosts.client, p.address("ff02::1")))
    kind = rng.choice((130, 131, 132, 133, 134, 135, 136, 137, 137, 137, 143, 148, 151, 153, 154, 155))
    option = bytes([4, rng.choice((0, 1, 8)), 0, 0, 0, 0, 0, 0]) + hosts.packet(0, p.UDP, p.udp(hosts.client, hosts.server, *hosts.ports(0)))
    message = p.icmp(src, dst, kind, rng.choice((0, 0, 1)), data=bytes(32) + option[:rng.choice((0, 2, 8, 48, 56, 99))])
    return p.ip(src, dst, p.ICMPV6, message, ttl=rng.choice((255, 255, 64)))


def with_extensions(rng, packet):
    """An IPv6 packet with extension headers."""
    kinds = [rng.choice((0, 43, 60, 44, 51)) for _ in range(rng.choice((1, 1, 2, 3, 12, 13)))]
    protocol = packet[6]
    out = b""
    for kind, following in zip(kinds, [*kinds[1:], rng.choice((protocol, protocol, protocol, 59))], strict=True):
        if kind == 44:
            out += struct.pack("!BBHI", following, 0, rng.choice((0, 0, 8)), 5)
        elif kind == 51:
            out += struct.pack("!BB", following, 1) + bytes(10)
        else:
            out += struct.pack("!BB", following, 0) + bytes([1, 4, 0, 0, 0, 0])
    return p.ip(packet[8:24], packet[24:40], protocol, packet[40:], extensions=out, first=kinds[0], ttl=packet[7])


FLOWS = ((tcp_flow, 10), (udp_flow, 3), (icmp_flow, 3), (sctp_flow, 4), (gre_flow, 1), (other_flow, 1))


def flow(rng, hosts):
    makers, weights = zip(*FLOWS, strict=True)
    out = []
    for packet in rng.choices(makers, weights)[0](rng, hosts):
        out.append(packet)
        if isinstance(packet, tuple):
            continue
        luck = rng.random()
        whole = len(packet) >= (40 if hosts.six else 20)
        if luck < 0.06 and whole:
            out.append(icmp_error(rng, hosts, packet))
        elif luck < 0.08 and hosts.six:
            out.append(neighbour(rng, hosts))
        elif luck < 0.10 and hosts.six and whole:
            out[-1] = with_extensions(rng, packet)
        elif luck < 0.13 and len(packet) > 60:
            out.pop()
            parts = p.fragments(packet, [8 * rng.randrange(1, 4) for _ in range(rng.randrange(1, 3))], rng.randrange(1, 9))
            luck = rng.random()
            if luck < 0.3:
                rng.shuffle(parts)
            elif luck < 0.4:
                parts.pop(rng.randrange(len(parts)))
            elif luck < 0.5:
                parts.append(rng.choice(parts))
            out += parts
        elif luck < 0.16:
            out.append(("sleep", rng.choice(SLEEPS)))
    return out


def mixed(rng, flows):
    """Flows as they come one between the other."""
    flows = [flow for flow in flows if flow]
    while flows:
        chosen = rng.choice(flows)
        yield chosen.pop(0)
        if not chosen:
            flows.remove(chosen)


def steps(seed):
    """The script of a seed."""
    rng = random.Random(seed)
    flows = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        flows.append(flow(rng, Hosts(rng, seed % GROUP)))
    way = rng.choice(("forward", "forward", "forward", "in", "out"))
    # Time costs time, if less than its own: few scripts wait, and those in few groups.
    waits = rng.random() < 0.3 and seed // GROUP % (20 if seed < DENSE else 1000) in (1, 4)
    out = []
    for step in mixed(rng, flows):
        if isinstance(step, tuple):
            if waits:
                out.append(step)
        else:
            out.append((way if rng.random() < 0.98 else rng.choice(("forward", "in", "out")), step, rng.random() < 0.03))
    return out


def from_seed(seed):
    # Enough time after each packet to tell whether it has set a timeout back.
    pause = 100 if seed < DENSE or seed // GROUP % 13 == 0 else 0
    return Script(f"seed {seed}", steps(seed), settings(seed) if seed % GROUP == 0 else None, pause)
