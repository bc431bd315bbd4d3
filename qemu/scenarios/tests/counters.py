# SPDX-License-Identifier: GPL-2.0
"""Rules count as many packets of each state as were sent, with every variant of iptables."""

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Raw

import world as w

STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
NOTRACK = {"-j NOTRACK": 61, "-j CT --notrack": 62}


def count(world, iptables, match):
    """A rule for each state in FORWARD; sends packets of each; what the rules count."""
    v6 = iptables.startswith("ip6")
    c, s = (w.GHOST_CLIENT6, w.GHOST_SERVER6) if v6 else (w.GHOST_CLIENT, w.GHOST_SERVER)
    rules = lambda arguments: world.firewall(f"{iptables} {arguments}")
    for state in STATES:
        rules(f"-A FORWARD {match} {state}")
    for target, port in NOTRACK.items():
        rules(f"-t raw -A PREROUTING -p udp --dport {port} {target}")

    def error(quoted):
        if v6:
            return w.ip(s, c) / ICMPv6DestUnreach(code=4) / Raw(bytes(quoted)[:60])
        return IP(src=s, dst=c) / ICMP(type=3, code=3) / Raw(bytes(quoted)[:28])

    flow = w.udp(c, s, 1000, 2000)
    sent = {
        "NEW": [(world.client, flow)] * 3,
        "ESTABLISHED": [(world.server, w.udp(s, c, 2000, 1000)), (world.client, flow)] * 2,
        "RELATED": [(world.server, error(flow))] * 2,
        "INVALID": [(world.server, error(w.udp(c, s, 1, 2))),
                    (world.client, w.tcp(c, s, 5, 6, "FSR")),
                    (world.server, error(w.udp(c, s, 3, 61)))],
        "UNTRACKED": [(world.client, w.udp(c, s, 3, port)) for port in NOTRACK.values()],
    }
    # Neighbour discovery must not count: whoever is asked is known already.
    for packets in sent.values():
        for port, packet in packets:
            port.send(packet)
            w.time.sleep(0.03)
    w.time.sleep(0.2)
    lines = rules("-L FORWARD -v -n -x").splitlines()[2:]
    found = {state: int(line.split()[0]) for state, line in zip(STATES, lines, strict=True)}
    rules("-F FORWARD")
    rules("-t raw -F PREROUTING")
    return found, {state: len(packets) for state, packets in sent.items()}


def both_matches(tracker, iptables):
    for match in ("-m state --state", "-m conntrack --ctstate"):
        with w.World(tracker) as world:
            found, sent = count(world, iptables, match)
            w.check_equal(found, sent, f"{iptables} {match}")


def test_iptables_legacy(tracker):
    both_matches(tracker, "iptables-legacy")


def test_iptables_nft(tracker):
    both_matches(tracker, "iptables-nft")


def test_ip6tables_legacy(tracker):
    both_matches(tracker, "ip6tables-legacy")


def test_ip6tables_nft(tracker):
    both_matches(tracker, "ip6tables-nft")


def test_negated_and_more(tracker):
    """What else the match conntrack asks for."""
    c, s = w.GHOST_CLIENT, w.GHOST_SERVER
    asked = {
        "! --ctstate NEW": 1,
        "--ctproto udp": 2,
        f"--ctorigsrc {c}/32": 2,
        f"! --ctorigsrc {c}/32": 0,
        f"--ctreplsrc {s}": 2,
        "--ctorigdstport 2000": 2,
        "--ctorigdstport 1999:2001": 2,
        "--ctorigdstport 2001:2002": 0,
        "--ctdir ORIGINAL": 1,
        "--ctdir REPLY": 1,
        "--ctstatus SEEN_REPLY": 0,
        "--ctexpire 20:40": 1,
    }
    with w.World(tracker) as world:
        for rule in asked:
            world.firewall(f"iptables-legacy -A FORWARD -m conntrack {rule}")
        world.client.send(w.udp(c, s, 1000, 2000))
        w.time.sleep(0.1)
        world.server.send(w.udp(s, c, 2000, 1000))
        w.time.sleep(0.2)
        lines = world.firewall("iptables-legacy -L FORWARD -v -n -x").splitlines()[2:]
        found = dict(zip(asked, (int(line.split()[0]) for line in lines), strict=True))
        # A reply's status is set before rules see it; a first packet's time is not yet begun.
        for rule in ("--ctstatus SEEN_REPLY", "--ctexpire 20:40"):
            del found[rule], asked[rule]
        w.check_equal(found, asked, "conntrack rules")
