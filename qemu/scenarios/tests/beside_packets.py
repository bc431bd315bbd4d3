# SPDX-License-Identifier: GPL-2.0
"""What programs behind NFQUEUE and NFLOG are told of a packet's connection, and what they do to it."""

import contextlib
import socket
import struct
import time
from pathlib import Path

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.packet import Raw

import netlink as n
import world as w
from nfqueue import (
    NF_ACCEPT,
    NF_DROP,
    NF_QUEUE,
    NF_REPEAT,
    NFQA_CT,
    NFQA_CT_INFO,
    NFQA_EXP,
    NFQA_PAYLOAD,
    NFULA_CT,
    NFULA_CT_INFO,
    Log,
    Queue,
)

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
C6, S6 = w.GHOST_CLIENT6, w.GHOST_SERVER6

# linux/netfilter/nfnetlink_conntrack.h
NAMES = {1: "orig", 2: "reply", 3: "status", 4: "protoinfo", 5: "help", 7: "timeout", 8: "mark", 9: "counters-orig",
         10: "counters-reply", 12: "id", 14: "master", 18: "zone", 19: "secctx", 20: "timestamp", 22: "labels"}
STATUS, HELP, TIMEOUT, MARK, ID, MARK_MASK, LABELS, LABELS_MASK = 3, 5, 7, 8, 12, 21, 22, 23
EXPECTED, SEEN_REPLY, ASSURED, CONFIRMED, FIXED, HELPED = 1, 2, 4, 8, 1 << 10, 1 << 13
ESTABLISHED, RELATED, NEW, REPLY = 0, 1, 2, 3
PLAIN = ["orig", "reply", "id", "status", "timeout", "mark"]


def queue_all(world, number=1, chain="FORWARD", condition="", family=4):
    world.firewall(f"ip{'6' if family == 6 else ''}tables-legacy -A {chain} {condition} -j NFQUEUE --queue-num {number}")


def told(attributes, kinds=(NFQA_CT, NFQA_CT_INFO)):
    """What is told of a connection: its attributes by their names, in order, and what the packet is to it."""
    found = dict(attributes)
    w.check_equal(kinds[0] in found, kinds[1] in found, "one of both")
    if kinds[0] not in found:
        return None, None
    order = [kind for kind, _ in attributes]
    w.check_equal(order[order.index(kinds[0]) + 1], kinds[1], "what follows the connection")
    return ([(NAMES.get(kind, kind), value) for kind, value in found[kinds[0]]],
            int.from_bytes(found[kinds[1]], "big"))


def numbers(value):
    return int.from_bytes(value, "big")


def flow(src, dst, protocol, *ids):
    """A tuple as it is told."""
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    first = 3 if ":" in src else 1
    addresses = [(first + at, socket.inet_pton(family, address)) for at, address in enumerate((src, dst))]
    return [(1, addresses), (2, [(1, bytes([protocol])), *ids])]


def ports(src, dst):
    return (2, struct.pack("!H", src)), (3, struct.pack("!H", dst))


def check_told(connection, kinds, what, **values):
    w.check_equal([kind for kind, _ in connection], kinds, f"{what}: what is told")
    found = dict(connection)
    for kind, value in values.items():
        if kind == "timeout":
            left = numbers(found[kind])
            w.check(value - w.SLACK <= left <= value, f"{what}: {left} s left of {value}")
        elif isinstance(value, int):
            w.check_equal(numbers(found[kind]), value, f"{what}: {kind}")
        else:
            w.check_equal(found[kind], value, f"{what}: {kind}")
    return found


