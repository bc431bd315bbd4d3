# SPDX-License-Identifier: GPL-2.0
"""Flows through the firewall: fragments, local sockets, expiry, namespaces."""

import ctypes
import socket
import struct

from scapy.layers.inet import fragment
from scapy.layers.inet6 import IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

import world as w


def test_fragments_are_one_entry(tracker):
    """8 KiB of UDP in fragments: one entry, with the ports of the whole."""
    with w.World(tracker) as world:
        whole = w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1234, 4321, bytes(8192))
        parts = fragment(whole, fragsize=1400)
        w.check(len(parts) > 5, f"{len(parts)} fragments")
        for part in parts:
            world.client.send(part)
        w.check_equal(len(world.lines("udp")), 1, "entries")
        w.check_equal(len(world.lines("sport=1234", "dport=4321")), 1, "entries with the ports")


def test_fragments_v6_reach_rules_whole(tracker):
    """The same over IPv6: rules see a NEW packet with its ports, never a piece of one."""
    with w.World(tracker) as world:
        world.firewall("ip6tables-legacy -A FORWARD -p udp --dport 4321 -m state --state NEW")
        world.firewall("ip6tables-legacy -A FORWARD -m state --state INVALID")
        src, dst = w.GHOST_CLIENT6, w.GHOST_SERVER6
        whole = w.ip(src, dst) / IPv6ExtHdrFragment(id=7) / w.UDP(sport=1234, dport=4321) / Raw(bytes(4096))
        for part in fragment6(whole, 1280):
            world.client.send(part)
        w.time.sleep(0.3)
        lines = world.firewall("ip6tables-legacy -L FORWARD -v -n -x").splitlines()[2:]
        w.check_equal([int(line.split()[0]) > 0 for line in lines], [True, False], "NEW, INVALID")


def counted(world, command, chain):
    """How many packets each rule of a chain has counted."""
    return [int(line.split()[0]) for line in world.firewall(f"{command} -L {chain} -v -n -x").splitlines()[2:]]


def test_fragments_that_nobody_tracks_stay_apart(tracker):
    """A rule that is asked before fragments are put together leaves them as they are."""
    modules = ("iptable_raw", "ip6table_raw")
    for module in modules:
        w.sh(f"rmmod {module} 2>/dev/null; modprobe {module} raw_before_defrag=1")
    try:
        with w.World(tracker) as world:
            whole = w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1234, 4321, bytes(8192))
            src, dst = w.GHOST_CLIENT6, w.GHOST_SERVER6
            whole6 = w.ip(src, dst) / IPv6ExtHdrFragment(id=7) / w.UDP(sport=1234, dport=4321) / Raw(bytes(4096))
            for command, parts in (
                ("iptables-legacy", fragment(whole, fragsize=1400)),
                ("ip6tables-legacy", fragment6(whole6, 1280)),
            ):
                world.firewall(f"{command} -t raw -A PREROUTING -i inner -j CT --notrack")
                world.firewall(f"{command} -A FORWARD -m state --state UNTRACKED")
                world.firewall(f"{command} -A FORWARD -m state ! --state UNTRACKED")
                for part in parts:
                    world.client.send(part)
                w.time.sleep(0.3)
                w.check_equal(counted(world, command, "FORWARD"), [len(parts), 0], f"{command}: UNTRACKED, others")
            w.check_equal(world.lines("udp"), [], "entries")
    finally:
        for module in modules:
            w.sh(f"rmmod {module}", check=False)


