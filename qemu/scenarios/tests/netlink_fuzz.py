# SPDX-License-Identifier: GPL-2.0
"""Whatever messages come to ctnetlink, from whomever: nothing breaks, and who may not gets nothing.
FUZZ= how many seconds for each of three users, SEED= for other messages."""

import collections
import ctypes
import errno
import os
import pickle
import re
import select
import signal
import socket
import struct
import time
import traceback
from pathlib import Path

import events
import netlink as n
import world as w
from messages import Maker

SECONDS = float(os.environ.get("FUZZ", "4"))
SEED = int(os.environ.get("SEED", "1"))
# So many messages reach everything.
ENOUGH = 600
NOBODY = 65534
ERROR = 2
TROUBLE = re.compile(r"BUG|WARNING|Oops|KASAN|UBSAN|INFO: |refcount|Call Trace|leak|panic", re.IGNORECASE)


def answers(one):
    """What has come back: an error's number, or how many messages of another kind."""
    found = collections.Counter()
    for _ in range(64):
        try:
            data = one.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        except OSError as error:
            found[f"recv {errno.errorcode[error.errno]}"] += 1
            continue
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == ERROR:
                (error,) = struct.unpack_from("=i", data, 16)
                found[errno.errorcode.get(-error, -error) if error else "done"] += 1
            elif kind >> 8:
                found["told"] += 1
            data = data[max(16, (length + 3) & ~3):]
    return found


def send_all(seed, seconds):
    """Sends messages for so long, and not too few; what was answered, counted."""
    maker = Maker(seed)
    found = collections.Counter()
    end = time.monotonic() + seconds
    one = None
    while time.monotonic() < end or found["sent"] < ENOUGH:
        if one is None or maker.chance(0.02):
            if one:
                one.close()  # Perhaps in the midst of a list.
            one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, events.NETLINK_NETFILTER)
            if maker.chance(0.3):
                one.setsockopt(events.SOL_NETLINK, 12, 1)  # NETLINK_GET_STRICT_CHK
            if maker.chance(0.3):
                one.setsockopt(events.SOL_NETLINK, 11, 1)  # NETLINK_EXT_ACK
        data = maker.message()
        if maker.chance(0.1):
            data += bytes(-len(data) % 4) + maker.message()
        try:
            one.send(data)
        except OSError as error:
            found[f"send {errno.errorcode[error.errno]}"] += 1
        found["sent"] += 1
        if maker.chance(0.8):
            found += answers(one)
    return found


def as_root():
    """Of the namespace in which the connections are."""


def as_user():
    """Anybody, in the same namespace."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def as_root_of_their_own():
    """Anybody, who has made a user namespace and a network of their own."""
    # Who lives below another root than its mounts' may not have a user namespace.
    process = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    with open("/proc/self/ns/mnt") as mounts:
        os.setns(mounts.fileno(), os.CLONE_NEWNS)
    as_user()
    # Files of the process are another's after the change of user, until it says that it may be traced.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {NOBODY} 1"), ("gid_map", f"0 {NOBODY} 1")):
        with os.fdopen(os.open(file, os.O_WRONLY, dir_fd=process), "w") as map_file:
            map_file.write(text)


def in_child(become, seed, seconds):
    """Has a process that becomes somebody else send messages; what it was answered."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(0)
            os.close(here)
            become()
            os.write(there, pickle.dumps(send_all(seed, seconds)))
        except BaseException:
            os.write(there, pickle.dumps(traceback.format_exc()))
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], seconds + 120)
        if not ready:
            os.kill(child, signal.SIGKILL)
        said = pipe.read() if ready else b""
    os.waitpid(child, 0)
    w.check(said, f"{become.__name__}: it hangs, or has died")
    found = pickle.loads(said)
    w.check(isinstance(found, collections.Counter), f"{become.__name__}: {found}")
    print(f"      {become.__name__}: " + ", ".join(f"{count} {name}" for name, count in found.most_common()), flush=True)
    return found


def log():
    """Lines of the kernel's log that tell of trouble."""
    return [line for line in w.sh("dmesg").splitlines() if TROUBLE.search(line)]


def connections():
    return w.run_inside("firewall", "conntrack", "-L").splitlines()


def test_whatever_messages(tracker):
    with events.world(tracker) as world:
        before = log()
        for helper in ("ftp", "tftp"):
            tracker.helper(helper)
        if not tracker.ours:
            w.sh("modprobe nfnetlink_cttimeout")
        # Somebody listens: all that happens is told, to one who reads, and to one who does not.
        reader = events.Listener(world, 1, 2, 3, 4, 5, 6)
        other = events.Listener(world, 1, 2, 3, 4, 6, buffer=4096, errors=True)
        n.traffic(world)
        w.check(reader.read(), "the traffic is not told of")
        with w.inside("firewall"):
            found = in_child(as_user, SEED, SECONDS)
            allowed = {"sent", "EPERM", "send ENODATA"}  # Of a message of no bytes.
            w.check(found["EPERM"] > 20, f"an ordinary user is not refused: {found}")
            w.check(not set(found) - allowed, f"an ordinary user is answered: {found}")
            w.check(len(connections()) >= 15, "an ordinary user has ended connections")
            found = in_child(as_root, SEED, SECONDS)
            w.check(found["done"] > 20 and found["told"] > 20 and found["EINVAL"] > 20, f"root reaches nothing: {found}")
            found = in_child(as_root_of_their_own, SEED, SECONDS)
            w.check(found["done"] > 20 and found["EINVAL"] > 20, f"the root of a namespace reaches nothing: {found}")
        # As long as that one misses something, all are told again and again.
        other.socket.close()
        w.check(reader.read(), "what messages do is not told of")
        # It works as before.
        w.run_inside("firewall", "conntrack", "-F")
        w.run_inside("firewall", "conntrack", "-F", "expect")
        # Messages may have set what connections are given to live.
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=30 net.netfilter.nf_conntrack_udp_timeout_stream=120")
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 4000, 53))
        world.server.send(w.udp(w.GHOST_SERVER, w.GHOST_CLIENT, 53, 4000))
        time.sleep(0.3)
        lines = connections()
        w.check_equal([line.split()[0] for line in lines], ["udp"], f"connections after a flush and one more: {lines}")
        # The oldest lines may have had to go.
        w.check_equal([line for line in log() if line not in before], [], "trouble in the kernel's log")


def test_answers(tracker):
    """Each message is answered as by stock, one after the other: with the errors, and the news, that stock has
    for it. MESSAGES= how many (SHOW=FOLDER: they and their answers go there)."""
    many, show = int(os.environ.get("MESSAGES", "1000")), os.environ.get("SHOW")
    with events.world(tracker) as world:
        for helper in ("ftp", "tftp"):
            tracker.helper(helper)
        if not tracker.ours:
            w.sh("modprobe nfnetlink_cttimeout")
        maker = Maker(SEED)
        with w.inside("firewall"):
            one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, events.NETLINK_NETFILTER)
        world.sockets.append(one)
        one.setsockopt(socket.SOL_SOCKET, events.SO_RCVBUFFORCE, 8 << 20)
        one.bind((0, 0))
        said, shown = [], []
        for _ in range(many):
            data = maker.message()
            if data:
                one.send(data)
            said.append("+".join(map(str, sorted(answers(one)))) or "-")
            shown.append(f"{said[-1]} {data.hex()}\n")
        if show:
            Path(show, f"answers.{tracker.name}").write_text("".join(shown))
            return
        transcript = n.Transcript(world, "answers")
        transcript.note(*(f"{at}: {' '.join(said[at:at + 10])}" for at in range(0, many, 10)))
        transcript.check()