def test_queue_tells(tracker):
    """Of a new connection, of its answer, of an error about it, over IPv4 and IPv6; of no other packet."""
    with w.World(tracker) as world:
        queue = Queue(world, 1, conntrack=True)
        queue_all(world)
        queue_all(world, family=6)

        def pass_on(verdict=NF_ACCEPT):
            number, attributes = queue.asked()
            queue.verdict(number, verdict)
            return told(attributes)

        for family, src, dst in ((4, C, S), (6, C6, S6)):
            out, back = flow(src, dst, 17, *ports(1000, 2000)), flow(dst, src, 17, *ports(2000, 1000))
            world.client.send(w.udp(src, dst, 1000, 2000))
            connection, info = pass_on()
            first = check_told(connection, PLAIN, "new", orig=out, reply=back, status=0, timeout=30, mark=0)
            w.check_equal(info, NEW, "a new one's packet")
            time.sleep(0.1)
            world.server.send(w.udp(dst, src, 2000, 1000))
            connection, info = pass_on()
            # The bit for an answer is set when the packet comes, so it is told of with the packet itself.
            second = check_told(connection, PLAIN, "answered", orig=out, reply=back, status=CONFIRMED | SEEN_REPLY,
                                timeout=30)
            w.check_equal(info, REPLY, "an answer")
            w.check_equal(first["id"], second["id"], "the number")
            world.client.send(w.udp(src, dst, 1000, 2000))
            _, info = pass_on()
            w.check_equal(info, ESTABLISHED, "a packet behind the answer")
        quoted = bytes(w.udp(C, S, 1000, 2000))
        world.server.send(IP(src=S, dst=C) / ICMP(type=3, code=1) / Raw(quoted))
        connection, info = pass_on()
        check_told(connection, PLAIN, "an error", orig=flow(C, S, 17, *ports(1000, 2000)))
        w.check_equal(info, RELATED + REPLY, "an error")
        # An error about nothing is INVALID: there is no connection to tell of.
        world.server.send(IP(src=S, dst=C) / ICMP(type=3, code=1) / Raw(bytes(w.udp(C, S, 9, 9))))
        w.check_equal(pass_on(), (None, None), "INVALID")
        world.firewall("iptables-legacy -t raw -A PREROUTING -p udp --dport 99 -j NOTRACK")
        world.client.send(w.udp(C, S, 1000, 99))
        w.check_equal(pass_on(), (None, None), "UNTRACKED")
        world.client.send(w.echo(C, S, 7))
        connection, _ = pass_on()
        check_told(connection, PLAIN, "ICMP", orig=flow(C, S, 1, (4, b"\0\7"), (5, b"\x08"), (6, b"\0")),
                   reply=flow(S, C, 1, (4, b"\0\7"), (5, b"\0"), (6, b"\0")))
        world.client.send(w.ip(C6, S6) / ICMPv6EchoRequest(id=7))
        connection, _ = pass_on()
        check_told(connection, PLAIN, "ICMPv6", orig=flow(C6, S6, 58, (7, b"\0\7"), (8, b"\x80"), (9, b"\0")))
        world.client.send(IP(src=C, dst=S, proto=99) / Raw(bytes(8)))
        connection, _ = pass_on()
        check_told(connection, PLAIN, "another protocol", orig=flow(C, S, 99), timeout=600)
        # Who has not asked for connections is not told of them.
        plain = Queue(world, 2)
        world.firewall("iptables-legacy -I FORWARD -p udp --dport 5 -j NFQUEUE --queue-num 2")
        world.client.send(w.udp(C, S, 1000, 5))
        number, attributes = plain.asked()
        w.check_equal(told(attributes), (None, None), "who has not asked")
        plain.verdict(number, NF_DROP)