def test_fragments_that_a_socket_keeps_apart(tracker):
    """What a program sends in pieces, and wants to leave in pieces (IP_NODEFRAG), belongs to no connection."""
    IP_NODEFRAG = 22
    with w.World(tracker) as world:
        world.firewall("iptables-legacy -A OUTPUT -p udp -m state --state INVALID")
        world.firewall("iptables-legacy -A OUTPUT -p udp -m state ! --state INVALID")
        whole = w.ip("192.168.1.10", w.SERVER) / w.UDP(sport=1234, dport=4321) / Raw(bytes(4096))
        parts = [bytes(part) for part in fragment(whole, fragsize=1200)]
        for keeps, counts in ((1, [len(parts), 0]), (0, [len(parts), 1])):
            sender = world.socket("firewall", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            sender.setsockopt(socket.IPPROTO_IP, IP_NODEFRAG, keeps)
            for part in parts:
                sender.sendto(part, (w.SERVER, 0))
            w.check_equal(counted(world, "iptables-legacy", "OUTPUT"), counts, f"IP_NODEFRAG {keeps}: INVALID, others")
        w.check_equal(len(world.lines("sport=1234", "dport=4321")), 1, "entries")


def test_big_ping(tracker):
    with w.World(tracker) as world:
        w.sh(f"ip netns exec client ping -c 1 -W 10 -s 8192 {w.SERVER}")
        w.check_equal(len(world.lines("icmp", "type=8")), 1, "entries")


def test_traceroute(tracker):
    """Each hop answers with an error about what it was sent, which is RELATED; nothing else is let back."""
    with w.World(tracker) as world:
        for command, server in (("iptables-legacy", w.SERVER), ("ip6tables-legacy", w.SERVER6)):
            world.firewall(f"{command} -A FORWARD -o inner -m state --state RELATED -j ACCEPT")
            world.firewall(f"{command} -A FORWARD -o inner -j DROP")
            world.firewall(f"{command} -A OUTPUT -o inner -m state --state RELATED")
            hops = w.sh(f"ip netns exec client traceroute -n -q 1 -N 1 -w 5 -m 4 {server}").splitlines()[1:]
            w.check_equal((len(hops), hops[-1].split()[1]), (2, server), f"hops {hops}")
            w.check_equal(counted(world, command, "FORWARD"), [1, 0], f"{command}: RELATED, others")
            w.check_equal(counted(world, command, "OUTPUT"), [1], f"{command}: RELATED of its own")


def connect(world):
    listener = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((w.SERVER, 80))
    listener.listen()
    client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
    client.connect((w.SERVER, 80))
    server, _ = listener.accept()
    world.sockets.append(server)
    return client, server


def test_real_close(tracker):
    with w.World(tracker) as world:
        client, server = connect(world)
        client.close()
        w.time.sleep(0.3)
        w.check_equal(len(world.lines("tcp", "CLOSE_WAIT", "[ASSURED]")), 1, "half closed")
        server.close()
        w.time.sleep(0.3)
        w.check_equal(len(world.lines("tcp", "TIME_WAIT", "[ASSURED]")), 1, "closed")


def test_real_abort(tracker):
    with w.World(tracker) as world:
        client, _ = connect(world)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        w.time.sleep(0.3)
        (line,) = world.lines("tcp", "CLOSE")
        w.check(int(line.split()[2]) <= 10, line)


def test_refused(tracker):
    """A connection that the other end refuses leaves nothing behind."""
    with w.World(tracker) as world:
        client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        try:
            client.connect((w.SERVER, 81))
        except ConnectionRefusedError:
            w.time.sleep(0.2)
            w.check_equal([line for line in world.lines("dport=81") if "CLOSE" not in line], [], "entries")
            return
        raise w.Mismatch("not refused")


def test_expiry(tracker):
    """A connection that was reset is gone after its ten seconds."""
    with w.World(tracker) as world:
        client, _ = connect(world)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        w.time.sleep(0.3)
        w.check_equal(len(world.lines("tcp", "CLOSE")), 1, "entries")
        w.time.sleep(13)
        w.check_equal(world.lines("tcp"), [], "entries after 13 s")


def test_dropped_leave_nothing(tracker):
    """Packets that a rule drops start no entry."""
    with w.World(tracker) as world:
        world.firewall("iptables-legacy -A FORWARD -j DROP")
        for port in range(1, 500):
            world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 80, "S"))
        w.check_equal(world.lines("tcp"), [], "entries")


def test_namespaces_are_apart(tracker):
    """Each namespace tracks, sees its own connections only, and takes them with it."""
    with w.World(tracker) as world:
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1, 2))
        w.check_equal(len(world.lines("sport=1")), 1, "in the firewall")
        w.sh("ip netns add late; ip -n late link set lo up; ip netns exec late ping -c 1 127.0.0.1")
        w.check_equal(len(tracker.lines("late")), 1, "in the late namespace")
        w.check_equal([line for line in tracker.lines("late") if "sport=1" in line], [], "of others")
        w.sh("ip netns del late")


def original_destination(server, level):
    """SO_ORIGINAL_DST of a socket, read into a buffer that is full of something else."""
    room, size = ctypes.create_string_buffer(b"\xaa" * 64, 64), ctypes.c_uint32(64)
    w.check_equal(ctypes.CDLL(None).getsockopt(server.fileno(), level, 80, room, ctypes.byref(size)), 0, "getsockopt")
    return room.raw[:size.value]


def test_original_destination(tracker):
    """SO_ORIGINAL_DST of an accepted socket, IPv4 and IPv6, and its errors."""
    rooms = (
        (socket.AF_INET, "127.0.0.1", socket.IPPROTO_IP, 16, lambda a: (socket.inet_ntop(socket.AF_INET, a[4:8]), struct.unpack("!H", a[2:4])[0])),
        (socket.AF_INET6, "::1", socket.IPPROTO_IPV6, 28, lambda a: (socket.inet_ntop(socket.AF_INET6, a[8:24]), struct.unpack("!H", a[2:4])[0])),
    )
    for family, address, level, size, read in rooms:
        with socket.create_server((address, 0), family=family) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection((address, port)) as client:
                server, _ = listener.accept()
                with server:
                    answer = original_destination(server, level)
                    w.check_equal(read(answer), (address, port), "original destination")
                    if family == socket.AF_INET:
                        w.check_equal(answer[8:16], bytes(8), "bytes behind the address")
                    for room, error in ((size - 1, 22),):
                        try:
                            server.getsockopt(level, 80, room)
                        except OSError as raised:
                            w.check_equal(raised.errno, error, "too small a room")
                        else:
                            raise w.Mismatch("too small a room was taken")
                del client
        with socket.socket(family, socket.SOCK_DGRAM) as datagram:
            try:
                datagram.getsockopt(level, 80, 64)
            except OSError as raised:
                w.check_equal(raised.errno, 92, "UDP socket")
            else:
                raise w.Mismatch("a UDP socket has no original destination")
