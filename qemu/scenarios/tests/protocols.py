# SPDX-License-Identifier: GPL-2.0
"""What each protocol's packets make of an entry, and of the rules' verdict."""

import socket

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
)
from scapy.packet import Raw

import seeds
import world as w
from rules import count_states, states

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
C6, S6 = w.GHOST_CLIENT6, w.GHOST_SERVER6


def test_countdown(tracker):
    """The time runs down, and a packet sets it back."""
    with w.World(tracker) as world:
        packet = w.udp(C, S, 1000, 2000)
        world.client.send(packet)
        first = w.left("sport=1000")[0]
        w.time.sleep(6)
        second = w.left("sport=1000")[0]
        w.check(first - second >= 5, f"from {first} to {second} in six seconds")
        world.client.send(packet)
        third = w.left("sport=1000")[0]
        w.check(second < third <= 30, f"from {second} to {third} by a packet")


def test_udp_stream(tracker):
    """Real sockets: a dialogue of more than two seconds is a stream."""
    with w.World(tracker) as world:
        server = world.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((w.SERVER, 9))
        client = world.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        client.connect((w.SERVER, 9))

        def exchange():
            client.send(b"?")
            _, who = server.recvfrom(10)
            server.sendto(b"!", who)
            client.recv(10)

        exchange()
        w.check(w.left("udp")[0] <= 30, "a stream at once")
        w.check_equal(world.lines("udp", "[ASSURED]"), [], "assured at once")
        w.time.sleep(2.5)
        exchange()
        w.check(w.left("udp", "[ASSURED]")[0] > 30, "no stream")


def test_icmp_queries(tracker):
    """Each kind of question has an entry with its answer; an answer alone is INVALID."""
    kinds = {1000: (8, 0), 1001: (13, 14), 1002: (15, 16), 1003: (17, 18)}
    with w.World(tracker) as world:
        count_states(world, "FORWARD")
        for ident, (ask, answer) in kinds.items():
            question = IP(src=C, dst=S) / ICMP(type=ask, id=ident, seq=1) / Raw(bytes(12))
            reply = IP(src=S, dst=C) / ICMP(type=answer, id=ident, seq=1) / Raw(bytes(12))
            line = (f"icmp 1 {{30}} src={C} dst={S} type={ask} code=0 id={ident} %s"
                    f"src={S} dst={C} type={answer} code=0 id={ident} use=1")
            world.server.send(reply)
            w.check_equal(world.lines(f"id={ident}"), [], f"entries by an answer of type {answer}")
            for port, packet, flag in ((world.client, question, "[UNREPLIED] "), (world.server, reply, "")):
                port.send(packet)
                lines = world.lines(f"id={ident}")
                w.check(len(lines) == 1 and w.same_line(line % flag, lines[0]), f"type {ask}: {lines}")
        w.check_equal(states(world, "FORWARD"), {"NEW": 4, "ESTABLISHED": 4, "INVALID": 4}, "packets")


def test_other_protocols(tracker):
    """Ten minutes for whatever has no tracker of its own; both ways are one entry."""
    with w.World(tracker) as world:
        for protocol in (2, 4, 50, 51, 99, 253):
            for port, src, dst, flag in ((world.client, C, S, "[UNREPLIED] "), (world.server, S, C, "")):
                port.send(IP(src=src, dst=dst, proto=protocol) / Raw(bytes(24)))
                line = f"unknown {protocol} {{600}} src={C} dst={S} {flag}src={S} dst={C} use=1"
                lines = world.lines("unknown", str(protocol))
                w.check(len(lines) == 1 and w.same_line(line, lines[0]), f"{protocol}: {lines}")


