# SPDX-License-Identifier: GPL-2.0
"""Events: who listens is told the same, in the same order, whichever tracker is loaded."""

import contextlib
import os
import re
import socket
import struct
import time

import events as e
import helpers as h
import nft
import replay
import rules as r
import world as w

KEPT = int(os.environ.get("KEPT", "5000"))
C, S = w.GHOST_CLIENT, w.GHOST_SERVER


def flow(protocol, sport, dport, answered=True):
    """How `conntrack` writes the tuples of a flow between the two hosts that never answer."""
    unreplied = "" if answered else " [UNREPLIED]"
    return (f"src={C} dst={S} sport={sport} dport={dport}{unreplied} "
            f"src={S} dst={C} sport={dport} dport={sport}")


def settle():
    """A packet's way through the firewall ends in a softirq."""
    time.sleep(0.05)


class Talk:
    """A TCP connection whose segments are made by hand."""

    def __init__(self, world, sport, dport=80):
        self.world, self.sport, self.dport = world, sport, dport

    def client(self, flags, seq, ack=0, data=b""):
        self.world.client.send(w.tcp(C, S, self.sport, self.dport, flags, seq, ack, data))
        settle()

    def server(self, flags, seq, ack=0, data=b""):
        self.world.server.send(w.tcp(S, C, self.dport, self.sport, flags, seq, ack, data))
        settle()

    def open(self):
        self.client("S", 100)
        self.server("SA", 500, 101)
        self.client("A", 101, 501)

    def opened(self):
        """What is told of that."""
        words = flow("tcp", self.sport, self.dport)
        return (f"[NEW] tcp 6 {{120}} SYN_SENT {flow('tcp', self.sport, self.dport, False)}",
                f"[UPDATE] tcp 6 {{60}} SYN_RECV {words}",
                f"[UPDATE] tcp 6 {{432000}} ESTABLISHED {words} [ASSURED]")


def test_tcp_life(tracker):
    """Open, data, close, and the end of TIME_WAIT; data moves nothing and is not told."""
    with e.world(tracker) as world, e.Watch() as watch:
        w.setting("tcp_timeout_time_wait", 3)
        talk = Talk(world, 1000)
        talk.open()
        for at in range(3):
            talk.client("PA", 101 + at * 5, 501, b"hello")
            talk.server("A", 501, 106 + at * 5)
        talk.server("FA", 501, 116)
        talk.client("FA", 116, 502)
        talk.server("A", 502, 117)
        words = f"{flow('tcp', 1000, 80)} [ASSURED]"
        told = (*talk.opened(), f"[UPDATE] tcp 6 {{120}} FIN_WAIT {words}", f"[UPDATE] tcp 6 {{30}} LAST_ACK {words}",
                f"[UPDATE] tcp 6 {{3}} TIME_WAIT {words}")
        watch.check(*told)
        # Who reads the list sees that its time is over; stock might look for itself a minute later.
        w.wait_until(lambda: not tracker.lines(), 10, "TIME_WAIT ends")
        watch.check(*told, f"[DESTROY] tcp 6 TIME_WAIT {words}")


def test_tcp_resets(tracker):
    """A reset closes; one that answers a SYN ends the connection, which was never answered then."""
    with e.world(tracker) as world, e.Watch() as watch:
        talk = Talk(world, 1000)
        talk.open()
        talk.client("RA", 101, 501)
        refused = Talk(world, 1001)
        refused.client("S", 100)
        refused.client("S", 100)  # Again: nothing that would be told.
        refused.server("RA", 0, 101)
        words = flow("tcp", 1001, 80, False)
        watch.check(*talk.opened(), f"[UPDATE] tcp 6 {{10}} CLOSE {flow('tcp', 1000, 80)} [ASSURED]",
                    f"[NEW] tcp 6 {{120}} SYN_SENT {words}", f"[DESTROY] tcp 6 {{120}} CLOSE {words}")


def test_tcp_reopened(tracker):
    """A SYN in TIME_WAIT ends the connection and begins another: in this order."""
    with e.world(tracker) as world, e.Watch() as watch:
        talk = Talk(world, 1000)
        talk.open()
        talk.client("FA", 101, 501)
        talk.server("FA", 501, 102)
        talk.client("A", 102, 502)
        talk.client("S", 100000)
        words = f"{flow('tcp', 1000, 80)} [ASSURED]"
        watch.check(*talk.opened(), f"[UPDATE] tcp 6 {{120}} FIN_WAIT {words}", f"[UPDATE] tcp 6 {{30}} LAST_ACK {words}",
                    f"[UPDATE] tcp 6 {{120}} TIME_WAIT {words}", f"[DESTROY] tcp 6 {{120}} TIME_WAIT {words}",
                    f"[NEW] tcp 6 {{120}} SYN_SENT {flow('tcp', 1000, 80, False)}")


