# SPDX-License-Identifier: GPL-2.0
"""Two firewalls that conntrackd keeps in step, of which one is cut off.

    client 10.1.0.6 --+-- inner 10.1.0.1  primary  outer 10.2.0.1 --+-- server 10.2.0.9
                      |             sync 10.9.0.1                   |
                      |             sync 10.9.0.2                   |
                      +-- inner 10.1.0.1  backup   outer 10.2.0.1 --+

Both hosts have one link to each firewall, and their address on neither: which firewall is the way
says their route. CONNECTIONS= real connections, LOAD= others a second meanwhile: their segments are
put straight into the primary's hooks, so that the guest's time is left to both conntrackds. With
LOAD=1000 they need two CPUs of their own, or cannot keep up.
"""

import contextlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import time
import traceback
from pathlib import Path

import events
import replay
import world as w

CLIENT, SERVER = "10.1.0.6", "10.2.0.9"
GHOST_CLIENT, GHOST_SERVER = "10.1.0.5", "10.2.0.11"
FIREWALLS = ("primary", "backup")
NAMESPACES = ("client", "server", *FIREWALLS)
CONNECTIONS = int(os.environ.get("CONNECTIONS", "500"))
LOAD = int(os.environ.get("LOAD", "300"))
PORT = 7
# How many handshakes are put in at once.
BATCH = 20

CONF = """
Sync {{
	Mode FTFW {{
		DisableExternalCache Off
		StartupResync Off
	}}
	UDP {{
		IPv4_address 10.9.0.{mine}
		IPv4_Destination_Address 10.9.0.{other}
		Port 3780
		Interface sync
		SndSocketBuffer 4194304
		RcvSocketBuffer 4194304
		Checksum on
	}}
	Options {{
		TCPWindowTracking {windows}
	}}
}}
General {{
	HashSize 32768
	HashLimit 131072
	LogFile {log}
	LockFile {name}.lock
	UNIX {{
		Path {name}.ctl
	}}
	NetlinkBufferSize 8388608
	NetlinkBufferSizeMaxGrowth 16777216
	NetlinkOverrunResync 2
	Filter From {filter} {{
		Protocol Accept {{
			TCP
		}}
		Address Ignore {{
			IPv4_address 127.0.0.1
			IPv4_address 10.9.0.1
			IPv4_address 10.9.0.2
		}}
		State Accept {{
			ESTABLISHED CLOSED TIME_WAIT CLOSE_WAIT for TCP
		}}
	}}
}}
"""

# What is let through is let through for its state alone; what the primary admits the backup knows
# from it or not at all.
RULES = """*raw
-A PREROUTING -i sync -j NOTRACK
-A OUTPUT -o sync -j NOTRACK
COMMIT
*filter
:FORWARD DROP
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
{admit}
COMMIT
"""
ADMIT = "-A FORWARD -p tcp --syn -m conntrack --ctstate NEW -j ACCEPT"


def remove_namespaces():
    w.sh("; ".join(f"ip netns del {name} 2>/dev/null" for name in NAMESPACES), check=False)


def links():
    """The namespaces and their links, the way leading over the primary."""
    remove_namespaces()
    w.sh("; ".join(f"ip netns add {name}" for name in NAMESPACES))
    w.ip_batch("", "\n".join([
        *(f"link add {link} netns {name} type veth peer name {name} netns {host}"
          for name in FIREWALLS for link, host in (("inner", "client"), ("outer", "server"))),
        "link add sync netns primary type veth peer name sync netns backup"]))
    for name in NAMESPACES:
        with w.inside(name):
            Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1" if name in FIREWALLS else "0")
    for number, name in enumerate(FIREWALLS, 1):
        w.ip_batch(f"-n {name}", f"""
            link set lo up
            addr add 10.9.0.{number}/24 dev sync
            link set sync up
            link set inner up
            link set outer up
        """)
    for host, address in (("client", CLIENT), ("server", SERVER)):
        w.ip_batch(f"-n {host}", f"""
            link set lo up
            addr add {address}/32 dev lo
            link set primary up
            link set backup up
        """)
    lead_over("primary")


