# SPDX-License-Identifier: GPL-2.0
"""First packets of one flow that come at once on several CPUs."""

import os
import struct
import sys
from multiprocessing import Barrier, Process, Queue
from pathlib import Path

import world as w

sys.path.insert(0, str(Path(__file__).parents[2] / "difftest"))
import packets as p  # noqa: E402
import scripts  # noqa: E402

RACERS = 4
CHUNK = 1000
RESULT = 96  # sizeof(struct result) in difftest/replay.c
PASSED = 0


def requests(chunk, reply):
    """UDP packets of so many flows; the other way round for some racers."""
    client, server = p.address("10.1.0.1"), p.address("10.2.0.1")
    steps = []
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        src, dst, ports = client, server, (1 + number % 60000, 1 + number // 60000)
        if reply:
            src, dst, ports = server, client, ports[::-1]
        steps.append(("forward", p.ip(src, dst, p.UDP, p.udp(src, dst, *ports)), False))
    return scripts.encode(steps, pause=0)


def racer(number, chunks, barrier, lost):
    """Sends the same flows as all others, and counts packets that did not get through."""
    os.sched_setaffinity(0, {number % os.cpu_count()})
    count = 0
    with open("/proc/ip_conntrack_replay", "r+b", buffering=0) as replay:
        for chunk in range(chunks):
            data = requests(chunk, reply=number == RACERS - 1)
            barrier.wait(120)
            replay.write(data)
            results = replay.read(CHUNK * RESULT)
            for first, last in struct.iter_unpack(f"=BB{RESULT - 2}x", results):
                count += first != PASSED or last != PASSED
    lost.put(count)


def statistic(name):
    heading, *cpus = Path("/proc/thread-self/net/stat/nf_conntrack").read_text().splitlines()
    column = heading.split().index(name)
    return sum(int(line.split()[column], 16) for line in cpus)


def test_no_first_packet_is_lost(tracker):
    """Whoever comes second belongs to the entry that the first has made."""
    chunks = int(os.environ.get("RACES", "20000")) // CHUNK
    replay = os.environ.get("REPLAY")
    w.check(replay, "REPLAY must name the module ip_conntrack_replay.ko (tools/test.sh does it)")
    w.sh(f"insmod {replay}; sysctl -qw net.netfilter.nf_conntrack_max=2000000")
    try:
        with w.World(tracker), w.inside("firewall"):
            barrier, lost = Barrier(RACERS), Queue()
            racers = [Process(target=racer, args=(number, chunks, barrier, lost)) for number in range(RACERS)]
            for one in racers:
                one.start()
            counts = [lost.get(timeout=3600) for _ in racers]
            for one in racers:
                one.join()
            w.check_equal(sum(counts), 0, "packets lost")
            w.check_equal(statistic("insert_failed"), 0, "entries that did not get in")
            w.check(statistic("clashres") > 0, "no two packets met: nothing was tried")
            entries = int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
            w.check_equal(entries, chunks * CHUNK, "entries")
            print(f"    {chunks * CHUNK} flows, {RACERS} packets each, {statistic('clashres')} met", flush=True)
    finally:
        w.sh("rmmod ip_conntrack_replay")
