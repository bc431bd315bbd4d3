# SPDX-License-Identifier: GPL-2.0
"""Packets put straight through a namespace's hooks, many at once, by the module of the differential test."""

import contextlib
import struct
import sys
from pathlib import Path

import world as w

sys.path.append(str(Path(__file__).resolve().parents[1] / "difftest"))
import packets as p  # noqa: E402
import plan  # noqa: E402

RESULT = 96  # sizeof(struct result) in difftest/replay.c
PASSED = 0
CLIENT, SERVER = p.address("10.1.0.1"), p.address("10.2.0.1")


def loaded():
    """The module is loaded meanwhile."""
    return w.module_of_tests("difftest/ip_conntrack_replay")


@contextlib.contextmanager
def sender():
    """Sends requests (`requests`) in the namespace of the caller, and gives the verdicts at the first
    and at the last hook of each."""
    with open("/proc/ip_conntrack_replay", "r+b", buffering=0) as file:
        def send(requests):
            file.write(requests)
            return list(struct.iter_unpack(f"=BB{RESULT - 2}x", file.read(32 << 20)))

        yield send


def requests(packets, blocked=False):
    """What sends packets through the hooks of a forwarding host; blocked: a rule drops them on the way."""
    return plan.encode(plan.Script("", [("forward", packet, blocked) for packet in packets]))


def udp(sport, dport, reply=False):
    ends, ports = ((SERVER, CLIENT), (dport, sport)) if reply else ((CLIENT, SERVER), (sport, dport))
    return p.ip(*ends, p.UDP, p.udp(*ends, *ports))


def syn(sport, dport):
    return p.ip(CLIENT, SERVER, p.TCP, p.tcp(CLIENT, SERVER, sport, dport, "S", 1, 0))


def entries():
    """The connections of this namespace."""
    return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())


def statistic(name):
    """A column of /proc/net/stat/nf_conntrack, over all CPUs."""
    heading, *cpus = Path("/proc/thread-self/net/stat/nf_conntrack").read_text().splitlines()
    column = heading.split().index(name)
    return sum(int(line.split()[column], 16) for line in cpus)