def test_queue_tells_all(tracker):
    """States, counters, stamps, helper, zone, labels, marks: all that a connection can have, in stock's order."""
    with w.World(tracker) as world:
        tracker.helper("ftp")
        w.setting("acct", 1)
        w.setting("timestamp", 1)
        queue = Queue(world, 1, conntrack=True)
        for command in (
            "iptables-legacy -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp",
            "iptables-legacy -t raw -A PREROUTING -p udp -i inner -j CT --zone 7",
            "iptables-legacy -t raw -A PREROUTING -p icmp -i inner -j CT --zone-orig 8",
            "iptables-legacy -t mangle -A PREROUTING -p tcp -j CONNMARK --set-mark 0x12345678",
            "iptables-legacy -t mangle -A PREROUTING -p tcp -m connlabel --label 5 --set",
        ):
            world.firewall(command)
        queue_all(world)

        def pass_on():
            number, attributes = queue.asked()
            queue.verdict(number, NF_ACCEPT)
            time.sleep(0.1)
            return told(attributes)

        everything = ["orig", "reply", "id", "status", "timeout", "protoinfo", "counters-orig", "counters-reply",
                      "timestamp", "help", "mark", "labels"]
        world.client.send(w.tcp(C, S, 1000, 21, "S", 1))
        connection, _ = pass_on()
        found = check_told(connection, everything, "TCP with everything", timeout=120, mark=0x12345678,
                           help=[(1, b"ftp\0")], labels=b"\x20" + bytes(15))
        w.check_equal(found["counters-orig"], [(1, bytes(7) + b"\1"), (2, bytes(7) + b"\x28")], "what is counted")
        w.check_equal([kind for kind, _ in found["protoinfo"][0][1]], [1, 2, 3, 4, 5], "TCP's state")
        w.check_equal(found["protoinfo"][0][1][0], (1, b"\1"), "SYN_SENT")
        # It has not begun yet.
        w.check_equal(found["timestamp"], [(1, bytes(8))], "the begin of what is not confirmed")
        world.server.send(w.tcp(S, C, 21, 1000, "SA", 500, 2))
        connection, _ = pass_on()
        found = check_told(connection, everything, "its answer", timeout=60)
        w.check_equal(found["protoinfo"][0][1][0], (1, b"\2"), "SYN_RECV")
        w.check(numbers(found["timestamp"][0][1]) > 10 ** 18, "the begin of what is confirmed")
        # What it announces.
        world.client.send(w.tcp(C, S, 1000, 21, "A", 2, 501))
        pass_on()
        world.server.send(w.tcp(S, C, 21, 1000, "PA", 501, 2, b"220 ready\r\n"))
        pass_on()
        said = 2
        for line in (b"USER anonymous\r\n", b"PORT 192,168,1,5,8,0\r\n"):
            world.client.send(w.tcp(C, S, 1000, 21, "PA", said, 512, line))
            pass_on()
            said += len(line)
        world.server.send(w.tcp(S, C, 20, 2048, "S", 1))
        connection, info = pass_on()
        found = check_told(connection, [*everything[:9], "master", "mark", "labels"], "an expected one",
                           status=EXPECTED, master=flow(C, S, 6, *ports(1000, 21)))
        w.check_equal(info, RELATED, "an expected one's packet")
        for packet, kinds, orig, what in (
            (w.udp(C, S, 1000, 2000), [*everything[:2], "zone"], flow(C, S, 17, *ports(1000, 2000)), "a zone"),
            (w.echo(C, S, 7), everything[:2],
             [*flow(C, S, 1, (4, b"\0\7"), (5, b"\x08"), (6, b"\0")), (3, b"\0\x08")], "a zone one way"),
        ):
            world.client.send(packet)
            connection, _ = pass_on()
            check_told(connection, [*kinds, "id", "status", "timeout", *everything[6:9], "mark"], what, orig=orig)
        world.firewall("iptables-legacy -t raw -F")
        world.firewall("iptables-legacy -t mangle -F")


