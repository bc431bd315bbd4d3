# SPDX-License-Identifier: GPL-2.0
"""The guest's small world: a client, a firewall and a server in network namespaces, packets made
by hand between them, and what the tracker says of them.

    client 192.168.1.6/29 --- 192.168.1.1 firewall 192.168.1.10 --- 192.168.1.9/29 server
      and 2001:db8:1::6          ::1                   ::10         2001:db8:2::9

Beside the two hosts there are addresses that no stack owns (client .5, server .11): whatever goes
there is not answered, so a connection stays in the state that a test has put it in.
"""

import contextlib
import ctypes
import logging
import os
import re
import socket
import subprocess
import time
from pathlib import Path

# It would like to know the way to hosts that are in other namespaces.
logging.getLogger("scapy").setLevel(logging.ERROR)


from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

CLIENT, GHOST_CLIENT = "192.168.1.6", "192.168.1.5"
SERVER, GHOST_SERVER = "192.168.1.9", "192.168.1.11"
CLIENT6, GHOST_CLIENT6 = "2001:db8:1::6", "2001:db8:1::5"
SERVER6, GHOST_SERVER6 = "2001:db8:2::9", "2001:db8:2::11"

# What labels are called, if a scenario says so; it is gone with the scenario.
LABEL_NAMES = Path("/etc/xtables/connlabel.conf")

# How far a timeout may have run down before it is read; the guest is slow.
SLACK = 4


def sh(command, check=True):
    """Runs a command; its output."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace):
    """Within a namespace."""
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(home.fileno(), os.CLONE_NEWNET)


def run_inside(namespace, *command, expect=0, **options):
    """Runs a command in a namespace, without another process for the way there; its output."""
    with inside(namespace):
        done = subprocess.run(command, capture_output=True, text=True, **options)
    check_equal(done.returncode, expect, f"{' '.join(command)}: {done.stderr.strip()}: exit code")
    return done.stdout


def setting(name, value=None, namespace="firewall"):
    """A setting of a namespace, changed if a value is given."""
    with inside(namespace):
        file = Path("/proc/sys/net/netfilter", f"nf_conntrack_{name}")
        if value is not None:
            file.write_text(f"{value}\n")
        return int(file.read_text())


def left(*words):
    """The seconds left of the firewall's one entry, of either family, with these words; all its words."""
    time.sleep(0.1)  # A packet's way through the firewall ends in a softirq.
    with inside("firewall"), open("/proc/thread-self/net/nf_conntrack") as file:
        lines = [line.split() for line in file.read().splitlines()]
    found = [line for line in lines if all(word in line for word in words)]
    check_equal(len(found), 1, f"entries with {words} of {lines}")
    return int(found[0][4]), found[0]


def check_left(seconds, what, *words):
    """Fails unless the one entry with these words has so long left; all its words."""
    found, line = left(*words)
    check(seconds - SLACK <= found <= seconds, f"{what}: {found} s left of {seconds}")
    return line


# Modules that read protocols, and all that stand on a tracker.
HELPERS = re.compile(r"(ip|nf)_conntrack_(amanda|ftp|irc|talk|tftp)\b")
MATCHES = "(conntrack|state|helper|connmark|connbytes|connlimit|connlabel|cluster|CT|NOTRACK|CONNMARK|CONNSECMARK)"
EDGES = re.compile(rf"((ip6?t|xt)_{MATCHES}|nf_conncount|nft_(ct|connlimit|(expr|obj)_\w+)|(ip|nf)_conntrack_netlink|nfnetlink_cttimeout)\b|{HELPERS.pattern}")

def edges():
    """The modules that stand on a tracker and are loaded."""
    return [line.split()[0] for line in sh("lsmod").splitlines()[1:] if EDGES.match(line)]


def unload_ours():
    """Unloads our core. It has asked for ctnetlink when it was loaded: that may just be coming."""
    def gone():
        return not sh("rmmod ip_conntrack_netlink 2>/dev/null; rmmod ip_conntrack 2>&1", check=False)

    wait_until(gone, 20, "the core is unloaded")