def lead_over(name):
    """Gives a firewall the addresses that hosts know, and has their routes lead over it."""
    w.ip_batch(f"-n {name}", f"""
        addr add 10.1.0.1/32 dev inner
        addr add 10.2.0.1/32 dev outer
        route replace {CLIENT}/32 dev inner
        route replace {SERVER}/32 dev outer
    """)
    for host, address, gateway in (("client", CLIENT, "10.1.0.1"), ("server", SERVER, "10.2.0.1")):
        w.ip_batch(f"-n {host}", f"route replace default via {gateway} dev {name} onlink src {address}")


def cut_off(name):
    """A firewall is gone."""
    w.ip_batch(f"-n {name}", "".join(f"link set {link} down\n" for link in ("inner", "outer", "sync")))


class Daemon:
    """conntrackd in a firewall."""

    def __init__(self, folder, namespace, windows, where):
        number = FIREWALLS.index(namespace) + 1
        self.namespace = namespace
        self.log = folder / f"{namespace}.log"
        self.conf = folder / f"{namespace}.conf"
        self.conf.write_text(CONF.format(mine=number, other=3 - number, name=folder / namespace, log=self.log,
                                         windows=windows, filter=where))
        # As a daemon of systemd's it would wait for one.
        with w.inside(namespace):
            self.process = subprocess.Popen(["conntrackd", "-C", self.conf], stdout=self.log.with_suffix(".out").open("wb"),
                                            stderr=subprocess.STDOUT)
        w.wait_until(lambda: (folder / f"{namespace}.ctl").exists(), 20, f"conntrackd listens in the {namespace}")

    def do(self, *options):
        """Tells it something; what it says."""
        return w.run_inside(self.namespace, "conntrackd", "-C", str(self.conf), *options)

    def cached(self, kind):
        """How many connections it knows: of its own (-i), or the other's (-e)."""
        return sum("ESTABLISHED" in line for line in self.do(kind).splitlines())

    def knows(self):
        """How many connections to the server the other has told it of."""
        return sum("ESTABLISHED" in line and f"dst={SERVER} " in line for line in self.do("-e").splitlines())

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def process(function, *arguments):
    """Runs a function in a process of its own, which is ended with this."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.alarm(0)
            function(*arguments)
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def echo(listener):
    """Sends back what comes."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            one = key.fileobj
            if one is listener:
                new, _ = one.accept()
                new.setblocking(False)
                selector.register(new, selectors.EVENT_READ)
                continue
            try:
                data = one.recv(4096)
                if data:
                    one.send(data)
                    continue
            except OSError:
                pass
            selector.unregister(one)
            one.close()


def checksum(data):
    """The sum of RFC 1071, not yet complemented."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return (total & 0xffff) + (total >> 16)


class Segments:
    """Segments that differ in a port alone, quickly made."""

    def __init__(self, src, dst, flags, seq, ack, port_at):
        addresses = socket.inet_aton(src) + socket.inet_aton(dst)
        header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + addresses)
        struct.pack_into("!H", header, 10, 0xffff - checksum(header))
        tcp = bytearray(struct.pack("!HHIIBBHHH", PORT, PORT, seq, ack, 0x50, flags, 8192, 0, 0))
        struct.pack_into("!H", tcp, port_at, 0)
        self.sum = checksum(addresses + struct.pack("!HH", 6, 20) + tcp)
        self.packet = header + tcp
        self.port_at = 20 + port_at

    def with_port(self, port):
        total = self.sum + port
        total = 0xffff - ((total & 0xffff) + (total >> 16))
        struct.pack_into("!H", self.packet, self.port_at, port)
        struct.pack_into("!H", self.packet, 20 + 16, total)
        return bytes(self.packet)


def load(rate, told):
    """Handshakes between hosts that nobody is, so many a second; when a batch was through goes to `told`."""
    SYN, ACK = 2, 16
    steps = (Segments(GHOST_CLIENT, GHOST_SERVER, SYN, 100, 0, 0), Segments(GHOST_SERVER, GHOST_CLIENT, SYN | ACK, 500, 101, 2),
             Segments(GHOST_CLIENT, GHOST_SERVER, ACK, 101, 501, 0))
    with w.inside("primary"), replay.sender() as send:
        begin = time.monotonic()
        for batch in range(60000 // BATCH):
            ports = range(1024 + batch * BATCH, 1024 + (batch + 1) * BATCH)
            verdicts = send(replay.requests([segments.with_port(port) for port in ports for segments in steps]))
            w.check_equal(set(verdicts), {(replay.PASSED, replay.PASSED)}, "what becomes of the segments")
            os.pwrite(told, struct.pack("d", time.monotonic()), 8 * batch)
            ahead = (batch + 1) * BATCH / rate - (time.monotonic() - begin)
            if ahead > 0:
                time.sleep(ahead)


def talk(sockets, text, seconds):
    """Sends a text by each; how many have it back."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.send(text)
    waiting = {one.fileno(): one for one in sockets}
    selector = selectors.DefaultSelector()
    for one in sockets:
        selector.register(one, selectors.EVENT_READ)
    back = 0
    end = time.monotonic() + seconds
    while waiting and time.monotonic() < end:
        for key, _ in selector.select(1):
            one = waiting.pop(key.fd)
            selector.unregister(one)
            with contextlib.suppress(OSError):
                back += one.recv(4096) == text
    return back


