# SPDX-License-Identifier: GPL-2.0
"""What users can set in /proc/sys."""

import errno
import os
import re
from contextlib import contextmanager
from pathlib import Path

import differences
import world as w

STOCK = Path("/proc/sys/net/netfilter")
SEEDS = Path("/proc/sys/net/ipv4/netfilter")

# Names without their beginning, and their defaults; those without one depend on the memory.
DEFAULTS = {
    "acct": 0, "buckets": None, "checksum": 1, "count": None, "events": 2, "expect_max": None, "generic_timeout": 600, "gre_timeout": 30,
    "gre_timeout_stream": 180, "icmp_timeout": 30, "icmpv6_timeout": 30, "log_invalid": 0, "max": None,
    "sctp_timeout_closed": 10, "sctp_timeout_cookie_echoed": 3, "sctp_timeout_cookie_wait": 3,
    "sctp_timeout_established": 210, "sctp_timeout_heartbeat_sent": 30, "sctp_timeout_shutdown_ack_sent": 3,
    "sctp_timeout_shutdown_recd": 3, "sctp_timeout_shutdown_sent": 3, "tcp_be_liberal": 0,
    "tcp_ignore_invalid_rst": 0, "tcp_loose": 1, "tcp_max_retrans": 3, "tcp_timeout_close": 10,
    "tcp_timeout_close_wait": 60, "tcp_timeout_established": 432000, "tcp_timeout_fin_wait": 120,
    "tcp_timeout_last_ack": 30, "tcp_timeout_max_retrans": 300, "tcp_timeout_syn_recv": 60,
    "tcp_timeout_syn_sent": 120, "tcp_timeout_time_wait": 120, "tcp_timeout_unacknowledged": 300,
    "timestamp": 0, "udp_timeout": 30, "udp_timeout_stream": 120,
}
GLOBAL = {"max", "buckets", "expect_max"}
READ_ONLY = {"count"}


def names(folder, prefix):
    """The files of a tracker; those about fragments are of the defragmentation."""
    return {path.name.removeprefix(prefix): path for path in folder.iterdir()
            if path.name.startswith(prefix) and "_frag6_" not in path.name}


def test_names_and_defaults(tracker):
    found = names(STOCK, "nf_conntrack_")
    extra = differences.OUR_SETTINGS if tracker.ours else ()
    w.check_equal(sorted(found), sorted([*DEFAULTS, *extra]), "names")
    for name, default in DEFAULTS.items():
        if default is not None:
            w.check_equal(int(found[name].read_text()), default, name)
    buckets = int(found["buckets"].read_text())
    w.check_equal(int(found["expect_max"].read_text()), max(buckets // 256, 1) * 4, "expect_max")
    w.check_equal(Path("/proc/sys/net/nf_conntrack_max").read_text(), found["max"].read_text(), "net.nf_conntrack_max")


def test_permissions(tracker):
    """Others than the first namespace cannot change what is the same for all."""
    modes = {name: os.stat(path).st_mode & 0o777 for name, path in names(STOCK, "nf_conntrack_").items()}
    for name, mode in modes.items():
        w.check_equal(oct(mode), oct(0o444 if name in READ_ONLY else 0o644), name)
    w.sh("ip netns add other")
    try:
        listed = w.sh("ip netns exec other stat -c '%a %n' /proc/sys/net/netfilter/nf_conntrack_*")
        for line in listed.splitlines():
            mode, path = line.split()
            name = Path(path).name.removeprefix("nf_conntrack_")
            if name != "expect_max" and "frag6" not in name:
                # Ours of one namespace may be less (limits.py).
                fixed = READ_ONLY | GLOBAL - ({"max"} if tracker.ours else set())
                w.check_equal(mode, "444" if name in fixed else "644", f"{name} in another namespace")
        w.check("not there" in w.sh("ip netns exec other cat /proc/sys/net/nf_conntrack_max 2>&1 || echo not there"), "max twice")
    finally:
        w.sh("ip netns del other")


def test_buckets(tracker):
    """Their number changes while there are connections, and none is lost."""
    buckets = STOCK / "nf_conntrack_buckets"
    before = buckets.read_text()
    with w.World(tracker) as world:
        for port in range(200):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1000 + port, 9))
        w.wait_until(lambda: len(world.lines()) == 200, 10, "200 connections")
        try:
            for number in (16384, 1024, 4096, 2048):
                buckets.write_text(f"{number}")
                w.check_equal(int(buckets.read_text()), number, "buckets")
                w.check_equal(len(world.lines()), 200, f"connections in {number} buckets")
                w.check_equal(len({line.split("sport=")[1].split()[0] for line in world.lines()}), 200, "ports")
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1000, 9))
            w.check_equal(len(world.lines()), 200, "after a packet of one of them")
        finally:
            buckets.write_text(before)


