# SPDX-License-Identifier: GPL-2.0
"""ctnetlink: connections that users make and change."""

import netlink as n
import world as w
from netlink import C, S

FLOW = "-s 192.168.1.5 -d 192.168.1.11"
SESSION = f"""
    -I {FLOW} -p tcp --sport 1 --dport 80 --state ESTABLISHED -t 600
    -I {FLOW} -p tcp --sport 2 --dport 80 --state SYN_SENT -u SEEN_REPLY,ASSURED -t 600 -m 5
    -I {FLOW} -p tcp --sport 2 --dport 80 --state SYN_SENT -t 600
    -I {FLOW} -p udp --sport 3 --dport 53 -t 600 -u SEEN_REPLY
    -I {FLOW} -p udp --sport 4 --dport 53 -t 600 -u FIXED_TIMEOUT
    -I {FLOW} -p udp --sport 5 --dport 53
    -I {FLOW} -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 6 -t 600
    -I {FLOW} -p icmp --icmp-type 3 --icmp-code 0 --icmp-id 6 -t 600
    -I {FLOW} -p sctp --sport 7 --dport 9 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -t 600
    -I {FLOW} -p gre --srckey 0 --dstkey 8 -t 600
    -I {FLOW} -p 99 -t 600
    -I -s 2001:db8:1::5 -d 2001:db8:2::11 -p tcp --sport 1 --dport 80 --state LAST_ACK -t 600
    -I -s 2001:db8:1::5 -d 2001:db8:2::11 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 6 -t 600
    -I {FLOW} -r 192.168.1.11 -q 192.168.1.6 -p udp --sport 9 --dport 53 --reply-port-src 53 --reply-port-dst 99 -t 600
    -I {FLOW} -p udp --sport 10 --dport 53 -t 600 --zone 7
    -I {FLOW} -p udp --sport 10 --dport 53 -t 600 --orig-zone 8
    -I {FLOW} -p udp --sport 10 --dport 53 -t 600 --reply-zone 9
    -L
    -L -o xml
    -L --zone 7
    -L --orig-zone 8
    -U {FLOW} -p tcp --sport 1 --dport 80 -m 7
    -U {FLOW} -p tcp --sport 1 --dport 80 --state TIME_WAIT -t 700
    -U {FLOW} -p tcp --sport 1 --dport 80 -u ASSURED,SEEN_REPLY
    -U {FLOW} -p tcp --sport 2 --dport 80 -m 0xf0/0xf0
    -U {FLOW} -p udp --sport 4 --dport 53 -t 1
    -U {FLOW} -p udp --sport 77 --dport 53 -t 1
    -U {FLOW} -p sctp --sport 7 --dport 9 --state SHUTDOWN_SENT --orig-vtag 3 --reply-vtag 4
    -U -p udp -m 9
    -U -m 3 -p icmp
    -L
    -D -m 9
    -D {FLOW} -p udp --sport 10 --dport 53 --zone 7
    -D -p 99
    -L
    -A {FLOW} -p udp --sport 11 --dport 53 -t 600
    -A {FLOW} -p udp --sport 11 --dport 53 -t 600 -m 4
    -L -p udp
    -C
"""


def test_sessions(tracker):
    """What `conntrack` makes, changes and ends is what it lists then."""
    with w.World(tracker) as world:
        transcript = n.Transcript(world, "changes")
        for options in SESSION.strip().splitlines():
            transcript.run(f"conntrack {options.strip()}")
        transcript.check()


def states(world, *words):
    return [line.split()[3] for line in world.lines(*words)]


def test_made_connections_live(tracker):
    """Packets find what a user has made, and go on with it."""
    with w.World(tracker) as world:
        for port, state in ((1, "ESTABLISHED"), (2, "SYN_SENT"), (3, "FIN_WAIT")):
            world.firewall(f"conntrack -I {FLOW} -p tcp --sport {port} --dport 80 --state {state} -t 600 -u SEEN_REPLY,ASSURED")
        # In the middle of a stream whose numbers nobody has seen here.
        world.client.send(w.tcp(C, S, 1, 80, "PA", seq=7000, ack=9000, data=b"x" * 10))
        world.server.send(w.tcp(S, C, 80, 1, "A", seq=9000, ack=7010))
        w.check_equal(states(world, "sport=1", "[ASSURED]"), ["ESTABLISHED"], "an open one, after its packets")
        world.server.send(w.tcp(S, C, 80, 1, "FA", seq=9000, ack=7010))
        w.check_equal(states(world, "sport=1", "[ASSURED]"), ["FIN_WAIT"], "after a FIN")
        world.server.send(w.tcp(S, C, 80, 2, "SA", seq=1, ack=1))
        w.check_equal(states(world, "sport=2", "[ASSURED]"), ["SYN_RECV"], "one that was asked for, after the answer")
        world.server.send(w.tcp(S, C, 80, 3, "A", seq=1, ack=1))
        w.check_equal(states(world, "sport=3", "[ASSURED]"), ["CLOSE_WAIT"], "one that ends, after an acknowledgement")
        # One whose answers come from elsewhere.
        world.firewall(f"conntrack -I {FLOW} -r 192.168.1.11 -q 192.168.1.6 -p udp --sport 9 --dport 53 "
                       "--reply-port-src 53 --reply-port-dst 99 -t 600")
        world.server.send(w.udp(S, w.CLIENT, 53, 99))
        (line,) = world.lines("sport=9")
        w.check("[UNREPLIED]" not in line, f"an answer by the reply tuple: {line}")


