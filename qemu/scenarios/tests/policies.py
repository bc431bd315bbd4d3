# SPDX-License-Identifier: GPL-2.0
"""Timeout policies: `nfct timeout`, `-j CT --timeout`, and what becomes of connections by them."""

import errno
import re
import subprocess
import threading
import time

from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.layers.sctp import SCTP, SCTPChunkCookieAck, SCTPChunkCookieEcho, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Raw

import netlink as n
import world as w

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
C6, S6 = w.GHOST_CLIENT6, w.GHOST_SERVER6

# linux/netfilter/nfnetlink_cttimeout.h
SUBSYSTEM = 8
NEW, GET, DELETE, DEFAULT_SET, DEFAULT_GET = range(5)
REPLACE = 0x100  # NLM_F_REPLACE
NAME, L3PROTO, L4PROTO, DATA, USE = range(1, 6)
INET, INET6 = 2, 10

# What each protocol has, as `nfct` shows it, with the defaults.
STATES = {
    "tcp": (6, {"SYN_SENT": 120, "SYN_RECV": 60, "ESTABLISHED": 432000, "FIN_WAIT": 120, "CLOSE_WAIT": 60,
                "LAST_ACK": 30, "TIME_WAIT": 120, "CLOSE": 10, "SYN_SENT2": 120, "RETRANS": 300,
                "UNACKNOWLEDGED": 300}),
    "udp": (17, {"UNREPLIED": 30, "REPLIED": 120}),
    "icmp": (1, {"TIMEOUT": 30}),
    "icmpv6": (58, {"TIMEOUT": 30}),
    "sctp": (132, {"CLOSED": 10, "COOKIE_WAIT": 3, "COOKIE_ECHOED": 3, "ESTABLISHED": 210, "SHUTDOWN_SENT": 3,
                   "SHUTDOWN_RECD": 3, "SHUTDOWN_ACK_SENT": 3}),
    "gre": (47, {"UNREPLIED": 30, "REPLIED": 180}),
    "generic": (255, {"TIMEOUT": 600}),
}
# Which setting of the namespace each of some is.
SETTINGS = {("tcp", "ESTABLISHED"): "tcp_timeout_established", ("tcp", "SYN_SENT"): "tcp_timeout_syn_sent",
            ("tcp", "RETRANS"): "tcp_timeout_max_retrans", ("udp", "UNREPLIED"): "udp_timeout",
            ("udp", "REPLIED"): "udp_timeout_stream", ("icmp", "TIMEOUT"): "icmp_timeout",
            ("icmpv6", "TIMEOUT"): "icmpv6_timeout", ("sctp", "COOKIE_WAIT"): "sctp_timeout_cookie_wait",
            ("gre", "REPLIED"): "gre_timeout_stream", ("generic", "TIMEOUT"): "generic_timeout"}


def text(kind, value):
    return n.attr(kind, value.encode() + b"\0")


def refusal(netlink, message, flags, body):
    """The number of the error that a request gets; 0 for none."""
    try:
        netlink.ask(SUBSYSTEM, message, flags | n.ACK, body)
    except n.Error as error:
        return error.number
    return 0


def prepare(tracker):
    """Loads what answers: by the first request, where it is not there yet."""
    if tracker.ours:
        w.sh("modprobe ip_conntrack_netlink")


def nfct(command, namespace="firewall", check=True):
    """What `nfct` says: its output, or with check=False the text of the error."""
    done = subprocess.run(f"ip netns exec {namespace} nfct timeout {command}", shell=True, capture_output=True,
                          text=True)
    if check:
        w.check_equal((done.returncode, done.stderr), (0, ""), f"nfct timeout {command}")
        return done.stdout
    w.check(done.returncode != 0, f"nfct timeout {command}: done")
    return re.sub(r"nfct v[\d.]+: ", "", done.stderr.strip())


def shown(name, family, protocol, **times):
    """A policy as `nfct` shows it."""
    number, defaults = STATES[protocol]
    lines = [f".{name} = {{"] if name else []
    lines += [f"\t.l3proto = {family},", f"\t.l4proto = {number},", "\t.policy = {"]
    lines += [f"\t\t.{state} = {times.get(state, seconds)}," for state, seconds in defaults.items()]
    return "\n".join([*lines, "\t},", "};", ""])


def rule(condition, policy, family=4, kind="legacy", command="-A"):
    iptables = f"ip{'6' if family == 6 else ''}tables-{kind}"
    return f"{iptables} -t raw {command} PREROUTING {condition} -j CT --timeout {policy}"