@contextmanager
def memory_taken(leave):
    """Takes all of the memory but so many MiB, in files that cannot be written back."""
    folder = Path("/run/hog")
    folder.mkdir()
    w.sh(f"mount -t tmpfs -o size=100% hog {folder}")
    try:
        with (folder / "taken").open("wb", buffering=0) as file:
            def available():
                return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) >> 10
            while available() > leave:
                file.write(bytes(1 << 20))
        yield
    finally:
        w.sh(f"umount {folder}; rmdir {folder}")


@w.ours_only
def test_buckets_without_memory(tracker):
    """Where there is no memory for as many buckets as a user wants the user is told, nobody is killed for it,
    and all is as before."""
    buckets = STOCK / "nf_conntrack_buckets"
    before = buckets.read_text()
    with w.World(tracker) as world:
        for port in range(200):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1000 + port, 9))
        w.wait_until(lambda: len(world.lines()) == 200, 10, "200 connections")
        w.sh("dmesg -C")
        with memory_taken(leave=100):
            try:
                buckets.write_text(f"{1 << 24}")  # 128 MiB, and half of that meanwhile.
                error = None
            except OSError as caught:
                error = caught.errno
            w.check_equal(error, errno.ENOMEM, "the error")
            w.check(int(buckets.read_text()) < 1 << 24, "as many as wanted")
            w.check_equal(len(world.lines()), 200, "connections")
        log = w.sh("dmesg")
        w.check("no memory for" in log, "no line in the log")
        w.check("invoked oom-killer" not in log and "allocation failure" not in log, log)
        # What was wanted is not wanted any more: with the memory back there are as many as suit.
        buckets.write_text(before)
        w.check_equal(buckets.read_text(), before, "buckets")
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1000, 9))
        w.check_equal(len(world.lines()), 200, "after a packet of one of them")


@w.ours_only
def test_the_seeds_names(tracker):
    """They show the same values, and setting one sets the other."""
    stock, seeds = names(STOCK, "nf_conntrack_"), names(SEEDS, "ip_conntrack_")
    w.check_equal(sorted(seeds), sorted(stock), "names")
    seeds["udp_timeout"].write_text("31")
    w.check_equal(stock["udp_timeout"].read_text(), "31\n", "set by the other name")
    stock["udp_timeout"].write_text("30")
    w.check_equal(seeds["udp_timeout"].read_text(), "30\n", "set back")
    w.check_equal(Path("/proc/sys/net/ipv4/ip_conntrack_max").read_text(), stock["max"].read_text(), "max")


@w.ours_only
def test_bad_values_are_refused(tracker):
    """And leave the old ones."""
    for name, path in names(STOCK, "nf_conntrack_").items():
        before = path.read_text()
        for value in ("x", "-1", "99999999999", "4294967296", "2147483648", "1 x", "--", "0x"):
            try:
                path.write_text(value)
            except OSError:
                pass
            else:
                # A number with something behind it: the kernel takes the number, and says so.
                w.check(value == "1 x" or name in ("count",), f"{name} took {value!r}")
                path.write_text(before)
            if name != "count":
                w.check_equal(path.read_text(), before, f"{name} after {value!r}")
    for name, value in (("max", "0"), ("checksum", "2"), ("tcp_loose", "2"), ("log_invalid", "256"), ("tcp_max_retrans", "256")):
        path = STOCK / f"nf_conntrack_{name}"
        before = path.read_text()
        try:
            path.write_text(value)
        except OSError:
            w.check_equal(path.read_text(), before, name)
        else:
            raise w.Mismatch(f"{name} took {value}")


def test_timeouts_count(tracker):
    with w.World(tracker) as world:
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=77 net.netfilter.nf_conntrack_tcp_timeout_syn_sent=88")
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 9))
        world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 6, 80, "S"))
        for word, most in (("sport=5", 77), ("sport=6", 88)):
            (line,) = world.lines(word)
            w.check(most - w.SLACK <= int(line.split()[2]) <= most, line)


def test_switches_count(tracker):
    with w.World(tracker) as world:
        bad = w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 9)
        bad[w.UDP].chksum = 0x1234
        world.client.send(bad)
        w.check_equal(world.lines("udp"), [], "a wrong checksum")
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_checksum=0 net.netfilter.nf_conntrack_tcp_loose=0")
        world.client.send(bad)
        w.check_equal(len(world.lines("udp")), 1, "a wrong checksum that nobody looks at")
        world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 6, 80, "A", 5, 5))
        w.check_equal(world.lines("tcp"), [], "mid-stream, not picked up")
        w.check_equal(w.sh("sysctl -n net.netfilter.nf_conntrack_checksum"), "1\n", "the first namespace's own")