def test_packets_find_one_with_answers_from_elsewhere(tracker):
    """The same of packets whose checksum is not looked at, which are read in a shorter way."""
    with w.World(tracker) as world:
        world.firewall("sysctl -q -w net.netfilter.nf_conntrack_checksum=0")
        for protocol, more in (("udp", ""), ("tcp", "--state SYN_SENT")):
            world.firewall(f"conntrack -I {FLOW} -r 192.168.1.11 -q 192.168.1.6 -p {protocol} --sport 9 --dport 53 "
                           f"--reply-port-src 53 --reply-port-dst 99 -t 600 {more}")
        world.firewall("iptables-legacy -t mangle -A PREROUTING -m conntrack --ctstate NEW --ctreplsrc 192.168.1.11 --ctrepldst 192.168.1.6")
        world.client.send(w.udp(C, S, 9, 53))
        world.client.send(w.tcp(C, S, 9, 53, "S", seq=1))
        (counted,) = world.firewall("iptables-legacy -t mangle -L PREROUTING -v -n -x").splitlines()[2:]
        w.check_equal(counted.split()[0], "2", "packets that go the way of what was made")
        world.server.send(w.udp(S, w.CLIENT, 53, 99))
        (line,) = world.lines("udp")
        w.check("[UNREPLIED]" not in line, f"an answer by the reply tuple: {line}")
        w.check_equal(len(world.lines("tcp")), 1, "entries of TCP")


def test_it_ends_by_its_time(tracker):
    with w.World(tracker) as world:
        world.firewall(f"conntrack -I {FLOW} -p udp --sport 1 --dport 53 -t 2")
        world.firewall(f"conntrack -I {FLOW} -p udp --sport 2 --dport 53 -t 600")
        w.wait_until(lambda: not world.lines("sport=1"), 20, "the end of two seconds")
        w.check_equal(len(world.lines("sport=2")), 1, "the other")
        world.firewall(f"conntrack -U {FLOW} -p udp --sport 2 --dport 53 -t 1")
        w.wait_until(lambda: not world.lines("sport=2"), 20, "the end of one second")


T = n.be32(7, 600)
ORIGINAL, REPLY = n.flow(1, C, S, 6, 1, 80), n.flow(2, S, C, 6, 80, 1)
PAIR = ORIGINAL + REPLY


def tcp(*inside):
    return n.attr(4, [n.attr(1, list(inside))])


BAD = {
    "no tuple": T,
    "no reply tuple": ORIGINAL + T,
    "no original tuple": REPLY + T,
    "no timeout": PAIR,
    "another protocol in the reply tuple": ORIGINAL + n.flow(2, S, C, 17, 80, 1) + T,
    "a state of ten": PAIR + T + tcp(n.u8(1, 10)),
    "a state of 255": PAIR + T + tcp(n.u8(1, 255)),
    "a scale of 15": PAIR + T + tcp(n.u8(2, 15), n.u8(3, 1)),
    "a scale of 255": PAIR + T + tcp(n.u8(2, 1), n.u8(3, 255)),
    "flags of one byte": PAIR + T + tcp(n.u8(4, 1)),
    "an SCTP state for TCP": PAIR + T + n.attr(4, [n.attr(3, [n.u8(1, 99)])]),
    "a status without CONFIRMED": PAIR + T + n.be32(3, 0),
    "a status of one that dies": PAIR + T + n.be32(3, 0x208),
    "a status of an expected one": PAIR + T + n.be32(3, 9),
    "a translation": PAIR + T + n.attr(6, [n.attr(1, bytes(4))]),
    "a master that is not there": PAIR + T + n.flow(14, C, S, 6, 9, 9),
    "a master in a zone": PAIR + T + n.flow(14, C, S, 6, 9, 9, zone=1),
    "a master without ports": PAIR + T + n.flow(14, C, S, 6),
    "a helper that is not there": PAIR + T + n.attr(5, [n.attr(1, b"nobody\0")]),
    "a helper without a name": PAIR + T + n.attr(5, []),
    "a helper's name without an end": PAIR + T + n.attr(5, [n.attr(1, b"ftp")]),
    "a shift without its place": PAIR + T + n.attr(15, [n.be32(2, 1), n.be32(3, 1)]),
    "a shift that is short": PAIR + T + n.attr(15, [n.attr(1, bytes(3))]),
    "no shift": PAIR + T + n.attr(16, []),
    "a mask alone": PAIR + T + n.be32(21, 5),
    "two zones": n.flow(1, C, S, 6, 1, 80, zone=2) + n.flow(2, S, C, 6, 80, 1, zone=3) + T,
}


