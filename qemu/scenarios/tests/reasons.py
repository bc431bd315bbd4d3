# SPDX-License-Identifier: GPL-2.0
"""Why a packet is INVALID: counted, logged, traced."""

import contextlib
import re
import subprocess
import time
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

import world as w

CLIENT, SERVER = w.GHOST_CLIENT, w.GHOST_SERVER
TRACING = Path("/sys/kernel/tracing")


def added(before, after):
    return {reason: after[reason] - count for reason, count in before.items() if after[reason] != count}


def invalid_packets():
    """A packet for each of many reasons, none of which needs a connection."""
    bad = w.udp(CLIENT, SERVER, 5, 9)
    bad[UDP].chksum = 0x1234
    # A length that is too small; without a checksum, or that would be the reason.
    short = IP(src=CLIENT, dst=SERVER) / UDP(sport=5, dport=9, len=7, chksum=0) / Raw(b"x")
    quoting = IP(src=CLIENT, dst=SERVER) / ICMP(type=3, code=3)
    return {
        "bad checksum": bad,
        "bad udp length": short,
        "bad tcp data offset": IP(src=CLIENT, dst=SERVER) / TCP(sport=5, dport=9, dataofs=4, flags="S"),
        "bad tcp flags": w.tcp(CLIENT, SERVER, 5, 9, "SF"),
        "tcp segment starts no connection": w.tcp(CLIENT, SERVER, 5, 9, "R"),
        "unknown icmp type": w.echo(CLIENT, SERVER, 1, kind=77),
        "icmp message starts no connection": w.echo(CLIENT, SERVER, 1, kind="echo-reply"),
        "quoted packet truncated": quoting / Raw(bytes(IP(src=SERVER, dst=CLIENT) / UDP())[:19]),
        "icmp error about no known connection": quoting / Raw(bytes(w.udp(SERVER, CLIENT, 5, 9))),
        "icmp error to another than the quoted sender": quoting / Raw(bytes(w.udp(w.SERVER, CLIENT, 5, 9))),
        "transport header truncated": IP(src=CLIENT, dst=SERVER, proto=6) / Raw(b"12345678"),
        "bad sctp chunks": IP(src=CLIENT, dst=SERVER, proto=132) / Raw(bytes.fromhex("00050009000000000c5d5d5c")),
    }


@w.ours_only
def test_each_is_counted_in_its_namespace(tracker):
    with w.World(tracker) as world:
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_checksum=1")
        for reason, packet in invalid_packets().items():
            if reason == "bad sctp chunks":
                # Its checksum is of no interest here.
                world.firewall("sysctl -qw net.netfilter.nf_conntrack_checksum=0")
            before = world.reasons()
            world.client.send(packet)
            w.check_equal(added(before, world.reasons()), {reason: 1}, f"counted for {packet.summary()}")
        elsewhere = Path("/proc/net/ip_conntrack_invalid").read_text()
        w.check(all(line.startswith("0 ") for line in map(str.lstrip, elsewhere.splitlines())), "counted elsewhere")


def logged():
    time.sleep(0.2)  # The packet is on its way.
    return w.sh("dmesg")