def test_tcp_of_both_ends(tracker):
    """Picked up in mid-stream, and a handshake that begins at both ends."""
    with e.world(tracker) as world, e.Watch() as watch:
        middle = Talk(world, 1000)
        middle.client("A", 100, 500)
        middle.server("A", 500, 100)
        both = Talk(world, 1001)
        both.client("S", 100)
        both.server("S", 500)
        both.client("SA", 100, 501)
        both.server("SA", 500, 101)
        both.client("A", 101, 501)
        first, words = flow("tcp", 1000, 80), flow("tcp", 1001, 80)
        watch.check(f"[NEW] tcp 6 {{300}} ESTABLISHED {flow('tcp', 1000, 80, False)}",
                    f"[UPDATE] tcp 6 {{300}} {first}",  # Its state is what it was.
                    f"[NEW] tcp 6 {{120}} SYN_SENT {flow('tcp', 1001, 80, False)}",
                    f"[UPDATE] tcp 6 {{120}} SYN_SENT2 {words}", f"[UPDATE] tcp 6 {{60}} SYN_RECV {words}",
                    f"[UPDATE] tcp 6 {{432000}} ESTABLISHED {words} [ASSURED]")


def test_real_sockets(tracker):
    """A connection between real stacks: closed in good order, and refused."""
    with e.world(tracker) as world, e.Watch("-p tcp") as watch:
        server = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
        server.bind((w.SERVER, 8000))
        server.listen()
        client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        client.connect((w.SERVER, 8000))
        peer, _ = server.accept()
        client.sendall(b"x" * 100000)
        received = 0
        while received < 100000:
            received += len(peer.recv(65536))
        client.close()
        w.check_equal(peer.recv(1), b"", "the end")
        peer.close()
        refused = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        w.check_equal(refused.connect_ex((w.SERVER, 8001)), 111, "connection refused")
        settle()
        found = [re.match(r"\[(\w+)\] tcp 6 \d+ (\w+)", line).groups() for line in watch.lines()]
        w.check_equal(found, [("NEW", "SYN_SENT"), ("UPDATE", "SYN_RECV"), ("UPDATE", "ESTABLISHED"), ("UPDATE", "FIN_WAIT"),
                              ("UPDATE", "LAST_ACK"), ("UPDATE", "TIME_WAIT"), ("NEW", "SYN_SENT"), ("DESTROY", "CLOSE")],
                      "what was told")


def test_datagrams(tracker):
    """UDP, which becomes a stream after two seconds, ICMP, and a protocol that nobody knows."""
    with e.world(tracker) as world, e.Watch() as watch:
        for packet in (w.udp(C, S, 1000, 53), w.udp(C, S, 1000, 53), w.echo(C, S, 77), w.ip(C, S, proto=99) / w.Raw(b"x")):
            world.client.send(packet)
            settle()
        for packet in (w.udp(S, C, 53, 1000), w.udp(S, C, 53, 1000), w.echo(S, C, 77, "echo-reply"), w.ip(S, C, proto=99) / w.Raw(b"x")):
            world.server.send(packet)
            settle()
        time.sleep(2.5)
        world.client.send(w.udp(C, S, 1000, 53))
        settle()
        world.client.send(w.udp(C, S, 1000, 53))
        echo = "src={} dst={} type={} code=0 id=77"
        there, back = echo.format(C, S, 8), echo.format(S, C, 0)
        watch.check(f"[NEW] udp 17 {{30}} {flow('udp', 1000, 53, False)}", f"[NEW] icmp 1 {{30}} {there} [UNREPLIED] {back}",
                    f"[NEW] unknown 99 {{600}} src={C} dst={S} [UNREPLIED] src={S} dst={C}",
                    f"[UPDATE] udp 17 {{30}} {flow('udp', 1000, 53)}", f"[UPDATE] icmp 1 {{30}} {there} {back}",
                    f"[UPDATE] unknown 99 {{600}} src={C} dst={S} src={S} dst={C}",
                    f"[UPDATE] udp 17 {{120}} {flow('udp', 1000, 53)} [ASSURED]")


