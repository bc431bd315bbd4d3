# SPDX-License-Identifier: GPL-2.0
"""The module as such: loading, unloading, other trackers, many entries."""

import os
import socket
import stat
from pathlib import Path

import world as w
from nfqueue import Queue


@w.ours_only
@w.loads_itself
def test_load_traffic_unload(tracker, rounds=int(os.environ.get("ROUNDS", "30"))):
    """Over and over, with packets still in a queue of a device, in a socket and in NFQUEUE."""
    with w.World(tracker) as world:
        w.sh("ip netns exec firewall tc qdisc add dev outer root netem delay 300ms")
        world.firewall("iptables-legacy -A FORWARD -p udp --dport 10 -j NFQUEUE --queue-num 3")
        queue = Queue(world, 3)
        reader = world.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
        reader.bind((w.SERVER, 9))
        reader.setblocking(False)
        queue.netlink.setblocking(False)
        for turn in range(rounds):
            tracker.load()
            for port in range(1, 6):
                world.client.send(w.udp(w.CLIENT, w.SERVER, port, 9))
                world.client.send(w.udp(w.CLIENT, w.SERVER, port, 10))
                world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, port, 80, "S"))
            if turn % 3 == 0:
                w.time.sleep(0.4)
                w.check(queue.waiting() > 0, "packets wait in the queue")
            w.unload_ours()
            w.check_equal(w.slab(), None, f"cache after round {turn}")
            if turn % 100 == 99:
                print(f"    {turn + 1} of {rounds} rounds", flush=True)
            # Nobody decides on the packets, but what is said of them must not fill up.
            drain(reader)
            drain(queue.netlink)


def drain(reader):
    """Reads what has come to a socket, and does not wait for more."""
    try:
        while True:
            reader.recv(2048)
    except BlockingIOError:
        pass


@w.ours_only
@w.loads_itself
def test_refused_beside_stock(tracker):
    w.sh("modprobe nf_conntrack")
    try:
        w.sh("dmesg -C")
        w.check("Device or resource busy" in w.sh("modprobe ip_conntrack 2>&1", check=False), "not refused")
        lines = [line for line in w.sh("dmesg").splitlines() if "ip_conntrack:" in line and "taint" not in line]
        w.check(len(lines) == 1 and "another connection tracker" in lines[0], f"log: {lines}")
    finally:
        w.sh("modprobe -r nf_conntrack")


@w.ours_only
def test_stock_refused_beside_ours(tracker):
    """Stock cannot be loaded, and its attempt does no harm."""
    with w.World(tracker) as world:
        refused = w.sh("modprobe nf_conntrack 2>&1", check=False)
        w.check("Device or resource busy" in refused, f"not refused: {refused}")
        w.check(not w.loaded("nf_conntrack"), "loaded")
        world.firewall("iptables-legacy -A OUTPUT -m state --state RELATED")
        world.firewall("iptables-legacy -A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset")
        world.firewall("iptables-legacy -A FORWARD -p udp --dport 26 -j REJECT")
        world.client.send(w.tcp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 25, "S"))
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 26))
        world.client.send(w.udp(w.GHOST_CLIENT, w.GHOST_SERVER, 5, 27))
        w.check_equal(len(world.lines("dport=27")), 1, "entries")
        line = world.firewall("iptables-legacy -L OUTPUT -v -n -x").splitlines()[2]
        w.check_equal(int(line.split()[0]), 2, "RELATED answers of REJECT")


@w.ours_only
@w.leaves_rules
def test_rules_never_load_stock(tracker):
    for iptables in ("iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft"):
        w.sh(f"{iptables} -A INPUT -m state --state NEW")
        w.sh(f"{iptables} -A INPUT -m conntrack --ctstate NEW")
        w.sh(f"{iptables} -t raw -A OUTPUT -p tcp --dport 1 -j NOTRACK")
        w.sh(f"{iptables} -t raw -A OUTPUT -p tcp --dport 1 -j CT --notrack")
    w.check(not w.loaded("nf_conntrack"), "stock is loaded")
    w.check(w.loaded("ipt_conntrack") and w.loaded("ip6t_CT"), "ours are not")
    refused = w.sh("rmmod ip_conntrack_netlink; rmmod ip_conntrack 2>&1", check=False)
    w.check("in use" in refused, f"unloaded with rules: {refused}")