def test_verdict_changes_what_is_new(tracker):
    """Mark, labels, time and status of a connection whose first packet waits; it begins with them."""
    with w.World(tracker) as world:
        # From here on connections can have labels.
        world.firewall("iptables-legacy -t mangle -A PREROUTING -m connlabel --label 99")
        queue = Queue(world, 1, conntrack=True)
        queue_all(world)

        def decide(sport, *change, exp=(), verdict=NF_ACCEPT):
            world.client.send(w.udp(C, S, sport, 2000))
            number, _ = queue.asked()
            queue.verdict(number, verdict, n.attr(NFQA_CT, list(change)), *exp)

        decide(1000, n.be32(MARK, 0xabc), n.be32(TIMEOUT, 555), n.attr(LABELS, b"\1" + bytes(15)))
        line = w.check_left(555, "a new one", "sport=1000")
        w.check(f"mark={0xabc}" in line, f"no mark: {line}")
        # The second packet sets the time back to the usual; the queue tells what stands.
        world.client.send(w.udp(C, S, 1000, 2000))
        number, attributes = queue.asked()
        connection, info = told(attributes)
        check_told(connection, [*PLAIN, "labels"], "the second packet", timeout=30, mark=0xabc,
                   labels=b"\1" + bytes(15))
        w.check_equal(info, NEW, "the second packet")
        # A mask of marks, and of labels.
        queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, [
            n.be32(MARK, 0x100), n.be32(MARK_MASK, 0xf00), n.attr(LABELS, b"\2\0\0\0"), n.attr(LABELS_MASK, b"\2\0\0\0")]))
        line = w.check_left(30, "masked", "sport=1000")
        w.check(f"mark={0x1bc}" in line, f"mark: {line}")
        world.client.send(w.udp(C, S, 1000, 2000))
        number, attributes = queue.asked()
        check_told(told(attributes)[0], [*PLAIN, "labels"], "labels by a mask", labels=b"\3" + bytes(15))
        queue.verdict(number, NF_ACCEPT)
        # A time that packets do not change any more, and one that they do again.
        decide(1001, n.be32(TIMEOUT, 777), n.be32(STATUS, FIXED))
        world.client.send(w.udp(C, S, 1001, 2000))
        number, attributes = queue.asked()
        check_told(told(attributes)[0], PLAIN, "a fixed time", timeout=777, status=CONFIRMED | FIXED)
        # Its time is fixed, and what comes behind that in the message is not done.
        queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, [n.be32(TIMEOUT, 5), n.be32(MARK, 5)]))
        line = w.check_left(777, "still a fixed time", "sport=1001")
        w.check("mark=0" in line or tracker.ours and not any(word.startswith("mark=") for word in line), f"{line}")
        world.client.send(w.udp(C, S, 1001, 2000))
        number, _ = queue.asked()
        queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, [n.be32(STATUS, CONFIRMED)]))
        time.sleep(0.1)
        world.client.send(w.udp(C, S, 1001, 2000))
        queue.verdict(queue.packet(), NF_ACCEPT)
        w.check_left(30, "no more a fixed time", "sport=1001")
        # Zero is a time as well: it is over at once.
        decide(1002, n.be32(TIMEOUT, 0))
        time.sleep(0.2)
        w.check_equal(world.lines("sport=1002"), [], "one whose time was over")
        # The longest.
        decide(1003, n.be32(TIMEOUT, 0xffffffff))
        w.check_left(0x7fffffff // 250, "the longest time", "sport=1003")
        # A packet that is dropped takes it all along.
        decide(1004, n.be32(MARK, 7), verdict=NF_DROP)
        time.sleep(0.2)
        w.check_equal(world.lines("sport=1004"), [], "one whose packet was dropped")
        world.firewall("iptables-legacy -t mangle -F")


def test_verdict_status(tracker):
    """Bits that users may set are set; those that were seen are not taken back; the others are not theirs."""
    with w.World(tracker) as world:
        queue = Queue(world, 1, conntrack=True)
        queue_all(world)

        def decide(end, *change):
            if end == "client":
                world.client.send(w.udp(C, S, 1000, 2000))
            else:
                world.server.send(w.udp(S, C, 2000, 1000))
            number, attributes = queue.asked()
            queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, list(change)))
            time.sleep(0.1)
            return numbers(dict(told(attributes)[0])["status"])

        # EXPECTED, CONFIRMED, DYING, NAT, templates: nothing is said of them.
        w.check_equal(decide("client", n.be32(STATUS, 0xffffffff & ~(FIXED | SEEN_REPLY))), 0, "at first")
        # Its HELPER bit and ASSURED are of the set bits.
        bits = decide("server")
        w.check_equal(bits & ~HELPED, CONFIRMED | ASSURED | SEEN_REPLY, "after all bits")
        w.check_equal(decide("client", n.be32(STATUS, SEEN_REPLY), n.be32(MARK, 9)) & ~HELPED,
                      CONFIRMED | ASSURED | SEEN_REPLY, "before ASSURED is taken back")
        w.check_equal(decide("client", n.be32(STATUS, ASSURED), n.be32(MARK, 9)) & ~HELPED,
                      CONFIRMED | ASSURED | SEEN_REPLY, "before SEEN_REPLY is taken back")
        w.check_equal(decide("client", n.be32(STATUS, ASSURED | SEEN_REPLY)) & ~HELPED,
                      CONFIRMED | ASSURED | SEEN_REPLY, "at the end")
        # What comes behind a refusal is not done.
        _, line = w.left("sport=1000")
        w.check(not any(word.startswith("mark=") and word != "mark=0" for word in line), f"{line}")