def test_ipv6(tracker):
    """IPv6, ICMPv6: `-f` names the family."""
    client, server = w.GHOST_CLIENT6, w.GHOST_SERVER6
    with e.world(tracker) as world, e.Watch("-f ipv6") as watch, e.Watch("-f ipv4") as none:
        world.client.send(w.udp(client, server, 1000, 53))
        settle()
        world.server.send(w.udp(server, client, 53, 1000))
        settle()
        words = f"src={client} dst={server} sport=1000 dport=53{{}} src={server} dst={client} sport=53 dport=1000"
        watch.check("[NEW] udp 17 {30} " + words.format(" [UNREPLIED]"), "[UPDATE] udp 17 {30} " + words.format(""))
        none.check()


def test_sctp_and_gre(tracker):
    """SCTP's handshake and end; GRE, which is a stream as soon as it is answered."""
    from scapy.layers.l2 import GRE
    from scapy.layers.sctp import (SCTP, SCTPChunkAbort, SCTPChunkCookieAck, SCTPChunkCookieEcho, SCTPChunkInit,
                                   SCTPChunkInitAck)

    def sctp(src, dst, sport, dport, tag, chunk):
        return w.ip(src, dst) / SCTP(sport=sport, dport=dport, tag=tag) / chunk

    with e.world(tracker) as world, e.Watch() as watch:
        there = [sctp(C, S, 1000, 80, 0, SCTPChunkInit(init_tag=11)), sctp(C, S, 1000, 80, 22, SCTPChunkCookieEcho(cookie=b"c" * 8)),
                 sctp(C, S, 1000, 80, 22, SCTPChunkAbort())]
        back = [sctp(S, C, 80, 1000, 11, SCTPChunkInitAck(init_tag=22)), sctp(S, C, 80, 1000, 11, SCTPChunkCookieAck())]
        for number, packet in enumerate(there):
            world.client.send(packet)
            settle()
            if number < len(back):
                world.server.send(back[number])
                settle()
        for _ in range(2):
            world.client.send(w.ip(C, S) / GRE(proto=0x800) / w.ip(C, S))
            settle()
            world.server.send(w.ip(S, C) / GRE(proto=0x800) / w.ip(S, C))
            settle()
        words = flow("sctp", 1000, 80)
        gre = f"src={C} dst={S} srckey=0x0 dstkey=0x0{{}} src={S} dst={C} srckey=0x0 dstkey=0x0"
        watch.check(f"[NEW] sctp 132 {{10}} CLOSED {flow('sctp', 1000, 80, False)}", f"[UPDATE] sctp 132 {{3}} COOKIE_WAIT {words}",
                    f"[UPDATE] sctp 132 {{3}} COOKIE_ECHOED {words}", f"[UPDATE] sctp 132 {{210}} ESTABLISHED {words} [ASSURED]",
                    f"[UPDATE] sctp 132 {{10}} CLOSED {words} [ASSURED]",
                    "[NEW] gre 47 {30} " + gre.format(" [UNREPLIED]"), "[UPDATE] gre 47 {30} " + gre.format(""),
                    "[UPDATE] gre 47 {180} " + gre.format("") + " [ASSURED]")


def test_masks_and_filters(tracker):
    """`-e`, `-p`, `-s`, `-d`, ports: each shows its part."""
    other = "192.168.1.9"
    with e.world(tracker) as world:
        options = ("-e NEW", "-e UPDATES", "-e DESTROY", "-e NEW,DESTROY", "-e ALL", "-p udp", f"-s {C}", f"-d {other}",
                   "-p udp --dport 53", "--src-nat", "-p tcp --reply-port-src 80 -e NEW", "-o id -e DESTROY")
        watches = {option: e.Watch(option) for option in options}
        for watch in watches.values():
            watch.__enter__()
        try:
            Talk(world, 1000).open()
            world.client.send(w.udp(C, S, 1001, 53))
            settle()
            world.client.send(w.udp(C, other, 1002, 54))
            settle()
            world.firewall("conntrack -D -p udp --sport 1001")
            w.wait_until(lambda: watches["-e DESTROY"].lines(), 20, "that one of them has been told of its end")
            settle()
            kinds = {option: [line.split()[0].strip("[]")[0] + line.split()[1][0] for line in watch.lines()]
                     for option, watch in watches.items()}
        finally:
            for watch in watches.values():
                watch.stop()
        new, update, destroy = ["Nt", "Nu", "Nu"], ["Ut", "Ut"], ["Du"]
        # The server's own stack answers that it knows no such port: an error, of which nothing is told.
        everything = ["Nt", "Ut", "Ut", "Nu", "Nu", "Du"]
        w.check_equal(kinds, {
            "-e NEW": new, "-e UPDATES": update, "-e DESTROY": destroy, "-e NEW,DESTROY": [*new, *destroy], "-e ALL": everything,
            "-p udp": ["Nu", "Nu", "Du"], f"-s {C}": everything, f"-d {other}": ["Nu"], "-p udp --dport 53": ["Nu", "Du"],
            "--src-nat": [], "-p tcp --reply-port-src 80 -e NEW": ["Nt"], "-o id -e DESTROY": ["Du"]}, "what each shows")


