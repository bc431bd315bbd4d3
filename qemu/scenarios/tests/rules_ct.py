# SPDX-License-Identifier: GPL-2.0
"""The targets CT and NOTRACK: what connections are made like, and the templates that say so."""

import socket
from pathlib import Path

from scapy.layers.inet import ICMP
from scapy.packet import Raw

import rules as r
import world as w
from nfqueue import NF_ACCEPT, Queue

C, S = w.GHOST_CLIENT, w.GHOST_SERVER


def programs(version):
    return [f"{'ip6tables' if version == 6 else 'iptables'}-{kind}" for kind in ("legacy", "nft")]


def ends(version):
    return (w.GHOST_CLIENT6, w.GHOST_SERVER6) if version == 6 else (C, S)


def entries(*words):
    """The firewall's connections of both families."""
    with w.inside("firewall"):
        lines = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
    return [line for line in lines if all(word in line.split() for word in words)]


def zone_of(sport):
    """What the line of a connection says of its zones."""
    found = [[word for word in line.split() if word.startswith("zone")] for line in entries(f"sport={sport}", "dport=2000")]
    w.check_equal(len(found), 1, f"entries from port {sport}")
    return " ".join(found[0])


def send(world, *packets):
    for sender, packet in packets:
        getattr(world, sender).send(packet)
        w.time.sleep(0.05)
    w.time.sleep(0.1)


# Targets, and what is said of a connection from each port on. The last is of the packet's mark.
ZONES = {
    1000: ("-j CT", "zone=0"),
    1001: ("-j CT --zone 1", "zone=1"),
    1002: ("-j CT --zone 65535", "zone=65535"),
    1003: ("-j CT --zone-orig 3", "zone-orig=3"),
    1004: ("-j CT --zone-reply 4", "zone-reply=4"),
    1005: ("-j CT --zone mark", "zone=7"),
    1006: ("-j CT --zone-orig mark", "zone-orig=7"),
    1007: ("-j CT --zone-reply mark", "zone-reply=7"),
}


def zones(tracker, version):
    """Each rule loads, comes back, counts, and puts connections into its zone; answers of such
    connections are found where the zone is that of the rule they meet."""
    c, s = ends(version)
    for program in programs(version):
        with w.World(tracker) as world:
            raw = ["-A PREROUTING -p udp -j MARK --set-xmark 0x10007/0xffffffff"]
            for port, (target, _) in ZONES.items():
                raw += [f"-A PREROUTING -p udp -m udp --sport {port} --dport 2000 {target}",
                        f"-A PREROUTING -p udp -m udp --sport 2000 --dport {port} {target}"]
            # The first rule of a packet counts.
            raw += ["-A PREROUTING -p udp -m udp --sport 1000:1007 -j CT --zone 99", "-A PREROUTING -p udp -m udp --sport 1000:1007 -j NOTRACK"]
            states = [f"-A FORWARD -m conntrack --ctstate {state}" for state in ("NEW", "ESTABLISHED", "INVALID", "UNTRACKED")]
            r.restore(program, raw=raw, filter=states)
            for port, (_, zone) in ZONES.items():
                send(world, ("client", w.udp(c, s, port, 2000)))
                w.check_equal(zone_of(port), zone, f"{program}: zones of a connection from port {port}")
                send(world, ("server", w.udp(s, c, 2000, port)), ("client", w.udp(c, s, port, 2000)))
                w.check(not entries(f"sport={port}", "[UNREPLIED]"), f"{program}: the connection from port {port} was answered")
            rest = len(ZONES)
            r.check_counted(program, "filter", list(zip(states, (rest, 2 * rest, 0, 0), strict=True)))
            counts = [3 * rest] + [packets for _ in ZONES for packets in (2, 1)] + [2 * rest] * 2
            r.check_counted(program, "raw", list(zip(raw, counts, strict=True)))
            r.check_comes_back(program)
            r.check_nobody_elses(tracker)


def test_zones_ipv4(tracker):
    zones(tracker, 4)


def test_zones_ipv6(tracker):
    zones(tracker, 6)


