# SPDX-License-Identifier: GPL-2.0
"""The helper for Amanda: amandad, which sends a backup, with amservice, which asks for it; and
answers made by hand."""

import os
import re

import helpers as h
import world as w

SECONDS = 180  # How long a stream is waited for.
PORT = 10080
REQUEST = """<dle>
  <program>GNUTAR</program>
  <disk>{folder}</disk>
  <level>0</level>
  <auth>{auth}</auth>
  <record>NO</record>
  <index>YES</index>
  <datapath>AMANDA</datapath>
</dle>
"""
# What is backed up.
SOURCE = h.PLACE / "source" / "file"
AS_BACKUP = {"user": "backup", "group": "backup", "extra_groups": []}


def names_and_rights():
    """What both ends read in /etc."""
    h.Path("/etc/hosts").write_text(f"127.0.0.1 localhost\n{w.CLIENT} near\n{w.SERVER} far\n")
    services = h.Path("/etc/services")
    if f"{PORT}/udp" not in services.read_text():
        services.write_text(services.read_text() + f"amanda {PORT}/udp\n")
    allowed = h.Path("/etc/amandahosts")
    allowed.write_text("near backup amdump sendbackup\n")
    h.shutil.chown(allowed, "backup", "backup")
    allowed.chmod(0o600)


class Backup:
    """A backup, whose streams go into files, and the program that has asked for it."""

    def __init__(self, site, name, auth):
        self.name = name
        request = h.PLACE / "request"
        request.write_text(REQUEST.format(folder=SOURCE.parent, auth=auth.upper()))
        command = ["amservice", "-f", str(request)]
        # The other direction of the streams: silent, but open until all has come.
        silent, self.open = os.pipe()
        passed = [silent]
        with h.contextlib.ExitStack() as files:
            for stream in ("DATA", "MESG", "INDEX", "STATE"):
                target = files.enter_context(self.file(stream).open("wb"))
                passed.append(target.fileno())
                command += ["--stream", f"{stream},{silent},{target.fileno()}"]
            self.client = site.start(site.client, *command, "far", auth, "sendbackup", pass_fds=passed, **AS_BACKUP)
        os.close(silent)

    def file(self, stream):
        return h.PLACE / f"{self.name}.{stream}"

    def stop(self):
        """Ends the streams and the program, which does not always end by itself then."""
        os.close(self.open)
        self.client.kill()

    def check(self):
        """Fails unless it becomes one of the source, and the other streams come, too."""
        w.wait_until(lambda: "sendbackup: end" in self.file("MESG").read_text() or self.client.process.poll() is not None,
                     h.LIMIT, "the stream of messages comes to its end")
        said = self.file("MESG").read_text()
        w.check("sendbackup: end" in said, f"the stream of messages is {said!r}, expected one to its end; amservice said: {self.client.said()}")
        w.wait_until(lambda: SOURCE.name in self.file("INDEX").read_text(), 5, "the index names the file")
        size = int(re.search(r"Total bytes written: (\d+)", said)[1])
        w.wait_until(lambda: self.file("DATA").stat().st_size == size, 5, f"{size} bytes of the backup come")
        self.stop()
        target = h.open_folder(h.PLACE / "restored")
        w.sh(f"tar -xf {self.file('DATA')} -C {target}")
        h.check_same_file(target / SOURCE.name, SOURCE, "the backup")


def amandad(site, auth):
    """Starts the server."""
    names_and_rights()
    h.random_file(SOURCE, 100_000)
    return site.serve("/usr/lib/amanda/amandad", f"-auth={auth}", f"-udp={PORT}", "sendbackup", **AS_BACKUP)


def test_backup(tracker):
    """A backup comes over four streams to ports that the answer has named; without the helper none
    of them is opened."""
    with h.site(tracker, "amanda", "udp", PORT) as site:
        server = amandad(site, "bsd")
        site.guard()
        Backup(site, "backup", "bsd").check()
        site.check_counts(NEW=1, RELATED=4, dropped=0)
        site.guard(helped=False)
        # It ends when it has nothing more to do.
        server.kill()
        amandad(site, "bsd")
        # From another port: what has a helper keeps it.
        (line,) = site.entries(f"dport={PORT}")
        held = site.world.socket(site.client, h.socket.AF_INET, h.socket.SOCK_DGRAM)
        held.bind(("", int(re.search(r" sport=(\d+)", line)[1])))
        backup = Backup(site, "none", "bsd")
        w.wait_until(lambda: site.counts()["dropped"] > 0, h.LIMIT, "the firewall drops the call to the first stream")
        # Asked and answered.
        site.check_counts(NEW=1)
        backup.stop()
        w.check_equal(backup.file("DATA").stat().st_size, 0, "bytes of a backup without the helper")
        site.check_dropped()


