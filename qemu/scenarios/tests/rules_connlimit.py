# SPDX-License-Identifier: GPL-2.0
"""The match connlimit: how many connections a host or a network has at once."""

import ipaddress
import socket
import struct

from scapy.layers.l2 import Ether

import rules as r
import world as w

SYN = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"


def programs(version):
    return [f"{'ip6tables' if version == 6 else 'iptables'}-{kind}" for kind in ("legacy", "nft")]


def network(address, length):
    return ipaddress.ip_network(f"{address}/{length}", strict=False)


def kinds(tracker, version):
    """Each rule counts the connections of its own kind of network, and compares with its limit."""
    if version == 6:
        clients, servers, lengths = [f"2001:db8:1:77::{number:x}" for number in (1, 2, 0x101)], ["2001:db8:2::11", "2001:db8:2::12"], (128, 120, 64, 0)
    else:
        clients, servers, lengths = ["192.0.2.1", "192.0.2.2", "192.0.3.1"], ["192.168.1.11", "192.168.1.12"], (32, 24, 22, 0)
    # Begun by each client to each server, several times.
    begun = [(client, server, 1000 + number) for number in range(3) for client in clients for server in servers]
    expected = []
    for length in lengths:
        for end, of in (("saddr", 0), ("daddr", 1)):
            for limit in (0, 1, 2, 5, 8, 17, 18):
                counts = {}
                above = 0
                for connection in begun:
                    key = network(connection[of], length)
                    counts[key] = counts.get(key, 0) + 1
                    above += counts[key] > limit
                options = f"{limit} --connlimit-mask {length} --connlimit-{end}"
                expected.append((f"-A FORWARD {SYN} -m connlimit --connlimit-above {options}", above))
                expected.append((f"-A FORWARD {SYN} -m connlimit --connlimit-upto {options}", len(begun) - above))
    with w.World(tracker) as world:
        back = "-6 route add 2001:db8:1:77::/64 via 2001:db8:1::5" if version == 6 else "route add 192.0.2.0/23 via 192.168.1.5"
        w.sh(f"ip -n firewall {back} dev inner")
        if version == 6:
            w.sh("ip -n firewall neigh replace 2001:db8:2::12 lladdr 02:00:00:00:02:09 dev outer nud permanent")
        else:
            w.sh("ip -n firewall neigh replace 192.168.1.12 lladdr 02:00:00:00:02:09 dev outer nud permanent")
        for program in programs(version):
            r.restore(program, filter=[rule for rule, _ in expected])
        for client, server, port in begun:
            world.client.send(w.tcp(client, server, port, 80, "S", 1))
            w.time.sleep(0.02)
        w.time.sleep(0.2)
        for program in programs(version):
            r.check_counted(program, "filter", expected)
            r.check_comes_back(program)
        r.check_nobody_elses(tracker)


def test_kinds_ipv4(tracker):
    kinds(tracker, 4)


def test_kinds_ipv6(tracker):
    kinds(tracker, 6)


class Counter:
    """Asks how many connections the client has, by rules for each number, when it begins another."""
    MOST = 6

    def __init__(self, world, condition=SYN, program="iptables-legacy", table="filter", chain="FORWARD", last=()):
        self.world = world
        self.program, self.table = program, table
        self.rules = [f"-A {chain} {condition} -m connlimit --connlimit-above {limit} --connlimit-mask 32 --connlimit-saddr"
                      for limit in range(self.MOST)]
        r.restore(program, **{table: [*self.rules, *last]})
        self.counts = [0] * self.MOST

    def of(self, packet):
        """How many connections there are when a packet comes."""
        self.world.client.send(packet)
        w.time.sleep(0.1)
        counts = [packets for _, packets in r.counted(self.program, self.table)][:self.MOST]
        matched = [now - before for now, before in zip(counts, self.counts, strict=True)]
        self.counts = counts
        w.check_equal(matched, sorted(matched, reverse=True), "which limits a packet has gone beyond")
        return sum(matched)


C, S = w.GHOST_CLIENT, w.GHOST_SERVER


def syn(port):
    return w.tcp(C, S, port, 80, "S", 1)


