# SPDX-License-Identifier: GPL-2.0
"""What rules write on connections and read from them: marks, labels, security marks."""

import re
import socket
from pathlib import Path

import rules as r
import world as w
from nfqueue import NF_ACCEPT, Queue

PORT = 2000


def programs(version):
    return [f"{'ip6tables' if version == 6 else 'iptables'}-{kind}" for kind in ("legacy", "nft")]


def ends(version):
    return (w.GHOST_CLIENT6, w.GHOST_SERVER6) if version == 6 else (w.GHOST_CLIENT, w.GHOST_SERVER)


def send(world, packets):
    """Sends packets that the firewall forwards: those of the client, and those of the server."""
    for sender, packet in packets:
        getattr(world, sender).send(packet)
        w.time.sleep(0.03)
    w.time.sleep(0.2)


# What is done to the marks of connection and packet, and the marks then. Before each of them the
# connection has 0x12345678, and the packet 0x9abcdef0.
CONNMARKS = (
    ("--set-xmark 0x5/0xffffffff", 0x5, 0x9abcdef0),
    ("--set-xmark 0x5/0xf", 0x12345675, 0x9abcdef0),
    ("--set-xmark 0xf0/0x0", 0x12345688, 0x9abcdef0),
    ("--set-xmark 0x0/0xffffff0f", 0x70, 0x9abcdef0),
    ("--set-xmark 0x1/0xffffffff --left-shift-mark 4", 0x10, 0x9abcdef0),
    ("--set-xmark 0x1/0xf --left-shift-mark 4", 0x23456710, 0x9abcdef0),
    ("--set-xmark 0x0/0x0 --right-shift-mark 8", 0x123456, 0x9abcdef0),
    ("--save-mark --nfmask 0xffffffff --ctmask 0xffffffff", 0x9abcdef0, 0x9abcdef0),
    ("--save-mark --nfmask 0xffff --ctmask 0xffff", 0x1234def0, 0x9abcdef0),
    ("--save-mark --nfmask 0xff --ctmask 0xff00", 0x12340088, 0x9abcdef0),
    ("--save-mark --nfmask 0xff --ctmask 0xff00 --left-shift-mark 8", 0x1234f078, 0x9abcdef0),
    ("--save-mark --nfmask 0xff00 --ctmask 0xff --right-shift-mark 8", 0x123456de, 0x9abcdef0),
    ("--restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", 0x12345678, 0x12345678),
    ("--restore-mark --nfmask 0xff --ctmask 0xff", 0x12345678, 0x9abcde78),
    ("--restore-mark --nfmask 0xff00 --ctmask 0xff", 0x12345678, 0x9abc0088),
    ("--restore-mark --nfmask 0xff00 --ctmask 0xff --left-shift-mark 8", 0x12345678, 0x9abc78f0),
    ("--restore-mark --nfmask 0xff --ctmask 0xff00 --right-shift-mark 8", 0x12345678, 0x9abcde56),
)


def connmark(tracker, version):
    c, s = ends(version)
    expected = []
    rule = lambda text, packets: expected.append((f"-A FORWARD {text}", packets))
    sent = [("client", w.udp(c, s, 1000, PORT)), ("server", w.udp(s, c, PORT, 1000)), ("client", w.udp(c, s, 1000, PORT))]
    for action, connection, packet in CONNMARKS:
        rule("-j CONNMARK --set-xmark 0x12345678/0xffffffff", 3)
        rule("-j MARK --set-xmark 0x9abcdef0/0xffffffff", 3)
        rule(f"-j CONNMARK {action}", 3)
        rule(f"-m connmark --mark 0x{connection:x}", 3)
        rule(f"-m connmark ! --mark 0x{connection:x}", 0)
        rule(f"-m mark --mark 0x{packet:x}", 3)
    for mark, packets in (("0x0/0xffffff00", 0), ("0x12345600/0xffffff00", 3), ("0x78/0xff", 3), ("0x178/0xff", 0)):
        rule(f"-m connmark --mark {mark}", packets)
        rule(f"-m connmark ! --mark {mark}", 3 - packets)
    # What the connection has from here on, the next packet finds.
    before = [(f"-A FORWARD -m connmark --mark {mark}", packets) for mark, packets in (("0x0", 1), ("0x7/0xf", 2))]
    rule("-j CONNMARK --set-xmark 0x7/0xffffffff", 3)
    with w.World(tracker) as world:
        for program in programs(version):
            r.restore(program, mangle=[rule for rule, _ in before + expected])
            send(world, sent)
            r.check_counted(program, "mangle", before + expected)
            r.check_comes_back(program)
            # A connection without a mark for the next.
            r.restore(program, mangle=["-A FORWARD -j CONNMARK --set-xmark 0x0/0xffffffff"])
            send(world, sent[:1])
            r.restore(program, mangle=[])
        r.check_nobody_elses(tracker)