def test_backup_over_one_stream(tracker):
    """The newer way: one port, and streams that are numbers without ports."""
    with h.site(tracker, "amanda", "udp", PORT) as site:
        amandad(site, "bsdudp")
        site.guard()
        Backup(site, "backup", "bsdudp").check()
        site.check_counts(NEW=1, RELATED=1, dropped=0)


def test_what_is_expected(tracker):
    """Each stream that an answer names is a line of what is expected; the connections are RELATED."""
    with h.site(tracker, "amanda", "udp", PORT) as site:
        site.guard()
        for family in (4, 6):
            near, far = site.address(site.client, family), site.address(site.server, family)
            server = site.world.socket(site.server, h.FAMILIES[family], h.socket.SOCK_DGRAM)
            server.bind((far, PORT))
            client = site.world.socket(site.client, h.FAMILIES[family], h.socket.SOCK_DGRAM)
            client.connect((far, PORT))
            client.send(b"Amanda 2.6 REQ HANDLE 000-00000000 SEQ 1\nSERVICE sendbackup\n")
            asked, asker = server.recvfrom(1000)
            w.check_equal(site.expected(), [], "expected connections after a request")
            listeners = [site.listener(site.server, family) for _ in range(3)]
            ports = [port for _, port in listeners]
            words = "DATA {} MESG {} INDEX {}".format(*ports)
            server.sendto(f"Amanda 2.6 REP HANDLE 000-00000000 SEQ 1\nCONNECT {words}\nOPTIONS ;\n".encode(), asker)
            w.check(b"CONNECT" in client.recv(1000), "the answer has not come as it was sent, expected CONNECT in it")
            h.check_expected(site, *(h.expectation(site, near, far, port, SECONDS) for port in ports))
            (line,) = site.entries(f"dport={PORT}", f"dst={h.ipaddress.ip_address(far).exploded}")
            w.check(270 <= int(line.split()[4]) <= 300, f"the entry of the questions is {line!r}, expected one of 300 s")
            for port in ports:
                site.call(site.client, far, port)
                w.check_equal(len(site.entries(f"dport={port}")), 1, f"entries of the stream to port {port}")
            w.check_equal(site.expected(), [], "expected connections after all streams have come")
            site.check_counts(family, NEW=1, RELATED=3, dropped=0)


def test_ports_that_are_none(tracker):
    """And no answer of the one who asks names any."""
    with h.site(tracker, "amanda", "udp", PORT) as site:
        site.guard()
        server = site.world.socket(site.server, h.socket.AF_INET, h.socket.SOCK_DGRAM)
        server.bind((w.SERVER, PORT))
        client = site.world.socket(site.client, h.socket.AF_INET, h.socket.SOCK_DGRAM)
        client.connect((w.SERVER, PORT))
        client.send(b"Amanda 2.6 REQ HANDLE 000-00000000 SEQ 1\nCONNECT DATA 5001 MESG 5002\n")
        _, asker = server.recvfrom(1000)
        w.check_equal(site.expected(), [], "expected connections after a request that names ports")
        for words in ("CONNECT DATA 0\n", "CONNECT DATA 65536\n", "CONNECT DATA x\n", "CONNECT DATA 5001", "DATA 5001\n"):
            server.sendto(f"Amanda 2.6 REP HANDLE 000-00000000 SEQ 1\n{words}".encode(), asker)
            w.check(words.encode() in client.recv(1000), f"the answer has not come as it was sent, expected {words!r} in it")
            w.check_equal(site.expected(), [], f"expected connections after {words!r}")
        site.check_unreachable(site.client, w.SERVER, 5001, "a port that nobody has named")
        # The same two are believed still.
        server.sendto(b"Amanda 2.6 REP HANDLE 000-00000000 SEQ 1\nCONNECT DATA 5001\n", asker)
        w.check(b"5001" in client.recv(1000), "the good answer has not come, expected it")
        h.check_expected(site, h.expectation(site, w.CLIENT, w.SERVER, 5001, SECONDS))
