# SPDX-License-Identifier: GPL-2.0
"""The seeds, replayed: each step sends packets, and says which line of the tracker's list and
which growth of the firewall's counters must come of it.

A line's {n} is a time that begins at n seconds. What the documents that the project started from
say of a step is in `seed`, with a note where they are wrong and the kernel's behaviour rules.
"""

import socket
import time
from dataclasses import dataclass, field

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

import world as w

# Rules of the seeds' firewall, in their order, by the name that counters go by here.
RULES = {
    "ESTABLISHED,RELATED": "-m state --state ESTABLISHED,RELATED -j ACCEPT",
    "NEW from inside": "-i inner -m state --state NEW -j ACCEPT",
    "UNTRACKED": "-m conntrack --ctstate UNTRACKED -j ACCEPT",
    "INVALID": "-m state --state INVALID -j DROP",
    "NEW from outside": "-i outer -m state --state NEW -j DROP",
}
UNTRACKED_PORT = 5353


def set_firewall(world, iptables="iptables-legacy"):
    for rule in RULES.values():
        world.firewall(f"{iptables} -A FORWARD {rule}")
    for port in ("--dport", "--sport"):
        world.firewall(f"{iptables} -t raw -A PREROUTING -p udp {port} {UNTRACKED_PORT} -j NOTRACK")


def counters(world, iptables="iptables-legacy"):
    """Packets that each rule has matched."""
    lines = world.firewall(f"{iptables} -L FORWARD -v -n -x").splitlines()[2:]
    return dict(zip(RULES, (int(line.split()[0]) for line in lines), strict=True))


@dataclass
class Step:
    """A step of the replay."""

    title: str
    act: callable
    # The lines that the list has then for this flow; none where the flow has no entry.
    lines: list
    # How much the counters of rules grow.
    count: dict
    # Words by which the flow's lines are found.
    find: tuple
    seed: str
    note: str = ""


@dataclass
class Outcome:
    """What came of a step."""

    step: Step
    lines: list
    counted: dict
    problems: list = field(default_factory=list)


def play(world, step):
    """Does a step and compares."""
    before = counters(world)
    step.act(world)
    lines = world.lines(*step.find)
    after = counters(world)
    counted = {rule: after[rule] - before[rule] for rule in RULES if after[rule] != before[rule]}
    outcome = Outcome(step, lines, counted)
    if len(lines) != len(step.lines) or not all(map(w.same_line, step.lines, lines)):
        outcome.problems.append(f"list: {lines}, expected {step.lines}")
    if counted != step.count:
        outcome.problems.append(f"counters: {counted}, expected {step.count}")
    return outcome


def tcp_line(rest, sport, dport, flags="", reply_seen=True, src=w.GHOST_CLIENT, dst=w.GHOST_SERVER):
    unreplied = "" if reply_seen else "[UNREPLIED] "
    return (f"tcp 6 {rest} src={src} dst={dst} sport={sport} dport={dport} {unreplied}"
            f"src={dst} dst={src} sport={dport} dport={sport} {flags}use=1")


