# SPDX-License-Identifier: GPL-2.0
"""What the scenarios of connection helpers share: a firewall that lets in what is ESTABLISHED or
RELATED and new connections to one port, real servers and clients on both sides of it, and
control connections held by plain sockets."""

import contextlib
import ipaddress
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

import world as w

# Everything that servers and clients read and write.
PLACE = Path("/tmp/helpers")
ADDRESSES = {
    4: {"client": w.CLIENT, "server": w.SERVER},
    6: {"client": w.CLIENT6, "server": w.SERVER6},
}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
PROTOCOLS = {"tcp": 6, "udp": 17}
# Helpers of protocols that know no IPv6.
IPV4_ALONE = ("irc", "talk", None)
# The firewall's link to each side.
LINKS = {"client": "inner", "server": "outer"}
# How long anything may take that is to succeed; the guest is slow, and may be busy.
LIMIT = 60


def random_file(path, size):
    """Makes a file of random bytes that everybody may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    path.chmod(0o644)
    return path


def open_folder(path):
    """Makes a folder that everybody may write to."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)
    return path


def check_same_file(found, original, what):
    """Fails unless a file has arrived as it was sent."""
    w.check(found.exists(), f"{what}: no file {found.name}, expected one of {original.stat().st_size} bytes")
    same = found.read_bytes() == original.read_bytes()
    w.check(same, f"{what}: {found.stat().st_size} bytes came, expected the {original.stat().st_size} that were sent")


