# SPDX-License-Identifier: GPL-2.0
"""nftables' expressions ct and notrack: what rules see of connections, and what they write on them."""

import ipaddress

import nft
import rules as r
import world as w
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Raw

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
C6, S6 = w.GHOST_CLIENT6, w.GHOST_SERVER6
FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}


def ends(version):
    return (C6, S6) if version == 6 else (C, S)


def send(world, *packets):
    for sender, packet in packets:
        getattr(world, sender).send(packet)
        w.time.sleep(0.05)
    w.time.sleep(0.1)


def lines(*words):
    """The firewall's connections, of both families, whose line has these words."""
    with w.inside("firewall"), open("/proc/thread-self/net/nf_conntrack") as file:
        return [line for line in file.read().splitlines() if all(word in line.split() for word in words)]


def unreachable(version, flow):
    """The server's host says of a packet of a flow that nobody is there."""
    c, s = ends(version)
    quoted = Raw(bytes(flow)[:48])
    return w.ip(s, c) / (ICMPv6DestUnreach(code=4) if version == 6 else ICMP(type=3, code=3)) / quoted


def test_states(tracker):
    """Each state, in tables of each family; what must not be tracked is not."""
    states = ["ct state new", "ct state established", "ct state related", "ct state invalid", "ct state untracked",
              "ct state established,related", "ct state != new", "ct state vmap { new : continue, invalid : continue }"]
    for family, versions in FAMILIES.items():
        with w.World(tracker) as world:
            nft.load(nft.table(nft.chain(["udp dport 2999 notrack"], "prerouting", "raw"), nft.chain(states), family=family))
            for version in versions:
                c, s = ends(version)
                flow = w.udp(c, s, 1000, 2000)
                send(world, ("client", flow), ("server", w.udp(s, c, 2000, 1000)), ("client", flow),
                     ("server", unreachable(version, flow)), ("client", w.tcp(c, s, 1, 2, "SR")), ("client", w.udp(c, s, 1, 2999)))
                w.check_equal(len(lines("dport=2999")), 0, "entries of what is not tracked")
            counts = (1, 2, 1, 1, 1, 3, 5, 2)
            nft.check_counted([("udp dport 2999 notrack", len(versions)),
                               *((state, count * len(versions)) for state, count in zip(states, counts, strict=True))])
            nft.check_comes_back()
            r.check_nobody_elses(tracker)


# What rules ask, by family, and how many do so of three packets of a flow, the second an answer. {c} and {s} are the
# addresses. (Before it is confirmed, a connection's time has not begun, and the stock tracker shows a number of no meaning.)
ASKED = [
    ("ct direction original", 2), ("ct direction reply", 1),
    ("ct status seen-reply", 2), ("ct status confirmed", 2), ("ct status assured", 0), ("ct status != expected", 3),
    ("ct mark 0", 3), ("ct mark != 0", 0), ("ct status confirmed ct expiration 20s-30s", 2), ("ct status confirmed ct expiration > 30s", 0),
    ('ct helper "ftp"', 0), ("ct l3proto {l3}", 3), ("ct protocol udp", 3),
    ("ct original protocol udp", 3), ("ct reply protocol tcp", 0),
    ("ct original proto-src 1000", 3), ("ct original proto-dst 2000", 3), ("ct reply proto-src 2000", 3), ("ct reply proto-dst 1000", 3),
    ("ct original proto-src 1001", 0), ("ct original {ip} saddr {c}", 3), ("ct original {ip} daddr {s}", 3), ("ct reply {ip} saddr {s}", 3),
    ("ct reply {ip} daddr {s}", 0), ("ct zone 0", 3), ("ct original zone 0", 3), ("ct reply zone 1", 0), ("ct label 5", 0),
    ("ct original packets 1", 2), ("ct original packets 2", 1), ("ct reply packets 1", 2), ("ct packets 3", 1), ("ct bytes > 0", 3),
    ("ct avgpkt {length}", 3), ("ct original avgpkt {length}", 3), ("ct reply avgpkt 0", 1),
    # Several at once, in sets.
    ("ct original {ip} saddr . ct original proto-dst {{ {c} . 2000 }}", 3), ("ct state . ct direction {{ established . reply }}", 1),
]