def test_those_of_a_protocol_are_logged(tracker):
    """net.netfilter.nf_conntrack_log_invalid is the number of a protocol, or 255 for all."""
    # Stock asks for it itself only where nothing else logs (NFLOG would).
    w.sh("modprobe nf_log_syslog")
    with w.World(tracker) as world:
        # Without this only the first namespace writes to the kernel's log.
        w.sh("sysctl -qw net.netfilter.nf_log_all_netns=1")
        try:
            for wanted, lines in ((0, (0, 0)), (6, (1, 0)), (17, (0, 1)), (255, (1, 1))):
                world.firewall(f"sysctl -qw net.netfilter.nf_conntrack_log_invalid={wanted}")
                w.sh("dmesg -C")
                for reason in ("bad tcp flags", "bad udp length"):
                    world.client.send(invalid_packets()[reason])
                found = tuple(len(re.findall(rf"nf_ct_proto_{protocol}: .*SRC={CLIENT} DST={SERVER}", logged()))
                              for protocol in (6, 17))
                w.check_equal(found, lines, f"lines of TCP and UDP for {wanted}")
            # What is said while a connection is at work.
            w.sh("dmesg -C")
            for packet in (w.tcp(CLIENT, SERVER, 7, 9, "S", 1), w.tcp(SERVER, CLIENT, 9, 7, "SA", 1, 2)):
                world.client.send(packet) if packet.src == CLIENT else world.server.send(packet)
            world.client.send(w.tcp(CLIENT, SERVER, 7, 9, "A", 900000, 2))
            w.check_equal(len(re.findall(rf"nf_ct_proto_6: .*SRC={CLIENT} DST={SERVER}", logged())), 1, "outside of the window")
        finally:
            w.sh("sysctl -qw net.netfilter.nf_log_all_netns=0")


@contextlib.contextmanager
def tracing(event):
    """What is traced meanwhile of the firewall (the hosts beside it see the same packets)."""
    netns = w.sh("ip netns exec firewall readlink /proc/self/ns/net").strip("net:[]\n")
    if not (TRACING / "trace").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
    enable = TRACING / "events" / event / "enable"
    (TRACING / "trace").write_text("")
    enable.write_text("1")
    try:
        yield lambda: [line for line in (TRACING / "trace").read_text().splitlines() if f"netns={netns} " in line]
    finally:
        enable.write_text("0")


@w.ours_only
def test_each_is_traced_with_its_tuple(tracker):
    with w.World(tracker) as world, tracing("ip_conntrack/ip_conntrack_invalid") as lines:
        packets = invalid_packets()
        for reason in ("bad udp length", "bad tcp flags", "icmp error about no known connection"):
            world.client.send(packets[reason])
        world.client.send(w.tcp(w.GHOST_CLIENT6, w.GHOST_SERVER6, 5, 9, "R"))
        expected = [
            (17, f"{CLIENT}:5", f"{SERVER}:9", "bad udp length"),
            (6, f"{CLIENT}:5", f"{SERVER}:9", "bad tcp flags"),
            (1, f"{CLIENT}:0", f"{SERVER}:771", "icmp error about no known connection"),
            (6, f"[{w.GHOST_CLIENT6}]:5", f"[{w.GHOST_SERVER6}]:9", "tcp segment starts no connection"),
        ]
        found = lines()
        w.check_equal(len(found), len(expected), f"lines traced: {found}")
        for line, (protocol, src, dst, reason) in zip(found, expected, strict=True):
            text = f'hook=0 proto={protocol} src={src} dst={dst} verdict=accept reason="{reason}"'
            w.check(line.endswith(text), f"{line!r} in place of {text!r}")
    with w.World(tracker) as world, tracing("ip_conntrack/ip_conntrack_invalid") as lines:
        # Nobody is told of what is tracked.
        world.client.send(w.udp(CLIENT, SERVER, 5, 9))
        w.check_equal(lines(), [], "traced")


@w.ours_only
def test_a_refusal_is_traced(tracker):
    """A packet that finds no room is dropped, and that is traced too."""
    with w.World(tracker) as world, tracing("ip_conntrack/ip_conntrack_invalid") as lines:
        world.client.send(w.tcp(CLIENT, SERVER, 1, 80, "S", 100))
        world.server.send(w.tcp(SERVER, CLIENT, 80, 1, "SA", 500, 101))
        world.client.send(w.tcp(CLIENT, SERVER, 1, 80, "A", 101, 501))
        w.sh("sysctl -qw net.netfilter.nf_conntrack_max=1")
        world.client.send(w.udp(CLIENT, SERVER, 5, 9))
        w.check(any(line.endswith(f'src={CLIENT}:5 dst={SERVER}:9 verdict=drop reason="table full"') for line in lines()),
                f"not traced: {lines()}")