class Program:
    """A program that runs in a namespace, and what it prints."""

    def __init__(self, site, namespace, command, **options):
        self.name = Path(command[0]).name
        self.output = PLACE / f"{self.name}.{len(site.programs)}.log"
        environment = {**os.environ, "HOME": str(PLACE), "TERM": "vt100", **options.pop("env", {})}
        options.setdefault("stdin", subprocess.DEVNULL)
        with w.inside(namespace), self.output.open("wb") as output:
            options = {"stdout": output, "stderr": output, **options}
            self.process = subprocess.Popen(command, env=environment, start_new_session=True, cwd=PLACE, **options)
        site.programs.append(self)

    def said(self):
        """What it has printed."""
        return self.output.read_text(errors="replace")

    def wait(self, seconds=LIMIT):
        """Waits for its end; its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise w.Mismatch(f"{self.name} runs still after {seconds} s, expected its end; it said: {self.said()}") from None

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def kill_all_in(namespace):
    """Ends all processes of a namespace: servers put some into sessions of their own."""
    with w.inside(namespace):
        there = os.stat("/proc/thread-self/ns/net").st_ino
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.stat(entry / "ns/net").st_ino == there and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)


class Site:
    """A world whose firewall guards one service (a port of `server`) against `client`."""

    def __init__(self, world, helper, protocol, port, client):
        self.world = world
        self.helper, self.protocol, self.port = helper, protocol, port
        self.client = client
        self.server = "server" if client == "client" else "client"
        self.programs = []
        self.kind = "legacy"

    # The firewall.

    def guard(self, helped=True, kind="legacy"):
        """Sets the rules in both families: with the helper or without, by legacy or nft iptables."""
        self.kind = kind
        assign = f"-A PREROUTING -p {self.protocol} --dport {self.port} -j CT --helper {self.helper}"
        rules = f"""*raw
{assign if helped and self.helper else "#"}
COMMIT
*filter
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED -j ACCEPT
-A FORWARD -i {LINKS[self.client]} -p {self.protocol} --dport {self.port} -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -j DROP
COMMIT
"""
        for tables in ("iptables", "ip6tables") if self.helper not in IPV4_ALONE else ("iptables",):
            self.in_firewall(f"{tables}-{kind}-restore", input=rules)

    @staticmethod
    def in_firewall(*command, **options):
        """Runs a command in the firewall; its output."""
        return w.run_inside("firewall", *command, **options)

    def let_all_pass(self):
        """Puts a rule in front of all others."""
        self.in_firewall(f"iptables-{self.kind}", "-I", "FORWARD", "-j", "ACCEPT")

    def counts(self, family=4):
        """How many packets the rules have let pass or dropped."""
        tables = "iptables" if family == 4 else "ip6tables"
        lines = self.in_firewall(f"{tables}-{self.kind}", "-L", "FORWARD", "-v", "-n", "-x").splitlines()[2:]
        names = ("ESTABLISHED", "RELATED", "NEW", "dropped")
        return dict(zip(names, (int(line.split()[0]) for line in lines), strict=True))

    def check_counts(self, family=4, **expected):
        """Fails unless rules have counted just so many packets."""
        found = self.counts(family)
        w.check_equal({name: found[name] for name in expected}, expected, f"packets that the rules counted (IPv{family})")

    def check_dropped(self, family=4):
        """Fails unless the firewall has kept something back, and nothing was RELATED."""
        found = self.counts(family)
        w.check_equal(found["RELATED"], 0, f"RELATED packets without a helper (IPv{family})")
        w.check(found["dropped"] > 0, f"the firewall dropped nothing, expected the data connection's packets: {found}")

    # The programs.

    def start(self, namespace, *command, **options):
        """Starts a program in a namespace."""
        return Program(self, namespace, command, **options)

    def serve(self, *command, **options):
        """Starts the server, and waits until its port is open."""
        server = self.start(self.server, *command, **options)
        w.wait_until(lambda: server.process.poll() is not None or self.is_open(), 20,
                     f"{server.name} listens at port {self.port}")
        w.check(server.process.poll() is None, f"{server.name} has ended, expected it to serve; it said: {server.said()}")
        return server

    def is_open(self):
        """Whether the server's port is open."""
        with w.inside(self.server):
            lists = [Path(f"/proc/thread-self/net/{self.protocol}{family}").read_text() for family in ("", "6")]
        state = "0A" if self.protocol == "tcp" else "07"
        return any(re.search(rf":{self.port:04X} \w+:0000 {state} ", text) for text in lists)

    def end(self):
        """Ends all programs."""
        for program in self.programs:
            program.kill()
        for namespace in (self.client, self.server):
            kill_all_in(namespace)

    # The connections.

    def address(self, namespace, family=4):
        return ADDRESSES[family][namespace]

    def entries(self, *words):
        """The firewall's connections whose line has all the words."""
        return [line for line in self._list("nf_conntrack") if all(word in line.split() for word in words)]

    def expected(self):
        """The lines of the connections that are expected."""
        return self._list("nf_conntrack_expect")

    @staticmethod
    def _list(name):
        with w.inside("firewall"):
            text = Path("/proc/thread-self/net", name).read_text()
        return [" ".join(line.split()) for line in text.splitlines()]

    def listener(self, namespace, family=4, port=0):
        """A socket that listens; its port."""
        listener = self.world.socket(namespace, FAMILIES[family], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address(namespace, family), port))
        listener.listen(8)
        return listener, listener.getsockname()[1]

    def call(self, namespace, address, port, source=0):
        """A connection to an address."""
        family = ipaddress.ip_address(address).version
        caller = self.world.socket(namespace, FAMILIES[family], socket.SOCK_STREAM)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        caller.bind((self.address(namespace, family), source))
        try:
            caller.connect((address, port))
        except TimeoutError:
            raise w.Mismatch(f"a call to port {port} of {address} got no answer, expected the firewall to let it pass: "
                             f"{self.counts(family)}") from None
        return caller

    def check_unreachable(self, namespace, address, port, what):
        """Fails if an address can be called through the firewall, or if something else than the
        firewall keeps the call back."""
        family = ipaddress.ip_address(address).version
        before = self.counts(family)["dropped"]
        caller = self.world.socket(namespace, FAMILIES[family], socket.SOCK_STREAM)
        caller.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            caller.connect((address, port))
            raise w.Mismatch(f"{what}: port {port} of {address} can be reached, expected the firewall to drop the call")
        caller.close()
        w.check(self.counts(family)["dropped"] > before, f"{what}: a call that got no answer was not dropped by the firewall")