def test_outputs(tracker):
    """Ids, times, XML; what was counted and when it began and ended is told at the end."""
    with e.world(tracker) as world:
        w.setting("acct", 1)
        w.setting("timestamp", 1)
        with e.Watch("-o id") as ids, e.Watch("-o timestamp") as times, e.Watch("-o xml,ktimestamp") as xml, \
                e.Watch("-o ktimestamp,extended") as long:
            world.client.send(w.udp(C, S, 1000, 53, b"x" * 72))
            settle()
            world.server.send(w.udp(S, C, 53, 1000, b"x" * 172))
            time.sleep(1.2)
            world.firewall("conntrack -D -p udp")
            settle()
            found = [re.search(r" id=(\d+)", line)[1] for line in ids.lines()]
            w.check(len(found) == 3 and len(set(found)) == 1 and found[0] != "0", f"one id: {found}")
            w.check(all(re.match(r"\[\d{10}\.\d{6}\] \[", line) for line in times.lines()), f"times: {times.lines()}")
            w.check_equal([line[:8] for line in long.lines()], ["[NEW] ip", "[UPDATE]", "[DESTROY"], "the long form")
            end = long.lines()[2]
            w.check_equal(re.findall(r"packets=(\d+) bytes=(\d+)", end), [("1", "100"), ("1", "200")], "counted")
            w.check(re.search(r"delta-time=[1-9]\d* ", end) and "[start=" in end and "[stop=" in end, f"its time: {end}")
            w.check(not any("packets=" in line for line in long.lines()[:2]), "counted only at the end")
            end = xml.lines()[-1]
            w.check(re.search(r'<flow type="destroy">.*<counters><packets>1</packets><bytes>100</bytes></counters>'
                              r".*<deltatime>[1-9]\d*</deltatime>", end), f"XML: {end}")


def test_flush(tracker):
    """All are told of, and by whom."""
    with e.world(tracker) as world, e.Watch("-e DESTROY") as watch:
        for number in range(20):
            world.client.send(w.udp(C, S, 1000 + number, 53))
        w.wait_until(lambda: e.count() == 20, 10, "all are there")
        world.firewall("conntrack -F")
        w.wait_until(lambda: len(watch.lines()) == 20, 10, "all are told of")
        expected = [f"[DESTROY] udp 17 {{30}} {flow('udp', 1000 + number, 53, False)} [USERSPACE] portid" for number in range(20)]
        lines = sorted(watch.lines())
        w.check(all(map(w.same_line, expected, lines)), f"told: {lines}")


@w.loads_itself
def test_eviction(tracker):
    """Who has to make room is told of before who takes it."""
    tracker.load("hashsize=8")  # Stock looks into eight buckets alone.
    with e.world(tracker) as world, e.Watch() as watch:
        many = 300
        w.sh(f"sysctl -qw net.netfilter.nf_conntrack_max={many}")
        for number in range(many):
            world.client.send(w.udp(C, S, 1000 + number, 53))
        w.wait_until(lambda: len(watch.lines()) == many, 20, "all are there")
        world.client.send(w.udp(C, S, 2000, 53))
        settle()
        told = [line.split()[0] for line in watch.lines()[many:]]
        # Stock takes out all that may go of a bucket.
        w.check(len(told) > 1 and told == ["[DESTROY]"] * (len(told) - 1) + ["[NEW]"], f"what is told: {told}")