def request(name=None, family=INET, protocol=17, times=(), **without):
    """The attributes of a request."""
    parts = [text(NAME, name)] if name is not None else []
    parts += [n.be16(L3PROTO, family)] if "family" not in without.get("drop", ()) else []
    parts += [n.u8(L4PROTO, protocol)] if "protocol" not in without.get("drop", ()) else []
    data = [n.be32(kind, seconds) for kind, seconds in times]
    parts += [n.attr(DATA, data)] if "data" not in without.get("drop", ()) else []
    return b"".join(parts)


def clean(*namespaces):
    """Stock's module stays as long as there are policies."""
    for namespace in namespaces or ("firewall",):
        for name in re.findall(r"^\.(\S+) = \{$", nfct("list", namespace), re.MULTILINE):
            nfct(f"delete {name}", namespace)


def test_commands(tracker):
    """Policies of every protocol are made, listed, got and deleted; whatever cannot be is refused as by stock."""
    with w.World(tracker):
        prepare(tracker)
        w.check_equal(nfct("list"), "", "a list of none")
        made = {}
        for at, (protocol, (_, states)) in enumerate(STATES.items()):
            family = INET6 if protocol == "icmpv6" else INET
            times = {state: 1000 * at + seconds for seconds, state in enumerate(states, 1)}
            words = " ".join(f"{state.lower()} {seconds}" for state, seconds in times.items())
            nfct(f"add {protocol}-all inet{'6' if family == INET6 else ''} {protocol} {words}")
            made[f"{protocol}-all"] = shown(f"{protocol}-all", family, protocol, **times)
            # The others are as the namespace has them.
            state = list(states)[-1 if protocol != "tcp" else 2]
            nfct(f"add {protocol}-one inet {protocol} {state.lower()} 77")
            made[f"{protocol}-one"] = shown(f"{protocol}-one", INET, protocol, **{state: 77})
        longest = "x" * 31
        nfct(f"add {longest} inet6 udp unreplied 5")
        made[longest] = shown(longest, INET6, "udp", UNREPLIED=5)
        w.check_equal(nfct("list"), "".join(made.values()), "the list")
        for name, text in made.items():
            w.check_equal(nfct(f"get {name}"), text, "one of them")
        for command, error in (
            ("add udp-one inet udp unreplied 5", "netlink error: Device or resource busy"),
            ("add udp-one inet tcp close 5", "netlink error: Device or resource busy"),
            ("add x inet dccp request 5", "netlink error: Operation not supported"),
            ("add x inet udplite replied 5", "netlink error: Operation not supported"),
            ("get y", "netlink error: No such file or directory"),
            ("delete y", "netlink error: No such file or directory"),
            ("default-get inet dccp", "netlink error: Operation not supported"),
        ):
            w.check_equal(nfct(command, check=False), error, command)
        w.check_equal(nfct("list"), "".join(made.values()), "the list after what was refused")
        for name in list(made)[::2]:
            nfct(f"delete {name}")
            del made[name]
            w.check_equal(nfct(f"get {name}", check=False), "netlink error: No such file or directory", name)
        w.check_equal(nfct("list"), "".join(made.values()), "what is left")
        clean()
        w.check_equal(nfct("list"), "", "the list at the end")


def test_defaults(tracker):
    """default-get tells what sysctl tells, default-set changes that; policies go their own way."""
    with w.World(tracker) as world:
        prepare(tracker)
        nfct("add before inet udp replied 500")
        for protocol in STATES:
            for family, word in ((INET, "inet"), (INET6, "inet6")):
                w.check_equal(nfct(f"default-get {word} {protocol}"), shown("", family, protocol), protocol)
        for at, ((protocol, state), name) in enumerate(SETTINGS.items()):
            w.check_equal(w.setting(name), STATES[protocol][1][state], name)
            nfct(f"default-set inet {protocol} {state.lower()} {700 + at}")
            w.check_equal(w.setting(name), 700 + at, name)
            w.setting(name, 900 + at)
            w.check(f".{state} = {900 + at}," in nfct(f"default-get inet {protocol}"), f"{name} by sysctl")
        # One state of a protocol, and no other.
        nfct("default-set inet tcp close 44")
        w.check_equal(nfct("default-get inet tcp"),
                      shown("", INET, "tcp", SYN_SENT=901, ESTABLISHED=900, RETRANS=902, CLOSE=44), "TCP")
        w.check_equal(nfct("get before"), shown("before", INET, "udp", REPLIED=500), "a policy made before")
        nfct("add after inet udp replied 500")
        w.check_equal(nfct("get after"), shown("after", INET, "udp", REPLIED=500, UNREPLIED=903), "a policy made after")
        world.client.send(w.udp(C, S, 1000, 2000))
        w.check_left(903, "UDP", "sport=1000")
        world.client.send(IP(src=C, dst=S, proto=99) / Raw(bytes(24)))
        w.check_left(909, "another protocol", "99")
        clean()


