# SPDX-License-Identifier: GPL-2.0
"""ctnetlink: what there is, listed, asked for and ended by `conntrack` and by hand."""

import os
import socket

import netlink as n
import world as w
from netlink import C, C6, S, S6


LISTS = """
    -L
    -L conntrack
    -L -f ipv4
    -L -f ipv6
    -L -o extended
    -L -o xml
    -L -o save
    -L -o id
    -L -o extended,id,labels
    -L -o ktimestamp
    -L -o xml,ktimestamp,id
    -L -o save,extended
    -L -p tcp
    -L -p udp
    -L -p icmp
    -L -p icmpv6 -f ipv6
    -L -p sctp
    -L -p gre
    -L -p 99
    -L -p tcp --state ESTABLISHED
    -L -p tcp --state NONE
    -L -p sctp --state ESTABLISHED
    -L -p tcp --dport 80
    -L -p tcp --sport 1001
    -L -p tcp --orig-port-src 1001 --orig-port-dst 80
    -L -p tcp --reply-port-src 80
    -L -p udp --dport 53
    -L -p sctp --sport 3001
    -L -p icmp --icmp-id 8
    -L -p icmp --icmp-type 13
    -L -p icmpv6 -f ipv6 --icmpv6-id 7
    -L -s 192.168.1.5
    -L -d 192.168.1.11
    -L -s 192.168.1.0/24
    -L -d 10.0.0.0/8
    -L -r 192.168.1.11
    -L -q 192.168.1.5
    -L --mask-src 255.255.255.0 --orig-src 192.168.1.0
    -L -f ipv6 -s 2001:db8:1::5
    -L -f ipv6 -d 2001:db8:2::/64
    -L -u ASSURED
    -L -u SEEN_REPLY
    -L -u UNREPLIED
    -L -u ASSURED,SEEN_REPLY
    -L -u EXPECTED
    -L -u FIXED_TIMEOUT
    -L -m 0
    -L -m 5
    -L -m 0/0xff
    -L -n
    -L -g
    -L -j
    -L -n 192.168.1.1
    -L --zone 0
    -L --zone 5
    -L --orig-zone 5
    -L --reply-zone 5
    -L -l test
    -L -p tcp --any-nat
    -L dying
    -L unconfirmed
    -C
    -C conntrack
    -G -p tcp --orig-src 192.168.1.5 --orig-dst 192.168.1.11 --sport 1001 --dport 80
    -G -p tcp --reply-src 192.168.1.11 --reply-dst 192.168.1.5 --reply-port-src 80 --reply-port-dst 1001
    -G -p udp -s 192.168.1.5 -d 192.168.1.11 --sport 2001 --dport 53 -o xml
    -G -p udp -s 192.168.1.5 -d 192.168.1.11 --sport 9 --dport 53
    -G -p icmp -s 192.168.1.5 -d 192.168.1.11 --icmp-type 8 --icmp-code 0 --icmp-id 8
    -G -p sctp -s 192.168.1.5 -d 192.168.1.11 --sport 3001 --dport 9
    -G -p gre -s 192.168.1.5 -d 192.168.1.11 --srckey 0 --dstkey 0
    -G -p 99 -s 192.168.1.5 -d 192.168.1.11
    -G -p tcp -s 2001:db8:1::5 -d 2001:db8:2::11 --sport 1001 --dport 80
    -G -p icmpv6 -s 2001:db8:1::5 -d 2001:db8:2::11 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7
"""


def settings(world, *names):
    for name in names:
        world.firewall(f"sysctl -qw net.netfilter.nf_conntrack_{name}")


def test_lists(tracker):
    """Every table, every form, every filter that `conntrack` knows, over connections of every kind."""
    with w.World(tracker) as world:
        settings(world, "acct=1", "timestamp=1")
        n.traffic(world)
        transcript = n.Transcript(world, "lists")
        for options in LISTS.strip().splitlines():
            transcript.run(f"conntrack {options.strip()}")
        transcript.check()


ENDS = """
    -D -p tcp --dport 22
    -D -p icmp --icmp-id 7
    -D -p sctp --state CLOSED
    -D -s 192.168.1.5 -p udp --sport 2000
    -D -f ipv6 -p tcp --state ESTABLISHED
    -D -r 192.168.1.11 -p gre
    -D -u ASSURED -p tcp --dport 80
    -D -m 5
    -D -p tcp --dport 22
    -D --zone 5
    -L
    -D -f ipv6
    -L -o extended
    -D -p udp -o xml
    -L -z
    -L
    -F
    -L
    -C
"""