def test_settings(tracker):
    """nf_conntrack_events: of which connections anything is told depends on when they began."""
    def send(world, sport):
        world.client.send(w.udp(C, S, sport, 53))
        settle()

    def answer(world, sport):
        world.server.send(w.udp(S, C, 53, sport))
        settle()

    with e.world(tracker) as world:
        send(world, 1000)  # Nobody listens when this begins.
        w.setting("events", 1)
        send(world, 1001)  # Nor now, but it might be asked for.
        with e.Watch() as watch:
            w.setting("events", 0)
            send(world, 1002)
            w.setting("events", 2)
            send(world, 1003)
            for port in range(1000, 1004):
                answer(world, port)
            watch.check(f"[NEW] udp 17 {{30}} {flow('udp', 1003, 53, False)}", f"[UPDATE] udp 17 {{30}} {flow('udp', 1001, 53)}",
                        f"[UPDATE] udp 17 {{30}} {flow('udp', 1003, 53)}")


def test_messages(tracker):
    """The messages themselves: numbers, flags, and what stands in them in which order."""
    with e.world(tracker) as world:
        listener = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
        talk = Talk(world, 1000)
        talk.open()
        talk.client("RA", 101, 501)
        world.firewall("conntrack -D -p tcp")
        plain = ["tuple", "reply", "id", "status", "timeout", "protoinfo"]
        found = listener.read()
        w.check_equal([(m.subsystem, m.number, m.flags, m.family, m.names()) for m in found], [
            (1, 0, e.CREATE | e.EXCL, socket.AF_INET, plain), (1, 0, 0, socket.AF_INET, plain), (1, 0, 0, socket.AF_INET, plain),
            (1, 0, 0, socket.AF_INET, plain), (1, 2, 0, socket.AF_INET, plain)], "messages")
        # State, scales, flags; of one that is over the state alone.
        depths = [[kind for kind, _ in message.value("protoinfo", 1)] for message in found]
        w.check_equal(depths, [[1, 2, 3, 4, 5]] * 4 + [[1]], "TCP's state")
        w.check(found[0].port == 0 and found[4].port != 0, f"senders: {[message.port for message in found]}")
        w.check(len({message.value("id") for message in found}) == 1, "one id")
        statuses = [int.from_bytes(message.value("status")) for message in found]
        confirmed, seen_reply, assured, dying = 8, 2, 4, 0x200
        w.check_equal(statuses, [confirmed, confirmed | seen_reply, confirmed | seen_reply | assured,
                                 confirmed | seen_reply | assured, confirmed | seen_reply | assured | dying], "status")
        # Counted and dated.
        w.setting("acct", 1)
        w.setting("timestamp", 1)
        before = time.time_ns()
        world.client.send(w.udp(C, S, 1001, 53))
        settle()
        world.server.send(w.udp(S, C, 53, 1001))
        settle()
        world.firewall("conntrack -D -p udp")
        found = listener.read()
        w.check_equal([message.names() for message in found], [
            ["tuple", "reply", "id", "status", "timeout", "timestamp_event"],
            ["tuple", "reply", "id", "status", "timeout", "timestamp_event"],
            ["tuple", "reply", "id", "status", "timeout", "counters", "counters_reply", "timestamp", "timestamp_event"]], "dated")
        times = [int.from_bytes(message.value("timestamp_event")) for message in found]
        w.check(before < times[0] < times[1] < times[2] < time.time_ns(), f"when: {times}")
        start, stop = (int.from_bytes(found[2].value("timestamp", at)) for at in (1, 2))
        w.check(before < start < times[1] < stop <= times[2], f"from {start} to {stop}, events at {times}")


def test_late_end(tracker):
    """It has ended when its time was over, not when that was noticed."""
    with e.world(tracker) as world:
        w.setting("timestamp", 1)
        w.setting("udp_timeout", 1)
        listener = e.Listener(world, e.DESTROY)
        world.client.send(w.udp(C, S, 1000, 53))
        time.sleep(1.5)
        found = []
        # Lists pass over what is over before it is told.
        w.wait_until(lambda: tracker.lines() == [] and (found.extend(listener.read()) or found), 10, "it ends, and that is told")
        (message,) = found
        start, stop = (int.from_bytes(message.value("timestamp", at)) for at in (1, 2))
        lived = (stop - start) / 1e9
        w.check(0.9 <= lived <= 1.3, f"lived {lived} s, expected one")
        w.check(message.value("timeout") is None, "it has no time left")


def exchange(world, sport, dport=53):
    """A datagram each way."""
    world.client.send(w.udp(C, S, sport, dport))
    settle()
    world.server.send(w.udp(S, C, dport, sport))
    settle()