def asked(family, version):
    c, s = ends(version)
    values = {"c": c, "s": s, "l3": f"ipv{version}", "ip": "ip6" if version == 6 else "ip", "length": 49 if version == 6 else 29}
    return [(rule.format(**values), count) for rule, count in ASKED]


def test_what_is_read(tracker):
    """Each key, in both directions, from a table of each family."""
    for family, versions in FAMILIES.items():
        for version in versions:
            c, s = ends(version)
            with w.World(tracker) as world:
                rules = asked(family, version)
                nft.load(nft.table(nft.chain([rule for rule, _ in rules]), family=family))
                w.check_equal(w.setting("acct"), 1, "whether connections are counted, since rules ask")
                flow = w.udp(c, s, 1000, 2000)
                send(world, ("client", flow), ("server", w.udp(s, c, 2000, 1000)), ("client", flow))
                nft.check_counted(rules)
                nft.check_comes_back()
                r.check_nobody_elses(tracker)


def test_number(tracker):
    """The number is the one that conntrack shows."""
    with w.World(tracker) as world:
        send(world, ("client", w.udp(C, S, 1000, 2000)))
        told = w.run_inside("firewall", "conntrack", "-L", "-p", "udp", "-o", "id")
        number = int(told.split("id=")[1].split()[0])
        nft.load(nft.table(nft.chain([f"ct id {number}", f"ct id {number ^ 1}"])))
        send(world, ("client", w.udp(C, S, 1000, 2000)))
        nft.check_counted([(f"ct id {number}", 1), ("another", 0)])


def test_what_is_written(tracker):
    """Marks and labels, from constants, packets' marks and maps."""
    rules = ["udp sport 1000 ct mark set 0x2a", "udp sport 1001 meta mark set 0x11 ct mark set meta mark",
             "udp sport 1002 ct mark set ct mark or 0x3", "ct mark set udp sport map { 1003 : 0x4, 1004 : 0x5 }",
             "udp sport 1005 ct label set 5", "udp sport 1005 ct label set 127", "udp sport 1005 ct mark set 7"]
    seen = ["ct mark 0x2a", "ct mark 0x11", "ct mark 0x3", "ct mark 0x4", "ct mark 0x5", "ct label 5", "ct label 127", "ct label 6",
            # In a set: all of them together, which are no element.
            "ct label { 5, 127 }", "meta mark set ct mark meta mark 0x4"]
    with w.World(tracker) as world:
        nft.load(nft.table(nft.chain(rules), nft.chain(seen, "postrouting")))
        for port in range(1000, 1007):
            send(world, ("client", w.udp(C, S, port, 2000)), ("server", w.udp(S, C, 2000, port)))
        marks = {port: next(word for line in lines(f"sport={port}", "src=" + C) for word in line.split() if word.startswith("mark="))
                 for port in range(1000, 1007)}
        expected = (42, 17, 3, 4, 5, 7, 0)
        w.check_equal(list(marks.values()), [f"mark={mark}" for mark in expected], "marks of the entries")
        nft.check_counted([*((rule, count) for rule, count in zip(rules, (1, 1, 1, 2, 1, 1, 1), strict=True)),
                           *((rule, count) for rule, count in zip(seen, (2, 2, 2, 2, 2, 2, 2, 0, 0, 2), strict=True))])
        nft.check_comes_back()


# Rules, and what is said of the zones of a connection from each port on.
ZONES = {
    1001: ("ct zone set 1", "zone=1"), 1002: ("ct zone set 65535", "zone=65535"), 1003: ("ct original zone set 3", "zone-orig=3"),
    1004: ("ct reply zone set 4", "zone-reply=4"), 1005: ("ct zone set meta mark map { 0x7 : 7 }", "zone=7"),
    1006: ("ct zone set udp sport map { 1006 : 9 }", "zone=9"),
}


