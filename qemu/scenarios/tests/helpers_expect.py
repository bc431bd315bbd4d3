# SPDX-License-Identifier: GPL-2.0
"""Expected connections and the templates of rules, when much comes and goes at once."""

import os
import socket
import threading

import helpers as h
import world as w
from nfqueue import NF_ACCEPT, Queue

IRC = 6667


def offers(number):
    """Eight offers of one client, each a port of its own."""
    address = int.from_bytes(socket.inet_aton(w.CLIENT))
    ports = (2000 + number * 8 + at for at in range(8))
    return b"".join(f"PRIVMSG them :\x01DCC CHAT chat {address} {port}\x01\r\n".encode() for port in ports)


def reader(over, seen):
    """Reads the list again and again; how long it was at most."""
    with w.inside("firewall"):
        while not over.is_set():
            with open("/proc/thread-self/net/nf_conntrack_expect") as file:
                lines = file.read().splitlines()
            seen.append(len(lines))
            if not all(line.endswith(" irc") for line in lines):
                seen.append(f"a line is not whole: {lines}")
                return


@w.ours_only
def test_many_come_and_go(tracker):
    """Thousands wait, and go by their time, or with their masters, while somebody reads the list."""
    many = int(os.environ.get("EXPECTATIONS", "2000"))
    for seconds, way in ((2, "their time"), (300, "their masters")):
        w.sh(f"modprobe ip_conntrack_irc dcc_timeout={seconds}")
        with h.site(tracker, None, "tcp", IRC) as site:
            site.helper = "irc"
            site.guard()
            w.sh("sysctl -qw net.netfilter.nf_conntrack_expect_max=100000")
            over, seen = threading.Event(), []
            thread = threading.Thread(target=reader, args=(over, seen))
            thread.start()
            controls = []
            for number in range(many // 8):
                control = h.Control(site, greeting=None)
                control.client.sendall(b"NICK one\r\n" + offers(number))
                controls.append(control)
            if way == "their masters":
                w.wait_until(lambda: len(site.expected()) == many // 8 * 8, 20, f"{many} are expected")
                site.world.firewall("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=1")
                for control in controls:
                    control.reset()
            w.wait_until(lambda: not site.expected(), 30, f"all have gone by {way}")
            over.set()
            thread.join()
            texts = [one for one in seen if isinstance(one, str)]
            w.check(not texts, f"the list: {texts[:1]}")
            w.check(max(seen) > 0, "the reader has seen some of them")
        w.wait_until(lambda: not w.sh("rmmod ip_conntrack_irc 2>&1", check=False), 20, "the helper's module is unloaded")


@w.ours_only
def test_a_template_in_a_queue(tracker):
    """A packet that waits in user space between the rule that names its helper and the tracker
    holds the template; rule and helper may go meanwhile."""
    with h.site(tracker, None, "tcp", 21) as site:
        world = site.world
        queue = Queue(world, 7)
        for gone in (False, True):
            world.firewall("iptables-legacy -t raw -F")
            world.firewall("iptables-legacy -t raw -A PREROUTING -p tcp --dport 21 --syn -j CT --helper ftp")
            # Not a flow yet: neither new nor anything else.
            world.firewall("iptables-legacy -t raw -A PREROUTING -p tcp --dport 21 --syn -m conntrack --ctstate NEW,ESTABLISHED,RELATED,UNTRACKED -j DROP")
            world.firewall("iptables-legacy -t raw -A PREROUTING -p tcp --dport 21 --syn -j NFQUEUE --queue-num 7")
            listener, _ = site.listener(site.server, 4, 21)
            client = world.socket(site.client, socket.AF_INET, socket.SOCK_STREAM)
            client.setblocking(False)
            client.connect_ex((w.SERVER, 21))
            packet = queue.packet()
            if gone:
                world.firewall("iptables-legacy -t raw -F")
                w.sh("rmmod ipt_CT && rmmod ip_conntrack_ftp")
            queue.verdict(packet, NF_ACCEPT)
            listener.settimeout(20)
            server, _ = listener.accept()
            listener.close()
            client.setblocking(True)
            server.sendall(b"220 ready\r\n")
            client.recv(99)
            client.sendall(b"USER x\r\n")
            client.sendall(b"PORT 192,168,1,6,20,1\r\n")
            heard = b""
            while not heard.endswith(b"20,1\r\n"):
                heard += server.recv(99)
            w.check_equal(len(site.expected()), 0 if gone else 1, f"expected connections, helper gone: {gone}")
            client.close()
            server.close()
        w.wait_until(lambda: "ip_conntrack_ftp" not in w.sh("lsmod"), 1, "the helper has gone")