def states():
    """How many of the backup's connections to the server are in which state."""
    found = {}
    with w.inside("backup"):
        for line in Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines():
            if f"dst={SERVER} " in line:
                state = line.split()[5]
                found[state] = found.get(state, 0) + 1
    return found


def take_over(tracker, windows, where, connections, rate):
    """Connections go on through the backup when the primary is cut off."""
    events.load(tracker)
    Path("/proc/sys/net/netfilter/nf_conntrack_max").write_text("100000")
    folder = Path(f"/tmp/conntrackd.{windows}.{where}")
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as end:
        end.enter_context(replay.loaded())
        links()
        end.callback(remove_namespaces)
        for name in FIREWALLS:
            rules = RULES.format(admit=ADMIT if name == "primary" else "")
            w.run_inside(name, "iptables-legacy-restore", input=rules)
        primary, backup = (Daemon(folder, name, windows, where) for name in FIREWALLS)
        end.callback(primary.stop)
        end.callback(backup.stop)
        with w.inside("server"):
            listener = socket.create_server((SERVER, PORT), backlog=connections)
        end.callback(listener.close)
        end.enter_context(process(echo, listener))
        told = end.enter_context((folder / "load").open("wb"))
        sockets = []
        with process(load, rate, told.fileno()):
            for number in range(connections):
                with w.inside("client"):
                    one = socket.create_connection((SERVER, PORT), 20)
                end.callback(one.close)
                sockets.append(one)
                if number % 100 == 99:
                    w.check_equal(talk(sockets[-100:], b"before", 20), 100, "connections through the primary")
            # What was opened last is told by then.
            time.sleep(2)
            w.wait_until(lambda: backup.knows() == connections, 30, "the backup knows of all connections")
            cut_off("primary")
        times = struct.unpack(f"{(folder / 'load').stat().st_size // 8}d", (folder / "load").read_bytes())
        print(f"      {len(times) * BATCH} more connections, {(len(times) - 1) * BATCH / (times[-1] - times[0]):.0f} a second; "
              f"the backup knows of {backup.cached('-e')}")
        for option in ("-c", "-f", "-R", "-B"):
            backup.do(option)
        lead_over("backup")
        w.sh("ip -n client link set primary down; ip -n server link set primary down")
        went_on = talk(sockets, b"after", 30)
        found = states()
        trouble = f"{went_on} of {connections} connections went on; the backup has {found}\n{primary.said()}{backup.said()}"
        w.check(went_on >= 0.999 * connections, trouble)
        w.check(found.get("ESTABLISHED", 0) >= went_on, trouble)
        # They are followed to their end. On a slow machine a FIN is sent twice now and then, and the
        # second is answered with a reset, since nobody has the connection any more.
        for one in sockets:
            one.close()

        def over():
            found = states()
            return found.get("TIME_WAIT", 0) + found.get("CLOSE", 0) >= 0.9 * went_on

        w.wait_until(over, 20, "they end in TIME_WAIT, or CLOSE")


def test_take_over(tracker):
    """The usual: windows are not kept, events are filtered by conntrackd."""
    take_over(tracker, "Off", "Userspace", CONNECTIONS, LOAD)


def test_take_over_with_windows(tracker):
    """Windows are kept, and the kernel filters the events."""
    take_over(tracker, "On", "Kernelspace", min(CONNECTIONS, 100), LOAD)