def test_tcp(tracker):
    """A connection with a policy has its times in every state; another has the namespace's."""
    times = {"syn_sent": 1001, "syn_recv": 1002, "established": 1003, "fin_wait": 1004, "close_wait": 1005,
             "last_ack": 1006, "time_wait": 1007, "close": 1008, "syn_sent2": 1009, "retrans": 1010, "unacknowledged": 1011}
    with w.World(tracker) as world:
        prepare(tracker)
        nfct("add slow inet tcp " + " ".join(f"{state} {seconds}" for state, seconds in times.items()))
        nfct("add stuck inet tcp established 5000 retrans 70 unacknowledged 80")
        for port, policy in ((80, "slow"), (82, "stuck")):
            world.firewall(rule(f"-p tcp --dport {port}", policy))

        def segment(end, port, flags, seq, ack, state, seconds, data=b"", to=80):
            if end == "client":
                world.client.send(w.tcp(C, S, port, to, flags, seq, ack, data))
            else:
                world.server.send(w.tcp(S, C, to, port, flags, seq, ack, data))
            w.check_left(seconds, f"{state} of {port} by {flags}", "tcp", state, f"sport={port}")

        segment("client", 100, "S", 1, 0, "SYN_SENT", 1001)
        segment("server", 100, "SA", 500, 2, "SYN_RECV", 1002)
        segment("client", 100, "A", 2, 501, "ESTABLISHED", 1003)
        segment("client", 100, "FA", 2, 501, "FIN_WAIT", 1004)
        segment("server", 100, "A", 501, 3, "CLOSE_WAIT", 1005)
        segment("server", 100, "FA", 501, 3, "LAST_ACK", 1006)
        segment("client", 100, "A", 3, 502, "TIME_WAIT", 1007)
        segment("client", 101, "S", 1, 0, "SYN_SENT", 1001)
        # The second SYN is no answer: it does not renew the time.
        segment("server", 101, "S", 500, 0, "SYN_SENT2", 1001)
        segment("client", 101, "S", 1, 0, "SYN_SENT2", 1009)
        segment("client", 102, "S", 1, 0, "SYN_SENT", 1001)
        segment("server", 102, "SA", 500, 2, "SYN_RECV", 1002)
        segment("client", 102, "A", 2, 501, "ESTABLISHED", 1003)
        segment("server", 102, "R", 501, 0, "CLOSE", 1008)
        # What gets no answer lives no longer than so, and what is sent over and over.
        segment("client", 104, "S", 1, 0, "SYN_SENT", 70, to=82)
        segment("server", 104, "SA", 500, 2, "SYN_RECV", 60, to=82)
        segment("client", 104, "A", 2, 501, "ESTABLISHED", 5000, to=82)
        for seconds in (80, 80, 80, 70):
            segment("client", 104, "PA", 2, 501, "ESTABLISHED", seconds, b"x", to=82)
        segment("server", 104, "A", 501, 3, "ESTABLISHED", 5000, to=82)
        # Not of the rule.
        world.client.send(w.tcp(C, S, 103, 81, "S", 1))
        w.check_left(120, "another port", "sport=103")
        w.check("slow" in world.firewall("iptables-legacy -t raw -S"), "the rule does not list")
        clean()