def test_what_ends_is_counted_no_more(tracker):
    """Connections that were reset, or closed in order, or whose time is over."""
    with w.World(tracker) as world:
        counter = Counter(world)
        w.check_equal([counter.of(syn(port)) for port in (1, 2, 3)], [1, 2, 3], "connections that were begun")
        w.check_equal(counter.of(syn(2)), 3, "connections when a beginning is sent again")
        # One is reset before it was answered, one afterwards.
        world.server.send(w.tcp(S, C, 80, 1, "RA", 0, 2))
        w.time.sleep(0.1)
        w.check_equal(counter.of(syn(4)), 3, "connections after one was refused")
        world.server.send(w.tcp(S, C, 80, 2, "SA", 1, 2))
        world.client.send(w.tcp(C, S, 2, 80, "A", 2, 2))
        w.time.sleep(0.1)
        w.check_equal(counter.of(syn(5)), 4, "connections after one was opened")
        world.client.send(w.tcp(C, S, 2, 80, "R", 2))
        w.time.sleep(0.1)
        w.check_equal(counter.of(syn(6)), 4, "connections after that was reset")
        # One is closed in order: it is remembered, but over.
        for sender, packet in ((world.server, w.tcp(S, C, 80, 3, "SA", 1, 2)), (world.client, w.tcp(C, S, 3, 80, "A", 2, 2)),
                               (world.client, w.tcp(C, S, 3, 80, "FA", 2, 2)), (world.server, w.tcp(S, C, 80, 3, "FA", 2, 3)),
                               (world.client, w.tcp(C, S, 3, 80, "A", 3, 3))):
            sender.send(packet)
            w.time.sleep(0.05)
        w.check_equal(len(world.lines("TIME_WAIT", "sport=3")), 1, "entries of the connection that was closed")
        w.check_equal(counter.of(syn(7)), 4, "connections after one was closed")
        # Their time is over: a second, and one more in which somebody looks.
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1")
        counter = Counter(world, condition="-p udp -m udp --dport 2000")
        w.check_equal([counter.of(w.udp(C, S, port, 2000)) for port in (1, 2, 3)], [1, 2, 3], "exchanges that were begun")
        w.wait_until(lambda: not world.lines("dport=2000"), 20, "their time is over")
        w.check_equal(counter.of(w.udp(C, S, 4, 2000)), 1, "exchanges when the time of the others is over")


def test_what_is_dropped_is_counted_no_more(tracker):
    """A packet that a later rule drops has begun nothing."""
    with w.World(tracker) as world:
        counter = Counter(world, last=["-A FORWARD -p tcp -m tcp --sport 10:65535 -j DROP"])
        w.check_equal([counter.of(syn(port)) for port in (1, 11, 12, 13, 2, 14)], [1, 2, 2, 2, 2, 3], "connections when the last is dropped")


def test_the_tuple_is_used_anew(tracker):
    """A new connection in the place of one that is over is one."""
    with w.World(tracker) as world:
        counter = Counter(world)
        w.check_equal([counter.of(syn(port)) for port in (1, 2)], [1, 2], "connections")
        world.server.send(w.tcp(S, C, 80, 1, "RA", 0, 2))
        w.time.sleep(0.1)
        w.check_equal(counter.of(w.tcp(C, S, 1, 80, "S", 5000)), 2, "connections after a tuple was used anew")
        w.check_equal(counter.of(syn(3)), 3, "connections")


def test_before_the_tracker(tracker):
    """In the table raw there is no connection yet; it is counted all the same, if it comes to one."""
    with w.World(tracker) as world:
        counter = Counter(world, table="raw", chain="PREROUTING")
        r.restore("iptables-nft", filter=["-A FORWARD -p tcp -m tcp --sport 10:65535 -j DROP"])
        w.check_equal([counter.of(syn(port)) for port in (1, 2, 3, 2)], [1, 2, 3, 3], "connections")
        w.check_equal([counter.of(syn(port)) for port in (11, 12, 13)], [4, 4, 4], "connections when the last is dropped")
        world.server.send(w.tcp(S, C, 80, 1, "RA", 0, 2))
        w.time.sleep(0.1)
        w.check_equal([counter.of(syn(port)) for port in (14, 4)], [3, 3], "connections after one was refused")


def test_what_is_not_tracked(tracker):
    """What no connection is for counts itself, and nothing else."""
    with w.World(tracker) as world:
        counter = Counter(world, condition="-p udp -m udp --dport 61", last=[])
        r.restore("iptables-nft", raw=["-A PREROUTING -p udp -m udp --dport 61 -j NOTRACK"])
        w.check_equal([counter.of(w.udp(C, S, port, 61)) for port in (1, 2, 3)], [1, 1, 1], "exchanges")


def test_zones_are_counted_apart(tracker):
    with w.World(tracker) as world:
        counter = Counter(world)
        r.restore("iptables-nft", raw=["-A PREROUTING -p tcp -m tcp --sport 10:19 -j CT --zone 5",
                                       "-A PREROUTING -p tcp -m tcp --sport 20:29 -j CT --zone-orig 6"])
        w.check_equal([counter.of(syn(port)) for port in (1, 2, 11, 12, 13, 21, 3)], [1, 2, 1, 2, 3, 1, 3], "connections")