def told(listener):
    """What a listener was told of each source port: the kind of message, and what stands in it beside the usual."""
    kinds = {(0, e.CREATE | e.EXCL): "new", (0, 0): "update", (2, 0): "destroy"}
    usual = ("tuple", "reply", "id", "status", "timeout")
    return [(e.source(message), kinds[message.number, message.flags], *(name for name in message.names() if name not in usual))
            for message in listener.read()]


def test_marks_and_labels(tracker):
    """What rules make of a connection is told with the packet that met them; what was so before is no news."""
    with e.world(tracker) as world:
        listener = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
        r.restore("iptables-legacy", mangle=["-A FORWARD -p udp -m udp --dport 53 -j CONNMARK --set-xmark 0x7/0xffffffff"])
        exchange(world, 1000)
        world.client.send(w.udp(C, S, 1000, 53))
        r.restore("iptables-legacy", mangle=["-A FORWARD -j CONNMARK --set-xmark 0x0/0xffffffff"])
        world.client.send(w.udp(C, S, 1000, 53))
        w.check_equal(told(listener), [(1000, "new", "mark"), (1000, "update", "mark"), (1000, "update", "mark")], "marks")
        r.restore("iptables-legacy", mangle=['-A FORWARD -m connlabel --label "5" --set'])
        exchange(world, 1001)
        r.restore("iptables-legacy", mangle=['-A FORWARD -m connlabel --label "6" --set'])
        world.client.send(w.udp(C, S, 1001, 53))
        w.check_equal(told(listener), [(1001, "new", "labels"), (1001, "update"), (1001, "update", "labels")], "labels")
        r.restore("iptables-legacy", mangle=[])


def test_security_marks(tracker):
    """A security mark is told as its text, in every message as long as the connection has one."""
    with e.world(tracker) as world:
        listener = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
        r.restore("iptables-legacy", mangle=["-A FORWARD -p udp -m udp --dport 53 -j SECMARK --selctx ^", "-A FORWARD -j CONNSECMARK --save"])
        exchange(world, 1000)
        w.check_equal(told(listener), [(1000, "new", "secctx"), (1000, "update", "secctx")], "security marks")
        r.restore("iptables-legacy", mangle=[])


def test_masks_of_rules(tracker):
    """-j CT --ctevents and --expevents: which of a connection's events are told, whatever the setting says."""
    with e.world(tracker) as world:
        rules = ["-A PREROUTING -p udp -m udp --dport 53 -j CT --ctevents new,destroy",
                 "-A PREROUTING -p udp -m udp --dport 54 -j CT --ctevents reply",
                 "-A PREROUTING -p udp -m udp --dport 55 -j CT --expevents new"]
        # With stock a mask counts only where one listened when the rule was made.
        first = e.Listener(world, e.NEW)
        r.restore("iptables-legacy", raw=rules)
        first.socket.close()
        for setting in (1, 2, 0):
            with contextlib.ExitStack() as late:
                w.setting("events", setting)
                listener = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
                late.callback(listener.socket.close)
                for sport, dport in ((1000, 53), (1001, 54), (1002, 55), (1003, 56)):
                    exchange(world, sport, dport)
                world.firewall("conntrack -D -p udp")
                found = sorted(told(listener))
                expected = [(1000, "destroy"), (1000, "new"), (1001, "update")]
                if setting:
                    expected += [(1003, "destroy"), (1003, "new"), (1003, "update")]
                w.check_equal(found, expected, f"told with nf_conntrack_events={setting}")
        # Begun when nobody listened.
        w.setting("events", 2)
        world.client.send(w.udp(C, S, 1000, 53))
        settle()
        listener = e.Listener(world, e.DESTROY)
        world.firewall("conntrack -D -p udp")
        w.check_equal(told(listener), [], "told where nobody listened")
        r.restore("iptables-legacy", raw=[])


def test_masks_of_nft(tracker):
    """nft's ct event: which of a connection's events are told, as a rule says when it begins."""
    with e.world(tracker) as world:
        nft.load(nft.table(nft.chain(["udp dport 53 ct event set new,destroy", "udp dport 54 ct event set reply"], "prerouting")))
        nft.check_comes_back()
        for setting in (1, 2, 0):
            w.setting("events", setting)
            listener = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
            for sport, dport in ((1000, 53), (1001, 54), (1003, 56)):
                exchange(world, sport, dport)
            world.firewall("conntrack -D -p udp")
            expected = [(1000, "destroy"), (1000, "new"), (1001, "update")]
            if setting:
                expected += [(1003, "destroy"), (1003, "new"), (1003, "update")]
            w.check_equal(sorted(told(listener)), expected, f"told with nf_conntrack_events={setting}")
            listener.socket.close()