def test_other_protocols(tracker):
    """UDP, its stream, ICMP, ICMPv6, SCTP, GRE and what has no tracker of its own, IPv4 and IPv6, legacy and nft."""
    with w.World(tracker) as world:
        prepare(tracker)
        for command in ("udp4 inet udp unreplied 801 replied 802", "udp6 inet6 udp unreplied 803 replied 804",
                        "icmp inet icmp timeout 805", "icmp6 inet6 icmpv6 timeout 806",
                        "sctp inet sctp closed 807 cookie_wait 808 cookie_echoed 809 established 810",
                        "gre inet gre unreplied 811 replied 812", "rest inet generic timeout 813",
                        "rest6 inet6 generic timeout 814"):
            nfct(f"add {command}")
        for condition, policy, family, kind in (
            ("-p udp", "udp4", 4, "legacy"), ("-p udp", "udp6", 6, "nft"), ("-p icmp", "icmp", 4, "nft"),
            ("-p icmpv6", "icmp6", 6, "legacy"), ("-p sctp", "sctp", 4, "legacy"), ("-p 47", "gre", 4, "nft"),
            ("-p 99", "rest", 4, "legacy"), ("-p 50", "rest", 4, "nft"), ("-p 99", "rest6", 6, "legacy"),
        ):
            world.firewall(rule(condition, policy, family, kind))

        def both(there, back, unreplied, replied, *words):
            world.client.send(there)
            w.check_left(unreplied, f"{words} one way", *words)
            world.server.send(back)
            w.check_left(replied, f"{words} both ways", *words)

        both(w.udp(C, S, 1000, 2000), w.udp(S, C, 2000, 1000), 801, 801, "ipv4", "udp", "sport=1000")
        both(w.udp(C6, S6, 1000, 2000), w.udp(S6, C6, 2000, 1000), 803, 803, "ipv6", "udp", "sport=1000")
        time.sleep(2.5)
        for packet, words, seconds in ((w.udp(C, S, 1000, 2000), "ipv4", 802), (w.udp(C6, S6, 1000, 2000), "ipv6", 804)):
            world.client.send(packet)
            w.check_left(seconds, "a stream", words, "udp", "[ASSURED]", "sport=1000")
        both(w.echo(C, S, 7), w.echo(S, C, 7, "echo-reply"), 805, 805, "icmp", "id=7")
        both(w.ip(C6, S6) / ICMPv6EchoRequest(id=8), w.ip(S6, C6) / ICMPv6EchoReply(id=8), 806, 806, "icmpv6", "id=8")
        gre = Raw(b"\0\0\x08\0" + bytes(20))
        both(IP(src=C, dst=S, proto=47) / gre, IP(src=S, dst=C, proto=47) / gre, 811, 812, "gre")
        # A GRE entry tells both its times.
        w.check_equal(re.findall(r"timeout=\d+, stream_timeout=\d+", world.lines("gre")[0]) if tracker.ours else
                      ["timeout=811, stream_timeout=812"], ["timeout=811, stream_timeout=812"], "GRE's line")
        for protocol in (99, 50):
            both(IP(src=C, dst=S, proto=protocol) / Raw(bytes(24)), IP(src=S, dst=C, proto=protocol) / Raw(bytes(24)),
                 813, 813, "ipv4", str(protocol))
        world.client.send(w.ip(C6, S6, nh=99) / Raw(bytes(24)))
        w.check_left(814, "another protocol over IPv6", "ipv6", "99")

        def sctp(src, dst, ports, tag, chunk):
            return IP(src=src, dst=dst) / SCTP(sport=ports[0], dport=ports[1], tag=tag) / chunk

        to, back = (700, 701), (701, 700)
        for port, packet, state, seconds in (
            (world.client, sctp(C, S, to, 0, SCTPChunkInit(init_tag=11, a_rwnd=9999, n_out_streams=1, n_in_streams=1)),
             "CLOSED", 807),
            (world.server, sctp(S, C, back, 11, SCTPChunkInitAck(init_tag=22, a_rwnd=9999, n_out_streams=1,
                                                                 n_in_streams=1)), "COOKIE_WAIT", 808),
            (world.client, sctp(C, S, to, 22, SCTPChunkCookieEcho(cookie=b"cake")), "COOKIE_ECHOED", 809),
            (world.server, sctp(S, C, back, 11, SCTPChunkCookieAck()), "ESTABLISHED", 810),
        ):
            port.send(packet)
            w.check_left(seconds, f"SCTP, {state}", "sctp", state)
        # None but what the rules say.
        world.firewall(rule("-p icmp", "icmp", 4, "nft", "-D"))
        world.client.send(w.echo(C, S, 9))
        w.check_left(30, "without a rule", "icmp", "id=9")
        w.sh("ip netns exec firewall iptables-nft -t raw -F; ip netns exec firewall ip6tables-nft -t raw -F")
        clean()


