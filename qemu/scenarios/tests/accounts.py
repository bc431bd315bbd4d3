# SPDX-License-Identifier: GPL-2.0
"""What is counted of connections, and when they began."""

import re
import socket
import time
from pathlib import Path

import world as w


def set_in_firewall(name, value):
    with w.inside("firewall"):
        Path(f"/proc/thread-self/root/proc/sys/net/netfilter/nf_conntrack_{name}").write_text(f"{value}\n")


def long_lines():
    """The firewall's lines in stock's form, blanks squeezed."""
    with w.inside("firewall"), open("/proc/thread-self/net/nf_conntrack") as file:
        return [re.sub(r" +", " ", line) for line in file.read().splitlines()]


def test_packets_and_bytes(tracker):
    """UDP, TCP's handshake, ICMP: what goes each way, headers included; packets that change nothing count not."""
    with w.World(tracker) as world:
        set_in_firewall("acct", 1)
        for packet in (w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 137, 1025, b"x" * 72),
                       w.echo(w.GHOST_CLIENT, w.GHOST_SERVER, 7),
                       w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 1031, 23, "S", seq=100),
                       # Again: its entry is not refreshed by it, and it does not count.
                       w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 1031, 23, "S", seq=100)):
            world.client.send(packet)
        for packet in (w.udp(w.GHOST_SERVER, w.GHOST_CLIENT, 1025, 137, b"x" * 172),
                       w.tcp(w.GHOST_SERVER, w.GHOST_CLIENT, 23, 1031, "SA", seq=500, ack=101)):
            world.server.send(packet)
        world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 1031, 23, "A", seq=101, ack=501))
        time.sleep(0.1)
        found = {line.split()[0]: re.findall(r"packets=(\d+) bytes=(\d+)", line) for line in world.lines()}
        w.check_equal(found["udp"], [("1", "100"), ("1", "200")], "UDP")
        w.check_equal(found["icmp"], [("1", "32"), ("0", "0")], "ICMP")
        w.check_equal(found["tcp"], [("2", "80"), ("1", "40")], "TCP")
        # Only new connections are counted.
        set_in_firewall("acct", 0)
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 138, 1025))
        w.check("packets=" not in world.lines("sport=138")[0], "counted without a wish")
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 137, 1025))
        w.check("packets=2 bytes=129" in world.lines("sport=137")[0], f"no longer counted: {world.lines('sport=137')}")


def test_real_transfer(tracker):
    """A megabyte by a real connection: all of it is counted."""
    with w.World(tracker) as world:
        set_in_firewall("acct", 1)
        server = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
        server.bind((w.SERVER, 8000))
        server.listen()
        client = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        client.connect((w.SERVER, 8000))
        peer, _ = server.accept()
        sent = 0
        for _ in range(32):
            client.sendall(b"x" * 32768)
            left = 32768
            while left:
                left -= len(peer.recv(left))
            sent += 32768
        [line] = world.lines("dport=8000")
        [(packets, octets), (_, _)] = re.findall(r"packets=(\d+) bytes=(\d+)", line)
        # Headers of 20 bytes and more for each packet, options included.
        low, high = sent + int(packets) * 40, sent + int(packets) * 60
        w.check(low <= int(octets) <= high, f"{octets} bytes in {packets} packets for {sent}")
        peer.close()


def test_age(tracker):
    """How long an entry has been there; its packets do not change that."""
    with w.World(tracker) as world:
        set_in_firewall("timestamp", 1)
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 137, 1025))
        time.sleep(3.2)
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 137, 1025))
        time.sleep(0.1)
        [line] = long_lines()
        found = re.search(r" mark=0 secctx=\? zone=0 delta-time=(\d+) use=2$", line)
        w.check(found and 3 <= int(found[1]) <= 3 + w.SLACK, line)
        set_in_firewall("timestamp", 0)
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 138, 1025))
        time.sleep(0.1)
        [line] = [line for line in long_lines() if "sport=138" in line]
        w.check(line.endswith(" mark=0 secctx=? zone=0 use=2"), line)
