# SPDX-License-Identifier: GPL-2.0
"""Packets of the same flows on several CPUs at once."""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Barrier, Process, Queue
from pathlib import Path

import nft
import replay
import world as w

RACERS = 4
CHUNK = 1000


def race(work, *arguments):
    """Runs `work(number, barrier, *arguments)` in so many processes, spread over the CPUs; what they return."""
    barrier, results = Barrier(RACERS), Queue()

    def run(number):
        os.sched_setaffinity(0, {number % os.cpu_count()})
        results.put(work(number, barrier, *arguments))

    racers = [Process(target=run, args=(number,)) for number in range(RACERS)]
    for one in racers:
        one.start()
    returned = [results.get(timeout=3600) for _ in racers]
    for one in racers:
        one.join()
    return returned


def first_packets(number, barrier, chunks):
    """Sends the first packets of the same flows as all others, one racer the other way round, and counts those that
    did not get through."""
    lost = 0
    with replay.sender() as send:
        for chunk in range(chunks):
            flows = range(chunk * CHUNK, (chunk + 1) * CHUNK)
            requests = replay.requests([replay.udp(1 + flow % 60000, 1 + flow // 60000, reply=number == RACERS - 1)
                                        for flow in flows])
            barrier.wait(120)
            lost += sum(verdicts != (replay.PASSED, replay.PASSED) for verdicts in send(requests))
    return lost


def test_no_first_packet_is_lost(tracker):
    """Whoever comes second belongs to the entry that the first has made."""
    chunks = int(os.environ.get("RACES", "20000")) // CHUNK
    w.sh("sysctl -qw net.netfilter.nf_conntrack_max=2000000")
    with replay.loaded(), w.World(tracker), w.inside("firewall"):
        # A million takes minutes, and all are to be there at the end.
        w.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=7200 net.netfilter.nf_conntrack_udp_timeout_stream=7200")
        w.check_equal(sum(race(first_packets, chunks)), 0, "packets lost")
        w.check_equal(replay.statistic("insert_failed"), 0, "entries that did not get in")
        w.check(replay.statistic("clashres") > 0, "no two packets met: nothing was tried")
        w.check_equal(replay.entries(), chunks * CHUNK, "entries")
        print(f"    {chunks * CHUNK} flows, {RACERS} packets each, {replay.statistic('clashres')} met", flush=True)


def flood(number, barrier, until):
    """Sends datagrams of few flows, half of which are dropped on the way, while entries come and go."""
    sent = 0
    with replay.sender() as send:
        barrier.wait(120)
        while time.monotonic() < until:
            blocked = sent // 64 % 2 == number % 2
            sent += len(send(replay.requests([replay.udp(port, 9) for port in range(1, 65)], blocked)))
    return sent


def all_over():
    """Whether no entry is left. Asked by each CPU, which is busy for a while: an idle one is not woken to look what is over."""
    cpus = range(os.cpu_count())
    for cpu in cpus:
        os.sched_setaffinity(0, {cpu})
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            left = replay.entries()
    os.sched_setaffinity(0, cpus)
    return left == 0


def test_entries_come_and_go_under_a_flood(tracker):
    """CVE-2025-38472: an entry that is found while it goes into the table, or comes out of it, and its memory used
    anew at once. FLOOD=seconds."""
    with replay.loaded(), w.World(tracker), w.inside("firewall"):
        w.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_udp_timeout_stream=1")
        sent = sum(race(flood, time.monotonic() + float(os.environ.get("FLOOD", "6"))))
        w.check(replay.entries() <= 64, "more entries than flows")
        w.wait_until(all_over, 90, "the entries' end")
        print(f"    {sent} packets", flush=True)


# All that rules of nft can do to a connection.
RULES = nft.table(
    "ct timeout u { protocol udp; policy = { unreplied : 1, replied : 1 }; }\n", 'ct helper f { type "tftp" protocol udp; }\n',
    "set s { type inet_service; size 1000; flags dynamic; }\n",
    nft.chain(["udp sport 1-16 ct zone set udp sport map { 1 : 1, 2 : 2, 3 : 3 }", "udp sport 17-20 notrack"], "prerouting", "raw"),
    nft.chain(['udp dport 9 ct timeout set "u"', 'udp dport 9 ct helper set "f"', "ct event set new,destroy", "ct mark set 1", "ct label set 3",
               "ct count over 10", "add @s { udp sport ct count over 1 }", "ct original packets > 3", 'ct helper "tftp"'], "prerouting", name="mangle"),
    family="ip")
RULES_FILE = Path("/tmp/rules.nft")


def change_rules(until):
    """Makes rules and ends them, again and again; how often."""
    rounds = 0
    while time.monotonic() < until:
        w.sh(f"nft -f {RULES_FILE}; nft flush ruleset")
        rounds += 1
    return rounds


def yielding_flood(number, barrier, until):
    """The same flood, by one who lets others go first."""
    os.nice(15)
    return flood(number, barrier, until)


def test_rules_of_nft_come_and_go_under_a_flood(tracker):
    """Objects, expressions and elements of sets go while packets are in them, and connections that have what they gave.
    FLOOD=seconds."""
    with replay.loaded(), w.World(tracker):
        tracker.helper("tftp")
        with w.inside("firewall"):
            w.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_udp_timeout_stream=1")
            RULES_FILE.write_text(RULES)
            change_rules(time.monotonic() + 0.01)  # Modules are loaded.
            until = time.monotonic() + float(os.environ.get("FLOOD", "6"))
            with ThreadPoolExecutor(1) as changer:
                rounds = changer.submit(change_rules, until)
                sent = sum(race(yielding_flood, until))
                print(f"    {sent} packets while rules came and went {rounds.result()} times", flush=True)
            w.wait_until(all_over, 90, "the entries' end")


def test_what_is_dropped_leaves_no_entry(tracker):
    """CVE-2003-0187: connections whose first packet a rule has dropped, 100,000 of them."""
    with replay.loaded(), w.World(tracker), w.inside("firewall"), replay.sender() as send:
        for chunk in range(100):
            send(replay.requests([replay.syn(1 + port, 1 + chunk) for port in range(1000)], blocked=True))
        time.sleep(1)
        w.check_equal(replay.entries(), 0, "entries")


def change_all(number, barrier, until):
    """Each racer does something else, again and again: changes the number of buckets, ends what there is, makes
    a namespace and ends it, sends what is new. How often."""
    rounds = itertools.takewhile(lambda _: time.monotonic() < until, itertools.count(1))
    done = 0
    with replay.sender() as send:
        if number == 0:
            # All namespaces have the same, which are set in the first one.
            with open("/proc/1/ns/net") as first:
                os.setns(first.fileno(), os.CLONE_NEWNET)
        barrier.wait(120)
        for done in rounds:
            if number == 0:
                Path("/proc/sys/net/netfilter/nf_conntrack_buckets").write_text(f"{1024 << done % 7}")
            elif number == 1:
                w.sh("conntrack -F")
            elif number == 2:
                w.sh("ip netns add racer; ip netns exec racer conntrack -L; ip netns del racer")
            else:
                send(replay.requests([replay.udp(port, 1 + done % 5000) for port in range(1, 65)]))
    return done


def test_buckets_change_under_load(tracker):
    """CVE-2021-47408: resizing, walks over all and the end of namespaces restart each other. Nothing that is in
    another namespace is lost or met twice. RESIZE=seconds."""
    buckets = Path("/proc/sys/net/netfilter/nf_conntrack_buckets")
    with replay.loaded(), w.World(tracker):
        before = buckets.read_text()
        with w.inside("server"), replay.sender() as send:
            w.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=7200")
            for dport in range(1, 21):
                send(replay.requests([replay.udp(sport, dport) for sport in range(1, 101)]))
            kept = sorted(line.split("src=", 1)[1].split(" [")[0] for line in tracker.lines("server"))
            w.check_equal(len(set(kept)), 2000, "entries")
        with w.inside("firewall"):
            rounds = race(change_all, time.monotonic() + float(os.environ.get("RESIZE", "8")))
        w.check(min(rounds) >= 1, f"rounds of each: {rounds}: nothing was tried")
        left = sorted(line.split("src=", 1)[1].split(" [")[0] for line in tracker.lines("server"))
        w.check(left == kept, f"{len(left)} entries, {len(set(left))} different ones, of {len(kept)}")
        with w.inside("server"):
            w.sh("conntrack -F")
            w.check_equal(tracker.lines("server"), [], "entries after all")
        buckets.write_text(before)
        print(f"    rounds of each: {rounds}", flush=True)