def test_delete_while_used(tracker):
    """A policy that goes is no more the connections' that have it; a rule that has it gives it to new ones."""
    with w.World(tracker) as world:
        prepare(tracker)
        nfct("add p inet udp unreplied 500 replied 501")
        world.firewall(rule("-p udp", "p"))
        for sport in (1000, 1001):
            world.client.send(w.udp(C, S, sport, 2000))
            w.check_left(500, "by the policy", f"sport={sport}")
        nfct("delete p")
        w.check_equal(nfct("list"), "", "the list")
        # No packet, no change.
        w.check_left(500, "without a packet", "sport=1000")
        world.client.send(w.udp(C, S, 1000, 2000))
        w.check_left(30, "one that had it", "sport=1000")
        for packet in ("first", "second"):
            world.client.send(w.udp(C, S, 1002, 2000))
            w.check_left(500, f"a new one by the rule, its {packet} packet", "sport=1002")
        # Another policy of that name is another.
        nfct("add p inet udp unreplied 600")
        for packet in ("first", "second"):
            world.client.send(w.udp(C, S, 1003, 2000))
            w.check_left(500, f"by a rule made before, its {packet} packet", "sport=1003")
        world.client.send(w.udp(C, S, 1001, 2000))
        w.check_left(30, "one that had the old one", "sport=1001")
        world.firewall(rule("-p udp --sport 1004", "p", command="-I"))
        world.client.send(w.udp(C, S, 1004, 2000))
        w.check_left(600, "by a rule made afterwards", "sport=1004")
        # The rule goes, and the policy stays the connection's.
        world.firewall("iptables-legacy -t raw -F")
        world.client.send(w.udp(C, S, 1004, 2000))
        w.check_left(600, "after the rule", "sport=1004")
        clean()


def test_replace(tracker):
    """A policy that is changed is changed for the connections that have it, and for the rule."""
    with w.World(tracker) as world:
        prepare(tracker)
        netlink = n.Socket()
        netlink.ask(SUBSYSTEM, NEW, n.CREATE | n.ACK, request("p", times=[(1, 500), (2, 501)]))
        world.firewall(rule("-p udp", "p"))
        world.client.send(w.udp(C, S, 1000, 2000))
        w.check_left(500, "at first", "sport=1000")
        w.setting("udp_timeout_stream", 333)
        netlink.ask(SUBSYSTEM, NEW, n.CREATE | REPLACE | n.ACK, request("p", times=[(1, 600)]))
        # What is not named is as the namespace has it now.
        w.check_equal(nfct("get p"), shown("p", INET, "udp", UNREPLIED=600, REPLIED=333), "changed")
        for sport in (1000, 1001):
            world.client.send(w.udp(C, S, sport, 2000))
            w.check_left(600, "afterwards", f"sport={sport}")
        for flags, more, error in (
            (n.EXCL, {}, errno.EEXIST),
            (n.EXCL | REPLACE, {}, errno.EEXIST),
            (REPLACE, {"protocol": 6}, errno.EINVAL),
            (REPLACE, {"family": INET6}, errno.EINVAL),
            (0, {"protocol": 6}, errno.EBUSY),
        ):
            got = refusal(netlink, NEW, n.CREATE | flags, request("p", times=[(1, 9)], **more))
            w.check_equal(errno.errorcode.get(got), errno.errorcode[error], f"flags {flags:#x} {more}")
        w.check_equal(nfct("get p"), shown("p", INET, "udp", UNREPLIED=600, REPLIED=333), "after what was refused")
        # One that is not there is made.
        netlink.ask(SUBSYSTEM, NEW, REPLACE | n.ACK, request("q", protocol=1))
        w.check_equal(nfct("get q"), shown("q", INET, "icmp"), "made by replacing")
        clean()


def test_uses(tracker):
    """Who has a policy is counted, and the numbers go back."""
    with w.World(tracker) as world:
        prepare(tracker)
        netlink = n.Socket()

        def uses():
            [(kind, _, _, attributes)] = netlink.ask(SUBSYSTEM, GET, n.ACK, text(NAME, "p"))
            w.check_equal(kind, SUBSYSTEM << 8 | NEW, "the answer")
            w.check_equal([kind for kind, _ in attributes], [NAME, L3PROTO, L4PROTO, USE, DATA], "its attributes")
            return int.from_bytes(dict(attributes)[USE], "big")

        nfct("add p inet udp unreplied 10")
        w.check_equal(uses(), 1, "uses of one that nobody has")
        world.firewall(rule("-p udp", "p"))
        by_rule = uses()
        w.check(by_rule > 1, f"{by_rule} uses by a rule")
        for sport in (1000, 1001, 1002):
            world.client.send(w.udp(C, S, sport, 2000))
        w.wait_until(lambda: uses() - by_rule == 3, 20, "uses by connections")
        world.firewall("iptables-legacy -t raw -F")
        w.wait_until(lambda: uses() == 4, 20, "uses after the rule")
        # Whoever comes across one that is over ends it.
        time.sleep(10.5)
        for sport in (1000, 1001, 1002):
            world.client.send(w.udp(C, S, sport, 2000))
        w.wait_until(lambda: uses() == 1, 20, "their end")
        clean()


