# SPDX-License-Identifier: GPL-2.0
"""Memory is refused: by a kernel that does so when it is told (Documentation/fault-injection), a debug kernel."""

import contextlib
import ctypes
import errno
import itertools
import os
from pathlib import Path

import netlink as n
import nft
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


def refused(nth, call):
    """What a call returns of which the kernel's n-th demand for memory is refused, and whether there were so many."""
    fail = "/proc/thread-self/fail-nth"
    with open(fail, "wb", buffering=0) as order, open(fail, "rb", buffering=0) as rest:
        order.write(b"%d" % nth)
        try:
            result = call()
        except (n.Error, OSError) as error:
            result = error
        left = int(rest.read(32))
        order.write(b"0")
    return result, left == 0


def insert(module):
    """Inserts an open module; the error, or 0."""
    return ctypes.get_errno() if w.LIBC.syscall(w.FINIT_MODULE, module.fileno(), b"", 0) else 0


def refused_one_by_one(name, unload):
    """Inserts a module again and again, and each time another demand for memory is refused. It is in or out, and
    where it is out the user is told why."""
    vital = 0
    for nth in itertools.count(1):
        with open(MODULES / f"{name}.ko", "rb") as module:
            error, so_many = refused(nth, lambda module=module: insert(module))
        w.check(error in (0, errno.ENOMEM), f"{name}, demand {nth}: {os.strerror(error)}")
        w.check_equal(w.loaded(name), not error, f"{name} is loaded, demand {nth}")
        if not error:
            unload()
        vital += error != 0
        if not so_many:
            break
    print(f"    {name}: {nth - 1} demands for memory, {vital} of them were vital", flush=True)
    w.check(vital > 20, f"{name} could do without {nth - 1 - vital} of {nth - 1}: nothing was tried")


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
    w.sh("modprobe x_tables; modprobe nf_tables")
    with refusing(0):
        for name in ("ip_conntrack_netlink", "ip_conntrack_ftp", "ipt_connlimit", "ip6t_CT", "nft_expr_connlimit", "nft_obj_3"):
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

        world.firewall("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600")
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


def connection(number, *more):
    """What names a connection, and its time."""
    source = f"10.0.0.{number}"
    return n.flow(1, source, n.S, 6, 5, 80), n.flow(2, n.S, source, 6, 80, 5), n.be32(7, 100), *more


@w.ours_only
@w.needs(SLAB)
def test_requests(tracker):
    """Each demand for memory that a user's request makes is refused in turn; afterwards the request does what it
    should, once."""
    tracker.helper("ftp")
    make = n.ACK | n.CREATE | n.EXCL
    helper, labels = n.attr(5, [n.attr(1, b"ftp\0")]), n.attr(22, b"\1" * 16)
    with w.World(tracker) as world:
        world.firewall("iptables-legacy -t raw -A OUTPUT -m connlabel --label 1")
        with n.Socket() as s:
            requests = {
                "new": (n.CT, n.NEW, make, *connection(1, helper, labels)),
                "changed": (n.CT, n.NEW, n.ACK, *connection(1, n.be32(8, 7), labels)),
                "listed": (n.CT, n.GET, n.DUMP),
                "asked for": (n.CT, n.GET, n.ACK, connection(1)[0]),
                "expected": (n.EXP, n.EXP_NEW, make, connection(1)[0], n.flow(2, n.S, "10.0.0.1", 6, 0, 3000),
                             n.flow(3, "255.255.255.255", "255.255.255.255", 6, 0, 0xFFFF), n.be32(4, 60)),
                "ended": (n.CT, n.DELETE, n.ACK, connection(1)[0]),
            }
            # What has to be so each time.
            before = {"new": requests["ended"], "ended": requests["new"]}
            with refusing(0):
                for title, request in requests.items():
                    for nth in itertools.count(1):
                        if title in before:
                            s.outcome(*before[title])
                        with n.Socket() as one:
                            one.socket.settimeout(2)  # Even what says that there is no memory needs some.
                            result, so_many = refused(nth, lambda one=one, request=request: one.ask(*request))
                        if not so_many:
                            break
                    print(f"    {title}: {nth - 1} demands for memory, at last {str(result)[:60]}", flush=True)
            w.check_equal(world.lines("sport=5"), [], "what has ended")
            w.check_equal(s.outcome(*requests["new"]), [], "new, once more")
            w.check_equal(len(world.lines("sport=5")), 1, "connections")


@w.ours_only
@w.needs(SLAB)
def test_rules_of_nft(tracker):
    """The same of what nftables' rules are made of; all of it can go afterwards."""
    tracker.helper("ftp")
    parts = {
        "ct label": lambda batches, _: batches.rule("ip", "ct", n.be32(2, 13), n.be32(1, 1)),
        "ct count": lambda batches, _: batches.rule("ip", "connlimit", n.be32(1, 5)),
        "ct helper": lambda batches, nth: batches.object("ip", 3, f"helper{nth}", n.attr(1, b"ftp\0"), n.u8(3, 6)),
        "ct timeout": lambda batches, nth: batches.object("ip", 7, f"timeout{nth}", n.u8(2, 17), n.attr(3, [n.be32(1, 7)])),
    }
    with w.World(tracker):
        nft.load(nft.table("chain c { }\n", family="ip"))
        for title, make in parts.items():
            with n.Socket() as first:
                w.check_equal(make(nft.Batches(first), 0), "made", title)
            with refusing(0):
                for nth in itertools.count(1):
                    with n.Socket() as one:
                        one.socket.settimeout(2)
                        result, so_many = refused(nth, lambda one=one, make=make, nth=nth: make(nft.Batches(one), nth))
                    if not so_many:
                        break
            w.check_equal(result, "made", f"{title}, with memory")
            print(f"    {title}: {nth - 1} demands for memory", flush=True)
        nft.load("flush ruleset")


@w.ours_only
@w.needs(SLAB)
def test_namespaces(tracker):
    """The same of a namespace that begins: some hundreds of the demands are ours."""
    def begin():
        os.unshare(os.CLONE_NEWNET)

    with refusing(0):
        for nth in itertools.count(1):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                _, so_many = refused(nth, begin)
                os.write(writer, b"1" if so_many else b"0")
                os._exit(0)
            os.waitpid(child, 0)
            so_many = os.read(reader, 1) == b"1"
            os.close(reader)
            os.close(writer)
            if not so_many:
                break
    print(f"    {nth - 1} demands for memory", flush=True)
    w.check(nth > 100, "nothing was tried")
    with w.World(tracker) as world:
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 9))
        w.check_equal(len(world.lines()), 1, "connections afterwards")
