# SPDX-License-Identifier: GPL-2.0
"""The matches connbytes (how much a connection has carried) and cluster (which of several firewalls
it belongs to)."""

import ipaddress
import struct

from scapy.layers.l2 import Ether

import rules as r
import world as w

PORT = 2000


def programs(version):
    return [f"{'ip6tables' if version == 6 else 'iptables'}-{kind}" for kind in ("legacy", "nft")]


def ends(version):
    return (w.GHOST_CLIENT6, w.GHOST_SERVER6) if version == 6 else (w.GHOST_CLIENT, w.GHOST_SERVER)


def connbytes_rules(sent):
    """Rules, and how many of the packets each is of. A packet counts before rules see it."""
    lengths = [(sender, len(bytes(packet))) for sender, packet in sent]
    directions = {"original": ("client",), "reply": ("server",), "both": ("client", "server")}

    def found(mode, direction, upto):
        of = [length for sender, length in lengths[:upto + 1] if sender in directions[direction]]
        return {"packets": len(of), "bytes": sum(of), "avgpkt": sum(of) // len(of) if of else 0}[mode]

    most = 2 ** 64 - 1
    for mode in ("packets", "bytes", "avgpkt"):
        for direction in directions:
            values = [found(mode, direction, at) for at in range(len(sent))]
            low, high = min(values), max(values)
            for first, last in ((low, low), (high, high), (low + 1, high), (0, low), (high, most), (high + 1, most), (low, most)):
                if last == 0 or (first, last) == (0, most):
                    continue  # iptables takes the one for the other, which is all that there can be.
                right = sum(first <= value <= last for value in values)
                numbers = f"{first}" if last == most else f"{first}:{last}"
                options = f"--connbytes {numbers} --connbytes-mode {mode} --connbytes-dir {direction}"
                yield f"-A FORWARD -m connbytes {options}", right
                # The opposite is a range from its last to its first.
                if first != last:
                    yield f"-A FORWARD -m connbytes ! {options}", len(sent) - right


def connbytes(tracker, version):
    c, s = ends(version)
    with w.World(tracker) as world:
        for number, program in enumerate(programs(version)):
            port = 1000 + number
            # Not of the connection, or of none.
            others = [("client", w.tcp(c, s, 5, 6, "FSR")), ("client", w.udp(c, s, 3, 61))]
            sent = [("client", w.udp(c, s, port, PORT, b"x" * 100)), ("client", w.udp(c, s, port, PORT, b"x")),
                    ("server", w.udp(s, c, PORT, port, b"x" * 1000)), ("client", w.udp(c, s, port, PORT, b"x" * 33)),
                    ("server", w.udp(s, c, PORT, port, b"x"))]
            expected = list(connbytes_rules(sent))
            if number == 0:
                # A connection from before any rule has asked is not counted, now or later.
                world.firewall("sysctl -qw net.netfilter.nf_conntrack_acct=0")
                old = w.udp(c, s, 999, PORT)
                world.client.send(old)
                w.time.sleep(0.1)
            r.restore(program, filter=[rule for rule, _ in expected], raw=["-A PREROUTING -p udp -m udp --dport 61 -j NOTRACK"])
            w.check_equal(world.firewall("sysctl -n net.netfilter.nf_conntrack_acct").strip(), "1", "the setting when there is such a rule")
            for sender, packet in [*others, ("client", old), *sent]:
                getattr(world, sender).send(packet)
                w.time.sleep(0.03)
            w.time.sleep(0.2)
            r.check_counted(program, "filter", expected)
            r.check_comes_back(program)
            r.restore(program, filter=[], raw=[])
        r.check_nobody_elses(tracker)


def test_connbytes_ipv4(tracker):
    connbytes(tracker, 4)


def test_connbytes_ipv6(tracker):
    connbytes(tracker, 6)


def jenkins(words, seed):
    """Bob Jenkins' lookup3 of words (hashword), on which all nodes of a cluster must agree."""
    mask = 2 ** 32 - 1
    a = b = c = 0xdeadbeef + len(words) * 4 + seed & mask

    def turn(word, bits):
        return (word << bits | word >> 32 - bits) & mask

    words = list(words)
    while len(words) > 3:
        a, b, c = (a + words[0]) & mask, (b + words[1]) & mask, (c + words[2]) & mask
        for bits in (4, 6, 8, 16, 19, 4):
            a = (a - c) & mask ^ turn(c, bits)
            c = (c + b) & mask
            a, b, c = b, c, a
        words = words[3:]
    a, b, c = ((word + more) & mask for word, more in zip((a, b, c), words + [0, 0], strict=False))
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - turn(b, bits) & mask
        a, b, c = b, c, a
    return b


def node_of(address, nodes, seed):
    return jenkins(struct.unpack("=I", ipaddress.ip_address(address).packed[:4]), seed) * nodes >> 32


def cluster(tracker, version):
    """Each node gets the connections of its share of sources, in both directions."""
    _, s = ends(version)
    # Of an IPv6 address the kernel's match takes the first 32 bits alone, and so must all nodes.
    clients = [f"2001:{0xe00 + number:x}::{number:x}" if version == 6 else f"192.0.2.{number}" for number in range(1, 25)]
    with w.World(tracker) as world:
        back = f"-6 route add 2001:e00::/24 via {w.GHOST_CLIENT6}" if version == 6 else f"route add 192.0.2.0/24 via {w.GHOST_CLIENT}"
        w.sh(f"ip -n firewall {back} dev inner")
        expected = []
        for nodes, seed in ((4, 0xdeadbeef), (32, 7), (2, 0)):
            for mine in (1 << node for node in range(min(nodes, 4))):
                owned = sum(bool(1 << node_of(client, nodes, seed) & mine) for client in clients)
                # Three packets of each connection.
                for sign, right in (("", 3 * owned), ("! ", 3 * (len(clients) - owned))):
                    expected.append((f"-A FORWARD -m cluster {sign}--cluster-local-nodemask 0x{mine:08x} --cluster-total-nodes {nodes} "
                                     f"--cluster-hash-seed 0x{seed:08x}", right))
        w.check(len({count for _, count in expected}) > 6, "shares are not all the same")
        for program in programs(version):
            r.restore(program, filter=[rule for rule, _ in expected], raw=["-A PREROUTING -p udp -m udp --dport 61 -j NOTRACK"])
        world.client.send(w.udp(clients[0], s, 3, 61))
        for client in clients:
            for sender, packet in (("client", w.udp(client, s, 1000, PORT)), ("server", w.udp(s, client, PORT, 1000)),
                                   ("client", w.udp(client, s, 1000, PORT))):
                getattr(world, sender).send(packet)
                w.time.sleep(0.01)
        w.time.sleep(0.2)
        for program in programs(version):
            r.check_counted(program, "filter", expected)
            r.check_comes_back(program)
        r.check_nobody_elses(tracker)


def test_cluster_ipv4(tracker):
    cluster(tracker, 4)


def test_cluster_ipv6(tracker):
    cluster(tracker, 6)


def test_cluster_of_the_announcing_connection(tracker):
    """An ICMP error belongs to the connection that it is about, whoever sends it."""
    c, s = ends(4)
    with w.World(tracker) as world:
        nodes = [f"-A FORWARD -m cluster --cluster-local-nodemask 0x{1 << node:08x} --cluster-total-nodes 4 --cluster-hash-seed 0x00000001"
                 for node in range(4)]
        r.restore("iptables-legacy", filter=nodes)
        flow = w.udp(c, s, 1000, PORT)
        world.client.send(flow)
        w.time.sleep(0.1)
        world.server.send(w.ip("192.168.1.12", c) / w.ICMP(type=3, code=3) / w.Raw(bytes(flow)[:28]))
        w.time.sleep(0.2)
        own = node_of(c, 4, 1)
        r.check_counted("iptables-legacy", "filter", [(rule, 2 if at == own else 0) for at, rule in enumerate(nodes)])


def test_cluster_takes_frames_to_all(tracker):
    """Frames to the group of the cluster's nodes go on as if they were for this one alone; packets
    to a group of hosts do not."""
    c, s = ends(4)
    with w.World(tracker) as world:
        through = ["-A FORWARD -p udp -m udp --dport 2000"]

        def arrives(address):
            r.restore("iptables-legacy", filter=through)
            world.client.socket.send(bytes(Ether(dst="01:00:5e:00:01:01") / w.udp(c, address, 1000, PORT)))
            w.time.sleep(0.2)
            return r.counted("iptables-legacy", "filter")[0][1]

        w.check_equal(arrives(s), 0, "packets that were forwarded without the match")
        r.restore("iptables-legacy", mangle=["-A PREROUTING -m cluster --cluster-local-nodemask 0x00000001 --cluster-total-nodes 1 --cluster-hash-seed 0x00000000"])
        w.check_equal(arrives(s), 1, "packets that were forwarded with the match")
        w.check_equal(arrives("224.0.0.77"), 0, "packets to a group that were forwarded")