def test_refused_rules(tracker):
    """A policy is for the protocols that it was made for, and must be there."""
    with w.World(tracker) as world:
        prepare(tracker)
        for command in ("udp4 inet udp unreplied 5", "rest inet generic timeout 5", "icmp6 inet6 icmpv6 timeout 5"):
            nfct(f"add {command}")
        for condition, policy, family in (
            ("-p tcp", "udp4", 4), ("", "udp4", 4), ("! -p tcp", "udp4", 4), ("-p udp", "udp4", 6),
            ("-p udp", "nobody", 4), ("-p udp", "rest", 4), ("-p 99", "udp4", 4), ("-p icmpv6", "icmp6", 4),
            ("-p 99", "rest", 6), ("-p udp", "UDP4", 4), ("-p udp", "udp", 4),
        ):
            for kind in ("legacy", "nft"):
                command = f"ip netns exec firewall {rule(condition, policy, family, kind)}"
                done = subprocess.run(command, shell=True, capture_output=True, text=True)
                w.check(done.returncode != 0, f"{command}: accepted")
        for condition, policy, family in (("-p udp", "udp4", 4), ("-p 99", "rest", 4), ("-p dccp", "rest", 4),
                                          ("-p icmpv6", "icmp6", 6)):
            world.firewall(rule(condition, policy, family))
        # Nothing holds those that were refused.
        world.firewall("iptables-legacy -t raw -F")
        world.firewall("ip6tables-legacy -t raw -F")
        netlink = n.Socket()
        # What a rule has is given back a while after it.
        w.wait_until(lambda: all(dict(attributes)[USE] == b"\0\0\0\1"
                                 for *_, attributes in netlink.ask(SUBSYSTEM, GET, n.DUMP)), 20, "uses without rules")
        clean()


def test_namespaces(tracker):
    """Each namespace has its own, which go with it, whatever has them; others cannot name them."""
    with w.World(tracker) as world:
        prepare(tracker)
        nfct("add p inet udp unreplied 500")
        nfct("add p inet udp unreplied 700", "client")
        nfct("add q inet icmp timeout 5", "client")
        w.check_equal(nfct("list"), shown("p", INET, "udp", UNREPLIED=500), "the firewall's")
        w.check_equal(nfct("list", "client"), shown("p", INET, "udp", UNREPLIED=700) + shown("q", INET, "icmp", TIMEOUT=5),
                      "the client's")
        w.check_equal(nfct("list", "server"), "", "the server's")
        command = f"ip netns exec firewall {rule('-p icmp', 'q')}"
        w.check(subprocess.run(command, shell=True, capture_output=True).returncode != 0, "a rule has another's policy")
        nfct("default-set inet udp unreplied 444", "client")
        w.check_equal([w.setting("udp_timeout", namespace=name) for name in ("client", "firewall", "server")],
                      [444, 30, 30], "defaults")
        world.firewall(rule("-p udp", "p"))
        world.client.send(w.udp(C, S, 1000, 2000))
        w.check_left(500, "the firewall's", "sport=1000")
        nfct("delete p", "client")
        world.client.send(w.udp(C, S, 1000, 2000))
        w.check_left(500, "the firewall's when the client's has gone", "sport=1000")
        clean("client")
        # The firewall's goes with its namespace, with a rule and a connection that have it.