def test_same_tuple_in_two_zones(tracker):
    """Networks with the same addresses behind two links; what is of one zone is not of the other."""
    with w.World(tracker) as world:
        r.restore("iptables-legacy", raw=["-A PREROUTING -i inner -j CT --zone 1", "-A PREROUTING -i outer -j CT --zone 2"],
                  filter=[f"-A FORWARD -m conntrack --ctstate {state}" for state in ("NEW", "ESTABLISHED", "RELATED", "INVALID")])
        flow, answer = w.udp(C, S, 1000, 2000), w.udp(S, C, 2000, 1000)
        error = w.ip(S, C) / ICMP(type=3, code=3) / Raw(bytes(flow)[:28])
        send(world, ("client", flow), ("server", flow), ("server", flow), ("server", error), ("server", answer), ("client", flow))
        lines = entries("sport=1000", "dport=2000")
        w.check_equal(sorted(word for line in lines for word in line.split() if word.startswith("zone")), ["zone=1", "zone=2"], "zones of the entries")
        w.check_equal([line.split()[-2] for line in lines if "[UNREPLIED]" in line], ["zone=1"], "entries without an answer")
        # New in each zone; again in each; the error and the answer in that of the server's link.
        w.check_equal([packets for _, packets in r.counted("iptables-legacy", "filter")], [4, 1, 1, 0], "packets of each state")


def test_answers_in_the_default_zone(tracker):
    """Where a zone counts in the direction of the first packet alone, answers need no rule."""
    with w.World(tracker) as world:
        r.restore("iptables-legacy", raw=["-A PREROUTING -i inner -j CT --zone-orig 1"])
        send(world, ("client", w.udp(C, S, 1000, 2000)), ("server", w.udp(S, C, 2000, 1000)))
        lines = entries("sport=1000", "zone-orig=1")
        w.check_equal([("[UNREPLIED]" in line) for line in lines], [False], "entries, and whether they lack an answer")
        r.restore("iptables-legacy", raw=["-A PREROUTING -i inner -j CT --zone 1"])
        send(world, ("client", w.udp(C, S, 1001, 2000)), ("server", w.udp(S, C, 2000, 1001)))
        w.check_equal(len(entries("zone=1", "[UNREPLIED]")), 1, "entries without an answer where the zone counts in both directions")


def test_masks_of_events(tracker):
    """Rules with masks of events load and come back."""
    rules = ["-A PREROUTING -p tcp -j CT --ctevents new,destroy", "-A PREROUTING -p udp -j CT --expevents new",
             "-A PREROUTING -p udp -j CT --ctevents new,related,destroy,reply,assured,protoinfo,helper,mark,natseqinfo,secmark",
             "-A OUTPUT -p udp -j CT --ctevents mark --zone 3"]
    with w.World(tracker) as world:
        for program in (*programs(4), *programs(6)):
            r.restore(program, raw=rules)
            r.check_comes_back(program)
            r.check_counted(program, "raw", [(rule, 0) for rule in rules])
        send(world, ("client", w.tcp(C, S, 1000, 80, "S")))
        w.check_equal(len(entries("sport=1000", "dport=80")), 1, "entries")
        r.check_nobody_elses(tracker)


def refused(program, rule):
    """What is said of a rule that cannot be made."""
    with w.inside("firewall"):
        done = w.subprocess.run(f"{program} -t raw -A PREROUTING {rule}", shell=True, capture_output=True, text=True)
    w.check(done.returncode, f"{program} {rule}: refused")
    return done.stderr.strip().splitlines()[0]


def test_policies_that_there_are_not(tracker):
    """A timeout policy of a name that nobody has made, and one without a protocol."""
    with w.World(tracker):
        for program in (*programs(4), *programs(6)):
            said = refused(program, "-p tcp -j CT --timeout none")
            # The legacy programs' words for it.
            w.check("No such file or directory" in said or "No chain/target/match" in said, f"{program}: {said}")
            said = refused(program, "-j CT --timeout none")
            w.check("Invalid argument" in said, f"{program}: {said}")
            w.check_equal(r.counted(program, "raw"), [], f"{program}: rules that were made all the same")


