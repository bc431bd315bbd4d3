# SPDX-License-Identifier: GPL-2.0
"""The matches conntrack and state: every option, as both iptables make it, in both families."""

from dataclasses import dataclass, field

from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Raw

import rules as r
import world as w

NOT_TRACKED = 61  # A port.


@dataclass
class Packet:
    """What is sent, by which end, and what rules should see of it."""
    sender: str
    bytes: object
    state: str
    reply: bool = False
    protocol: int = 0
    # Source and destination of the original direction.
    ports: tuple = (0, 0)
    status: set = field(default_factory=set)
    # Seconds; None where nobody can tell.
    left: int = None

    @property
    def has_connection(self):
        return self.state not in ("INVALID", "UNTRACKED")


def traffic(c, s):
    """A packet of each kind, from a client's and a server's address."""
    udp, answer = w.udp(c, s, 1000, 2000), w.udp(s, c, 2000, 1000)
    if ":" in c:
        error = w.ip(s, c) / ICMPv6DestUnreach(code=4) / Raw(bytes(udp)[:60])
    else:
        error = w.ip(s, c) / ICMP(type=3, code=3) / Raw(bytes(udp)[:28])
    answered = {"SEEN_REPLY", "CONFIRMED"}
    of_udp = {"protocol": 17, "ports": (1000, 2000)}
    of_tcp = {"protocol": 6, "ports": (1031, 23)}
    return [
        Packet("client", udp, "NEW", **of_udp),
        Packet("server", answer, "ESTABLISHED", reply=True, status=answered, left=30, **of_udp),
        Packet("client", udp, "ESTABLISHED", status=answered, left=30, **of_udp),
        Packet("server", error, "RELATED", reply=True, status=answered, left=30, **of_udp),
        Packet("client", w.tcp(c, s, 1031, 23, "S", 1), "NEW", **of_tcp),
        Packet("server", w.tcp(s, c, 23, 1031, "SA", 1, 2), "ESTABLISHED", reply=True, status=answered, left=60, **of_tcp),
        Packet("client", w.tcp(c, s, 1031, 23, "A", 2, 2), "ESTABLISHED", status=answered | {"ASSURED"}, left=432000, **of_tcp),
        Packet("client", w.tcp(c, s, 5, 6, "FSR"), "INVALID"),
        Packet("client", w.udp(c, s, 3, NOT_TRACKED), "UNTRACKED"),
    ]


def both(option, condition):
    """A rule of one option, and its opposite. Either is of packets with a connection only."""
    yield option, lambda packet: packet.has_connection and condition(packet)
    yield f"! {option}", lambda packet: packet.has_connection and not condition(packet)


