# SPDX-License-Identifier: GPL-2.0
"""The helper for IRC: ngircd with two clients that speak IRC, one of them behind the firewall, who
offers the other a file or a chat."""

import ipaddress

import helpers as h
import world as w

SECONDS = 300  # How long a direct connection is waited for.
PORT = 6667


def ngircd(site):
    config = h.PLACE / "ngircd.conf"
    config.write_text(f"""
[Global]
Name = irc.test
Info = a test
Listen = {site.address(site.server)}
PidFile = {h.PLACE}/ngircd.pid
MotdPhrase = hello
[Limits]
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
""")
    site.serve("ngircd", "--nodaemon", "--config", str(config))


class Client:
    """A user of the server."""

    def __init__(self, site, namespace, nick):
        self.nick = nick
        self.unread = b""
        self.socket = site.call(namespace, site.address(site.server), PORT)
        self.say(f"NICK {nick}")
        self.say(f"USER {nick} 0 * :{nick}")
        self.hear(f" 001 {nick} ")
        # After the greeting is over, nothing but what others say.
        self.hear(" 376 ")

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")

    def hear(self, words):
        """Reads up to a line that has the words; the line."""
        while True:
            line, end, rest = self.unread.partition(b"\r\n")
            if end:
                self.unread = rest
                line = line.decode()
                if line.startswith("PING "):
                    self.say("PONG " + line.removeprefix("PING "))
                if words in line:
                    return line
            else:
                part = self.socket.recv(4096)
                w.check(part, f"{self.nick}: the server has closed the connection, expected a line with {words!r}")
                self.unread += part

    def offer(self, to, words):
        """Sends somebody an offer of a direct connection, which must arrive as it was sent."""
        self.say(f"PRIVMSG {to.nick} :\1{words}\1")
        line = to.hear("PRIVMSG")
        w.check(line.endswith(f":\1{words}\1"), f"{to.nick} heard {line!r}, expected {words!r}")


def number(address):
    """An address as DCC has it."""
    return int(ipaddress.ip_address(address))


def receive(connection, size):
    """Reads so many bytes."""
    parts = b""
    while len(parts) < size:
        part = connection.recv(1 << 16)
        w.check(part, f"the connection has ended after {len(parts)} bytes, expected {size}")
        parts += part
    return parts


def test_dcc(tracker):
    """A file and a chat go over direct connections to a client behind the firewall; without the
    helper nobody reaches it."""
    content = h.os.urandom(300_000)
    with h.site(tracker, "irc", "tcp", PORT) as site:
        ngircd(site)
        site.guard()
        alice, bob = Client(site, site.client, "alice"), Client(site, site.server, "bob")
        # SEND: a file.
        listener, port = site.listener(site.client)
        alice.offer(bob, f"DCC SEND file {number(w.CLIENT)} {port} {len(content)}")
        h.check_expected(site, h.expectation(site, "0.0.0.0", w.CLIENT, port, SECONDS))
        theirs = site.call(site.server, w.CLIENT, port)
        site.check_counts(RELATED=1, dropped=0)
        w.check_equal(site.expected(), [], "expected connections after the one for the file has come")
        w.check_equal(len(site.entries(f"dport={port}")), 1, "entries of the connection for the file")
        mine, _ = listener.accept()
        with mine:
            mine.settimeout(20)
            for at in range(0, len(content), 10_000):
                mine.sendall(content[at:at + 10_000])
                # The receiver tells how much it has.
                w.check(receive(theirs, 10_000) == content[at:at + 10_000], f"other bytes came than those that were sent, from {at} on")
                theirs.sendall((at + 10_000).to_bytes(4, "big"))
                w.check_equal(int.from_bytes(receive(mine, 4), "big"), at + 10_000, "how much the receiver has")
        # CHAT: lines in both directions.
        listener, port = site.listener(site.client)
        alice.offer(bob, f"DCC CHAT chat {number(w.CLIENT)} {port}")
        h.check_expected(site, h.expectation(site, "0.0.0.0", w.CLIENT, port, SECONDS))
        theirs = site.call(site.server, w.CLIENT, port)
        mine, _ = listener.accept()
        with mine:
            mine.settimeout(20)
            for teller, hearer, line in ((mine, theirs, b"hello\n"), (theirs, mine, b"hello yourself\n")):
                teller.sendall(line)
                w.check_equal(receive(hearer, len(line)), line, "a line of the chat")
        site.check_counts(RELATED=2, dropped=0)
        # Without the helper, which a connection has from its beginning or not at all.
        site.guard(helped=False)
        carol = Client(site, site.client, "carol")
        for words in (f"SEND file {number(w.CLIENT)} {{}} 1000", f"CHAT chat {number(w.CLIENT)} {{}}"):
            listener, port = site.listener(site.client)
            carol.offer(bob, "DCC " + words.format(port))
            w.check_equal(site.expected(), [], "expected connections without the helper")
            site.check_unreachable(site.server, w.CLIENT, port, f"{words.split()[0]} without the helper")
        site.check_dropped()