class Tracker:
    """A tracker that can be loaded, and its list of connections in the seeds' format."""

    def __init__(self, name):
        self.name = name
        self.ours = name == "ours"

    def load(self, options=""):
        sh(f"modprobe ip_conntrack {options}" if self.ours else f"modprobe nf_conntrack enable_hooks=1 {options}")

    def helper(self, name):
        """Loads the helper of a protocol: what `-j CT --helper` and expectations need."""
        sh(f"modprobe {'ip' if self.ours else 'nf'}_conntrack_{name}")

    def unload(self):
        def alone():
            for edge in edges():
                sh(f"rmmod {edge}", check=False)
            return not edges()

        # What the rules and policies of a namespace hold is free a while after the namespace has gone.
        wait_until(alone, 20, "the modules on the tracker are unloaded")
        if self.ours:
            unload_ours()
        else:
            sh("modprobe -r nf_conntrack")

    def lines(self, namespace="firewall"):
        """The lines of the list, blanks squeezed."""
        path = "/proc/thread-self/net/" + ("ip_conntrack" if self.ours else "nf_conntrack")
        with inside(namespace), open(path) as file:
            text = file.read()
        lines = [re.sub(r" +", " ", line) for line in text.splitlines()]
        if not self.ours:
            # The newer format has the family in front and counts the reader; mark=, zone=
            # and secctx= are there whatever their value.
            lines = [line.removeprefix("ipv4 2 ") for line in lines if line.startswith("ipv4 ")]
            lines = [re.sub(r"((mark|zone)=0|secctx=\?) ", "", line) for line in lines]
            lines = [re.sub(r"use=(\d+)$", lambda m: f"use={int(m[1]) - 1}", line) for line in lines]
        return lines


# Of all three.
SETTINGS = {
    "ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0",
    "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
}
ROUTER = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/all/rp_filter": "0"}
# What `ip` is told in each.
ROUTES = {
    "client": """
        link set lo up
        addr add 192.168.1.6/29 dev eth0
        addr add 2001:db8:1::6/64 dev eth0 nodad
        link set eth0 up
        route add default via 192.168.1.1
        route add ::/0 via 2001:db8:1::1
        neigh replace 192.168.1.1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent
    """,
    "firewall": """
        link set lo up
        addr add 192.168.1.1/29 dev inner
        addr add 2001:db8:1::1/64 dev inner nodad
        link set inner up
        addr add 192.168.1.10/29 dev outer
        addr add 2001:db8:2::10/64 dev outer nodad
        link set outer up
    """ + "".join(
        f"neigh replace {address} lladdr 02:00:00:00:01:06 dev inner nud permanent\n"
        for address in (CLIENT, GHOST_CLIENT, CLIENT6, GHOST_CLIENT6)
    ) + "".join(
        f"neigh replace {address} lladdr 02:00:00:00:02:09 dev outer nud permanent\n"
        for address in (SERVER, GHOST_SERVER, SERVER6, GHOST_SERVER6)
    ),
    "server": """
        link set lo up
        addr add 192.168.1.9/29 dev eth0
        addr add 2001:db8:2::9/64 dev eth0 nodad
        link set eth0 up
        route add default via 192.168.1.10
        route add ::/0 via 2001:db8:2::10
        neigh replace 192.168.1.10 lladdr 02:00:00:00:02:01 dev eth0 nud permanent
    """,
}


def ip_batch(options, commands):
    """Runs commands of `ip`, a line each, in one process."""
    done = subprocess.run(f"ip {options} -batch -", shell=True, capture_output=True, text=True,
                          input="".join(line.strip() + "\n" for line in commands.splitlines() if line.strip()))
    if done.returncode:
        raise RuntimeError(f"ip {options}: {done.stderr.strip()}")


def remove_namespaces():
    sh("; ".join(f"ip netns del {name} 2>/dev/null" for name in ROUTES), check=False)


class World:
    """The namespaces, up while this is entered."""

    def __init__(self, tracker):
        self.tracker = tracker
        self.sockets = []

    def __enter__(self):
        # Few processes: each takes long in a guest whose processor is emulated.
        with contextlib.suppress(RuntimeError):
            remove_namespaces()
        sh("; ".join(f"ip netns add {name}" for name in ROUTES))
        ip_batch("", """
            link add inner netns firewall address 02:00:00:00:01:01 type veth peer name eth0 netns client address 02:00:00:00:01:06
            link add outer netns firewall address 02:00:00:00:02:01 type veth peer name eth0 netns server address 02:00:00:00:02:09
        """)
        for name in ROUTES:
            with inside(name):
                for setting, value in SETTINGS.items():
                    Path("/proc/sys/net", setting).write_text(value)
        with inside("firewall"):
            for setting, value in ROUTER.items():
                Path("/proc/sys/net", setting).write_text(value)
        # The firewall first: routes of the others lead over its links.
        for name in ("firewall", "client", "server"):
            ip_batch(f"-n {name}", ROUTES[name])
        self.client = Port(self, "client", "02:00:00:00:01:01")
        self.server = Port(self, "server", "02:00:00:00:02:01")
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()
        remove_namespaces()

    def socket(self, namespace, *kind):
        """A socket of a namespace, closed with the world."""
        with inside(namespace):
            one = socket.socket(*kind)
        one.settimeout(20)
        self.sockets.append(one)
        return one

    def lines(self, *words):
        """The firewall's connections whose line has all the words."""
        time.sleep(0.05)  # A packet's way through the firewall ends in a softirq.
        return [line for line in self.tracker.lines() if all(word in line.split() for word in words)]

    def reasons(self):
        """How many packets were INVALID or dropped in the firewall, by the reason."""
        lines = self.firewall("cat /proc/net/ip_conntrack_invalid").splitlines()
        return {reason: int(number) for number, reason in (line.split(maxsplit=1) for line in lines)}

    def firewall(self, command):
        """Runs a command in the firewall."""
        return sh(f"ip netns exec firewall {command}")