def test_real_sockets(tracker):
    """With a limit of three the fourth is refused; when one closes there is room for another."""
    with w.World(tracker) as world:
        r.restore("iptables-legacy", filter=["-A FORWARD -p tcp -m tcp --dport 80 -m connlimit --connlimit-above 3 -j REJECT --reject-with tcp-reset"])
        listener = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((w.SERVER, 80))
        listener.listen(8)

        def call():
            client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
            client.connect((w.SERVER, 80))
            server, _ = listener.accept()
            world.sockets.append(server)
            return client, server

        def refused():
            try:
                call()
            except ConnectionRefusedError:
                return True
            return False

        pairs = [call() for _ in range(3)]
        w.check(refused() and refused(), "a fourth connection is refused")
        w.time.sleep(0.2)  # Stock counts what was refused for another moment, and refuses the others' packets too.
        for client, server in pairs:
            client.sendall(b"still here")
            w.check_equal(server.recv(99), b"still here", "what goes over the others")
        client, server = pairs.pop()
        client.close()
        w.check_equal(server.recv(1), b"", "the end of a connection")
        server.close()
        w.time.sleep(0.2)
        call()
        w.check(refused(), "again a fourth connection is refused")


def test_a_burst(tracker):
    """Of many that are begun at once as many as the limit come through, and no more."""
    with w.World(tracker) as world:
        r.restore("iptables-legacy", filter=["-A FORWARD -p udp -m udp --dport 2000 -m connlimit --connlimit-above 100 -j DROP"])
        for port in range(1000, 1400):
            world.client.send(w.udp(C, S, port, 2000))
        w.time.sleep(1)
        w.check_equal(len(world.lines("dport=2000")), 100, "connections")


def test_rules_come_and_go(tracker):
    """A rule that is made anew counts anew; connections that old ones have counted go all the same,
    and so do namespaces with rules."""
    with w.World(tracker) as world:
        for _ in range(3):
            counter = Counter(world)
            w.check_equal([counter.of(syn(port)) for port in (1, 2)], [1, 2], "connections of a new rule")
        for port in (1, 2):
            world.server.send(w.tcp(S, C, 80, port, "RA", 0, 2))
        w.time.sleep(0.1)
        w.check_equal(counter.of(syn(3)), 1, "connections after the others were refused")


@w.ours_only
def test_the_end_of_a_connection_goes_through(tracker):
    """Also the last packets of the last connection of an address pass a rule that looks at all
    packets; stock drops them where nothing else is counted."""
    with w.World(tracker) as world:
        r.restore("iptables-legacy", filter=["-A FORWARD -p tcp -m connlimit --connlimit-above 2 -j REJECT", "-A FORWARD"])
        sent = ((world.client, syn(1)), (world.server, w.tcp(S, C, 80, 1, "SA", 1, 2)), (world.client, w.tcp(C, S, 1, 80, "A", 2, 2)),
                (world.client, w.tcp(C, S, 1, 80, "FA", 2, 2)), (world.server, w.tcp(S, C, 80, 1, "FA", 2, 3)),
                (world.client, w.tcp(C, S, 1, 80, "A", 3, 3)), (world.server, w.tcp(S, C, 80, 1, "FA", 2, 3)),
                (world.client, w.tcp(C, S, 1, 80, "A", 3, 3)))
        for sender, packet in sent:
            sender.send(packet)
            w.time.sleep(0.05)
        w.time.sleep(0.2)
        w.check_equal([packets for _, packets in r.counted("iptables-legacy", "filter")], [0, len(sent)], "packets refused, and let through")


def datagram(source, port):
    """A packet made without a library, which takes its time where there are many."""
    udp = struct.pack("!HHHH", port, 2000, 8, 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(S))
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:] + udp


@w.ours_only
def test_many(tracker):
    """Thousands of connections of hundreds of addresses: the count is exact, also when all have gone."""
    with w.World(tracker) as world:
        w.sh("ip -n firewall route add 10.0.0.0/8 via 192.168.1.5 dev inner")
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=12")
        limits = [f"-A FORWARD -m connlimit --connlimit-above {limit} --connlimit-mask {length} --connlimit-saddr"
                  for limit, length in ((3, 32), (4, 32), (1999, 8), (2000, 8))]
        ether = bytes(Ether(dst=world.client.gateway, src="02:00:00:00:01:06", type=0x0800))
        r.restore("iptables-legacy", filter=limits)
        for counts in ([500, 0, 1, 0], [1000, 0, 2, 0]):
            for port in range(1000, 1004):
                for host in range(500):
                    world.client.socket.send(ether + datagram(f"10.0.{host >> 8}.{host & 255}", port))
            w.time.sleep(0.5)
            w.check_equal(len(world.lines("dport=2000")), 2000, "connections")
            w.check_equal([packets for _, packets in r.counted("iptables-legacy", "filter")], counts, "packets beyond the limits")
            if counts[0] == 500:
                w.wait_until(lambda: not world.lines("dport=2000"), 60, "their time is over")