def test_bad_requests(tracker):
    """Whatever is missing, short, long or unknown is refused with stock's error, and changes nothing."""
    with w.World(tracker):
        prepare(tracker)
        netlink = n.Socket()
        nfct("add p inet udp unreplied 5")
        before = nfct("list")
        data = n.attr(DATA, [n.be32(1, 9)])

        def check(error, message, body, what, flags=n.CREATE):
            got = refusal(netlink, message, flags, body)
            w.check_equal(errno.errorcode.get(got), errno.errorcode.get(error), what)

        whole = {NAME: text(NAME, "x"), L3PROTO: n.be16(L3PROTO, INET), L4PROTO: n.u8(L4PROTO, 17), DATA: data}
        for missing in whole:
            check(errno.EINVAL, NEW, b"".join(part for kind, part in whole.items() if kind != missing),
                  f"NEW without {missing}")
        for kind, wrong, error in (
            (NAME, n.attr(NAME, b"x"), errno.EINVAL), (NAME, n.attr(NAME, b""), errno.EINVAL),
            (NAME, text(NAME, "x" * 32), errno.EINVAL), (NAME, n.attr(NAME, b"x" * 30 + bytes(40)), errno.ERANGE),
            (L3PROTO, n.attr(L3PROTO, b"\2"), errno.ERANGE), (L4PROTO, n.attr(L4PROTO, b""), errno.ERANGE),
            (L4PROTO, n.u8(L4PROTO, 136), errno.EOPNOTSUPP), (L4PROTO, n.u8(L4PROTO, 0), errno.EOPNOTSUPP),
            (L4PROTO, n.u8(L4PROTO, 254), errno.EOPNOTSUPP),
            (DATA, n.attr(DATA, b"\1"), errno.ERANGE),
            (DATA, n.attr(DATA, [n.attr(1, b"\0\0\0")]), errno.ERANGE),
            (DATA, n.attr(DATA, [n.be32(1, 7), n.attr(2, b"")]), errno.ERANGE),
        ):
            body = b"".join(wrong if at == kind else part for at, part in whole.items())
            check(error, NEW, body, f"NEW with {wrong!r}")
        check(errno.EINVAL, GET, b"", "GET without a name", 0)
        check(errno.ENOENT, GET, text(NAME, "P"), "GET of none", 0)
        check(errno.ENOENT, DELETE, text(NAME, "P"), "DELETE of none", 0)
        for missing in (L4PROTO, DATA):
            check(errno.EINVAL, DEFAULT_SET, b"".join(part for kind, part in whole.items() if kind != missing),
                  f"DEFAULT_SET without {missing}")
        check(errno.EOPNOTSUPP, DEFAULT_SET, n.u8(L4PROTO, 33) + data, "DEFAULT_SET of a protocol")
        check(errno.ERANGE, DEFAULT_SET, n.u8(L4PROTO, 17) + n.attr(DATA, [n.be32(2, 5), n.attr(1, b"\0")]),
              "DEFAULT_SET of a short number")
        for missing in (L3PROTO, L4PROTO):
            check(errno.EINVAL, DEFAULT_GET, b"".join(part for kind, part in whole.items() if kind != missing),
                  f"DEFAULT_GET without {missing}", 0)
        check(errno.EOPNOTSUPP, DEFAULT_GET, n.be16(L3PROTO, INET) + n.u8(L4PROTO, 2), "DEFAULT_GET of a protocol", 0)
        check(errno.EINVAL, 5, b"", "an unknown message")
        w.check_equal(nfct("list"), before, "the list after what was refused")
        w.check_equal(w.setting("udp_timeout_stream"), 120, "the defaults after what was refused")
        # What is too long or unknown is let through.
        odd = [n.attr(NAME, b"odd\0\0\0"), n.attr(L3PROTO, b"\0\2xx"), n.attr(L4PROTO, b"\x11xxx"),
               n.attr(DATA, [n.attr(1, b"\0\0\0\x09more"), n.be32(3, 7), n.be32(900, 7)]), n.be32(USE, 99),
               n.be32(77, 1)]
        netlink.ask(SUBSYSTEM, NEW, n.CREATE | n.ACK, b"".join(odd))
        w.check_equal(nfct("get odd"), shown("odd", INET, "udp", UNREPLIED=9), "an odd one")
        netlink.ask(SUBSYSTEM, DELETE, n.ACK)
        w.check_equal(nfct("list"), "", "the list after all were deleted")
        netlink.ask(SUBSYSTEM, DELETE, n.ACK)


