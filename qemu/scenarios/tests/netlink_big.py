# SPDX-License-Identifier: GPL-2.0
"""A large table is listed, and a part of it ended, by netlink, while packets come and connections come
and go. ENTRIES= how many; what the packets pay for it is measured by `make bench` (stalls)."""

import os
import socket
import struct
import time
from pathlib import Path

import events
import world as w

ENTRIES = int(os.environ.get("ENTRIES", "50000"))
SETTINGS = Path("/proc/sys/net/netfilter")
GET, DELETE = 1, 2
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
MARK, MARK_MASK = 8, 21
# In a message about IPv4, the first attribute's addresses and ports: behind the headers and three
# attributes' heads; in it all that tells one UDP connection from another.
TUPLE = slice(20, 20 + 52)
# The bench's connections have 256 ports each address: the lower half of them.
MARKED = "32768:32895"
# The first address of those that come and go (number 1 << 24).
COMERS = socket.inet_aton("10.1.0.1")


class Bench:
    """The module that sends packets through the hooks of the first namespace (../bench/bench.c)."""

    FILE = Path("/proc/ip_conntrack_bench")

    def do(self, command, **options):
        """What a command says, as numbers."""
        self.FILE.write_text(" ".join([command, *(f"{name}={value}" for name, value in options.items())]))
        return {name: int(value) for name, value in (word.split("=") for word in self.FILE.read_text().split())}


def setting(name, value=None):
    file = SETTINGS / f"nf_conntrack_{name}"
    if value is not None:
        file.write_text(str(value))
    return int(file.read_text())


def ask(one, message, flags, attributes=b""):
    """Sends a request about connections of IPv4."""
    one.send(struct.pack("=IHHII", 20 + len(attributes), events.CONNTRACK << 8 | message, REQUEST | flags, 1, 0)
             + struct.pack("=BBH", socket.AF_INET, 0, 0) + attributes)


def listed():
    """The tuples of all UDP connections, as often as each is listed, and how many others there are."""
    found, others = [], 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, events.NETLINK_NETFILTER) as one:
        one.settimeout(60)
        ask(one, GET, DUMP)
        while True:
            data = one.recv(65536)
            at = 0
            while at < len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == DONE:
                    return found, others
                w.check(kind != ERROR, f"the list ends with an error: {data[at:at + length]}")
                # The number of the protocol, in the attribute behind the addresses.
                if data[at + 52] == socket.IPPROTO_UDP:
                    found.append(data[at + TUPLE.start:at + TUPLE.stop])
                else:
                    others += 1
                at += length + 3 & ~3


def end_marked(mark):
    """Ends all connections that have a mark, in one request; how many seconds it took."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, events.NETLINK_NETFILTER) as one:
        one.settimeout(60)
        begin = time.monotonic()
        ask(one, DELETE, ACK, b"".join(struct.pack("=HH", 8, kind) + struct.pack("!I", value)
                                       for kind, value in ((MARK, mark), (MARK_MASK, 0xffffffff))))
        length, kind, *_, error = struct.unpack_from("=IHHIIi", one.recv(4096))
        w.check_equal((kind, error), (ERROR, 0), "the answer to the end of those with a mark")
        return time.monotonic() - begin


def port(one):
    """The source port of what `listed` has found."""
    return int.from_bytes(one[40:42])


def stayers(found):
    """Those that are there all the while: the others' addresses are behind theirs."""
    return [one for one in found if one[12:16] < COMERS]


def open_all(tracker, tool):
    """So many connections, of which half has a mark."""
    events.load(tracker)
    setting("max", 4 * ENTRIES + 100000)
    setting("udp_timeout", 36000)
    tool.do("load", id=0, protocol="udp", flows=ENTRIES)
    w.sh(f"iptables-legacy -t mangle -A PREROUTING -p udp --sport {MARKED} -j CONNMARK --set-mark 1")
    try:
        begin = time.monotonic()
        opened = tool.do("send", id=0, phase="open", timed=0)
    finally:
        w.sh("iptables-legacy -t mangle -F")
    w.check_equal(opened["wrong"], 0, "packets that were not tracked")
    print(f"      {ENTRIES} connections in {time.monotonic() - begin:.1f} s", flush=True)


def traffic(tool):
    """From now on packets of open connections, and others that come and go after some seconds."""
    tool.do("load", id=1, protocol="tcp", flows=100, first=1 << 26)
    for phase in ("open", "rest"):
        tool.do("send", id=1, phase=phase, timed=0)
    setting("udp_timeout", 3)
    tool.do("load", id=2, protocol="udp", flows=1 << 20, first=1 << 24)
    tool.do("pace", id=1, open=2, every=2, period=500000)


@w.loads_itself
def test_list_and_end(tracker):
    tracker.load(f"hashsize={ENTRIES}")
    with w.module_of_tests("bench/ip_conntrack_bench"):
        tool = Bench()
        open_all(tracker, tool)
        traffic(tool)
        time.sleep(4)
        begin = time.monotonic()
        found, others = listed()
        took = time.monotonic() - begin
        stay = stayers(found)
        come = len(found) - len(stay)
        print(f"      {len(found) + others} listed in {took:.1f} s, {come} of them come and go", flush=True)
        w.check_equal(len(set(found)), len(found), "connections in a list, each counted once")
        w.check_equal(len(stay), ENTRIES, "connections that are there all the while, and were listed")
        w.check_equal(others, 100, "TCP connections in the list")
        w.check(come > 0, "no connection has come while the list was made")
        marked = sum(port(one) <= 32895 for one in stay)
        before = setting("count")
        took = end_marked(1)
        print(f"      {marked} ended in {took:.2f} s", flush=True)
        stay = stayers(listed()[0])
        w.check_equal(len(stay), ENTRIES - marked, f"connections without the mark (of {before} in all)")
        w.check(all(port(one) > 32895 for one in stay), "a connection with the mark is left")
        paced = tool.do("stop")
    w.check(paced["packets"] > 100, f"packets meanwhile: {paced}")
    w.check_equal((paced["wrong"], paced["open_wrong"]), (0, 0), "packets that went wrong meanwhile")
    w.sh("rmmod iptable_mangle", check=False)
