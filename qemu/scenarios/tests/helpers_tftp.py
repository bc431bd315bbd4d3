# SPDX-License-Identifier: GPL-2.0
"""The helper for TFTP: tftpd-hpa with tftp-hpa, and requests made by hand."""

import socket
import struct

import helpers as h
import world as w

FILES = h.PLACE / "tftp"
SECONDS = 300  # How long the server's answer is waited for.


def tftpd(site):
    """Starts the server."""
    h.open_folder(FILES)
    site.serve("in.tftpd", "--foreground", "--secure", "--create", "--permissive", "--user", "nobody", str(FILES))


def wake(site, family):
    """Waits until the server answers a neighbour: it loses the first request of another family than
    the one before."""
    asker = site.world.socket(site.server, h.FAMILIES[family], socket.SOCK_DGRAM)
    asker.settimeout(1)
    w.wait_until(lambda: is_answered(asker, site.address(site.server, family)), 20, f"tftpd answers (IPv{family})")


def is_answered(asker, address):
    """Whether somebody is told that there is no such file."""
    asker.sendto(struct.pack("!H", 1) + b"none\0octet\0", (address, 69))
    try:
        return asker.recv(100).startswith(struct.pack("!H", 5))
    except TimeoutError:
        return False


def transfer(site, family, suffix, patience):
    """Gets a file and puts one, by clients that try for so many seconds; the clients, at their end."""
    wake(site, family)
    clients = []
    for number, words in enumerate((f"get file {h.PLACE}/got{family}{suffix}", f"put {h.PLACE}/mine put{family}{suffix}")):
        script = h.PLACE / f"commands{number}"
        script.write_text(f"binary\nrexmt {patience}\ntimeout {patience}\n{words}\nquit\n")
        with script.open() as stdin:
            clients.append(site.start(site.client, "tftp", f"-{family}", site.address(site.server, family), stdin=stdin))
    for client in clients:
        client.wait()
    return clients


def test_put_and_get(tracker):
    """With the helper the server's answers, from a port that nobody has named, are RELATED; without
    it none arrives."""
    with h.site(tracker, "tftp", "udp", 69) as site:
        theirs, mine = h.random_file(FILES / "file", 20_000), h.random_file(h.PLACE / "mine", 20_000)
        tftpd(site)
        site.guard()
        for family in (4, 6):
            said = [client.said() for client in transfer(site, family, "", h.LIMIT // 2)]
            h.check_same_file(h.PLACE / f"got{family}", theirs, f"get with the helper (IPv{family}; it said {said[0]!r})")
            h.check_same_file(FILES / f"put{family}", mine, f"put with the helper (IPv{family}; it said {said[1]!r})")
            site.check_counts(family, NEW=2, RELATED=2, dropped=0)
        site.guard(helped=False)
        for family in (4, 6):
            transfer(site, family, ".none", 2)
            # The client makes its file before it asks, the server with the request.
            for file in (h.PLACE / f"got{family}.none", FILES / f"put{family}.none"):
                w.check(not file.exists() or not file.stat().st_size, f"without the helper {file.name} has content, expected none")
            site.check_counts(family, NEW=2)
            site.check_dropped(family)


def test_what_is_expected(tracker):
    """A read or write request makes a line of what is expected: from any port of the server to the
    very port that asked. Other messages make none."""
    with h.site(tracker, "tftp", "udp", 69) as site:
        site.guard()
        server = site.world.socket(site.server, socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((w.SERVER, 69))
        for opcode, expected in ((1, True), (2, True), (3, False), (4, False), (5, False), (0, False), (256, False)):
            client = site.world.socket(site.client, socket.AF_INET, socket.SOCK_DGRAM)
            client.bind((w.CLIENT, 0))
            port = client.getsockname()[1]
            client.sendto(struct.pack("!H", opcode) + b"file\0octet\0", (w.SERVER, 69))
            _, asker = server.recvfrom(100)
            w.check_equal(asker, (w.CLIENT, port), "who has asked")
            if not expected:
                w.check_equal(site.expected(), [], f"expected connections after a message of kind {opcode}")
                continue
            h.check_expected(site, h.expectation(site, w.SERVER, w.CLIENT, port, SECONDS, "udp"))
            answer = site.world.socket(site.server, socket.AF_INET, socket.SOCK_DGRAM)
            answer.bind((w.SERVER, 0))
            answer.sendto(b"data", (w.CLIENT, port))
            w.check_equal(client.recvfrom(10), (b"data", answer.getsockname()), "what the client got from the server's other port")
            w.check_equal(site.expected(), [], "expected connections after the answer")
            w.check_equal(len(site.entries(f"sport={answer.getsockname()[1]}")), 1, "entries of the answer")
        site.check_counts(NEW=7, RELATED=2, dropped=0)