@w.ours_only
@w.leaves_rules
def test_rules_that_are_refused(tracker):
    for rule in ("-j CT --helper ftp", "-j CT --timeout short"):
        before = w.sh("iptables-legacy -t raw -S")
        w.check(not w.sh(f"iptables-legacy -t raw -A OUTPUT {rule} && echo taken", check=False), rule)
        w.check_equal(w.sh("iptables-legacy -t raw -S"), before, "rules")


@w.ours_only
@w.loads_itself
def test_bad_parameter(tracker):
    for value in ("99999999", "-1", "many"):
        w.check(w.sh(f"modprobe ip_conntrack hashsize={value} 2>&1", check=False), f"hashsize={value} taken")
        w.check(not w.loaded("ip_conntrack"), "loaded")


@w.ours_only
@w.loads_itself
def test_hundred_thousand(tracker, many=100_000):
    """Each of many entries is listed exactly once, and none twice while the table changes."""
    tracker.load("hashsize=16384")
    with w.World(tracker) as world:
        # A protocol that lives for ten minutes, to many addresses where nobody is.
        world.firewall("ip link add sink type dummy")
        world.firewall("ip link set sink up")
        world.firewall("ip route add 10.0.0.0/8 via 192.0.2.1 dev sink onlink")
        sender = world.socket("firewall", socket.AF_INET, socket.SOCK_RAW, 99)

        def send(count, first=0):
            for number in range(first, first + count):
                sender.sendto(b"", (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0))

        send(many)
        lines = tracker.lines()
        tuples = {line.split(" [")[0].split("src=", 1)[1] for line in lines if "unknown" in line}
        w.check_equal((len(lines), len(tuples)), (many, many), "lines, different ones")
        path = "/proc/thread-self/net/ip_conntrack"
        with w.inside("firewall"):
            mode = os.stat(path)
            w.check_equal((stat.S_IMODE(mode.st_mode), mode.st_uid), (0o440, 0), "mode and owner")
            with open(path) as file:
                seen = []
                while part := file.readlines(1 << 16):
                    seen += part
                    send(20, many + len(seen))
        names = [line.split(" [")[0].split("src=", 1)[1] for line in seen]
        w.check_equal(len(names), len(set(names)), "lines while the table changes")
        w.check(all(line.endswith("use=1\n") and " src=" in line for line in seen), "half a line")
        w.check(len(seen) >= many, f"{len(seen)} lines")


@w.ours_only
def test_expectations_are_listed_empty(tracker):
    w.check_equal(w.sh("cat /proc/net/ip_conntrack_expect"), "", "expectations")


@w.ours_only
@w.leaves_rules
def test_a_module_in_c(tracker):
    """It asks for the states of packets by the header for such modules."""
    folder = Path("/sys/module/count_states/parameters")
    w.sh("iptables-legacy -t raw -A OUTPUT -d 127.0.0.2 -j CT --notrack")
    w.sh("modprobe count_states")
    try:
        w.sh("ping -c 3 -i 0.2 127.0.0.1; ping -c 2 -i 0.2 127.0.0.2")
        found = [int((folder / name).read_text()) for name in ("answered", "untracked")]
        established, related, new, answers, *_ = map(int, (folder / "packets").read_text().split(","))
        w.check_equal((established, related, new, answers), (2, 0, 1, 3), "packets by state")
        w.check_equal(found, [5, 2], "of answered connections, and untracked ones")
    finally:
        w.sh("rmmod count_states")