def test_ends(tracker):
    """Connections ended one by one, by filters, all of them."""
    with w.World(tracker) as world:
        settings(world, "acct=1")
        n.traffic(world)
        transcript = n.Transcript(world, "ends")
        for options in ENDS.strip().splitlines():
            transcript.run(f"conntrack {options.strip()}")
        transcript.check()
        # What has ended begins anew.
        world.client.send(w.udp(C, S, 2000, 53))
        w.check_equal(len(world.lines("sport=2000")), 1, "entries after the end")


def test_other_namespaces_stay(tracker):
    """Nothing is seen, or ended, of another namespace."""
    with w.World(tracker) as world:
        n.traffic(world)
        w.sh("ip netns add late; ip -n late link set lo up; ip netns exec late ping -c 1 127.0.0.1")
        w.check_equal(len(w.sh("ip netns exec late conntrack -L 2>/dev/null").splitlines()), 1, "in the late namespace")
        many = int(world.firewall("conntrack -C"))
        w.sh("ip netns exec late conntrack -F")
        w.check_equal((int(world.firewall("conntrack -C")), w.sh("ip netns exec late conntrack -C").strip()), (many, "0"),
                      "connections here and there")
        w.sh("ip netns del late")


KEY = n.flow(1, C, S, 6, 1001, 80)


def one(answer):
    """The attributes of the one message of an answer, without what is each tracker's own."""
    w.check_equal(len(answer), 1, f"messages ({answer})")
    _, _, _, attrs = answer[0]
    return dict(attrs)


def test_messages(tracker):
    """The messages themselves: attributes in stock's order and form."""
    with w.World(tracker) as world, n.Socket() as s:
        settings(world, "acct=1", "timestamp=1")
        n.traffic(world)
        transcript = n.Transcript(world, "messages")

        def shown(value):
            return value.hex() if isinstance(value, bytes) else "{" + " ".join(f"{k}:{shown(v)}" for k, v in value) + "}"

        def note(title, answer):
            transcript.note(f"# {title}", *sorted(
                f"{kind:#x} {flags:#x} {head.hex()} " + " ".join(
                    f"{k}:" + ("*" if k in (7, 12, 20) else shown(v)) for k, v in attrs)
                for kind, flags, head, attrs in answer))

        note("a list", s.ask(n.CT, n.GET, n.DUMP, family=0))
        note("a list of IPv6", s.ask(n.CT, n.GET, n.DUMP, family=10))
        note("one", s.ask(n.CT, n.GET, 0, KEY))
        note("one by its reply tuple", s.ask(n.CT, n.GET, 0, n.flow(2, S, C, 6, 80, 1001)))
        note("one, and its counters begin anew", s.ask(n.CT, n.GET_CTRZERO, 0, KEY))
        note("again", s.ask(n.CT, n.GET, 0, KEY))
        answer = s.ask(n.CT, n.STATS, 0, family=0)
        w.check_equal([kind for kind, _ in answer[0][3]], [1, 2], "how many there are, and may be")
        w.check_equal(int.from_bytes(answer[0][3][0][1]), int(world.firewall("conntrack -C")), "connections")
        transcript.check()


def test_identity(tracker):
    """The number of a connection stays, tells it from others, and nobody else's will do to end it."""
    with w.World(tracker) as world, n.Socket() as s:
        settings(world, "udp_timeout=600")
        for port in range(1, 1001):
            world.client.send(w.udp(C, S, port, 53))
        w.time.sleep(0.2)
        listed = {bytes(dict(attrs)[1][1][1][1][1]): dict(attrs)[12] for _, _, _, attrs in s.ask(n.CT, n.GET, n.DUMP)}
        again = {bytes(dict(attrs)[1][1][1][1][1]): dict(attrs)[12] for _, _, _, attrs in s.ask(n.CT, n.GET, n.DUMP)}
        w.check_equal(len(listed), 1000, "connections")
        w.check_equal(listed, again, "numbers the second time")
        w.check(len(set(listed.values())) >= 999, "numbers are of one connection each")
        (port, number), *_ = listed.items()
        tuple_ = n.flow(1, C, S, 17, int.from_bytes(port), 53)
        w.check_equal(s.outcome(n.CT, n.DELETE, n.ACK, tuple_, n.attr(12, bytes(4)))[0], "ENOENT", "ended by a wrong number")
        w.check_equal(one(s.ask(n.CT, n.GET, 0, tuple_))[12], number, "the number of one that was asked for")
        w.check_equal(s.outcome(n.CT, n.DELETE, n.ACK, tuple_, n.attr(12, number)), [], "ended by its number")
        w.check_equal(s.outcome(n.CT, n.GET, n.ACK, tuple_)[0], "ENOENT", "after its end")
        # Another of the same tuple is another.
        world.client.send(w.udp(C, S, int.from_bytes(port), 53))