def test_zones(tracker):
    """Zones are set before the tracker; who comes later, or is not tracked, changes nothing."""
    rules = ["meta l4proto udp meta mark set 0x7"]
    for port, (rule, _) in ZONES.items():
        rules += [f"udp sport {port} udp dport 2000 {rule}", f"udp dport {port} {rule.replace('udp sport map { 1006', 'udp dport map { 1006')}"]
    rules += ["udp sport 1001-1006 ct zone set 99", "udp sport 1001-1006 notrack"]
    for version in (4, 6):
        c, s = ends(version)
        with w.World(tracker) as world:
            nft.load(nft.table(nft.chain(rules, "prerouting", "raw"), nft.chain(["ct zone set 5", "ct state new", "ct state established", "ct zone 9"])))
            for port, (_, zone) in ZONES.items():
                send(world, ("client", w.udp(c, s, port, 2000)))
                found = [word for line in lines(f"sport={port}", "dport=2000") for word in line.split() if word.startswith("zone")]
                w.check_equal(found, [zone], f"zones of a connection from port {port}")
                send(world, ("server", w.udp(s, c, 2000, port)), ("client", w.udp(c, s, port, 2000)))
                w.check_equal(len(lines(f"sport={port}", "[UNREPLIED]")), 0, f"connections from port {port} without an answer")
            rest = len(ZONES)
            found = nft.counted()[-4:]
            w.check_equal([packets for _, packets in found], [3 * rest, rest, 2 * rest, 3], f"packets: {found}")
            nft.check_comes_back()


def test_zone_before_rules_of_the_tracker(tracker):
    """A packet that has a wish and has not met the tracker is new; what is to be not tracked may still get a wish."""
    with w.World(tracker) as world:
        rules = ["ct state invalid", "ct zone set 3", "ct state new", "ct zone 3", "ct mark 0"]
        nft.load(nft.table(nft.chain(rules, "prerouting", "raw"), nft.chain(["notrack", "ct zone set 4", "ct state untracked"], "prerouting", "-310", name="first",
                                                                            declare="udp sport != 1001 return;"), family="ip"))
        send(world, ("client", w.udp(C, S, 1000, 2000)), ("client", w.udp(C, S, 1001, 2000)))
        w.check_equal([word for port in (1000, 1001) for line in lines(f"sport={port}") for word in line.split() if word.startswith("zone")],
                      ["zone=3", "zone=4"], "zones of the entries")
        nft.check_counted([("ct state invalid", 1), ("ct zone set 3", 2), ("ct state new", 2), ("ct zone 3", 0), ("ct mark 0", 0),
                           ("notrack", 1), ("ct zone set 4", 1), ("ct state untracked", 0)])


def test_helper(tracker):
    """A rule gives new connections a helper: its announcements are met, and seen with their helper's name."""
    with w.World(tracker) as world:
        tracker.helper("ftp")
        nft.load(nft.table('ct helper f { type "ftp" protocol tcp; }\n', nft.chain(['tcp dport 2121 ct helper set "f"'], "prerouting"),
                           nft.chain(["ct state related", 'ct helper "ftp"', 'ct helper "tftp"'])))
        send(world, *[("client", w.tcp(C, S, 1000, 2121, "S", seq=100)), ("server", w.tcp(S, C, 2121, 1000, "SA", seq=500, ack=101)),
                      ("client", w.tcp(C, S, 1000, 2121, "A", seq=101, ack=501)),
                      ("server", w.tcp(S, C, 2121, 1000, "PA", seq=501, ack=101, data=b"220 hello\r\n")),
                      ("client", w.tcp(C, S, 1000, 2121, "PA", seq=101, ack=512, data=b"USER x\r\n")),
                      ("client", w.tcp(C, S, 1000, 2121, "PA", seq=109, ack=512, data=b"PORT 192,168,1,5,19,136\r\n"))])
        send(world, ("server", w.tcp(S, C, 20, 5000, "S", seq=1)))
        nft.check_counted([("set", 4), ("ct state related", 1), ('ct helper "ftp"', 1), ('ct helper "tftp"', 0)])
        nft.check_comes_back()
        w.check(not w.sh("rmmod nft_obj_3 nft_ct 2>/dev/null && echo gone", check=False), "a helper's object keeps its module")


