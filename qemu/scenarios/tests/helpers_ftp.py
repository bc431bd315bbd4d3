# SPDX-License-Identifier: GPL-2.0
"""The helper for FTP: vsftpd with lftp and tnftp, and control connections word by word."""

import itertools

import helpers as h
import nft
import world as w

FILES = h.PLACE / "ftp"
UPLOADS = FILES / "uploads"
MODES = tuple(itertools.product(("lftp", "tnftp"), ("active", "passive"), (4, 6)))
SECONDS = 300  # How long a data connection is waited for.


def vsftpd(site):
    """Starts the server, for anybody, in both families."""
    h.open_folder(UPLOADS)
    config = h.PLACE / "vsftpd.conf"
    config.write_text(f"""
listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={FILES}
write_enable=YES
anon_upload_enable=YES
anon_umask=022
connect_from_port_20=YES
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
max_per_ip=0
one_process_model=YES
secure_chroot_dir={h.open_folder(h.PLACE / "empty")}
""")
    (h.PLACE / "empty").chmod(0o555)
    FILES.chmod(0o555)
    site.serve("vsftpd", str(config))


def host(site, family):
    address = site.address(site.server, family)
    return f"[{address}]" if family == 6 else address


def lftp(site, mode, family, patience, commands):
    """Starts an lftp that neither tries again nor in another mode, and waits for so
    many seconds."""
    settings = {
        "net:timeout": patience, "net:max-retries": 1, "ftp:passive-mode": "yes" if mode == "passive" else "no",
        "ftp:auto-passive-mode": "no", "ftp:ssl-allow": "no", "ftp:use-feat": "no", "cmd:fail-exit": "yes",
        "dns:order": "inet6 inet" if family == 6 else "inet",
    }
    said = "; ".join(f"set {name} {value!r}" if " " in str(value) else f"set {name} {value}" for name, value in settings.items())
    return site.start(site.client, "lftp", "-c", f"{said}; open ftp://{host(site, family)}; {commands}")


def tnftp(site, mode, family, patience, *rest):
    """Starts tnftp in a mode, which waits for so many seconds."""
    return site.start(site.client, "tnftp", "-q", str(patience), f"-{family}", *rest, env={"FTPMODE": mode})


def fetch(site, program, mode, family, name, to, patience=h.LIMIT):
    """Starts a client that fetches a file."""
    if program == "lftp":
        return lftp(site, mode, family, patience, f"get {name} -o {to}")
    return tnftp(site, mode, family, patience, "-o", str(to), f"ftp://{host(site, family)}/{name}")


def send(site, program, mode, family, file, name, patience=h.LIMIT):
    """Starts a client that sends a file into the folder of uploads."""
    if program == "lftp":
        return lftp(site, mode, family, patience, f"put {file} -o uploads/{name}")
    return tnftp(site, mode, family, patience, "-u", f"ftp://{host(site, family)}/uploads/{name}", str(file))


def check_done(client, what):
    code = client.wait()
    w.check_equal(code, 0, f"{what}: exit code; it said: {client.said()}; exit code")


def test_fetching(tracker):
    """Both clients fetch, active and passive, in both families: PORT, PASV, EPRT, EPSV. Without
    the helper none does, at the same firewall."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        file = h.random_file(FILES / "file", 100_000)
        vsftpd(site)
        site.guard()
        running = [(mode, fetch(site, *mode, "file", h.PLACE / "-".join(map(str, mode)))) for mode in MODES]
        for mode, client in running:
            check_done(client, f"{mode} with the helper")
            h.check_same_file(h.PLACE / "-".join(map(str, mode)), file, f"{mode} with the helper")
        for family in (4, 6):
            site.check_counts(family, RELATED=4, dropped=0)
        site.guard(helped=False)
        running = [(mode, fetch(site, *mode, "file", h.PLACE / "none", patience=6)) for mode in MODES]
        for mode, client in running:
            w.check(client.wait() != 0, f"{mode} without the helper: exit code 0, expected a failure")
            w.check(not (h.PLACE / "none").exists() or not (h.PLACE / "none").stat().st_size,
                    f"{mode} without the helper: a file came, expected none")
        for family in (4, 6):
            # All four have come as far as the data connection.
            site.check_counts(family, NEW=4)
            site.check_dropped(family)


def test_sending_to_a_server_inside(tracker):
    """Both clients send from outside to a server inside, at a firewall whose rules are nft's."""
    with h.site(tracker, "ftp", "tcp", 21, client="server") as site:
        file = h.random_file(h.PLACE / "file", 100_000)
        vsftpd(site)
        site.guard(kind="nft")
        running = [(mode, send(site, *mode, file, "-".join(map(str, mode)))) for mode in MODES]
        for mode, client in running:
            check_done(client, f"{mode} to a server inside")
            h.check_same_file(UPLOADS / "-".join(map(str, mode)), file, f"{mode} to a server inside")
        for family in (4, 6):
            site.check_counts(family, RELATED=4, dropped=0)