class Port:
    """The end of a wire, where packets made by hand are put in."""

    def __init__(self, world, namespace, gateway):
        self.socket = world.socket(namespace, socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind(("eth0", 0))
        self.gateway = gateway

    def send(self, packet):
        self.socket.send(bytes(Ether(dst=self.gateway) / packet))


def ip(src, dst, **fields):
    """A network header of the family of the addresses."""
    return (IPv6 if ":" in src else IP)(src=src, dst=dst, **fields)


def tcp(src, dst, sport, dport, flags, seq=0, ack=0, data=b"", window=8192):
    packet = ip(src, dst) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack, window=window)
    return packet / Raw(data) if data else packet


def udp(src, dst, sport, dport, data=b"x"):
    return ip(src, dst) / UDP(sport=sport, dport=dport) / Raw(data)


def echo(src, dst, ident, kind="echo-request"):
    return ip(src, dst) / ICMP(type=kind, id=ident, seq=1) / Raw(b"ping")


class Mismatch(AssertionError):
    """Something is not as it should be."""


def same_line(expected, line):
    """Whether a line is the expected one, where {n} stands for a time that has begun at n."""
    pattern = re.escape(expected)
    times = [int(time) for time in re.findall(r"\\\{(\d+)\\\}", pattern)]
    pattern = re.sub(r"\\\{\d+\\\}", r"(\\d+)", pattern)
    found = re.fullmatch(pattern, line)
    return bool(found) and all(
        begun - SLACK <= int(left) <= begun for begun, left in zip(times, found.groups(), strict=True)
    )


def ours_only(function):
    """A scenario about our module alone."""
    function.ours_only = True
    return function


def leaves_rules(function):
    """A scenario that makes rules in the first namespace."""
    function.leaves_rules = True
    return function


def loads_itself(function):
    """A scenario that begins with no tracker loaded."""
    function.loads_itself = True
    return function


def needs(file):
    """A scenario for a guest that has a file: debug kernels can do what others cannot."""
    def mark(function):
        function.needs = Path(file)
        return function
    return mark


def loaded(module):
    """Whether a module is loaded."""
    return any(line.split()[0] == module for line in sh("lsmod").splitlines()[1:])


def slab():
    """Connections that our cache has memory for; nothing where there is no cache."""
    for line in sh("cat /proc/slabinfo").splitlines():
        if line.split()[0] == "ip_conntrack":
            return int(line.split()[1])
    return None


# Numbers of system calls (x86-64): no program is started, so that thousands of rounds are quick.
FINIT_MODULE, DELETE_MODULE = 313, 176
LIBC = ctypes.CDLL(None, use_errno=True)


def system_call(what, number, *arguments):
    if LIBC.syscall(number, *arguments):
        raise RuntimeError(f"{what}: {os.strerror(ctypes.get_errno())}")


def insert_module(name, options=""):
    """Loads one of our modules; what it needs must be there."""
    with open(f"/lib/modules/{os.uname().release}/updates/{name}.ko", "rb") as file:
        system_call(f"inserting {name}", FINIT_MODULE, file.fileno(), options.encode(), 0)


def remove_module(name):
    """Unloads a module."""
    system_call(f"removing {name}", DELETE_MODULE, name.encode(), os.O_NONBLOCK)


@contextlib.contextmanager
def module_of_tests(name):
    """One of the modules that put packets into the hooks is loaded meanwhile; `name` with its folder."""
    replay = os.environ.get("REPLAY")
    check(replay, "REPLAY must name the module ip_conntrack_replay.ko (tools/test.sh does it)")
    sh(f"insmod {Path(replay).parents[1] / name}.ko")
    try:
        yield
    finally:
        sh(f"rmmod {Path(name).name}")


def wait_until(condition, seconds, what):
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.1)


def check(condition, text):
    """Fails a scenario with a text."""
    if not condition:
        raise Mismatch(text)


def check_equal(found, expected, what):
    check(found == expected, f"{what}: {found!r}, expected {expected!r}")