def test_timeouts(tracker):
    """Connections of a rule have its object's timeouts, from the first packet on, until the object goes."""
    objects = ("ct timeout u { protocol udp; l3proto ip; policy = { unreplied : 15, replied : 45 }; }\n"
               "ct timeout t { protocol tcp; l3proto ip; policy = { syn_sent : 33, established : 777 }; }\n")
    with w.World(tracker) as world:
        w.setting("udp_timeout_stream", 30)  # It is one sooner or later.
        nft.load(nft.table(objects, nft.chain(['udp dport 2000 ct timeout set "u"', 'tcp dport 80 ct timeout set "t"', 'udp dport 2001 ct timeout set "t"'], "prerouting")))
        nft.check_comes_back()
        send(world, ("client", w.udp(C, S, 1000, 2000)), ("client", w.udp(C, S, 1000, 2001)))
        w.check_left(15, "a datagram", "sport=1000", "dport=2000")
        w.check_left(30, "a datagram that is none of the object's", "sport=1000", "dport=2001")
        send(world, ("server", w.udp(S, C, 2000, 1000)))
        w.check_left(15, "an answer", "sport=1000", "dport=2000")
        send(world, ("client", w.tcp(C, S, 1001, 80, "S", seq=100)))
        w.check_left(33, "a SYN", "sport=1001", "dport=80")
        send(world, ("server", w.tcp(S, C, 80, 1001, "SA", seq=500, ack=101)))
        w.check_left(60, "what the object does not say", "sport=1001", "dport=80")
        send(world, ("client", w.tcp(C, S, 1001, 80, "A", seq=101, ack=501)))
        w.check_left(777, "a handshake", "sport=1001", "dport=80")
        nft.load("delete table inet t")
        send(world, ("client", w.tcp(C, S, 1001, 80, "A", seq=101, ack=501)), ("client", w.udp(C, S, 1000, 2000)))
        w.check_left(432000, "a handshake without the object", "sport=1001", "dport=80")
        w.check_left(30, "a datagram without the object", "sport=1000", "dport=2000")


def test_expectation(tracker):
    """A connection of a rule announces one from its server to its client: once, from that host, and if it was let through."""
    rules = ['tcp dport 8080-8081 ct expectation set "e"', "tcp dport 5432 ct state related", "tcp dport 5432 ct state new",
             "tcp dport 8081 counter drop"]
    for version, family in ((4, "inet"), (4, "ip"), (6, "inet")):
        c, s = ends(version)
        with w.World(tracker) as world:
            network = "ip6" if version == 6 else "ip"
            nft.load(nft.table(f"ct expectation e {{ protocol tcp; dport 5432; timeout 1h; size 2; l3proto {network}; }}\n", nft.chain(rules), family=family))
            nft.check_comes_back()
            flow = w.tcp(c, s, 1000, 8080, "S", seq=100)
            send(world, ("client", flow), ("client", flow))
            with w.inside("firewall"):
                expected = open("/proc/thread-self/net/nf_conntrack_expect").read().split()
            hosts = [ipaddress.ip_address(host).exploded for host in (s, c)]
            w.check_equal([word for word in expected if word.startswith(("src", "dst", "dport"))],
                          [f"src={hosts[0]}", f"dst={hosts[1]}", "dport=5432"], "what is expected")
            send(world, ("server", w.tcp(s, c, 5, 5432, "S", seq=1)), ("server", w.tcp(s, c, 6, 5432, "S", seq=1)),
                 ("client", w.tcp(c, s, 1001, 8081, "S", seq=100)), ("server", w.tcp(s, c, 7, 5432, "S", seq=1)))
            nft.check_counted([(rules[0], 2), (rules[1], 1), (rules[2], 2), (rules[3], 1)])


def test_modules_stay_while_used(tracker):
    """What rules use cannot be unloaded; afterwards it can, also after the namespace went with its rules."""
    name = "nft_expr_ct" if tracker.ours else "nft_ct"
    with w.World(tracker):
        nft.load(nft.table(nft.chain(["ct state new", "notrack"]), family="ip"))
        w.check("in use" in w.sh(f"rmmod {name} 2>&1", check=False), f"{name} is in use")
    w.wait_until(lambda: not w.sh(f"rmmod {name} 2>&1", check=False), 20, f"{name} is unloaded")