def tcp_steps():
    """A connection held still in each of its states, by hosts that are not there."""
    c, s, a, b = w.GHOST_CLIENT, w.GHOST_SERVER, 1031, 23

    def client(flags, seq, ack=0, data=b""):
        return lambda world: world.client.send(w.tcp(c, s, a, b, flags, seq, ack, data))

    def server(flags, seq, ack=0, data=b""):
        return lambda world: world.server.send(w.tcp(s, c, b, a, flags, seq, ack, data))

    new, old = {"NEW from inside": 1}, {"ESTABLISHED,RELATED": 1}
    rows = [
        ("the client's SYN", client("S", 100), "{120} SYN_SENT", False, "", new,
         "tcp 6 117 SYN_SENT src=192.168.1.5 dst=192.168.1.35 sport=1031 dport=23 [UNREPLIED] ... use=1", ""),
        ("the server's SYN/ACK", server("SA", 500, 101), "{60} SYN_RECV", True, "", old,
         "tcp 6 57 SYN_RECV ... use=1", ""),
        ("the client's ACK: the handshake is over", client("A", 101, 501), "{432000} ESTABLISHED", True, "[ASSURED] ", old,
         "tcp 6 431999 ESTABLISHED ... use=1",
         "the seeds show [ASSURED] only after some more packets; the kernel sets it with this ACK"),
        ("the client closes: FIN", client("FA", 101, 501), "{120} FIN_WAIT", True, "[ASSURED] ", old,
         "FIN_WAIT", ""),
        ("the server acknowledges", server("A", 501, 102), "{60} CLOSE_WAIT", True, "[ASSURED] ", old,
         "CLOSE_WAIT", ""),
        ("the server closes as well: FIN", server("FA", 501, 102), "{30} LAST_ACK", True, "[ASSURED] ", old,
         "LAST_ACK", ""),
        ("the client acknowledges: both have closed", client("A", 102, 502), "{120} TIME_WAIT", True, "[ASSURED] ", old,
         "TIME_WAIT", ""),
    ]
    steps = [
        Step(f"TCP: {title}", act, [tcp_line(state, a, b, flags, replied)], count, (f"sport={a}",), seed, note)
        for title, act, state, replied, flags, count, seed, note in rows
    ]
    a2 = 1032

    def reset(world):
        for port, packet in ((world.client, w.tcp(c, s, a2, b, "S", 100)),
                             (world.server, w.tcp(s, c, b, a2, "SA", 500, 101)),
                             (world.client, w.tcp(c, s, a2, b, "A", 101, 501)),
                             (world.server, w.tcp(s, c, b, a2, "R", 501))):
            port.send(packet)
            time.sleep(0.02)

    steps.append(Step("TCP: a connection that the server resets", reset,
                      [tcp_line("{10} CLOSE", a2, b, "[ASSURED] ")],
                      {"NEW from inside": 1, "ESTABLISHED,RELATED": 3}, (f"sport={a2}",),
                      "CLOSE"))
    return steps


def real_tcp(world):
    """A real exchange by real sockets."""
    listener = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((w.SERVER, 22))
    listener.listen()
    client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
    client.bind((w.CLIENT, 32775))
    client.connect((w.SERVER, 22))
    server, _ = listener.accept()
    world.sockets.append(server)
    client.sendall(b"hello")
    assert server.recv(5) == b"hello"
    time.sleep(0.3)


def real_tcp_step():
    return Step("TCP: real sockets, connected, five bytes sent and acknowledged", real_tcp,
                [tcp_line("{432000} ESTABLISHED", 32775, 22, "[ASSURED] ", src=w.CLIENT, dst=w.SERVER)],
                {"NEW from inside": 1, "ESTABLISHED,RELATED": 4},
                ("sport=32775",), "tcp 6 431999 ESTABLISHED ... [ASSURED] use=1")


def udp_steps():
    c, s, a, b = w.GHOST_CLIENT, w.GHOST_SERVER, 137, 1025

    def line(rest, replied, assured=""):
        unreplied = "" if replied else "[UNREPLIED] "
        return (f"udp 17 {rest} src={c} dst={s} sport={a} dport={b} {unreplied}"
                f"src={s} dst={c} sport={b} dport={a} {assured}use=1")

    def both_ways_later(world):
        time.sleep(2.1)
        world.server.send(w.udp(s, c, b, a))
        world.client.send(w.udp(c, s, a, b))

    return [
        Step("UDP: one way", lambda world: world.client.send(w.udp(c, s, a, b)), [line("{30}", False)],
             {"NEW from inside": 1}, (f"sport={a}", "udp"),
             "udp 17 25 src= dst= sport= dport= [UNREPLIED] src= dst= sport= dport= use=1"),
        Step("UDP: the answer", lambda world: world.server.send(w.udp(s, c, b, a)), [line("{30}", True)],
             {"ESTABLISHED,RELATED": 1}, (f"sport={a}", "udp"),
             "no [UNREPLIED] any more; ESTABLISHED from here on"),
        Step("UDP: still both ways after two seconds: a stream", both_ways_later,
             [line("{120}", True, "[ASSURED] ")], {"ESTABLISHED,RELATED": 2}, (f"sport={a}", "udp"),
             "a stream is [ASSURED]"),
    ]


