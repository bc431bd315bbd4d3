# SPDX-License-Identifier: GPL-2.0
"""Helpers as modules: which connections they read, and that they come and go under traffic."""

import os
import socket
import struct

import helpers as h
import world as w

PORT = 514  # Of the guide's helper, for rsh.


def rsh(site, words, port=PORT):
    """A connection whose client begins with some words; both ends."""
    listener, _ = site.listener(site.server, 4, port)
    client = site.call(site.client, w.SERVER, port)
    server, _ = listener.accept()
    site.world.sockets.append(server)
    listener.close()
    for part in words:
        client.sendall(part)
        w.check_equal(server.recv(99), part, "what came out of the connection")
    return client, server


@w.ours_only
def test_the_guides_example(tracker):
    """Its module is loaded, a rule names it, and what its client announces is RELATED."""
    w.sh("modprobe rsh_helper")
    with h.site(tracker, None, "tcp", PORT) as site:
        site.helper = "rsh"
        site.guard()
        listener, port = site.listener(site.client)
        rsh(site, [f"{port}\0".encode()])
        h.check_expected(site, h.expectation(site, w.SERVER, w.CLIENT, port, 60))
        site.call(site.server, w.CLIENT, port)
        site.check_counts(RELATED=1, dropped=0)
        # Cut, and what is no port.
        rsh(site, [b"23", b"45\0"])
        h.check_expected(site, h.expectation(site, w.SERVER, w.CLIENT, 2345, 60))
        for words in (b"80\0", b"65536\0", b"123456\0", b"\0", b"hello"):
            rsh(site, [words])
        w.check_equal(len(site.expected()), 1, "expected connections after ports that are none")
        w.check_equal(w.sh("rmmod rsh_helper 2>&1", check=False).strip(),
                      "rmmod: ERROR: Module rsh_helper is in use", "unloading a helper that a rule names")
        site.guard(helped=False)
        w.sh("rmmod rsh_helper")
        w.check_equal(site.expected(), [], "expected connections after their helper has gone")
        w.check(site.entries(f"dport={PORT}"), "the connections themselves stay")


@w.ours_only
def test_ports(tracker):
    """A helper reads the connections to its ports where the namespace's setting says so: in the
    first namespace from the start, in others when told."""
    with w.World(tracker) as world:
        setting = "sysctl -n net.netfilter.nf_conntrack_helper"
        w.check_equal(w.sh(setting).strip(), "1", "the setting of the first namespace")
        w.check_equal(world.firewall(setting).strip(), "0", "the setting of another namespace")
        w.sh("modprobe ip_conntrack_ftp ports=21,2121")
        site = h.Site(world, "ftp", "tcp", 2121, "client")

        def said():
            control = h.Control(site)
            control.say(b"PORT 192,168,1,6,20,1\r\n")
            return site.expected()

        w.check_equal(said(), [], "expected connections where the setting is 0")
        world.firewall("sysctl -qw net.netfilter.nf_conntrack_helper=1")
        w.check_equal(len(said()), 1, "expected connections where the setting is 1")
        site.port = 2122
        w.check_equal(len(said()), 1, "expected connections after one to another port")
    w.sh("rmmod ip_conntrack_ftp")
    for ports in ("0", "1,0", "1,2,3,4,5,6,7,8,9", "65536", "ftp", "-1"):
        w.check("ERROR" in w.sh(f"modprobe ip_conntrack_ftp ports={ports} 2>&1", check=False), f"ports={ports} is refused")


@w.ours_only
def test_what_a_rule_loads_has_no_ports(tracker):
    """A helper that was loaded by a rule reads what rules say, and nothing else."""
    with h.site(tracker, None, "tcp", 21) as site:
        site.helper = "ftp"
        site.world.firewall("sysctl -qw net.netfilter.nf_conntrack_helper=1")
        site.world.firewall("iptables -t raw -A PREROUTING -p tcp --dport 99 -j CT --helper ftp")
        w.check(w.loaded("ip_conntrack_ftp"), "the rule has loaded the helper's module")
        h.Control(site).say(b"PORT 192,168,1,6,20,1\r\n")
        w.check_equal(site.expected(), [], "expected connections")


@w.ours_only
def test_rules_that_are_refused(tracker):
    """A helper that is not there, or without a protocol, or for another."""
    rule = "iptables -t raw -A PREROUTING {} -j CT --helper {} 2>&1"
    with w.World(tracker) as world:
        for match, helper in (("-p tcp --dport 21", "none"), ("", "ftp"), ("-p udp --dport 21", "ftp"),
                              ("! -p udp", "ftp")):
            said = w.sh("ip netns exec firewall " + rule.format(match, helper), check=False)
            w.check(said.strip(), f"{match} --helper {helper} is refused")
        w.check_equal(world.firewall("iptables-save -t raw").count("CT --helper"), 0, "rules that were made all the same")
    w.check(not w.loaded("nf_conntrack"), "stock is not loaded by them")


def announce(site, port, greeting, lines):
    """A control connection on which a client says something, and is gone."""
    site.port = port
    control = h.Control(site, greeting=greeting)
    for line in lines:
        control.client.sendall(line)
        control.server.recv(999)
    control.client.close()
    control.server.close()