def test_rules_of_nft(tracker):
    """The same at a firewall of nft's own rules, which load the helper."""
    rules = [f"ct state {state} counter accept" for state in ("established", "related", "new tcp dport 21")]
    with h.site(tracker, None, "tcp", 21) as site:
        file = h.random_file(FILES / "file", 100_000)
        vsftpd(site)
        nft.load(nft.table('ct helper f { type "ftp" protocol tcp; }\n', nft.chain(['tcp dport 21 ct helper set "f"'], "prerouting"),
                           nft.chain([*rules, "counter drop"])))
        running = [(mode, fetch(site, *mode, "file", h.PLACE / "-".join(map(str, mode)))) for mode in MODES]
        for mode, client in running:
            check_done(client, f"{mode} with rules of nft")
            h.check_same_file(h.PLACE / "-".join(map(str, mode)), file, f"{mode} with rules of nft")
        w.check_equal([packets for _, packets in nft.counted()][2:], [8, 8, 0], "what is related, new, and dropped")


def test_ten_at_once(tracker):
    """Ten transfers of 10 MB at the same time, active and passive."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        files = [h.random_file(FILES / f"file{number}", 10_000_000) for number in range(10)]
        vsftpd(site)
        site.guard()
        clients = [fetch(site, "lftp", ("active", "passive")[number % 2], 4, file.name, h.PLACE / file.name)
                   for number, file in enumerate(files)]
        for client, file in zip(clients, files, strict=True):
            check_done(client, file.name)
            h.check_same_file(h.PLACE / file.name, file, "ten at once")
        site.check_counts(RELATED=10, dropped=0)


def ftp_port(address, port):
    """An address and a port as PORT and 227 have them."""
    return ",".join([*address.split("."), str(port >> 8), str(port & 255)])


def announcement(kind, family, address, port):
    """The words that announce a port of an address."""
    return {
        "PORT": lambda: f"PORT {ftp_port(address, port)}\r\n",
        "PASV": lambda: f"227 Entering Passive Mode ({ftp_port(address, port)}).\r\n",
        "EPRT": lambda: f"EPRT |{1 if family == 4 else 2}|{address}|{port}|\r\n",
        "EPSV": lambda: f"229 Entering Extended Passive Mode (|||{port}|)\r\n",
    }[kind]().encode()


def test_what_is_expected(tracker):
    """Each way to announce a data connection makes one line of what is expected; the connection's
    first packet is RELATED, the line is gone with it, and its entry is there."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        seen = {4: 0, 6: 0}
        for kind, family in (("PORT", 4), ("PASV", 4), ("EPRT", 4), ("EPSV", 4), ("EPRT", 6), ("EPSV", 6)):
            control = h.Control(site, family)
            active = kind in ("PORT", "EPRT")
            callee, caller = (site.client, site.server) if active else (site.server, site.client)
            listener, port = site.listener(callee, family)
            ends = site.address(caller, family), site.address(callee, family)
            if not active:
                control.say(f"{kind}\r\n".encode())
            (control.say if active else control.answer)(announcement(kind, family, ends[1], port))
            h.check_expected(site, h.expectation(site, *ends, port, SECONDS))
            w.check_equal(site.entries(f"dport={port}"), [], f"{kind}: entries before the data connection")
            site.call(caller, ends[1], port)
            seen[family] += 1
            w.check_equal(site.expected(), [], f"{kind}: expected connections after the data connection has come")
            w.check_equal(len(site.entries(f"dport={port}")), 1, f"{kind}: entries of the data connection")
            listener.close()
        for family, connections in seen.items():
            site.check_counts(family, RELATED=connections, dropped=0)