def icmp_steps():
    c, s = w.GHOST_CLIENT, w.GHOST_SERVER

    def line(replied):
        unreplied = "" if replied else "[UNREPLIED] "
        return (f"icmp 1 {{30}} src={c} dst={s} type=8 code=0 id=33029 {unreplied}"
                f"src={s} dst={c} type=0 code=0 id=33029 use=1")

    return [
        Step("ICMP: a ping", lambda world: world.client.send(w.echo(c, s, 33029)), [line(False)],
             {"NEW from inside": 1}, ("id=33029",),
             "icmp 1 25 src= dst= type=8 code=0 id=33029 [UNREPLIED] src= dst= type=0 code=0 id=33029 use=1"),
        Step("ICMP: its answer", lambda world: world.server.send(w.echo(s, c, 33029, "echo-reply")),
             [line(True)], {"ESTABLISHED,RELATED": 1}, ("id=33029",), "the reply is ESTABLISHED"),
    ]


def unreachable(src, dst, quoted):
    """An ICMP error by `src` to `dst` about a packet."""
    return IP(src=src, dst=dst) / ICMP(type="dest-unreach", code="port-unreachable") / Raw(bytes(quoted)[:28])


def other_steps():
    c, s = w.GHOST_CLIENT, w.GHOST_SERVER
    flow = w.udp(c, s, 4000, 4001)
    unknown = w.udp(c, s, 4100, 4101)
    untracked = w.udp(c, s, 4200, UNTRACKED_PORT)

    def error_for_flow(world):
        world.client.send(flow)
        time.sleep(0.05)
        world.server.send(unreachable(s, c, flow))

    return [
        Step("another protocol: number 99", lambda world: world.client.send(IP(src=c, dst=s, proto=99) / Raw(b"?")),
             [f"unknown 99 {{600}} src={c} dst={s} [UNREPLIED] src={s} dst={c} use=1"],
             {"NEW from inside": 1}, ("unknown",), "unknown 99 598 src= dst= [UNREPLIED] src= dst= use=1"),
        Step("a flow that a rule keeps from being tracked", lambda world: world.client.send(untracked), [],
             {"UNTRACKED": 1}, ("sport=4200",), "UNTRACKED: no entry"),
        Step("an ICMP error about it", lambda world: world.server.send(unreachable(s, c, untracked)), [],
             {"INVALID": 1}, ("sport=4200",), "related errors of an untracked flow are not seen"),
        Step("an ICMP error about a flow that is tracked", error_for_flow,
             [f"udp 17 {{30}} src={c} dst={s} sport=4000 dport=4001 [UNREPLIED] src={s} dst={c} sport=4001 dport=4000 use=1"],
             {"NEW from inside": 1, "ESTABLISHED,RELATED": 1}, ("sport=4000",),
             "ICMP errors let through by RELATED",
             "one of the seeds calls them ESTABLISHED; they are RELATED"),
        Step("an ICMP error about a flow that nobody knows", lambda world: world.server.send(unreachable(s, c, unknown)),
             [], {"INVALID": 1}, ("sport=4100",), "INVALID: an ICMP error for no known connection"),
        Step("a connection from outside", lambda world: world.server.send(w.tcp(s, c, 6000, 80, "S", 1)), [],
             {"NEW from outside": 1}, ("sport=6000",),
             "NEW, and dropped: nothing stays of it",
             "one of the seeds calls a first foreign packet RELATED; it is NEW"),
        Step("an ACK in mid-stream, of a connection never seen", lambda world: world.client.send(w.tcp(c, s, 7000, 80, "A", 9, 9)),
             [tcp_line("{300} ESTABLISHED", 7000, 80, "", False)], {"NEW from inside": 1}, ("sport=7000",),
             "NEW although it is no SYN, and tracked from then on"),
    ]


def steps():
    """All of them, in order."""
    return [*tcp_steps(), real_tcp_step(), *udp_steps(), *icmp_steps(), *other_steps()]
