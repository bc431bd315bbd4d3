# SPDX-License-Identifier: GPL-2.0
"""A table that is full, and packets of one flow that come at once."""

import re

import world as w

FLOWS = 40


def set_most(number):
    w.sh(f"sysctl -qw net.netfilter.nf_conntrack_max={number}")


def tcp_open(world, port):
    """An open TCP connection between hosts that do not answer."""
    client, server = w.GHOST_CLIENT, w.GHOST_SERVER
    world.client.send(w.tcp(client, server, port, 80, "S", 100))
    world.server.send(w.tcp(server, client, 80, port, "SA", 500, 101))
    world.client.send(w.tcp(client, server, port, 80, "A", 101, 501))


def count(world):
    return int(world.firewall("sysctl -n net.netfilter.nf_conntrack_count"))


def counted(world, name):
    """How often a reason was met."""
    for line in world.firewall("cat /proc/net/ip_conntrack_invalid").splitlines():
        number, reason = line.split(maxsplit=1)
        if reason == name:
            return int(number)
    raise w.Mismatch(f"no reason {name!r}")


def early_drops(world):
    heading, *cpus = world.firewall("cat /proc/net/stat/nf_conntrack").splitlines()
    column = heading.split().index("early_drop")
    return sum(int(line.split()[column], 16) for line in cpus)


@w.ours_only
def test_what_may_go_makes_room(tracker):
    """A full table takes a new flow in the place of one that nobody has answered. Stock looks into
    eight buckets and refuses the flow where those are empty."""
    with w.World(tracker) as world:
        for port in range(1, 10):
            tcp_open(world, port)
        for port in range(1, 11):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 9))
        wait = len(world.lines("tcp")), len(world.lines("udp"))
        w.check_equal(wait, (9, 10), "entries before")
        set_most(count(world))
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 77, 9))
        w.check_equal(len(world.lines("sport=77")), 1, "the new flow")
        w.check_equal(len(world.lines("tcp", "ESTABLISHED", "[ASSURED]")), 9, "open connections")
        w.check(early_drops(world) >= 1, "nothing was evicted")
        w.check(count(world) <= 19, "more than the limit")


@w.ours_only
def test_the_least_worth_goes(tracker):
    """One goes, not all; of those that nobody has answered the one that ends first."""
    with w.World(tracker) as world:
        client, server = w.GHOST_CLIENT, w.GHOST_SERVER
        world.client.send(w.udp(client, server, 1, 9))
        w.time.sleep(1.2)
        world.client.send(w.udp(client, server, 2, 9))
        world.client.send(w.udp(client, server, 3, 9))
        world.server.send(w.udp(server, client, 9, 3))
        w.check_equal(len(world.lines("udp")), 3, "entries before")
        set_most(3)
        # They lie in buckets of their own, so which goes first is not said; the answered one
        # stays while it lies beside others. Room for one costs one.
        world.client.send(w.udp(client, server, 4, 9))
        w.check_equal(len(world.lines("udp")), 3, "entries after")
        w.check_equal(len(world.lines("sport=4")), 1, "the new flow")
        w.check_equal(early_drops(world), 1, "evicted")


@w.ours_only
def test_one_in_a_hundred_is_enough(tracker):
    """While anything may go, no new flow is refused, and open connections stay."""
    with w.World(tracker) as world:
        for port in range(1, 397):
            tcp_open(world, port)
            if port % 50 == 0:
                w.time.sleep(0.2)
        for port in range(1, 5):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 9))
        w.check_equal(len(world.lines("udp")), 4, "flows that may go")
        set_most(count(world))
        for port in range(1001, 1101):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 9))
            if port % 20 == 0:
                w.time.sleep(0.1)
        w.check_equal(len(world.lines("sport=1100")), 1, "the last new flow")
        w.check_equal(counted(world, "table full"), 0, "new flows refused")
        w.check_equal(len(world.lines("tcp", "ESTABLISHED")), 396, "open connections")


