# SPDX-License-Identifier: GPL-2.0
"""The helper for talk: two people at terminals, inetutils' talk and a talkd on each side. Stock has
no such helper."""

import os
import select
import socket
import time

import helpers as h
import world as w

PORT = 518  # ntalk


class Terminal:
    """A terminal that somebody sits at, on a host with a name."""

    def __init__(self, site):
        self.site = site
        self.master, self.slave = os.openpty()
        self.name = os.ttyname(self.slave)
        # Who is called must allow it.
        os.chmod(self.name, 0o620)
        self.screen = ""

    def run(self, namespace, host, *command):
        return self.site.start(namespace, "unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh", *command,
                               stdin=self.slave, stdout=self.slave, stderr=self.slave)

    def type(self, text):
        os.write(self.master, text.encode())

    def shows(self, words, seconds=20):
        """Whether words come within a time."""
        end = time.monotonic() + seconds
        while words not in self.screen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                return False
            self.screen += os.read(self.master, 4096).decode(errors="replace")
        return True

    def check_shows(self, words):
        w.check(self.shows(words), f"the terminal {self.name} shows {self.screen!r}, expected {words!r}")

    def close(self):
        os.close(self.master)
        os.close(self.slave)


def log_in(terminal):
    """Makes it known that somebody sits at a terminal, to what asks systemd's list of sessions."""
    sessions = h.Path("/run/systemd/sessions")
    sessions.mkdir(parents=True, exist_ok=True)
    (sessions / "1").write_text(f"""UID=0
USER=root
ACTIVE=1
STATE=active
REMOTE=0
TYPE=tty
CLASS=user
SERVICE=login
TTY={terminal.name.removeprefix("/dev/")}
LEADER={os.getpid()}
REALTIME={time.time_ns() // 1000}
""")


def talkd(site, namespace):
    """Starts the daemon as inetd does: with the socket as its input."""
    wire = site.world.socket(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    wire.settimeout(None)
    wire.bind(("0.0.0.0", PORT))
    site.start(namespace, "talkd", stdin=wire)


@h.contextlib.contextmanager
def two_people(site):
    """Starts both daemons; the terminal of who calls, and that of who is called."""
    h.Path("/etc/hosts").write_text(f"127.0.0.1 localhost\n{w.CLIENT} near\n{w.SERVER} far\n")
    for namespace in ("client", "server"):
        talkd(site, namespace)
    caller, called = Terminal(site), Terminal(site)
    try:
        log_in(called)
        yield caller, called
    finally:
        caller.close()
        called.close()


def ring(site, caller, called):
    """Somebody calls; the other is told."""
    caller.run(site.client, "near", "inetutils-talk", "root@far")
    called.check_shows("talk: respond with:  talk root@near")
    caller.check_shows("Waiting for your party to respond")


def converse(site, caller, called):
    """The one who was called answers, and both talk."""
    called.run(site.server, "far", "inetutils-talk", "root@near")
    for terminal in (caller, called):
        terminal.check_shows("Connection established")
    caller.type("how do you do")
    called.check_shows("how do you do")
    called.type("very well")
    caller.check_shows("very well")


def test_without_helper(tracker):
    """Who is called from behind the firewall is told, but cannot answer, unless all is let pass."""
    with h.site(tracker, None, "udp", PORT) as site:
        site.guard()
        with two_people(site) as (caller, called):
            ring(site, caller, called)
            client = called.run(site.server, "far", "inetutils-talk", "root@near")
            w.wait_until(lambda: site.counts()["dropped"] > 0, 20, "the firewall drops the answer's question for an invitation")
            w.check(not called.shows("Connection established", 1), "a connection without the helper, expected none")
            site.check_dropped()
            client.kill()
            site.let_all_pass()
            converse(site, caller, called)


@w.ours_only
def test_talk(tracker):
    """The answer is RELATED, as is the connection over which the two talk."""
    with h.site(tracker, "talk", "udp", PORT) as site:
        site.guard()
        with two_people(site) as (caller, called):
            ring(site, caller, called)
            converse(site, caller, called)
        site.check_counts(RELATED=2, dropped=0)