def test_bad_verdicts(tracker):
    """What makes no sense changes nothing, and the verdict stands."""
    with w.World(tracker) as world:
        queue = Queue(world, 1, conntrack=True)
        queue_all(world)
        mark = n.be32(MARK, 5)
        for at, change in enumerate((
            [n.attr(MARK, b"\0\0\0")], [n.attr(TIMEOUT, b""), mark], [n.attr(STATUS, b"\0"), mark],
            [n.attr(LABELS, bytes(17)), mark], [n.attr(LABELS, bytes(3)), mark], [n.attr(LABELS, bytes(16)), mark],
            [n.attr(HELP, [n.attr(1, b"ftp\0")]), mark], [n.attr(HELP, []), mark], [n.attr(HELP, [n.attr(1, b"ftp")]), mark],
            [n.attr(27, bytes(8)), mark], [n.attr(1, b"\0"), mark],
        )):
            world.client.send(w.udp(C, S, 1000 + at, 2000))
            number, _ = queue.asked()
            queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, change))
            _, line = w.left(f"sport={1000 + at}")
            w.check(not any(word.startswith("mark=") and word != "mark=0" for word in line), f"{change}: {line}")
        # What is unknown, or said twice, is let through: the last counts.
        world.client.send(w.udp(C, S, 999, 2000))
        number, _ = queue.asked()
        queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, [mark, n.attr(200, b"x"), n.be32(ID, 0), n.be32(MARK, 6)]))
        _, line = w.left("sport=999")
        w.check("mark=6" in line, f"{line}")
        # An attribute that holds none.
        world.client.send(w.udp(C, S, 998, 2000))
        number, _ = queue.asked()
        queue.verdict(number, NF_ACCEPT, n.attr(NFQA_CT, b""))
        w.left("sport=998")


def test_again_and_elsewhere(tracker):
    """A packet that goes through the rules again, or into another queue, keeps its connection; one entry comes of it."""
    with w.World(tracker) as world:
        first, second = Queue(world, 1, conntrack=True), Queue(world, 2, conntrack=True)
        queue_all(world)
        world.client.send(w.udp(C, S, 1000, 2000))
        ids = []
        for queue, verdict in ((first, NF_REPEAT), (first, NF_REPEAT), (first, NF_QUEUE | 2 << 16), (second, NF_REPEAT),
                               (first, NF_ACCEPT)):
            number, attributes = queue.asked()
            connection, info = told(attributes)
            ids.append(dict(connection)["id"])
            w.check_equal((info, numbers(dict(connection)["status"])), (NEW, 0), "what it is")
            w.check_equal(world.lines("sport=1000"), [], "entries while it waits")
            queue.verdict(number, verdict, n.attr(NFQA_CT, [n.be32(MARK, len(ids))]))
        w.check_equal(len(set(ids)), 1, "connections")
        _, line = w.left("sport=1000")
        w.check("mark=5" in line, f"{line}")