def test_mask_of_expectations(tracker):
    """A rule's mask goes for what the connection announces, and a helper is told of."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        e.load(tracker)
        world = site.world
        first = e.Listener(world, e.NEW)
        for mask, numbers in (("--expevents new", [0]), ("--ctevents destroy", [])):
            r.restore("iptables-legacy", raw=[f"-A PREROUTING -p tcp -m tcp --dport 21 -j CT {mask} --helper ftp"])
            connections = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
            expectations = e.Listener(world, e.EXPECT_NEW, e.EXPECT_DESTROY)
            control = h.Control(site)
            listener, port = site.listener(site.client, 4)
            control.say(f"PORT {w.CLIENT.replace('.', ',')},{port >> 8},{port & 255}\r\n".encode())
            settle()
            data = world.socket(site.server, socket.AF_INET, socket.SOCK_STREAM)
            data.connect((w.CLIENT, port))
            w.check_equal([message.number for message in expectations.read()], numbers, f"told with {mask}")
            w.check_equal([line for line in told(connections) if "help" in line], [], "nothing of the connection itself")
            control.reset()
        first.socket.close()
        r.restore("iptables-legacy", raw=["-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp"])
        connections = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
        control = h.Control(site)
        w.check_equal([line[1:] for line in told(connections)],
                      [("new", "protoinfo", "help"), ("update", "protoinfo", "help"), ("update", "protoinfo", "help")], "who reads it")
        control.reset()


def test_expectations(tracker):
    """`conntrack -E expect`, and the messages: new, and over because the connection came, by its time, with its master."""
    e.load(tracker)
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        world = site.world
        connections = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
        expectations = e.Listener(world, e.EXPECT_NEW, e.EXPECT_DESTROY)
        with e.Watch("expect") as watch:
            control = h.Control(site)
            listener, port = site.listener(site.client, 4)
            control.say(f"PORT {w.CLIENT.replace('.', ',')},{port >> 8},{port & 255}\r\n".encode())
            w.wait_until(lambda: watch.lines(), 10, "it is expected")
            data = world.socket(site.server, socket.AF_INET, socket.SOCK_STREAM)
            data.connect((w.CLIENT, port))
            w.wait_until(lambda: len(watch.lines()) == 2, 10, "it has come")
            lines = watch.lines()
            w.check(all(re.match(rf"\[{kind}\] (300|29\d) proto=6 src=", line) for kind, line in zip(("NEW", "DESTROY"), lines)),
                    f"told: {lines}")
        new, over = expectations.read()
        told = ["tuple", "mask", "master", "timeout", "id", "flags", "class", "helper"]
        w.check_equal([(m.subsystem, m.number, m.flags, m.names()) for m in (new, over)],
                      [(2, 0, e.CREATE | e.EXCL, told), (2, 2, 0, told)], "messages")
        related = [message for message in connections.read() if message.value("master")]
        w.check_equal([message.names() for message in related],
                      [["tuple", "reply", "id", "status", "timeout", "protoinfo", "master"]], "who has announced it")


def test_listener_comes_and_goes(tracker):
    """Under traffic: a listener opens and closes, nothing is told twice or in the wrong order."""
    with e.world(tracker) as world:
        for round_ in range(10):
            with e.Watch("-p udp") as watch:
                ports = range(1000 + round_ * 100, 1050 + round_ * 100)
                for port in ports:
                    world.client.send(w.udp(C, S, port, 53))
                    world.server.send(w.udp(S, C, 53, port))
                w.wait_until(lambda: len(watch.lines()) >= 100, 10, "all are told")
                for port in ports:
                    mine = [line.split()[0] for line in watch.lines() if f" sport={port} " in line]
                    w.check_equal(mine, ["[NEW]", "[UPDATE]"], f"told of {port}")


def first_packets(many):
    """The first packets of so many connections."""
    begin = replay.udp(0, 53)
    # Without a checksum, so that only the port differs.
    return replay.requests([begin[:20] + struct.pack("!H", 1 + number) + begin[22:26] + b"\0\0" + begin[28:]
                            for number in range(many)])


def test_nothing_is_missed(tracker):
    """Who asks for errors hears of each end, though its buffer was full; until then the table keeps it, out of sight.
    KEPT= how many ends."""
    w.sh(f"sysctl -qw net.netfilter.nf_conntrack_max={3 * KEPT}")
    with e.world(tracker) as world, replay.loaded(), w.inside("firewall"), replay.sender() as send:
        w.setting("udp_timeout", 3600)
        # Room for a tenth of them, as it counts: each message for 768 bytes, and the buffer twice.
        listener = e.Listener(world, e.DESTROY, buffer=KEPT // 10 * 768 // 2, errors=True)
        packets = first_packets(KEPT)
        send(packets)
        w.check_equal(replay.entries(), KEPT, "all are there")
        w.sh("conntrack -F")
        kept = replay.entries()
        w.check(KEPT / 2 < kept < KEPT, f"{kept} are kept, as many as did not fit")
        w.check_equal(e.shown(), 0, "connections in the list")
        # Their place is free.
        send(packets)
        w.check_equal((e.shown(), replay.entries()), (KEPT, KEPT + kept), "others are in their place, beside those kept")
        begin = time.monotonic()
        told = []
        while len(told) < KEPT and time.monotonic() < begin + 60 + KEPT / 500:
            told += listener.datagrams(0.5)
        took = time.monotonic() - begin
        print(f"      {kept} ends were kept, and told of in {took:.1f} s", flush=True)
        found = [message for datagram in told for message in e.messages(datagram)]
        w.check_equal(sorted(map(e.source, found)), list(range(1, 1 + KEPT)), "told of, each once")
        w.check(listener.overruns > 0, "its buffer was full")
        # Who was to be told by whom it was ended is told so later, too.
        w.check(all(message.port for message in found), f"senders: {sorted({message.port for message in found})}")
        w.wait_until(lambda: replay.entries() == KEPT, 10, "none is kept any more")
        w.check(took < 1 + KEPT / 5000, f"told of as soon as there is room: within {took:.1f} s")


def test_missed_updates(tracker):
    """What could not be told of a connection that lives is told with its next packet."""
    with e.world(tracker) as world:
        listener = e.Listener(world, e.NEW, e.UPDATE, buffer=8192, errors=True)
        for number in range(200):
            world.client.send(w.udp(C, S, 1000 + number, 53))
        w.wait_until(lambda: e.count() == 200, 20, "all are there")
        told = set(map(e.source, listener.read()))
        w.check(0 < len(told) < 200, f"{len(told)} fit")
        for number in range(200):
            world.client.send(w.udp(C, S, 1000 + number, 53))
            if number % 10 == 9:
                settle()
                for message in listener.read(0.05):
                    w.check_equal(message.flags, e.CREATE | e.EXCL, "its begin")
                    w.check(e.source(message) not in told, "told twice")
                    told.add(e.source(message))
        w.check_equal(len(told), 200, "told in the end")


def test_namespace_goes_while_some_are_kept(tracker):
    """Ends that nobody has heard of hold no namespace."""
    for _ in range(3):
        with e.world(tracker) as world:
            listener = e.Listener(world, e.NEW, e.DESTROY, buffer=4096, errors=True)
            for number in range(100):
                world.client.send(w.udp(C, S, 1000 + number, 53))
            w.wait_until(lambda: e.count() == 100, 20, "all are there")
            world.firewall("conntrack -F")
            w.check(e.count() > 50, "some are kept")
            listener.socket.close()
            world.sockets.remove(listener.socket)
    w.wait_until(lambda: not w.sh("ip netns list"), 10, "no namespace")


@w.ours_only
def test_module_comes_and_goes(tracker):
    """The module that tells is unloaded and loaded under traffic."""
    with e.world(tracker) as world:
        listener = e.Listener(world, e.NEW, e.UPDATE, e.DESTROY)
        told = 0
        for round_ in range(5):
            for number in range(40):
                world.client.send(w.udp(C, S, 1000 + number + round_ * 100, 53))
                world.server.send(w.udp(S, C, 53, 1000 + number + round_ * 100))
                if number == 20:
                    w.sh("rmmod ip_conntrack_netlink")
            w.sh("modprobe ip_conntrack_netlink")
            told += len(listener.read())
        w.check(told >= 5 * 20, f"{told} messages, while it was loaded")
