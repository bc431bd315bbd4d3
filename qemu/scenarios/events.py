# SPDX-License-Identifier: GPL-2.0
"""What users are told of connections: `conntrack -E` in the firewall, and a listener that reads the
messages themselves."""

import contextlib
import errno
import re
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import world as w

NETLINK_NETFILTER = 12
SO_RCVBUFFORCE = 33
SOL_NETLINK, ADD_MEMBERSHIP, BROADCAST_ERROR = 270, 1, 4
NEW, UPDATE, DESTROY, EXPECT_NEW, EXPECT_DESTROY = 1, 2, 3, 4, 6
CONNTRACK, EXPECT = 1, 2
REQUEST, ACK, ECHO, EXCL, CREATE = 1, 4, 8, 0x200, 0x400
NESTED, TYPE = 1 << 15, (1 << 14) - 1

ATTRIBUTES = {
    CONNTRACK: ("", "tuple", "reply", "status", "protoinfo", "help", "", "timeout", "mark", "counters",
                "counters_reply", "use", "id", "", "master", "seq_adj", "seq_adj_reply", "", "zone", "secctx",
                "timestamp", "", "labels", "", "", "", "", "timestamp_event"),
    EXPECT: ("", "master", "tuple", "mask", "timeout", "id", "helper", "zone", "flags", "class", "nat", "fn"),
}


def count():
    """How many connections the firewall has."""
    return w.setting("count")


def shown():
    """How many connections the firewall lists."""
    with w.inside("firewall"):
        return Path("/proc/thread-self/net/nf_conntrack").read_text().count("\n")


def listeners():
    """How many sockets of the firewall listen to groups of nfnetlink."""
    with w.inside("firewall"):
        lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    return sum(fields[1] == str(NETLINK_NETFILTER) and int(fields[3], 16) != 0 for fields in map(str.split, lines))


def load(tracker):
    """Loads what tells of events, if the tracker has not."""
    if not tracker.ours:
        # It would be loaded when somebody listens, but in the background.
        w.sh("modprobe nf_conntrack_netlink")


@contextlib.contextmanager
def world(tracker):
    """The world, of which events can be told."""
    load(tracker)
    with w.World(tracker) as one:
        yield one


class Watch:
    """`conntrack -E`, while this is entered."""

    def __init__(self, options=""):
        self.options = options
        self.output = Path(f"/tmp/watch.{id(self)}")

    def __enter__(self):
        others = listeners()
        command = ["ip", "netns", "exec", "firewall", "conntrack", "-E", *self.options.split()]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        # One that cannot says so, and ends.
        w.wait_until(lambda: listeners() > others or self.process.poll() is not None, 20, f"conntrack -E {self.options} listens")
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)

    def lines(self):
        """What it has printed, blanks squeezed, without who has caused it."""
        text = self.output.read_text()
        lines = [" ".join(line.split()) for line in text.splitlines() if "have been shown" not in line]
        return [re.sub(r"portid=\d+( progname=\S+)?$", "portid", line) for line in lines]

    def check(self, *expected):
        """Fails unless it has printed just these lines; {n} is a time that has begun at n."""
        deadline = time.monotonic() + 10
        while len(self.lines()) < len(expected) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.05)
        found = self.lines()
        same = len(found) == len(expected) and all(map(w.same_line, expected, found))
        w.check(same, f"conntrack -E {self.options}:\n" + "\n".join(found) + "\nexpected:\n" + "\n".join(expected))


class Message(NamedTuple):
    """A message, with its attributes in their order: nested ones as such."""

    subsystem: int
    number: int
    flags: int
    port: int
    family: int
    attributes: list

    def names(self):
        """What it tells, in its order."""
        names = ATTRIBUTES[self.subsystem]
        return [names[kind] for kind, _ in self.attributes]

    def value(self, *path):
        """An attribute's value; `None` where it is not there."""
        found = self.attributes
        names = ATTRIBUTES[self.subsystem]
        for step in path:
            kind = names.index(step) if isinstance(step, str) else step
            found = next((value for number, value in found if number == kind), None)
            if found is None:
                return None
        return found


def attributes(data):
    """A row of attributes, those nested ones resolved that say so."""
    found = []
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        value = data[4:length]
        found.append((kind & TYPE, attributes(value) if kind & NESTED else value))
        data = data[(length + 3) & ~3:]
    return found


def messages(data):
    """The messages in a datagram."""
    while len(data) >= 16:
        length, kind, flags, _, port = struct.unpack_from("=IHHII", data)
        if kind >> 8:
            yield Message(kind >> 8, kind & 255, flags, port, data[16], attributes(data[20:length]))
        data = data[(length + 3) & ~3:]


class Listener:
    """A socket in the firewall that listens to groups; with `errors` it misses nothing."""

    def __init__(self, world, *groups, buffer=None, errors=False):
        self.socket = world.socket("firewall", socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.setblocking(False)
        if buffer:
            # Twice as much counts, in the kernel's bytes.
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
        if errors:
            self.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
        self.socket.bind((0, 0))
        for group in groups:
            self.socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
        self.overruns = 0

    def datagrams(self, seconds):
        """What has come, until nothing comes for so long."""
        found = []
        while select.select([self.socket], [], [], seconds)[0]:
            try:
                # All that there is at once: many may come.
                while True:
                    found.append(self.socket.recv(65536))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
        return found

    def read(self, seconds=0.3):
        """The messages that have come, until none comes for so long."""
        return [message for datagram in self.datagrams(seconds) for message in messages(datagram)]


def destination(message):
    """The destination port that a message's tuple names."""
    port = message.value("tuple", 2, 3)
    return port and int.from_bytes(port)


def source(message):
    """The source port that a message's tuple names."""
    port = message.value("tuple", 2, 2)
    return port and int.from_bytes(port)