def test_only_once_and_only_so(tracker):
    """A second call to the same port is not RELATED, nor is one to another port, or one from
    another side."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        control = h.Control(site)
        listener, port = site.listener(site.client)
        other, other_port = site.listener(site.client)
        control.say(f"PORT {ftp_port(w.CLIENT, port)}\r\n".encode())
        site.check_unreachable(site.server, w.CLIENT, other_port, "a port that nobody has announced")
        site.call(site.server, w.CLIENT, port)
        site.check_unreachable(site.server, w.CLIENT, port, "the announced port, a second time")
        site.check_counts(RELATED=1)


def test_expectation_goes_with_its_master(tracker):
    """And nobody can use what has gone."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        control = h.Control(site)
        listener, port = site.listener(site.client)
        control.say(f"PORT {ftp_port(w.CLIENT, port)}\r\n".encode())
        h.check_expected(site, h.expectation(site, w.SERVER, w.CLIENT, port, SECONDS))
        control.check_ends_with(site)
        site.check_unreachable(site.server, w.CLIENT, port, "a port announced by a connection that has gone")


def test_what_opens_nothing(tracker):
    """Addresses of other hosts, ports that are none, words of the wrong side or place."""
    v4, v6, client, server = 4, 6, True, False
    announcements = (
        # Whoever names another host's address opens no port of it.
        (v4, client, f"PORT {ftp_port(w.GHOST_CLIENT, 5001)}\r\n"),
        (v4, client, f"PORT {ftp_port(w.SERVER, 5001)}\r\n"),
        (v4, client, f"EPRT |1|{w.GHOST_CLIENT}|5001|\r\n"),
        (v6, client, f"EPRT |2|{w.GHOST_CLIENT6}|5001|\r\n"),
        (v4, server, f"227 Entering Passive Mode ({ftp_port(w.GHOST_SERVER, 5001)}).\r\n"),
        (v4, server, f"227 Entering Passive Mode ({ftp_port(w.CLIENT, 5001)}).\r\n"),
        # Ports above 65535, and the port 0.
        (v4, client, f"PORT {ftp_port(w.CLIENT, 65536)}\r\n"),
        (v4, client, f"EPRT |1|{w.CLIENT}|65536|\r\n"),
        (v4, client, f"EPRT |1|{w.CLIENT}|0|\r\n"),
        (v4, server, f"227 Entering Passive Mode ({ftp_port(w.SERVER, 65536)}).\r\n"),
        (v4, server, "229 Entering Extended Passive Mode (|||65536|)\r\n"),
        (v4, server, "229 Entering Extended Passive Mode (|||0|)\r\n"),
        (v6, server, "229 Entering Extended Passive Mode (|||70557|)\r\n"),
        # Commands of the server, answers of the client, what does not begin a line, the other family.
        (v4, server, f"PORT {ftp_port(w.SERVER, 5001)}\r\n"),
        (v4, client, f"227 Entering Passive Mode ({ftp_port(w.CLIENT, 5001)}).\r\n"),
        (v4, client, f"STOR PORT {ftp_port(w.CLIENT, 5001)}\r\n"),
        (v4, client, "EPRT |2|2001:db8:1::6|5001|\r\n"),
        (v6, client, f"EPRT |1|{w.CLIENT}|5001|\r\n"),
    )
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        h.check_opens_nothing(site, announcements, lambda port: f"PORT {ftp_port(w.CLIENT, port)}\r\n")


@w.ours_only
def test_only_answers_count(tracker):
    """What a server announces unasked, or twice, or to a browser that posts a form, opens nothing."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        answer = f"227 Entering Passive Mode ({ftp_port(w.SERVER, 5001)}).\r\n".encode()
        control = h.Control(site)
        control.answer(answer)
        w.check_equal(site.expected(), [], "expected connections after an answer that nobody has asked for")
        control.say(b"PASV\r\n")
        control.answer(answer)
        w.check_equal(len(site.expected()), 1, "expected connections after the answer to a question")
        listener, _ = site.listener(site.server, 4, 5001)
        site.call(site.client, w.SERVER, 5001)
        listener.close()
        control.answer(answer)
        w.check_equal(site.expected(), [], "expected connections after a second answer to one question")
        form = h.Control(site, greeting=None)
        form.answer(b"220 ready\r\n")
        form.say(f"POST / HTTP/1.1\r\n\r\nUSER x\r\nPORT {ftp_port(w.CLIENT, 5001)}\r\n".encode())
        w.check_equal(site.expected(), [], "expected connections after a form that was posted")


@w.ours_only
def test_port_zero(tracker):
    """Stock expects a connection to port 0 after PORT and 227, which none can be."""
    announcements = (
        (4, True, f"PORT {ftp_port(w.CLIENT, 0)}\r\n"),
        (4, False, f"227 Entering Passive Mode ({ftp_port(w.SERVER, 0)}).\r\n"),
    )
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        h.check_opens_nothing(site, announcements, lambda port: f"PORT {ftp_port(w.CLIENT, port)}\r\n")