def test_connmark_ipv4(tracker):
    connmark(tracker, 4)


def test_connmark_ipv6(tracker):
    connmark(tracker, 6)


def test_marks_need_a_connection(tracker):
    """Of a packet without a connection nothing is set or saved, and no mark matches, nor none."""
    c, s = ends(4)
    with w.World(tracker) as world:
        rules = ["-A FORWARD -j MARK --set-xmark 0x9/0xffffffff", "-A FORWARD -j CONNMARK --set-xmark 0x5/0xffffffff",
                 "-A FORWARD -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                 "-A FORWARD -m connmark --mark 0x5", "-A FORWARD -m connmark ! --mark 0x5", "-A FORWARD -m mark --mark 0x9"]
        r.restore("iptables-legacy", mangle=rules, raw=[f"-A PREROUTING -p udp -m udp --dport {PORT} -j NOTRACK"])
        send(world, [("client", w.udp(c, s, 1000, PORT)), ("client", w.tcp(c, s, 5, 6, "FSR"))])
        r.check_counted("iptables-legacy", "mangle", list(zip(rules, (2, 2, 2, 0, 0, 2), strict=True)))


def test_mark_in_the_list(tracker):
    """The mark of a connection is in its line."""
    c, s = ends(4)
    with w.World(tracker) as world:
        r.restore("iptables-legacy", mangle=["-A FORWARD -j CONNMARK --set-xmark 0x2a/0xffffffff"])
        send(world, [("client", w.udp(c, s, 1000, PORT))])
        w.check_equal(len(world.lines("mark=42", f"dport={PORT}")), 1, "connections with mark 42")


def connlabel(tracker, version):
    c, s = ends(version)
    expected = [
        ('-m connlabel --label "5"', (1, 1, 0)),
        ('-m connlabel ! --label "5"', (1, 1, 1)),
        ('-m connlabel ! --label "127"', (2, 2, 1)),
        # From here on there is one; of the packet that is not tracked there is none.
        ('-m connlabel --label "5" --set', (2, 2, 0)),
        ('-m connlabel --label "5"', (2, 2, 0)),
        ('-m connlabel ! --label "5"', (0, 0, 1)),
        ('-m connlabel --label "0" --set', (2, 2, 0)),
        ('-m connlabel --label "63" --set', (2, 2, 0)),
        ('-m connlabel --label "64" --set', (2, 2, 0)),
        ('-m connlabel ! --label "65" --set', (0, 0, 1)),
        ('-m connlabel --label "65"', (2, 2, 0)),
        ('-m connlabel --label "66"', (0, 0, 0)),
        ('-m connlabel --label "127"', (0, 0, 0)),
    ]
    expected = [(f"-A FORWARD {rule}", sum(packets)) for rule, packets in expected]
    # Two packets each of two connections, and one of none.
    sent = [("client", w.udp(c, s, 1000, PORT)), ("server", w.udp(s, c, PORT, 1000)),
            ("client", w.tcp(c, s, 1001, 23, "S", 1)), ("server", w.tcp(s, c, 23, 1001, "SA", 1, 2)),
            ("client", w.udp(c, s, 1000, 61))]
    with w.World(tracker) as world:
        for program in programs(version):
            raw = ["-A PREROUTING -p udp -m udp --dport 61 -j NOTRACK"]
            r.restore(program, raw=raw, filter=[rule for rule, _ in expected])
            send(world, sent)
            r.check_counted(program, "filter", expected)
            r.check_comes_back(program)
            r.restore(program, raw=[], filter=[])
            # Other connections for the next.
            sent = [(sender, packet) for sender, packet in again(sent)]
        r.check_nobody_elses(tracker)


def again(sent):
    """The same packets between other ports."""
    for sender, packet in sent:
        packet = packet.copy()
        layer = packet.payload
        if sender == "client":
            layer.sport += 1000
        else:
            layer.dport += 1000
        del layer.chksum
        yield sender, packet


def test_connlabel_ipv4(tracker):
    connlabel(tracker, 4)


def test_connlabel_ipv6(tracker):
    connlabel(tracker, 6)


def test_connlabel_by_name(tracker):
    """The names of /etc/xtables/connlabel.conf, and a label that there is none of."""
    w.LABEL_NAMES.parent.mkdir(exist_ok=True)
    w.LABEL_NAMES.write_text("0\tdefault-via\n1\tbulk\n127\tlast\n")
    c, s = ends(4)
    with w.World(tracker) as world:
        rules = ['-A FORWARD -m connlabel --label "bulk" --set', '-A FORWARD -m connlabel --label "last"',
                 '-A FORWARD -m connlabel --label "1"']
        r.restore("iptables-legacy", filter=rules)
        send(world, [("client", w.udp(c, s, 1000, PORT))])
        rules[2] = rules[0].removesuffix(" --set")
        r.check_counted("iptables-legacy", "filter", list(zip(rules, (1, 0, 1), strict=True)))
        said = w.sh("ip netns exec firewall iptables-legacy -A FORWARD -m connlabel --label 128 2>&1", check=False)
        w.check(said.strip(), "label 128 is refused")


def test_connlabel_of_old_connections(tracker):
    """Connections that were there before any rule spoke of labels have none, and get none."""
    c, s = ends(4)
    old, new = [[("client", w.udp(c, s, port, PORT)), ("server", w.udp(s, c, PORT, port))] for port in (1000, 1001)]
    with w.World(tracker) as world:
        send(world, old)
        expected = [('-A FORWARD -m connlabel --label "7" --set', 2), ('-A FORWARD -m connlabel ! --label "7"', 2)]
        r.restore("iptables-legacy", filter=[rule for rule, _ in expected])
        send(world, old + new)
        r.check_counted("iptables-legacy", "filter", expected)


def connsecmark(tracker, version):
    """A packet's security mark is saved on its connection, and restored to other packets; neither
    takes the place of one that is there."""
    _, there = ends(version)
    with w.World(tracker) as world:
        queue = Queue(world, 5, security=True)
        for program, table in zip(programs(version), ("mangle", "security"), strict=True):
            # Only of a packet with a socket the queue tells it.
            sender = world.socket("firewall", socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
            sender.connect((there, PORT))
            port = sender.getsockname()[1]
            mine = f"-A OUTPUT -p udp -m udp --sport {port}"

            def context(*targets):
                """What the packet's mark is after it has met these."""
                tables = {"mangle": [f"-A POSTROUTING -p udp -m udp --sport {port} -j NFQUEUE --queue-num 5"]}
                tables.setdefault(table, []).extend(f"{mine} -j {target}" for target in targets)
                r.restore(program, **tables)
                sender.send(b"?")
                queue.verdict(queue.packet(), NF_ACCEPT)
                r.check_comes_back(program)
                return queue.context

            def of_connection():
                with w.inside("firewall"):
                    lines = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
                return re.findall(r"secctx=(\S+)", "".join(line for line in lines if f"sport={port}" in line.split()))

            save, restore = "CONNSECMARK --save", "CONNSECMARK --restore"
            for targets, packets, connections in (
                    ((save, restore), None, "?"),
                    (("SECMARK --selctx ^",), "^", "?"),
                    (("SECMARK --selctx ^", save), "^", "^"),
                    ((), None, "^"),
                    ((restore,), "^", "^"),
                    (("SECMARK --selctx *", save, restore), "*", "^")):
                w.check_equal(context(*targets), packets, f"{program}: context of a packet after {targets}")
                w.check_equal(of_connection(), [connections], f"{program}: context of the connection after {targets}")
            r.restore(program, mangle=[], security=[])
        r.check_nobody_elses(tracker)


def test_connsecmark_ipv4(tracker):
    connsecmark(tracker, 4)


def test_connsecmark_ipv6(tracker):
    connsecmark(tracker, 6)