def test_beginnings_that_are_none(tracker):
    """Segments that no connection begins with, and headers that are broken, are INVALID."""
    flags = ("SA", "R", "RA", "SF", "SR", "", "FPU", "SFRPAU")
    packets = [w.tcp(C, S, port, 80, flag, 1, 1) for port, flag in enumerate(flags, 100)]
    packets += [
        IP(src=C, dst=S, proto=6) / Raw(bytes(10)),
        IP(src=C, dst=S) / TCP(sport=100, dport=2, flags="S", dataofs=4),
        IP(src=C, dst=S) / TCP(sport=100, dport=2, flags="S", chksum=1),
        IP(src=C, dst=S) / UDP(sport=100, dport=2, chksum=1) / Raw(b"xyz"),
        IP(src=C, dst=S) / UDP(sport=100, dport=2, len=4) / Raw(b"xyz"),
    ]
    with w.World(tracker) as world:
        count_states(world, "FORWARD")
        for packet in packets:
            world.client.send(packet)
        w.time.sleep(0.2)
        w.check_equal(states(world, "FORWARD"), {"INVALID": len(packets)}, "packets")
        w.check_equal(world.lines(f"src={C}"), [], "entries")


def test_both_open(tracker):
    """Two ends that open a connection at the same time."""
    with w.World(tracker) as world:
        world.client.send(w.tcp(C, S, 300, 80, "S", 100))
        w.time.sleep(0.1)
        world.server.send(w.tcp(S, C, 80, 300, "S", 500))
        (line,) = world.lines("sport=300")
        w.check(w.same_line(seeds.tcp_line("{120} SYN_SENT2", 300, 80), line), line)


def test_icmpv6(tracker):
    """A ping, and errors about a known and about an unknown flow."""
    flow, unknown = w.udp(C6, S6, 1000, 2000), w.udp(C6, S6, 1, 2)
    errors = (ICMPv6DestUnreach(code=0), ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=1280),
              ICMPv6TimeExceeded(code=0), ICMPv6ParamProblem(code=1))
    packets = [
        ("client", w.ip(C6, S6) / ICMPv6EchoRequest(id=5)),  # NEW
        ("server", w.ip(S6, C6) / ICMPv6EchoReply(id=5)),  # ESTABLISHED
        ("server", w.ip(S6, C6) / ICMPv6EchoReply(id=6)),  # INVALID
        ("client", flow),  # NEW
    ]
    for error in errors:
        # RELATED; INVALID as the flow is unknown; INVALID as the quoted ports are not there.
        for quoted in (bytes(flow)[:60], bytes(unknown)[:60], bytes(flow)[:43]):
            packets.append(("server", w.ip(S6, C6) / error / Raw(quoted)))
    with w.World(tracker) as world:
        count_states(world, "FORWARD", iptables="ip6tables-legacy")
        for end, packet in packets:
            getattr(world, end).send(packet)
            w.time.sleep(0.05)
        w.time.sleep(0.2)
        w.check_equal(states(world, "FORWARD", "ip6tables-legacy"),
                      {"NEW": 2, "ESTABLISHED": 1, "RELATED": 5, "INVALID": 11}, "packets")


def test_neighbour_discovery_is_untracked(tracker):
    """IPv6 cannot do without it: rules that drop INVALID must let it pass."""
    with w.World(tracker) as world:
        for chain, kind in (("OUTPUT", "neighbour-solicitation"), ("INPUT", "neighbour-advertisement")):
            for condition in ("! --ctstate UNTRACKED", "--ctstate UNTRACKED"):
                world.firewall(f"ip6tables-legacy -A {chain} -p icmpv6 --icmpv6-type {kind} -m conntrack {condition}")
        world.firewall(f"ip -6 neigh del {w.SERVER6} dev outer")
        world.firewall(f"ping -6 -c 1 -W 10 {w.SERVER6}")
        for chain in ("OUTPUT", "INPUT"):
            lines = world.firewall(f"ip6tables-legacy -L {chain} -v -n -x").splitlines()[2:]
            tracked, untracked = (int(line.split()[0]) for line in lines)
            w.check(tracked == 0 and untracked >= 1, f"{chain}: {tracked} tracked, {untracked} not")
