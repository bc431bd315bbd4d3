# SPDX-License-Identifier: GPL-2.0
"""ICMP errors: related to the flow that they quote, or invalid."""

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

import seeds
import world as w

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
KINDS = {
    "network unreachable": {"type": 3, "code": 0},
    "host unreachable": {"type": 3, "code": 1},
    "protocol unreachable": {"type": 3, "code": 2},
    "port unreachable": {"type": 3, "code": 3},
    "fragmentation needed": {"type": 3, "code": 4},
    "source quench": {"type": 4, "code": 0},
    "redirect": {"type": 5, "code": 1},
    "time exceeded": {"type": 11, "code": 0},
    "parameter problem": {"type": 12, "code": 0},
}


def judge(world, packet):
    """What rules say of a packet from the server."""
    before = seeds.counters(world)
    world.server.send(packet)
    w.time.sleep(0.05)
    after = seeds.counters(world)
    return [rule for rule in after if after[rule] != before[rule]]


def test_every_type(tracker):
    flow, unknown = w.udp(C, S, 1000, 2000), w.udp(C, S, 1, 2)
    with w.World(tracker) as world:
        seeds.set_firewall(world)
        world.client.send(flow)
        w.time.sleep(0.1)
        for name, fields in KINDS.items():
            head = IP(src=S, dst=C) / ICMP(**fields)
            # A redirect from another host is not forwarded unless rules let it through; what
            # counts is what they call it.
            w.check_equal(judge(world, head / Raw(bytes(flow)[:28])), ["ESTABLISHED,RELATED"], name)
            w.check_equal(judge(world, head / Raw(bytes(unknown)[:28])), ["INVALID"], f"{name}, unknown")


def test_every_way_to_be_wrong(tracker):
    flow = bytes(w.udp(C, S, 1000, 2000))
    head = IP(src=S, dst=C) / ICMP(type=3, code=3)
    fragment = bytes(IP(src=C, dst=S, proto=17, frag=8) / Raw(flow[20:28]))
    wrong = {f"quoted packet cut at {length}": head / Raw(flow[:length]) for length in (0, 8, 19, 20, 23)}
    wrong |= {
        "quotes a fragment": head / Raw(fragment),
        "to another host than the quoted sender": IP(src=S, dst=w.CLIENT) / ICMP(type=3, code=3) / Raw(flow[:28]),
        "wrong checksum": IP(src=S, dst=C) / ICMP(type=3, code=3, chksum=1) / Raw(flow[:28]),
        "quotes a packet of the other direction": head / Raw(bytes(w.udp(S, C, 2000, 1000))[:28]),
        "an unknown type": IP(src=S, dst=C) / ICMP(type=40) / Raw(flow[:28]),
        "an answer that nobody asked for": w.echo(S, C, 5, "echo-reply"),
    }
    with w.World(tracker) as world:
        seeds.set_firewall(world)
        world.client.send(w.udp(C, S, 1000, 2000))
        w.time.sleep(0.1)
        for name, packet in wrong.items():
            w.check_equal(judge(world, packet), ["INVALID"], name)
        # Ports are all that is needed of the transport header.
        w.check_equal(judge(world, head / Raw(flow[:24])), ["ESTABLISHED,RELATED"], "cut behind the ports")


def test_made_by_the_firewall_itself(tracker):
    """Time exceeded, for a packet that came with a TTL of 1, is RELATED in OUTPUT."""
    with w.World(tracker) as world:
        world.firewall("iptables-legacy -A OUTPUT -p icmp -m state --state RELATED")
        world.client.send(w.ip(C, S, ttl=1) / w.UDP(sport=7, dport=8) / Raw(b"x"))
        w.time.sleep(0.3)
        line = world.firewall("iptables-legacy -L OUTPUT -v -n -x").splitlines()[2]
        w.check_equal(int(line.split()[0]), 1, "RELATED in OUTPUT")
        # The packet went no further, so nothing stays of it.
        w.check_equal(world.lines("sport=7"), [], "entries")
