# SPDX-License-Identifier: GPL-2.0
"""The ways that a packet can take through a host other than being forwarded."""

import socket

from scapy.layers.l2 import Ether

import world as w
from nfqueue import NF_ACCEPT, NF_DROP, Queue
from rules import count_states, states



def test_nfqueue(tracker):
    """A packet that user space lets pass has an entry from then on; one that it drops has none."""
    with w.World(tracker) as world:
        queue = Queue(world, 4)
        world.firewall("iptables-legacy -A FORWARD -p udp -j NFQUEUE --queue-num 4")
        server = world.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((w.SERVER, 9))
        client = world.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((w.CLIENT, 1000))
        for verdict, entries in ((NF_DROP, 0), (NF_ACCEPT, 1)):
            client.sendto(b"hello", (w.SERVER, 9))
            waiting = queue.packet()
            w.check_equal(world.lines("sport=1000"), [], "entries before the verdict")
            queue.verdict(waiting, verdict)
            w.check_equal(len(world.lines("sport=1000")), entries, f"entries after verdict {verdict}")
        w.check_equal(server.recv(10), b"hello", "what the server got")
        server.sendto(b"answer", (w.CLIENT, 1000))
        queue.verdict(queue.packet(), NF_ACCEPT)
        w.check_equal(client.recv(10), b"answer", "what the client got")
        w.check_equal(world.lines("sport=1000", "[UNREPLIED]"), [], "unreplied entries")


def test_reject(tracker):
    """REJECT's answers are RELATED, arrive, and leave no entry."""
    with w.World(tracker) as world:
        world.firewall("iptables-legacy -A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset")
        world.firewall("iptables-legacy -A FORWARD -p tcp --dport 26 -j REJECT")
        count_states(world, "OUTPUT")
        for port in (25, 26):
            client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
            try:
                client.connect((w.SERVER, port))
                raise w.Mismatch(f"port {port}: connected")
            except ConnectionRefusedError:
                pass
        w.check_equal(states(world, "OUTPUT"), {"RELATED": 2}, "answers")
        w.check_equal(world.lines("tcp"), [], "entries")


def test_refused_datagram(tracker):
    """A real port unreachable reaches the sender, as RELATED."""
    with w.World(tracker) as world:
        count_states(world, "FORWARD")
        client = world.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        client.connect((w.SERVER, 99))
        client.send(b"?")
        try:
            client.recv(10)
            raise w.Mismatch("an answer")
        except ConnectionRefusedError:
            pass
        w.check_equal(states(world, "FORWARD"), {"NEW": 1, "RELATED": 1}, "packets")


def test_to_and_from_the_firewall(tracker):
    """Local traffic is tracked in INPUT and OUTPUT."""
    with w.World(tracker) as world:
        count_states(world, "INPUT", "OUTPUT", condition="-p icmp")
        w.sh("ip netns exec client ping -c 3 -i 0.2 -W 10 192.168.1.1")
        w.check_equal(states(world, "INPUT"), {"NEW": 1, "ESTABLISHED": 2}, "questions in")
        w.check_equal(states(world, "OUTPUT"), {"ESTABLISHED": 3}, "answers out")
        w.check_equal(len(world.lines("icmp", "type=8")), 1, "entries")


def test_loopback(tracker):
    """A packet to oneself is tracked once, on its way out, and keeps its state on its way in."""
    with w.World(tracker) as world:
        count_states(world, "INPUT", "OUTPUT", condition="-p icmp")
        world.firewall("ping -c 2 -i 0.2 -W 10 127.0.0.1")
        for chain in ("INPUT", "OUTPUT"):
            w.check_equal(states(world, chain), {"NEW": 1, "ESTABLISHED": 3}, chain)
        w.check_equal(len(world.lines("icmp", "src=127.0.0.1")), 1, "entries")


def test_multicast(tracker):
    """A packet to a group is copied to each that listens and to the wire: one entry for all."""
    group, port = "224.0.0.77", 7777
    with w.World(tracker) as world:
        local = socket.inet_aton("192.168.1.10")
        readers = []
        for _ in range(2):
            reader = world.socket("firewall", socket.AF_INET, socket.SOCK_DGRAM)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reader.bind((group, port))
            reader.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + local)
            readers.append(reader)
        sender = world.socket("firewall", socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)
        for _ in range(20):
            sender.sendto(b"all", (group, port))
        for reader in readers:
            w.check_equal([reader.recv(10) for _ in range(20)], [b"all"] * 20, "what a listener got")
        w.check_equal(len(world.lines("udp", f"dst={group}")), 1, "entries")


def test_bridge(tracker):
    """Packets that a bridge floods to its ports are tracked where the bridge is told to."""
    with w.World(tracker) as world:
        w.sh("modprobe br_netfilter")
        world.firewall("sysctl -qw net.ipv4.ip_forward=0 net.bridge.bridge-nf-call-iptables=1")
        commands = ("addr flush dev inner", "addr flush dev outer", "link add br0 type bridge",
                    "link set inner master br0", "link set outer master br0",
                    "link add spare type dummy", "link set spare master br0",
                    "link set spare up", "link set br0 up")
        w.sh("printf '" + "\\n".join(commands) + "\\n' | ip -n firewall -batch -")
        count_states(world, "FORWARD")
        # To an address that the bridge has not learned: one copy for each other port.
        frame = Ether(src="02:00:00:00:01:06", dst="02:00:00:00:09:09")
        world.client.socket.send(bytes(frame / w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1000, 2000)))
        w.wait_until(lambda: states(world, "FORWARD"), 5, "a packet in FORWARD")
        w.check_equal(states(world, "FORWARD"), {"NEW": 2}, "copies")
        w.check_equal(len(world.lines("sport=1000", "dport=2000")), 1, "entries")


def test_namespace_with_entries_goes(tracker):
    """A namespace that still has entries can be destroyed, and the tracker unloaded afterwards."""
    for _ in range(3):
        w.sh("ip netns add gone; ip -n gone link set lo up")
        with w.inside("gone"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port in range(1000, 1200):
                sender.sendto(b"", ("127.0.0.1", port))
        w.check(len(tracker.lines("gone")) >= 200, "entries")
        w.sh("ip netns del gone")
    begin = w.time.monotonic()
    tracker.unload()
    w.check(w.time.monotonic() - begin < 20, "unloading took more than 20 s")
    tracker.load()
    w.sh("ip netns add gone")
    w.check_equal(tracker.lines("gone"), [], "entries of the old namespace")
    w.sh("ip netns del gone")