def test_what_is_dropped_announces(tracker):
    """A program expects another connection of one that is new, and drops its packet: neither keeps the namespace
    from going."""
    tracker.helper("amanda")
    with w.World(tracker) as world:
        queue = Queue(world, 1, conntrack=True)
        queue_all(world, condition="-p udp")
        world.firewall("iptables-legacy -t raw -A PREROUTING -p udp --dport 10080 -j CT --helper amanda")
        world.client.send(w.udp(C, S, 1000, 10080))
        expected = [n.flow(2, S, C, 17, 0, 3000), n.flow(3, "255.255.255.255", "255.255.255.255", 17, 0, 0xFFFF)]
        queue.verdict(queue.packet(), NF_DROP, n.attr(NFQA_CT, []), n.attr(NFQA_EXP, expected))
        time.sleep(0.2)
        world.firewall("iptables-legacy -F FORWARD")
        world.firewall("iptables-legacy -A FORWARD -p udp --dport 3000 -m conntrack --ctstate NEW")
        world.server.send(w.udp(S, C, 5, 3000))
        time.sleep(0.1)
        _, _, rule = world.firewall("iptables-legacy -L FORWARD -v -n -x").splitlines()
        w.check_equal(rule.split()[0], "1", "packets that were NEW")
    # Namespaces go one after the other: where this one waits, so does the next, and its end of a wire stays.
    w.sh("ip netns add next; ip link add wire type veth peer end netns next; ip netns del next")
    w.wait_until(lambda: not w.sh("ip -o link show wire 2>/dev/null", check=False), 15, "the namespace has gone")


def test_verdict_announces(tracker):
    """A program expects another connection of the one that it has seen, new or known; what makes no
    sense is left out, and the packet goes on."""
    tracker.helper("amanda")
    with w.World(tracker) as world:
        queue = Queue(world, 1, conntrack=True)
        queue_all(world, condition="-p udp")
        world.firewall("iptables-legacy -t raw -A PREROUTING -p udp --dport 10080 -j CT --helper amanda")

        def announce(*expected, dport=10080):
            world.client.send(w.udp(C, S, 1000, dport))
            queue.verdict(queue.packet(), NF_ACCEPT, n.attr(NFQA_CT, []), n.attr(NFQA_EXP, list(expected)))
            time.sleep(0.1)

        def of(dport, protocol=17):
            return n.flow(2, S, C, protocol, 0, dport), n.flow(3, "255.255.255.255", "255.255.255.255", protocol, 0, 0xFFFF)

        def listed():
            lines = world.firewall("conntrack -L expect 2>/dev/null").splitlines()
            return sorted(" ".join(line.split()[1:]) for line in lines)

        def line(dport, protocol):
            return (f"proto={protocol} src={S} dst={C} sport=0 dport={dport} mask-src=255.255.255.255 "
                    f"mask-dst=255.255.255.255 sport=0 dport=65535 master-src={C} master-dst={S} sport=1000 dport=10080 "
                    f"class=0 helper=amanda")

        announce(*of(3000))
        announce(*of(3001, 6))
        both = [line(3000, 17), line(3001, 6)]
        w.check_equal(listed(), sorted(both), "what is expected")
        # Half of one, of a class that there is not, what is there already, of a connection without a helper.
        announce(of(3002)[0])
        announce(of(3002)[1])
        announce(*of(3002), n.be32(9, 7))
        announce(*of(3000))
        announce()
        announce(*of(3003), dport=53)
        w.check_equal(listed(), sorted(both), "what is expected after nonsense")
        # One of them comes.
        world.firewall("iptables-legacy -F FORWARD")
        world.firewall("iptables-legacy -A FORWARD -p udp --dport 3000 -m conntrack --ctstatus EXPECTED --ctstate RELATED")
        world.server.send(w.udp(S, C, 5, 3000))
        time.sleep(0.1)
        _, _, rule = world.firewall("iptables-legacy -L FORWARD -v -n -x").splitlines()
        w.check_equal(rule.split()[0], "1", "packets that were RELATED")
        world.firewall("iptables-legacy -F FORWARD")
        w.check_equal(listed(), both[1:], "what is expected after one has come")
        world.firewall("iptables-legacy -t raw -F")


def test_other_payload(tracker):
    """A packet whose payload was changed goes on, longer or shorter, with its connection."""
    with w.World(tracker) as world:
        queue = Queue(world, 1, conntrack=True)
        queue_all(world, condition="-p tcp")
        server = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
        server.bind((w.SERVER, 8000))
        server.listen()
        client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect_ex((w.SERVER, 8000))
        for _ in range(3):
            queue.verdict(queue.packet(), NF_ACCEPT)
        client.settimeout(20)
        peer, _ = server.accept()
        peer.settimeout(20)
        client.send(b"hello world")
        number, attributes = queue.asked()
        packet = IP(dict(attributes)[NFQA_PAYLOAD])
        packet["TCP"].payload = Raw(b"HELLO")
        del packet.len, packet.chksum, packet["TCP"].chksum
        queue.verdict(number, NF_ACCEPT, n.attr(NFQA_PAYLOAD, bytes(packet)), n.attr(NFQA_CT, [n.be32(MARK, 3)]))
        w.check_equal(peer.recv(100), b"HELLO", "what arrives")
        _, line = w.left("dport=8000")
        w.check("mark=3" in line and "ESTABLISHED" in line, f"{line}")


