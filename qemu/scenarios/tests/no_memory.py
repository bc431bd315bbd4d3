# SPDX-License-Identifier: GPL-2.0
"""Memory is refused: by a kernel that does so when it is told (Documentation/fault-injection), a debug kernel."""

import contextlib
import ctypes
import errno
import itertools
import os
from pathlib import Path

import world as w

DEBUG = Path("/sys/kernel/debug")
SLAB, PAGES = DEBUG / "failslab", DEBUG / "fail_page_alloc"
MODULES = Path(f"/lib/modules/{os.uname().release}/updates")


@contextlib.contextmanager
def refusing(probability, **settings):
    """So many of a hundred demands are refused meanwhile, to those whom the settings mean; none beside those of
    `fail-nth` where it is zero."""
    for kind in (SLAB, PAGES):
        for name, value in {"verbose": 0, "ignore-gfp-wait": "N", "interval": 1, "times": -1}.items():
            (kind / name).write_text(f"{value}")
    (PAGES / "ignore-gfp-highmem").write_text("N")
    (PAGES / "min-order").write_text("0")
    for name, value in settings.items():
        (SLAB / name.replace("_", "-")).write_text(f"{value}")
    (SLAB / "probability").write_text(f"{probability}")
    Path("/dev/kmsg").write_text("memory is refused from here on")
    try:
        yield
    finally:
        Path("/dev/kmsg").write_text("memory is given again")
        (SLAB / "probability").write_text("0")
        for name in settings:
            (SLAB / name.replace("_", "-")).write_text("N")


def insert(file, nth):
    """Inserts a module, and its n-th demand for memory is refused; the error (or 0), and whether there were so
    many."""
    fail = "/proc/thread-self/fail-nth"
    with open(file, "rb") as module, open(fail, "wb", buffering=0) as order, open(fail, "rb", buffering=0) as rest:
        order.write(b"%d" % nth)
        result = w.LIBC.syscall(w.FINIT_MODULE, module.fileno(), b"", 0)
        error = ctypes.get_errno() if result else 0
        left = int(rest.read(32))
        order.write(b"0")
    return error, left == 0


def refused_one_by_one(name, unload):
    """Inserts a module again and again, and each time another demand for memory is refused. It is in or out, and
    where it is out the user is told why."""
    refused = 0
    for nth in itertools.count(1):
        error, so_many = insert(MODULES / f"{name}.ko", nth)
        w.check(error in (0, errno.ENOMEM), f"{name}, demand {nth}: {os.strerror(error)}")
        w.check_equal(w.loaded(name), not error, f"{name} is loaded, demand {nth}")
        if not error:
            unload()
        refused += error != 0
        if not so_many:
            break
    print(f"    {name}: {nth - 1} demands for memory, {refused} of them were vital", flush=True)
    w.check(refused > 20, f"{name} could do without {nth - 1 - refused} of {nth - 1}: nothing was tried")


@w.ours_only
@w.loads_itself
@w.needs(SLAB)
def test_loading(tracker):
    """Each demand for memory that loading the core makes is refused in turn: nothing stays behind."""
    def unload():
        w.unload_ours()
        w.check_equal(w.slab(), None, "cache")

    w.sh("modprobe nf_defrag_ipv6")
    with refusing(0):
        refused_one_by_one("ip_conntrack", unload)
    tracker.load()
    with w.World(tracker) as world:
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 9))
        w.check_equal(len(world.lines()), 1, "connections, loaded at last")


@w.ours_only
@w.needs(SLAB)
def test_loading_what_stands_on_it(tracker):
    """The same of the modules that stand on the core."""
    w.sh("rmmod ip_conntrack_netlink", check=False)
    w.sh("modprobe x_tables")
    with refusing(0):
        for name in ("ip_conntrack_netlink", "ip_conntrack_ftp", "ipt_connlimit", "ip6t_CT"):
            refused_one_by_one(name, lambda name=name: w.sh(f"rmmod {name}"))


@w.ours_only
@w.needs(SLAB)
def test_packets(tracker):
    """Packets that find no memory for their connection are dropped and counted; those of open connections pass."""
    with w.World(tracker) as world:
        def new(port):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 9))

        def count(name):
            return world.reasons()[name]

        new(1)
        world.server.send(w.udp(w.GHOST_SERVER, w.GHOST_CLIENT, 9, 1))
        (Path("/sys/kernel/slab/ip_conntrack/failslab")).write_text("1")
        before = count("out of memory")
        many = 2000  # More than were taken ahead.
        with refusing(100, cache_filter="Y"):
            for port in range(1000, 1000 + many):
                new(port)
            lost = count("out of memory") - before
            w.check(0 < lost < many, f"{lost} of {many} were lost")
            w.check_equal(len(world.lines("dport=9")), 1 + many - lost, "connections")
            new(1)
            w.check_equal(count("out of memory") - before, lost, "lost, with a packet of an open connection")
            w.check_equal(len(world.lines("sport=1")), 1, "the open one")
        new(9000)
        w.check_equal(len(world.lines("sport=9000")), 1, "with memory again")


@w.ours_only
@w.loads_itself
@w.needs(SLAB)
def test_users(tracker):
    """What users do while one demand in fifty is refused works or does not; it all comes to an end, and the modules
    can be unloaded."""
    commands = (
        "ip netns add hungry; ip netns del hungry",
        "iptables-legacy -A OUTPUT -p tcp -m connlimit --connlimit-above 5 -m state --state NEW; iptables-legacy -F",
        "iptables-legacy -t raw -A OUTPUT -p tcp --dport 21 -j CT --helper ftp --zone 3; iptables-legacy -t raw -F",
        "iptables-legacy -t raw -A OUTPUT -p udp -j CT --timeout brief; iptables-legacy -t raw -F",
        "ip6tables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -m connmark --mark 3; ip6tables-legacy -F",
        "conntrack -I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 5 --dport 6 --state ESTABLISHED -t 100 -m 7 -l 1; conntrack -L; conntrack -D -m 7",
        "conntrack -I expect -p tcp --orig-src 10.0.0.1 --orig-dst 10.0.0.2 --sport 5 --dport 6",
        "cat /proc/net/ip_conntrack /proc/net/stat/ip_conntrack; sysctl -w net.netfilter.nf_conntrack_buckets=4096",
        "sysctl -w net.netfilter.nf_conntrack_acct=1; sysctl -w net.netfilter.nf_conntrack_buckets=65536",
        "nfct timeout add brief inet udp unreplied 9; nfct timeout list; nfct timeout delete brief",
        "modprobe ip_conntrack_irc; rmmod ip_conntrack_irc",
        "ping -c 1 -W 1 127.0.0.1",
    )
    tracker.load()
    failed = {}
    with refusing(2, task_filter="Y"):
        for turn, command in itertools.product(range(int(os.environ.get("ROUNDS", "12")) * 2), commands):
            done = w.sh(f"(echo 1 > /proc/self/make-it-fail; {command}) >/dev/null 2>&1 || echo failed", check=False)
            failed[command] = failed.get(command, 0) + bool(done)
    print(f"    {sum(failed.values())} of {(turn + 1) * len(commands)} failed", flush=True)
    w.check(sum(failed.values()) > len(commands), "hardly any failed: nothing was tried")
    w.sh("for rules in iptables-legacy ip6tables-legacy; do $rules -F; $rules -t raw -F; done; ip netns del hungry; nfct timeout delete brief",
         check=False)
    tracker.unload()
    w.check_equal(w.slab(), None, "cache")
    tracker.load()
    with w.World(tracker) as world:
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 9))
        w.check_equal(len(world.lines()), 1, "connections afterwards")