def traffic(site):
    """What each of the helpers reads, and calls of what it announces, without end."""
    address = socket.inet_aton(w.CLIENT)
    chat = f"PRIVMSG them :\x01DCC CHAT chat {int.from_bytes(address)} 5001\x01\r\n".encode()
    invitation = struct.pack("!BBBxIHH4s8x16xI12s12s16s", 1, 3, 0, 7, 2, 5001, address, 9, b"me", b"you", b"")
    backup = b"Amanda 2.6 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 5001 MESG 5002 INDEX 5003\n"
    server = {port: site.world.socket(site.server, socket.AF_INET, socket.SOCK_DGRAM) for port in (69, 518, 10080)}
    for port, one in server.items():
        one.bind((w.SERVER, port))
    while True:
        client = site.world.socket(site.client, socket.AF_INET, socket.SOCK_DGRAM)
        for port, words in ((69, b"\0\1file\0octet\0"), (518, invitation), (10080, b"Amanda 2.6 REQ HANDLE 000-1 SEQ 1\n")):
            client.sendto(words, (w.SERVER, port))
            _, sender = server[port].recvfrom(999)
            server[port].sendto(backup if port == 10080 else b"?", sender)
        announce(site, 21, b"220 ready\r\n", [b"PORT 192,168,1,6,19,137\r\n"] * 3)
        announce(site, 6667, None, [b"NICK me\r\n", *[chat] * 3])
        for _ in range(2):
            caller = site.world.socket(site.server, socket.AF_INET, socket.SOCK_STREAM)
            caller.setblocking(False)
            caller.connect_ex((w.CLIENT, 5001))
            caller.close()
        client.close()


@w.ours_only
def test_come_and_go_under_traffic(tracker):
    """Each helper is loaded and unloaded again and again while connections that it reads go on."""
    rounds = int(os.environ.get("HELPER_ROUNDS", "20"))
    with h.site(tracker, None, "tcp", 21) as site:
        site.world.firewall("sysctl -qw net.netfilter.nf_conntrack_helper=1")
        child = os.fork()
        if not child:
            try:
                traffic(site)
            finally:
                os._exit(0)
        try:
            for done in range(rounds):
                if done and done % 50 == 0:
                    print(f"    {done} of {rounds} rounds", flush=True)
                for helper in ("ftp", "irc", "tftp", "amanda", "talk"):
                    w.insert_module(f"ip_conntrack_{helper}")
                    w.remove_module(f"ip_conntrack_{helper}")
            w.sh("modprobe ip_conntrack_ftp")
            w.wait_until(site.expected, 20, "the helper reads what goes on")
            w.sh("rmmod ip_conntrack_ftp")
            w.check_equal(site.expected(), [], "expected connections after their helper has gone")
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


@w.ours_only
def test_as_many_as_may_be(tracker):
    """Of one connection the newest counts; of a namespace no more than its limit, and what
    announces more is dropped until there is room."""
    with h.site(tracker, "irc", "tcp", 6667) as site:
        site.guard()
        w.sh("sysctl -qw net.netfilter.nf_conntrack_expect_max=12")
        address = int.from_bytes(socket.inet_aton(w.CLIENT))

        def offers(control, count, first):
            for port in range(first, first + count):
                control.client.sendall(f"PRIVMSG them :\x01DCC CHAT chat {address} {port}\x01\r\n".encode())

        one = h.Control(site, greeting=None)
        one.say(b"NICK one\r\n")
        offers(one, 10, 3001)
        newest = {f"dport={port}" for port in range(3003, 3011)}
        w.wait_until(lambda: {line.split()[-2] for line in site.expected()} == newest, 10, "the newest eight of ten offers")
        two = h.Control(site, greeting=None)
        two.say(b"NICK two\r\n")
        offers(two, 5, 4001)
        w.wait_until(lambda: len(site.expected()) == 12, 10, "as many are expected as the limit allows")
        w.check("cannot expect" in site.world.firewall("grep -v '^ *0 ' /proc/net/ip_conntrack_invalid"), "the reason is counted")
        w.sh("sysctl -qw net.netfilter.nf_conntrack_expect_max=1000")
        w.wait_until(lambda: len(site.expected()) == 13, 10, "what was dropped comes again, and there is room now")


@w.ours_only
def test_of_one_namespace(tracker):
    """What one namespace expects no other sees, nor counts."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        h.Control(site).say(b"PORT 192,168,1,6,20,1\r\n")
        w.check_equal(len(site.expected()), 1, "expected connections of the firewall")
        for namespace in ("client", "server"):
            with w.inside(namespace), open("/proc/thread-self/net/nf_conntrack_expect") as file:
                w.check_equal(file.read(), "", f"expected connections of the {namespace}")


@w.ours_only
def test_match(tracker):
    """-m helper knows what a helper has announced, by its name, and nothing else."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        names = ("ftp", "irc")
        for kind in ("legacy", "nft"):
            for name in names:
                site.world.firewall(f"iptables-{kind} -t mangle -A FORWARD -m helper --helper {name}")
        control = h.Control(site)
        listener, port = site.listener(site.client)
        control.say(f"PORT 192,168,1,6,{port >> 8},{port & 255}\r\n".encode())
        site.call(site.server, w.CLIENT, port)
        for kind in ("legacy", "nft"):
            lines = site.world.firewall(f"iptables-{kind} -t mangle -L FORWARD -v -n -x").splitlines()[2:]
            found = dict(zip(names, (int(line.split()[0]) for line in lines), strict=True))
            w.check(found["ftp"] >= 2, f"packets of the data connection by {kind}: {found}, expected its handshake")
            w.check_equal(found["irc"], 0, f"packets of another helper's by {kind}")