def test_a_template_is_no_flow(tracker):
    """Where a packet carries a rule's wish and the tracker has not seen it, matches find no
    connection, and targets write on none."""
    c, s = C, S
    raw = ["-A PREROUTING -j CT --zone 5", "-A PREROUTING -m cluster --cluster-local-nodemask 0x00000001 --cluster-total-nodes 1 --cluster-hash-seed 0x00000000",
           "-A PREROUTING -m helper --helper ftp", "-A PREROUTING -m helper ! --helper ftp",
           "-A PREROUTING -m connbytes --connbytes 0 --connbytes-mode packets --connbytes-dir both",
           '-A PREROUTING -m connlabel --label "1" --set', '-A PREROUTING -m connlabel ! --label "1"']
    counts = [1, 0, 0, 1, 0, 0, 1]
    if tracker.ours:
        # Stock takes it for a new connection here.
        more = {"-A PREROUTING -j CONNMARK --set-xmark 0x5/0xffffffff": 1, "-A PREROUTING -m connmark --mark 0x5": 0,
                "-A PREROUTING -m connmark --mark 0x0": 0, "-A PREROUTING -m connmark ! --mark 0x5": 0,
                "-A PREROUTING -m conntrack --ctstate INVALID": 1, "-A PREROUTING -m conntrack ! --ctstate INVALID": 0,
                "-A PREROUTING -m conntrack --ctproto 17": 0, "-A PREROUTING -m conntrack ! --ctproto 17": 0,
                "-A PREROUTING -m conntrack --ctdir ORIGINAL": 0, "-A PREROUTING -m state --state NEW,RELATED,ESTABLISHED,UNTRACKED": 0}
        raw, counts = raw + list(more), counts + list(more.values())
    with w.World(tracker) as world:
        for program in programs(4):
            r.restore(program, raw=raw, mangle=["-A PREROUTING -m connmark --mark 0x0"])
            send(world, ("client", w.udp(c, s, 1000 + len(program), 2000)))
            r.check_counted(program, "raw", list(zip(raw, counts, strict=True)))
            r.check_counted(program, "mangle", [("-A PREROUTING -m connmark --mark 0x0", 1)])
            r.restore(program, raw=[], mangle=[])


def test_templates_in_a_queue(tracker):
    """A packet that waits in user space between a rule and the tracker holds the template: also
    when the rule has gone it is tracked as the rule has wished."""
    with w.World(tracker) as world:
        queue = Queue(world, 7)
        for number, (target, zone) in enumerate((("CT --zone 5 --ctevents new", "zone=5"), ("CT --zone-reply 6", "zone-reply=6"), ("CT --zone mark", "zone=0"))):
            for gone in (False, True):
                port = 1000 + 2 * number + gone
                r.restore("iptables-legacy", raw=[f"-A PREROUTING -p udp -m udp --dport 2000 -j {target}", "-A PREROUTING -p udp -m udp --dport 2000 -j NFQUEUE --queue-num 7"])
                world.client.send(w.udp(C, S, port, 2000))
                packet = queue.packet()
                if gone:
                    r.restore("iptables-legacy", raw=[])
                    w.sh(f"rmmod {'ipt' if tracker.ours else 'xt'}_CT")
                queue.verdict(packet, NF_ACCEPT)
                w.wait_until(lambda: entries(f"sport={port}"), 5, "the packet is tracked")
                w.check_equal(zone_of(port), zone, f"zones of the connection, rule gone: {gone}")


def test_of_this_host(tracker):
    """Rules in OUTPUT, for what this host sends."""
    with w.World(tracker) as world:
        r.restore("iptables-legacy", raw=["-A OUTPUT -p udp -m udp --dport 2000 -j CT --zone 8", "-A OUTPUT -p udp -m udp --dport 61 -j NOTRACK"],
                  filter=["-A OUTPUT -m conntrack --ctstate UNTRACKED", "-A OUTPUT -m conntrack --ctstate NEW"])
        sender = world.socket("firewall", socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind(("192.168.1.10", 1000))
        for port in (2000, 61):
            sender.sendto(b"?", (S, port))
        w.time.sleep(0.2)
        w.check_equal(zone_of(1000), "zone=8", "zones of the connection")
        w.check_equal([packets for _, packets in r.counted("iptables-legacy", "filter")], [1, 1], "packets of no connection, and of a new one")


@w.ours_only
def test_helpers_by_port_in_zones(tracker):
    """A helper's ports are its own in every zone; a rule that wishes nothing else takes nothing away."""
    with w.World(tracker) as world:
        w.sh("modprobe ip_conntrack_tftp")
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_helper=1")
        r.restore("iptables-legacy", raw=["-A PREROUTING -j CT --zone 5"])
        send(world, ("client", w.udp(C, S, 1000, 69, b"\0\1file\0octet\0")))
        with w.inside("firewall"):
            lines = Path("/proc/thread-self/net/nf_conntrack_expect").read_text().splitlines()
        w.check_equal(len(lines), 1, f"expected connections: {lines}")