def test_log_tells(tracker):
    """NFLOG tells of the connection too: before its entry and afterwards; not of packets without one."""
    with w.World(tracker) as world:
        log = Log(world, 5)
        world.firewall("iptables-legacy -A FORWARD -j NFLOG --nflog-group 5")
        world.firewall("iptables-legacy -A FORWARD -p udp --dport 2001 -j DROP")
        kinds = (NFULA_CT, NFULA_CT_INFO)
        out, back = flow(C, S, 17, *ports(1000, 2000)), flow(S, C, 17, *ports(2000, 1000))
        for end, packet, status, expected in (
            ("client", w.udp(C, S, 1000, 2000), 0, NEW), ("client", w.udp(C, S, 1000, 2000), CONFIRMED, NEW),
            ("server", w.udp(S, C, 2000, 1000), CONFIRMED | SEEN_REPLY, REPLY),
        ):
            getattr(world, end).send(packet)
            connection, info = told(log.message(), kinds)
            check_told(connection, PLAIN, "UDP", orig=out, reply=back, status=status, timeout=30)
            w.check_equal(info, expected, "what the packet is")
        world.client.send(w.udp(C, S, 1000, 2001))
        connection, _ = told(log.message(), kinds)
        check_told(connection, PLAIN, "what is dropped", status=0)
        world.client.send(w.tcp(C, S, 1, 2, "SF"))
        w.check_equal(told(log.message(), kinds), (None, None), "INVALID")


def test_log_of_invalid(tracker):
    """The packet log of INVALID packets, by NFLOG with connections: nobody waits for himself."""
    with w.World(tracker) as world:
        log = Log(world, 0)
        w.setting("log_invalid", 255)
        with w.inside("firewall"):
            for family in (2, 10):
                Path("/proc/thread-self/root/proc/sys/net/netfilter/nf_log", str(family)).write_text("nfnetlink_log\n")
        # One that has no connection, and segments far out of the windows of one.
        world.client.send(w.tcp(C, S, 1, 2, "SF"))
        connection, _ = told(log.message(), (NFULA_CT, NFULA_CT_INFO))
        if tracker.ours:
            w.check_equal(connection, None, "no connection")
        n.handshake(world, C, S, 1000, 80)
        for _ in range(3):
            world.client.send(w.tcp(C, S, 1000, 80, "PA", 0x40000000, 0x50000000, b"x"))
            connection, info = told(log.message(), (NFULA_CT, NFULA_CT_INFO))
            check_told(connection, [*PLAIN[:5], "protoinfo", "mark"], "out of the windows", timeout=432000,
                       orig=flow(C, S, 6, *ports(1000, 80)), status=CONFIRMED | SEEN_REPLY | ASSURED)
            w.check_equal(info, ESTABLISHED, "out of the windows")
        w.check_left(432000, "the connection", "sport=1000", "ESTABLISHED")


def test_template_in_a_queue(tracker):
    """A packet that waits with a rule's wish, and the rule, its policy and its helper go: it goes on."""
    with w.World(tracker) as world:
        tracker.helper("ftp")
        if tracker.ours:
            w.sh("modprobe ip_conntrack_netlink")
        queue = Queue(world, 1, conntrack=True)
        world.firewall("nfct timeout add p inet tcp syn_sent 200")
        world.firewall("iptables-legacy -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp --timeout p --zone 3")
        queue_all(world, chain="PREROUTING -t raw", condition="-p tcp")
        world.client.send(w.tcp(C, S, 1000, 21, "S", 1))
        number, attributes = queue.asked()
        if tracker.ours:
            w.check_equal(told(attributes), (None, None), "a rule's wish is no connection")
        world.firewall("iptables-legacy -t raw -F")
        world.firewall("nfct timeout delete p")
        # Not even a rule's wish is changed by a verdict.
        queue.verdict(number, NF_ACCEPT, *([n.attr(NFQA_CT, [n.be32(MARK, 5)])] if tracker.ours else []))
        # Stock takes the policy from the wish; the zone stays.
        w.check_left(200 if tracker.ours else 120, "by the rule that has gone", "sport=1000", "zone=3")