def test_nobody_else(tracker):
    """Without CAP_NET_ADMIN in the namespace no message of either subsystem is answered."""
    with w.World(tracker) as world:
        n.traffic(world)
        before = world.firewall("conntrack -L 2>/dev/null | wc -l")
        read, write = os.pipe()
        with w.inside("firewall"):
            child = os.fork()
            if not child:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                one = n.Socket.__new__(n.Socket)
                one.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
                one.socket.settimeout(20)
                one.seq = 0
                told = [one.outcome(subsystem, message, flags, n.flow(1, C, S, 6, 1001, 80))[0:1]
                        for subsystem, count in ((n.CT, 8), (n.EXP, 4)) for message in range(count)
                        for flags in (n.ACK, n.DUMP, n.ACK | n.CREATE)]
                os.write(write, repr(set(told)).encode())
                os._exit(0)
        os.waitpid(child, 0)
        w.check_equal(os.read(read, 4096).decode(), repr({("EPERM",)}), "answers to nobody")
        w.check_equal(world.firewall("conntrack -L 2>/dev/null | wc -l"), before, "connections")


BAD = {
    "status of three bytes": n.attr(3, bytes(3)),
    "mark of three bytes": n.attr(8, bytes(3)),
    "zone of one byte": n.attr(18, bytes(1)),
    "a nest of two bytes": n.attr(1, bytes(2)),
    "labels of 20 bytes": n.attr(22, bytes(20)),
    "a time that is refused": n.attr(27, bytes(8)),
    "bytes at the end": b"\1\0",
    "an empty tuple": n.attr(1, []),
    "no addresses": n.attr(1, [n.attr(2, [n.u8(1, 6), n.be16(2, 1), n.be16(3, 2)])]),
    "no protocol": n.attr(1, [n.attr(1, [n.attr(1, bytes(4)), n.attr(2, bytes(4))])]),
    "two zones": n.flow(1, C, S, 6, 1, 2, zone=3) + n.be16(18, 4),
    "addresses of IPv6": n.flow(1, C6, S6, 6, 1, 2),
    "a mask alone": n.be32(21, 5),
    "a filter that is not nested": n.attr(25, n.attr(1, bytes(4))),
    "a filter with unknown bits": n.attr(25, [n.attr(1, b"\0\0\1\0")]),
    "a filter without its tuple": n.attr(25, [n.attr(1, b"\1\0\0\0")]),
    "a filter of ports without a protocol": n.attr(25, [n.attr(1, b"\x10\0\0\0")]) + n.flow(1, C, S, 6, 1, 2),
    "a status of no bits": n.be32(3, 0),
    "an expectation's flags": n.be32(8, 8),
    "a name of 16 letters": n.attr(6, b"sixteen letters!\0"),
    "a name without an end": n.attr(6, b"ftp"),
}


def test_refusals(tracker):
    """Requests that are wrong: the error, and the extended acknowledgement."""
    with w.World(tracker) as world, n.Socket() as s:
        n.traffic(world)
        transcript = n.Transcript(world, "refusals")
        for title, attrs in BAD.items():
            for subsystem, message, flags in ((n.CT, n.GET, n.ACK), (n.CT, n.GET, n.DUMP), (n.CT, n.DELETE, n.ACK),
                                              (n.CT, n.GET_CTRZERO, n.ACK), (n.CT, n.STATS_CPU, n.ACK),
                                              (n.CT, n.DYING, n.ACK), (n.CT, n.UNCONFIRMED, n.DUMP), (n.CT, 8, n.ACK)):
                for family in (2, 10, 0, 7):
                    answer = s.outcome(subsystem, message, flags, attrs, family=family)
                    if isinstance(answer, list):
                        if message == n.DELETE:
                            n.traffic(world)
                        answer = f"{len(answer)} messages"
                    transcript.note(f"{title}: {subsystem}/{message} {flags:#x} family {family}: {answer}")
        transcript.check()