def test_refusals(tracker):
    """New connections that are wrong: the error each time, and nothing is left of them."""
    with w.World(tracker) as world, n.Socket() as s:
        transcript = n.Transcript(world, "refused_changes")
        there = n.flow(1, C, S, 6, 5, 80) + n.flow(2, S, C, 6, 80, 5)
        s.ask(n.CT, n.NEW, n.ACK | n.CREATE, there, T, n.be32(3, 0xE))
        for title, attrs in BAD.items():
            for flags in (n.ACK | n.CREATE, n.ACK | n.CREATE | n.EXCL, n.ACK):
                answer = s.outcome(n.CT, n.NEW, flags, attrs)
                transcript.note(f"{title}: new {flags:#x}: {answer}")
                if answer == []:
                    transcript.note(f"  ended: {s.outcome(n.CT, n.DELETE, n.ACK, ORIGINAL)}")
            # The same of one that is there.
            changed = attrs.replace(PAIR, there) if PAIR in attrs else attrs
            for flags in (n.ACK, n.ACK | n.CREATE | n.EXCL):
                transcript.note(f"{title}: of one that is there {flags:#x}: {s.outcome(n.CT, n.NEW, flags, changed)}")
        transcript.check()
        w.check_equal(len(world.lines("sport=5")), 1, "the one that was there")
        w.check_equal(world.firewall("conntrack -C").strip(), "1", "connections")


def test_nothing_is_lost_by_refusals(tracker, many=2000):
    """Over and over: what is refused holds nothing back, and the tracker can be unloaded (CVE-2023-7192)."""
    with w.World(tracker) as world, n.Socket() as s:
        s.ask(n.CT, n.NEW, n.ACK | n.CREATE, PAIR, T)
        master = n.flow(14, C, S, 6, 1, 80)
        other = n.flow(1, C, S, 6, 3, 80) + n.flow(2, S, C, 6, 80, 3)
        for _ in range(many):
            w.check_equal(s.outcome(n.CT, n.NEW, n.ACK | n.CREATE | n.EXCL, PAIR, T)[0], "EEXIST", "one that is there")
            # Its reply tuple is another's; it has a master already.
            clash = n.flow(1, C, S, 6, 2, 80) + REPLY
            w.check_equal(s.outcome(n.CT, n.NEW, n.ACK | n.CREATE, clash, T, master)[0], "EEXIST", "one whose answers are another's")
            w.check_equal(s.outcome(n.CT, n.NEW, n.ACK | n.CREATE, other, T, n.be32(3, 0))[0], "EBUSY", "one of a wrong status")
        (line,) = world.lines("sport=1")
        w.check(line.endswith("use=1"), f"who holds it: {line}")
        w.check_equal(world.firewall("conntrack -C").strip(), "1", "connections")
        s.ask(n.CT, n.NEW, n.ACK | n.CREATE, other, T, master)
        w.check_equal(len(world.lines("sport=3")), 1, "one with a master")
        s.ask(n.CT, n.DELETE, n.ACK)
        w.check_equal(world.firewall("conntrack -C").strip(), "0", "connections at the end")


@w.ours_only
def test_no_chains_of_masters(tracker):
    """A connection that has a master is nobody's."""
    with w.World(tracker) as world, n.Socket() as s:
        outcomes = []
        for number in (1, 2, 3):
            source = f"10.0.0.{number}"
            both = n.flow(1, source, S, 17, 5, 6) + n.flow(2, S, source, 17, 6, 5)
            master = n.flow(14, f"10.0.0.{number - 1}", S, 17, 5, 6) if number > 1 else b""
            outcomes.append(s.outcome(n.CT, n.NEW, n.ACK | n.CREATE | n.EXCL, both, T, master))
        w.check_equal([outcome and outcome[0] for outcome in outcomes], [[], [], "ENOTSUP"], "outcomes")
        w.check_equal(len(world.lines()), 2, "connections")


def test_a_far_end_keeps_no_other_from_ending(tracker):
    """Timeouts as long as can be, set again and again in one namespace, and short ones in another: these end."""
    with w.World(tracker) as world:
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=10")
        w.sh("ip netns exec server conntrack -I -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 5 --dport 6 -t 100")
        for port in range(300):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1000 + port, 9))
        count = "cat /proc/sys/net/netfilter/nf_conntrack_count"
        w.check(int(world.firewall(count)) > 20, "connections")
        # Stock looks in two minutes at the latest, ours sooner.
        busy = "while :; do conntrack -U -p udp -s 10.0.0.1 -t 4294967295; done >/dev/null 2>&1"
        with w.subprocess.Popen(["ip", "netns", "exec", "server", "sh", "-c", busy], start_new_session=True) as loop:
            try:
                w.wait_until(lambda: int(world.firewall(count)) == 0, 180, "the short ones end")
            finally:
                w.os.killpg(loop.pid, 9)