@contextlib.contextmanager
def site(tracker, helper, protocol, port, client="client"):
    """A site, while this is entered."""
    shutil.rmtree(PLACE, ignore_errors=True)
    open_folder(PLACE)
    if helper:
        # A rule that names a helper needs it.
        tracker.helper(helper)
    with w.World(tracker) as world:
        one = Site(world, helper, protocol, port, client)
        try:
            yield one
        finally:
            one.end()


def expectation(site, src, dst, dport, seconds, protocol="tcp"):
    """The line of an expected connection, which {seconds} are left for."""
    number = 2 if ipaddress.ip_address(dst).version == 4 else 10
    ends = [str(ipaddress.ip_address(end).exploded) for end in (src, dst)]
    return (f"{{{seconds}}} l3proto = {number} proto={PROTOCOLS[protocol]} src={ends[0]} dst={ends[1]} "
            f"sport=0 dport={dport} {site.helper}")


def check_expected(site, *lines):
    """Fails unless just these connections are expected, in any order."""
    found = site.expected()
    same = len(found) == len(lines) and all(any(w.same_line(line, one) for one in found) for line in lines)
    w.check(same, f"expected connections: {found}, should be {list(lines)}")


def check_opens_nothing(site, announcements, good):
    """Has each said on a control connection of its own: family, whether the client says it, words.
    Afterwards nothing may be expected, but what a good one of the same kind announces."""
    said = []
    for family, by_client, words in announcements:
        control = Control(site, family)
        # A server answers only what it was asked.
        question = {"227": b"PASV\r\n", "229": b"EPSV\r\n"}.get(words[:3])
        if question and not by_client:
            control.say(question)
        teller, hearer = (control.client, control.server) if by_client else (control.server, control.client)
        teller.sendall(words.encode())
        said.append(hearer)
    # A tracker may keep back what it cannot read.
    end = w.time.monotonic() + 0.5
    while said and (left := end - w.time.monotonic()) > 0:
        heard, _, _ = select.select(said, [], [], left)
        said = [hearer for hearer in said if hearer not in heard]
    w.check_equal(site.expected(), [], f"expected connections after {[words for _, _, words in announcements]}")
    control = Control(site)
    listener, port = site.listener(site.client)
    control.say(good(port).encode())
    listener.close()
    w.check_equal(len(site.expected()), 1, "expected connections after a good announcement")


class Control:
    """A control connection between plain sockets; what one end says, the other must hear."""

    def __init__(self, site, family=4, greeting=b"220 ready\r\n"):
        listener, _ = site.listener(site.server, family, site.port)
        self.client = site.call(site.client, site.address(site.server, family), site.port)
        self.server, _ = listener.accept()
        self.server.settimeout(20)
        site.world.sockets.append(self.server)
        listener.close()
        if greeting:
            self.answer(greeting)
            self.say(b"USER somebody\r\n")

    @staticmethod
    def _pass(teller, hearer, line):
        teller.sendall(line)
        heard = b""
        while len(heard) < len(line):
            part = hearer.recv(len(line) - len(heard))
            w.check(part, f"the connection has ended after {heard!r}, expected {line!r}")
            heard += part
        w.check_equal(heard, line, "what came out of the control connection")

    def say(self, line):
        """The client says something."""
        self._pass(self.client, self.server, line)

    def answer(self, line):
        """The server says something."""
        self._pass(self.server, self.client, line)

    def reset(self):
        """Ends the connection by a reset in each direction."""
        for end in (self.client, self.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    def check_ends_with(self, site):
        """Fails unless what is expected goes with the connection that announced it."""
        site.in_firewall("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_close=1")
        port = f"dport={site.port}"
        self.reset()
        w.wait_until(lambda: not site.entries(port), 20, "the control connection's entry has gone")
        w.wait_until(lambda: not site.expected(), 5, f"nothing is expected without it, still: {site.expected()}")