def test_offers_that_open_nothing(tracker):
    """Another host's address, ports that are none, and offers to the one behind the firewall."""
    with h.site(tracker, "irc", "tcp", PORT) as site:
        ngircd(site)
        site.guard()
        alice, bob = Client(site, site.client, "alice"), Client(site, site.server, "bob")
        for teller, hearer, words in (
            (alice, bob, f"DCC CHAT chat {number(w.GHOST_CLIENT)} 5001"),
            (alice, bob, f"DCC SEND file {number(w.SERVER)} 5001 1000"),
            (alice, bob, f"DCC CHAT chat {number(w.CLIENT)} 0"),
            (alice, bob, f"DCC CHAT chat {number(w.CLIENT)} 65536"),
            (alice, bob, f"DCC OTHER chat {number(w.CLIENT)} 5001"),
            (alice, bob, f"no DCC CHAT chat {number(w.CLIENT)} 5001"),
            (bob, alice, f"DCC CHAT chat {number(w.SERVER)} 5001"),
            (bob, alice, f"DCC CHAT chat {number(w.CLIENT)} 5001"),
        ):
            teller.offer(hearer, words)
            w.check_equal(site.expected(), [], f"expected connections after {words!r} of {teller.nick}")
        # The same connection can announce one still.
        alice.offer(bob, f"DCC CHAT chat {number(w.CLIENT)} 5001")
        h.check_expected(site, h.expectation(site, "0.0.0.0", w.CLIENT, 5001, SECONDS))


@w.ours_only
def test_port_that_wraps(tracker):
    """Stock takes port 65536 + 22 for 22, and expects a call to it."""
    with h.site(tracker, "irc", "tcp", PORT) as site:
        site.guard()
        control = h.Control(site, greeting=b":irc.test NOTICE AUTH :hello\r\n")
        control.say(f"PRIVMSG bob :\1DCC CHAT chat {number(w.CLIENT)} {65536 + 22}\1\r\n".encode())
        w.check_equal(site.expected(), [], "expected connections after an offer of port 65558")


def test_expectation_goes_with_its_master(tracker):
    with h.site(tracker, "irc", "tcp", PORT) as site:
        site.guard()
        control = h.Control(site, greeting=b":irc.test NOTICE AUTH :hello\r\n")
        listener, port = site.listener(site.client)
        control.say(f"PRIVMSG bob :\1DCC CHAT chat {number(w.CLIENT)} {port}\1\r\n".encode())
        h.check_expected(site, h.expectation(site, "0.0.0.0", w.CLIENT, port, SECONDS))
        control.check_ends_with(site)
        site.check_unreachable(site.server, w.CLIENT, port, "a port announced by a connection that has gone")
        listener.close()