def test_nothing_may_go(tracker):
    """A table full of open connections refuses new flows; known ones go on."""
    with w.World(tracker) as world:
        for port in range(1, FLOWS + 1):
            tcp_open(world, port)
        w.check_equal(len(world.lines("tcp", "ESTABLISHED", "[ASSURED]")), FLOWS, "open connections")
        set_most(FLOWS)
        w.sh("dmesg -C")
        for port in range(1, 21):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 9))
        w.check_equal(len(world.lines("udp")), 0, "new flows")
        w.check("table full" in w.sh("dmesg"), "no line in the log")
        w.check_equal(len(world.lines("tcp", "ESTABLISHED", "[ASSURED]")), FLOWS, "open connections after")
        world.server.send(w.tcp(w.GHOST_SERVER, w.GHOST_CLIENT, 80, 1, "FA", 501, 101))
        w.check_equal(len(world.lines("FIN_WAIT")), 1, "a connection that goes on")
        if tracker.ours:
            w.check_equal(counted(world, "table full"), 20, "reasons")
            # What is on its way out may go now.
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 77, 9))
            w.check_equal(len(world.lines("sport=77")), 1, "a new flow in the place of a closing one")


@w.ours_only
def test_a_namespace_has_fewer(tracker):
    """The machine's root gives one namespace fewer connections than others may have; who does not administer the
    machine's network cannot change that."""
    name = "net.netfilter.nf_conntrack_max"

    def flows(first):
        for port in range(first, first + 20):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 9))
        w.time.sleep(0.2)

    with w.World(tracker) as world:
        set_most(100)
        w.check_equal(world.firewall(f"sysctl -n {name}"), "100\n", "at first")
        world.firewall(f"sysctl -qw {name}=5")
        flows(1)
        w.check_equal(count(world), 5, "of the one namespace")
        w.check_equal(world.firewall(f"sysctl -n {name}"), "5\n", "its limit")
        w.check_equal(w.sh(f"ip netns exec server sysctl -n {name}"), "100\n", "another's limit")
        # No more than the machine's.
        world.firewall(f"sysctl -qw {name}=1000")
        set_most(8)
        flows(101)
        w.check_equal(count(world), 8, "of all")
        # Who does not administer the machine's network may set what is the namespace's own, but not that.
        for name, refused in (("udp_timeout", False), ("max", True)):
            told = world.firewall("setpriv --bounding-set=-net_admin --inh-caps=-net_admin "
                                  f"sh -c 'echo 7 | tee /proc/sys/net/netfilter/nf_conntrack_{name} 2>&1 || true'")
            w.check_equal("Operation not permitted" in told, refused, f"{name}: {told}")


@w.ours_only
def test_full_can_be_invalid(tracker):
    """The seeds' way, where users want it: what finds no room goes on as INVALID."""
    with w.World(tracker) as world:
        tcp_open(world, 1)
        w.check_equal(len(world.lines("ESTABLISHED")), 1, "open connections")
        set_most(1)
        world.firewall("sysctl -qw net.ipv4.netfilter.ip_conntrack_full_is_invalid=1")
        world.firewall("iptables-legacy -A FORWARD -m state --state INVALID")
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 9))
        w.time.sleep(0.2)
        line = world.firewall("iptables-legacy -L FORWARD -v -n -x").splitlines()[2]
        w.check_equal(int(line.split()[0]), 1, "INVALID packets")


@w.ours_only
def test_reasons_are_counted_and_logged(tracker):
    with w.World(tracker) as world:
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_log_invalid=255")
        w.sh("modprobe nf_log_syslog; sysctl -qw net.netfilter.nf_log_all_netns=1; dmesg -C")
        world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 1, 80, "SF"))
        bad = w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1, 9)
        bad[w.UDP].chksum = 0x1234
        world.client.send(bad)
        w.time.sleep(0.2)
        w.check_equal(counted(world, "bad tcp flags"), 1, "flags")
        w.check_equal(counted(world, "bad checksum"), 1, "checksums")
        total = sum(int(line.split()[0]) for line in world.firewall("cat /proc/net/ip_conntrack_invalid").splitlines())
        heading, *cpus = world.firewall("cat /proc/net/stat/ip_conntrack").splitlines()
        column = heading.split().index("invalid")
        w.check_equal(sum(int(line.split()[column], 16) for line in cpus), total, "sum of reasons")
        log = w.sh("dmesg")
        w.check(re.search(r"nf_ct_proto_6: bad tcp flags .*SPT=1 DPT=80", log), f"log: {log}")
        w.check("nf_ct_proto_17: bad checksum" in log, f"log: {log}")
