# SPDX-License-Identifier: GPL-2.0
"""A full table under a flood of SYNs from addresses that nobody has: those who mean it get through."""

import contextlib
import itertools
import os
import random
import selectors
import socket
import struct
import time
from multiprocessing import Process, Value

import world as w

MOST = 1000  # Entries that the table takes.
OPEN = int(os.environ.get("FLOOD_OPEN", "200"))  # Connections that are there before.
NEW = int(os.environ.get("FLOOD_NEW", "200"))  # And those that come under the flood.
RATIO = 10  # Packets of the flood for each of theirs.
PATIENCE = 3  # How long one waits that means it, in seconds: a SYN and a second one.
BATCH = 20  # Frames of the flood between two pauses.
PACKETS = 8  # Of a new connection: three to open it, two to ask and two to answer, one to close it.
RULES = ("-P FORWARD DROP", "-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
         "-A FORWARD -p tcp --syn -m state --state NEW -j ACCEPT")


def sum16(data):
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def spoofed(source, port):
    """A SYN from an address that is nobody's, as a frame."""
    src, dst = struct.pack("!I", source), socket.inet_aton(w.GHOST_SERVER)
    tcp = struct.pack("!HHIIBBHHH", port, 80, source, 0, 0x50, 2, 8192, 0, 0)
    check = sum16(src + dst + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, src, dst)
    head = head[:10] + struct.pack("!H", sum16(head)) + head[12:]
    return bytes.fromhex("020000000101020000000106") + b"\x08\x00" + head + tcp


def flood(link, frames, sent, stop):
    """Sends them again and again, some thousands a second: faster, and slow machines do nothing else. A tuple comes back
    when its entry is long gone."""
    for number, frame in enumerate(itertools.cycle(frames)):
        if stop.value:
            break
        # Where the queue is full it counts for nothing.
        with contextlib.suppress(OSError):
            link.send(frame)
            sent.value += 1
        if number % BATCH == 0:
            time.sleep(0.005)


def answer(listener, stop):
    """Sends back what comes, on however many connections."""
    watch = selectors.DefaultSelector()
    watch.register(listener, selectors.EVENT_READ)
    while not stop.value:
        for key, _ in watch.select(0.5):
            if key.fileobj is listener:
                watch.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            data = b""
            with contextlib.suppress(OSError):
                data = key.fileobj.recv(100)
            if data:
                key.fileobj.send(data)
            else:
                watch.unregister(key.fileobj)
                key.fileobj.close()


def works(one):
    """Whether the other end of a connection answers."""
    try:
        one.send(b"?")
        return one.recv(1) == b"?"
    except OSError:
        return False


def opened(world):
    one = world.socket("client", socket.AF_INET, socket.SOCK_STREAM)
    one.settimeout(PATIENCE)
    try:
        one.connect((w.SERVER, 80))
    except OSError:
        pass
    return one


@contextlib.contextmanager
def beside(work, *arguments):
    """A process that works until it is told to stop."""
    stop = Value("i", 0)
    process = Process(target=work, args=(*arguments, stop))
    process.start()
    try:
        yield
    finally:
        stop.value = 1
        process.join()


def test_honest_connections_get_through(tracker):
    """Ten packets of the flood for each of theirs, and more: no open connection is lost, and of a hundred new ones one
    at most. What stock makes of it is told, and not asked for."""
    new = NEW if tracker.ours else NEW // 10  # Those that do not get through take long.
    dice = random.Random(1)
    frames = [spoofed(0x0a000000 + dice.getrandbits(24), 1024 + dice.getrandbits(15)) for _ in range(20 * MOST)]
    with w.World(tracker) as world:
        for rule in RULES:
            world.firewall(f"iptables-legacy {rule}")
        w.sh(f"sysctl -qw net.netfilter.nf_conntrack_max={MOST}")
        listener = world.socket("server", socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((w.SERVER, 80))
        listener.listen(1000)
        sent = Value("q", 0)
        with beside(answer, listener):
            before = [opened(world) for _ in range(OPEN)]
            w.check(all(works(one) for one in before), "not all of the first connections are open")
            with beside(flood, world.client.socket, frames, sent):
                w.wait_until(lambda: sent.value > 3 * MOST, 60, "a full table")
                begin, through = sent.value, 0
                for number in range(new):
                    one = opened(world)
                    through += works(one)
                    one.close()
                    w.wait_until(lambda: sent.value - begin >= RATIO * PACKETS * (number + 1), 60, "the flood")
                flooded = sent.value - begin
                left = sum(works(one) for one in before)
    print(f"    {flooded} packets of the flood, {through} of {new} new connections, {left} of {OPEN} open ones", flush=True)
    if tracker.ours:
        w.check(through >= 0.99 * new, f"{through} of {new} new connections got through")
        w.check_equal(left, OPEN, "open connections that are left")


def count_of(world, source):
    """How many entries of a source there are."""
    return len(world.lines(f"src={source}"))


def test_who_has_many_gives_way(tracker):
    """One host opens flow upon flow, and each is answered; a few of another, older and of the same worth, stay. What
    stock makes of it is told, and not asked for."""
    few, many, room = 20, 1200, 250
    with w.World(tracker) as world:
        w.sh(f"sysctl -qw net.netfilter.nf_conntrack_max={room}")
        w.setting("udp_timeout", 600)
        for number in range(few):
            world.client.send(w.udp(w.CLIENT, w.GHOST_SERVER, 5000 + number, 9))
            world.server.send(w.udp(w.GHOST_SERVER, w.CLIENT, 9, 5000 + number))
        w.wait_until(lambda: count_of(world, w.CLIENT) == few, 10, "the flows of the one")
        for number in range(many):
            world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 1024 + number, 9))
            world.server.send(w.udp(w.GHOST_SERVER, w.GHOST_CLIENT, 9, 1024 + number))
        if tracker.ours:
            w.wait_until(lambda: world.lines(f"sport={1023 + many}"), 30, "the last flow of the other")
        left = count_of(world, w.CLIENT)
    print(f"    {left} of {few} flows of who has few, after {many} of another, with room for {room}", flush=True)
    if tracker.ours:
        w.check(left >= 0.7 * few, f"{left} of {few} flows are left")