def bridge(world, *ports):
    """A bridge in the firewall with so many wires, the other ends in namespaces of the ports' names."""
    w.sh("modprobe br_netfilter")
    for name in ports:
        w.sh(f"ip netns add {name}")
        w.sh(f"ip link add {name} netns firewall type veth peer name eth0 netns {name}")
    world.firewall("ip link add bridge type bridge")
    world.firewall("ip addr add 10.0.0.1/24 dev bridge")
    for at, name in enumerate(ports, 2):
        world.firewall(f"ip link set {name} master bridge up")
        w.sh(f"ip -n {name} addr add 10.0.0.{at}/24 dev eth0; ip -n {name} link set eth0 up")
    world.firewall("ip link set bridge up")
    world.firewall("sysctl -qw net.bridge.bridge-nf-call-iptables=1")


def remove_bridge(*ports):
    for name in ports:
        w.sh(f"ip netns del {name}", check=False)


# What is heard of two broadcasts of a new flow that wait in a queue, by the hosts of the bridge and by the firewall.
# Of the first the copies share a connection that is not in the table yet: NFQUEUE drops those of them that go on to
# other hosts, for another copy goes up to the firewall meanwhile. The second has its entry.
BOTH, ONE, NONE = ["0", "1"], ["1"], []
CLONES = (
    ("PREROUTING -t mangle", NF_ACCEPT, BOTH, BOTH),
    ("FORWARD", NF_ACCEPT, ONE, BOTH),
    ("FORWARD", NF_DROP, NONE, BOTH),
    ("INPUT", NF_ACCEPT, BOTH, BOTH),
    ("INPUT", NF_DROP, BOTH, NONE),
)


def heard(listener):
    """What has come to a socket, until nothing more comes."""
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(listener.recv(10).decode())
    return found


def test_clones_in_queues(tracker):
    """A broadcast on a bridge: its copies share one new connection, and those that wait in a queue end well."""
    ports = ("one", "two", "three")
    with w.World(tracker) as world:
        try:
            bridge(world, *ports)
            queue = Queue(world, 1, conntrack=True)
            queue.netlink.settimeout(1)
            listeners = {}
            for name in (*ports[1:], "firewall"):
                listeners[name] = world.socket(name, socket.AF_INET, socket.SOCK_DGRAM)
                listeners[name].bind(("", 2000))
                listeners[name].settimeout(0.5)
            time.sleep(1)
            for sport, (chain, verdict, forwarded, local) in enumerate(CLONES, 3000):
                rule = f"{chain} -p udp --dport 2000 -j NFQUEUE --queue-num 1"
                world.firewall(f"iptables-legacy -A {rule}")
                sender = world.socket("one", socket.AF_INET, socket.SOCK_DGRAM)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sender.bind(("10.0.0.2", sport))
                queued = 0
                for turn in range(2):
                    sender.sendto(b"%d" % turn, ("10.0.0.255", 2000))
                    with contextlib.suppress(TimeoutError):
                        while True:
                            queue.verdict(queue.packet(), verdict)
                            queued += 1
                world.firewall(f"iptables-legacy -D {rule}")
                what = f"{chain}, verdict {verdict}"
                w.check_equal(queued, 2, f"{what}: packets in the queue")
                w.check_equal({name: heard(listener) for name, listener in listeners.items()},
                              {"two": forwarded, "three": forwarded, "firewall": local}, what)
                w.check_equal(len(world.lines(f"sport={sport}")), 1, f"{what}: entries")
        finally:
            remove_bridge(*ports)
            world.firewall("ip link del bridge")
            w.sh("rmmod br_netfilter", check=False)