def test_users(tracker):
    """Who is not the namespace's administrator neither sees nor changes anything."""
    with w.World(tracker):
        prepare(tracker)
        nfct("add p inet udp unreplied 5")
        for command in ("list", "get p", "delete p", "add q inet udp replied 5", "default-get inet tcp",
                        "default-set inet tcp close 5"):
            done = subprocess.run(f"ip netns exec firewall setpriv --reuid 1000 --clear-groups nfct timeout {command}",
                                  shell=True, capture_output=True, text=True)
            w.check("Operation not permitted" in done.stderr, f"{command}: {done.stdout} {done.stderr}")
        w.check_equal(nfct("list"), shown("p", INET, "udp", UNREPLIED=5), "the list")
        w.check_equal(w.setting("tcp_timeout_close"), 10, "the default")
        clean()


def test_long_list(tracker):
    """A list of many comes in many messages, each policy once and in order."""
    with w.World(tracker):
        prepare(tracker)
        netlink = n.Socket()
        names = [f"policy-number-{at:05}" for at in range(500)]
        for name in names:
            netlink.ask(SUBSYSTEM, NEW, n.CREATE | n.ACK, request(name, protocol=6))
        answers = netlink.ask(SUBSYSTEM, GET, n.DUMP)
        w.check_equal([dict(attributes)[NAME].decode().rstrip("\0") for *_, attributes in answers], names, "the list")
        # Those that go while it is read are not shown any more, and hide no other.
        netlink.send(SUBSYSTEM, GET, n.DUMP)
        seen = [content for kind, _, content in netlink.messages() if kind != n.DONE]
        other = n.Socket()
        for name in names[1::2]:
            other.ask(SUBSYSTEM, DELETE, n.ACK, text(NAME, name))
        done = False
        while not done:
            for kind, _, content in netlink.messages():
                done |= kind == n.DONE
                seen += [content] if kind != n.DONE else []
        found = [dict(n.attributes(content[4:]))[NAME].decode().rstrip("\0") for content in seen]
        w.check_equal(len(found), len(set(found)), "policies shown, each once")
        if tracker.ours:  # Stock's list ends where the next policy has gone.
            w.check(set(names[::2]) <= set(found), "policies that stayed")
        other.ask(SUBSYSTEM, DELETE, n.ACK)


def test_come_and_go_under_traffic(tracker, seconds=10):
    """Policies and rules are made, changed and deleted while packets come in; nothing stays but what should."""
    end = time.monotonic() + seconds
    stopped = []

    def repeat(step):
        def loop():
            with w.inside("firewall"):
                while time.monotonic() < end and not stopped:
                    step()
        return loop

    with w.World(tracker) as world:
        prepare(tracker)
        policies, other = n.Socket(), n.Socket()
        policies.ask(SUBSYSTEM, NEW, n.CREATE | n.ACK, request("p", times=[(1, 500)]))
        rounds = {"policies": 0, "rules": 0}

        def change():
            refusal(policies, NEW, n.CREATE | REPLACE, request("p", times=[(1, 500 + rounds["policies"] % 7)]))
            refusal(other, DELETE, 0, text(NAME, "p"))
            policies.ask(SUBSYSTEM, NEW, n.CREATE | n.ACK, request("p", times=[(1, 500)]))
            policies.ask(SUBSYSTEM, GET, n.DUMP)
            rounds["policies"] += 1

        def rules():
            subprocess.run("iptables-legacy -t raw -A PREROUTING -p udp -j CT --timeout p; "
                           "iptables-legacy -t raw -F", shell=True, capture_output=True)
            rounds["rules"] += 1

        threads = [threading.Thread(target=repeat(step)) for step in (change, rules)]
        for thread in threads:
            thread.start()
        try:
            sent = 0
            while time.monotonic() < end:
                world.client.send(w.udp(C, S, 1000 + sent % 500, 2000))
                sent += 1
        finally:
            stopped.append(True)
            for thread in threads:
                thread.join()
        w.check(rounds["policies"] > 10 and rounds["rules"] > 3 and sent > 100, f"{rounds}, {sent} packets")
        other.ask(SUBSYSTEM, DELETE, n.ACK)
        w.check_equal(nfct("list"), "", "the list")
        # Every entry has the time of some policy, or that of the namespace.
        world.client.send(w.udp(C, S, 5, 5))
        w.check_left(30, "at the end", "sport=5")


@w.ours_only
def test_unload(tracker):
    """The module goes with policies in place, and with connections that have them."""
    with w.World(tracker) as world:
        prepare(tracker)
        nfct("add p inet udp unreplied 500")
        world.firewall(rule("-p udp", "p"))
        world.client.send(w.udp(C, S, 1000, 2000))
        w.check_left(500, "by the policy", "sport=1000")
        world.firewall("iptables-legacy -t raw -F")