def questions(c, s):
    """Options, and which packets they are of."""
    network = lambda address: f"{address.rsplit('.', 1)[0]}.0/24" if "." in address else "2001:db8::/32"
    elsewhere = "10.0.0.0/8" if "." in c else "2001:db9::/32"
    states = {
        "INVALID": {"INVALID"}, "NEW": {"NEW"}, "RELATED": {"RELATED"}, "ESTABLISHED": {"ESTABLISHED"},
        "UNTRACKED": {"UNTRACKED"}, "NEW,RELATED": {"NEW", "RELATED"}, "SNAT": set(), "DNAT": set(),
        "INVALID,NEW,UNTRACKED": {"INVALID", "NEW", "UNTRACKED"},
    }
    for names, meant in states.items():
        yield f"--ctstate {names}", lambda packet, meant=meant: packet.state in meant
        yield f"! --ctstate {names}", lambda packet, meant=meant: packet.state not in meant
    for protocol in (6, 17, 1):
        yield from both(f"--ctproto {protocol}", lambda packet, protocol=protocol: packet.protocol == protocol)
    for option, own in (("origsrc", c), ("origdst", s), ("replsrc", s), ("repldst", c)):
        other = c if own == s else s
        for address, right in ((own, True), (other, False), (network(own), True), (elsewhere, False)):
            yield from both(f"--ct{option} {address}", lambda packet, right=right: right)
    for option, at in (("origsrc", 0), ("origdst", 1), ("replsrc", 1), ("repldst", 0)):
        for first, last in ((1000, 1000), (23, 23), (0, 1000), (1001, 65535), (1999, 2001)):
            ports = str(first) if first == last else f"{first}:{last}"
            yield from both(f"--ct{option}port {ports}",
                            lambda packet, at=at, first=first, last=last: first <= packet.ports[at] <= last)
    for names in ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "EXPECTED,ASSURED", "SEEN_REPLY,ASSURED,CONFIRMED"):
        yield from both(f"--ctstatus {names}", lambda packet, names=names: packet.status & set(names.split(",")))
    yield from both("--ctstatus NONE", lambda packet: False)
    for first, last in ((20, 40), (50, 60), (431990, 432000), (10, 10), (0, 4294967295)):
        times = str(first) if first == last else f"{first}:{last}"
        within = lambda packet, first=first, last=last: packet.left is not None and first <= packet.left <= last
        yield f"--ctstate ESTABLISHED --ctexpire {times}", lambda packet, within=within: packet.state == "ESTABLISHED" and within(packet)
        yield f"--ctstate ESTABLISHED ! --ctexpire {times}", lambda packet, within=within: packet.state == "ESTABLISHED" and not within(packet)
    yield "--ctdir ORIGINAL", lambda packet: packet.has_connection and not packet.reply
    yield "--ctdir REPLY", lambda packet: packet.has_connection and packet.reply
    # Several at once; where there is no connection only the state counts.
    yield f"--ctstate NEW,ESTABLISHED --ctproto 6 --ctorigsrc {c} --ctdir ORIGINAL", lambda packet: packet.protocol == 6 and not packet.reply
    yield "--ctstate INVALID,UNTRACKED --ctproto 17 --ctorigdstport 9", lambda packet: not packet.has_connection


def options(tracker, c, s):
    family = "ip6tables" if ":" in c else "iptables"
    programs = [f"{family}-{kind}" for kind in ("legacy", "nft")]
    asked = [(f"-A FORWARD -m conntrack {option}", condition) for option, condition in questions(c, s)]
    for names in ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "INVALID,NEW,RELATED"):
        meant = set(names.split(","))
        asked.append((f"-A FORWARD -m state --state {names}", lambda packet, meant=meant: packet.state in meant))
        asked.append((f"-A FORWARD -m state ! --state {names}", lambda packet, meant=meant: packet.state not in meant))
    with w.World(tracker) as world:
        for program in programs:
            r.restore(program, filter=[rule for rule, _ in asked],
                      raw=[f"-A PREROUTING -p udp -m udp --dport {NOT_TRACKED} -j CT --notrack"])
        sent = traffic(c, s)
        for packet in sent:
            getattr(world, packet.sender).send(packet.bytes)
            w.time.sleep(0.03)
        w.time.sleep(0.2)
        for program in programs:
            r.check_counted(program, "filter", [(rule, sum(1 for packet in sent if condition(packet))) for rule, condition in asked])
            r.check_comes_back(program)
        r.check_nobody_elses(tracker)


def test_options_ipv4(tracker):
    options(tracker, w.GHOST_CLIENT, w.GHOST_SERVER)


def test_options_ipv6(tracker):
    options(tracker, w.GHOST_CLIENT6, w.GHOST_SERVER6)


@w.ours_only
def test_time_of_a_first_packet(tracker):
    """The time of a connection begins when it is confirmed; stock compares how long it will be with
    a point in time."""
    with w.World(tracker) as world:
        asked = {"--ctexpire 0": 2, "--ctexpire 1:4294967295": 0, "! --ctexpire 0": 0}
        rules = [f"-A FORWARD -m conntrack --ctstate NEW {option}" for option in asked]
        r.restore("iptables-legacy", filter=rules)
        for port in (1000, 1001):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 2000))
        w.time.sleep(0.2)
        r.check_counted("iptables-legacy", "filter", list(zip(rules, asked.values(), strict=True)))
