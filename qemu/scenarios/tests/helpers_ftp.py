# SPDX-License-Identifier: GPL-2.0
"""The helper for FTP: vsftpd with lftp and tnftp, and control connections word by word."""

import itertools

import helpers as h
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


def lftp(site, mode, family, commands):
    """The command of an lftp session that neither tries again nor in another mode."""
    settings = {
        "net:timeout": h.PATIENCE, "net:max-retries": 1, "ftp:passive-mode": "yes" if mode == "passive" else "no",
        "ftp:auto-passive-mode": "no", "ftp:ssl-allow": "no", "ftp:use-feat": "no", "cmd:fail-exit": "yes",
        "dns:order": "inet6 inet" if family == 6 else "inet",
    }
    said = "; ".join(f"set {name} {value!r}" if " " in str(value) else f"set {name} {value}" for name, value in settings.items())
    return ["lftp", "-c", f"{said}; open ftp://{host(site, family)}; {commands}"]


def tnftp(site, mode, family, *rest):
    """The command of a tnftp session, and its mode as the environment tells it."""
    return ["tnftp", "-q", str(h.PATIENCE), f"-{family}", *rest], {"FTPMODE": mode}


def fetch(site, program, mode, family, name, to):
    """Starts a client that fetches a file."""
    if program == "lftp":
        return site.start(site.client, *lftp(site, mode, family, f"get {name} -o {to}"))
    command, env = tnftp(site, mode, family, "-o", str(to), f"ftp://{host(site, family)}/{name}")
    return site.start(site.client, *command, env=env)


def send(site, program, mode, family, file, name):
    """Starts a client that sends a file into the folder of uploads."""
    if program == "lftp":
        return site.start(site.client, *lftp(site, mode, family, f"put {file} -o uploads/{name}"))
    command, env = tnftp(site, mode, family, "-u", f"ftp://{host(site, family)}/uploads/{name}", str(file))
    return site.start(site.client, *command, env=env)


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
        running = [(mode, fetch(site, *mode, "file", h.PLACE / "none")) for mode in MODES]
        for mode, client in running:
            w.check(client.wait() != 0, f"{mode} without the helper: exit code 0, expected a failure")
            w.check(not (h.PLACE / "none").exists() or not (h.PLACE / "none").stat().st_size,
                    f"{mode} without the helper: a file came, expected none")
        for family in (4, 6):
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
            (control.say if active else control.answer)(announcement(kind, family, ends[1], port))
            h.check_expected(site, h.expectation(site, *ends, port, SECONDS))
            w.check_equal(site.entries(f"dport={port}"), [], f"{kind}: entries before the data connection")
            site.call(caller, ends[1], port)
            seen[family] += 1
            site.check_counts(family, RELATED=seen[family], dropped=0)
            w.check_equal(site.expected(), [], f"{kind}: expected connections after the data connection has come")
            w.check_equal(len(site.entries(f"dport={port}")), 1, f"{kind}: entries of the data connection")
            listener.close()


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


def check_opens_nothing(site, family, active, words):
    """Says something on a connection of its own; then nothing may be expected."""
    control = h.Control(site, family)
    control.try_to(control.say if active else control.answer, words)
    w.check_equal(site.expected(), [], f"expected connections after {words!r}")
    control.reset()


def test_others_hosts_open_nothing(tracker):
    """Whoever names another host's address opens no port of it."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        for active, words in (
            (True, f"PORT {ftp_port(w.GHOST_CLIENT, 5001)}\r\n"),
            (True, f"PORT {ftp_port(w.SERVER, 5001)}\r\n"),
            (True, f"EPRT |1|{w.GHOST_CLIENT}|5001|\r\n"),
            (False, f"227 Entering Passive Mode ({ftp_port(w.GHOST_SERVER, 5001)}).\r\n"),
            (False, f"227 Entering Passive Mode ({ftp_port(w.CLIENT, 5001)}).\r\n"),
        ):
            check_opens_nothing(site, 4, active, words.encode())
        check_opens_nothing(site, 6, True, f"EPRT |2|{w.GHOST_CLIENT6}|5001|\r\n".encode())


def test_others_words_open_nothing(tracker):
    """Commands from the server and answers from the client are none, nor is what does not begin a line."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        for active, words in (
            (False, f"PORT {ftp_port(w.SERVER, 5001)}\r\n"),
            (True, f"227 Entering Passive Mode ({ftp_port(w.CLIENT, 5001)}).\r\n"),
            (True, f"STOR PORT {ftp_port(w.CLIENT, 5001)}\r\n"),
            (True, "EPRT |1|::1|5001|\r\n"),
            (True, f"EPRT |2|{w.CLIENT}|5001|\r\n"),
        ):
            check_opens_nothing(site, 4, active, words.encode())


def test_ports_that_are_none(tracker):
    """Ports above 65535 and the port 0 open nothing."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        for active, words in (
            (True, f"PORT {ftp_port(w.CLIENT, 65536)}\r\n"),
            (True, f"EPRT |1|{w.CLIENT}|65536|\r\n"),
            (True, f"EPRT |1|{w.CLIENT}|0|\r\n"),
            (False, f"227 Entering Passive Mode ({ftp_port(w.SERVER, 65536)}).\r\n"),
            (False, "229 Entering Extended Passive Mode (|||65536|)\r\n"),
            (False, "229 Entering Extended Passive Mode (|||0|)\r\n"),
            (False, "229 Entering Extended Passive Mode (|||70557|)\r\n"),
        ):
            check_opens_nothing(site, 4, active, words.encode())


@w.ours_only
def test_port_zero(tracker):
    """Stock expects a connection to port 0 after PORT and 227, which none can be."""
    with h.site(tracker, "ftp", "tcp", 21) as site:
        site.guard()
        check_opens_nothing(site, 4, True, f"PORT {ftp_port(w.CLIENT, 0)}\r\n".encode())
        check_opens_nothing(site, 4, False, f"227 Entering Passive Mode ({ftp_port(w.SERVER, 0)}).\r\n".encode())
