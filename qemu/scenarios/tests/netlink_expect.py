# SPDX-License-Identifier: GPL-2.0
"""ctnetlink: expectations listed, asked for, made, changed and ended by `conntrack` and by hand."""

import netlink as n
import world as w
from netlink import C, S, C6, S6

# Who expects: a connection that a helper reads. Amanda's may expect four at once, in both families.
PORT = 10080
HELP = n.attr(5, [n.attr(1, b"amanda\0")])


def master(s, sport=1, src=C, dst=S, help_=HELP, protocol=17, zone=None, dport=PORT):
    """Makes a connection that may expect others."""
    tuples = n.flow(1, src, dst, protocol, sport, dport) + n.flow(2, dst, src, protocol, dport, sport)
    more = [] if zone is None else [n.be16(18, zone)]
    s.ask(n.CT, n.NEW, n.ACK | n.CREATE, tuples, n.be32(7, 6000), n.be32(3, 0xE), help_, *more, family=10 if ":" in src else 2)


OF = f"--orig-src {C} --orig-dst {S}"
AMANDA = f"-p udp {OF} --orig-port-src 1 --orig-port-dst {PORT}"
PORTS = "--mask-port-src 0 --mask-port-dst 65535"
HOST = f"--mask-src 255.255.255.255 --mask-dst 255.255.255.255 {PORTS}"
SIX = f"--orig-src {C6} --orig-dst {S6}"
ALL6 = ":".join(["ffff"] * 8)
HOST6 = f"--mask-src {ALL6} --mask-dst {ALL6} {PORTS}"


def expected(sport, dport, src=S, dst=C):
    return f"--tuple-src {src} --tuple-dst {dst} --tuple-port-src {sport} --tuple-port-dst {dport}"


def there(sport, dport, protocol="udp", src=S, dst=C):
    """What is expected, as `conntrack` wants to be asked."""
    return (f"-p {protocol} -s {src} -d {dst} --sport {sport} --dport {dport} "
            f"-r {dst} -q {src} --reply-port-src {dport} --reply-port-dst {sport}")


# With ours what is expected holds its master.
UNCOUNTED = "sed s/use=[0-9]*/use=N/"
SESSION = f"""
    -L expect
    -C expect
    -I expect {AMANDA} {expected(0, 2001)} {HOST} -t 600
    -I expect {AMANDA} {expected(0, 2001)} {HOST} -t 600
    -I expect {AMANDA} {expected(7, 2002)} --mask-src 255.255.255.0 --mask-dst 255.255.255.255 {PORTS} -t 600
    -I expect {AMANDA} {expected(7, 2002)} --mask-src 255.0.0.0 --mask-dst 255.255.255.255 {PORTS} -t 600
    -I expect {AMANDA} --tuple-src 10.0.0.0/8 --tuple-dst {C}/32 --tuple-port-src 1 --tuple-port-dst 2003 {PORTS} -t 600
    -I expect {AMANDA} {expected(9, 2006)} --mask-src 255.255.255.255 --mask-dst 255.255.255.255 --mask-port-src 65535 --mask-port-dst 65535 -t 600
    -I expect -p tcp {OF} --orig-port-src 1 --orig-port-dst {PORT} {expected(0, 2001)} {HOST} -t 600
    -I expect -p udp {OF} --orig-port-src 9 --orig-port-dst {PORT} {expected(0, 2004)} {HOST} -t 600
    -I expect -p udp {OF} --orig-port-src 3 --orig-port-dst 53 {expected(0, 2004)} {HOST} -t 600
    -I expect -p udp {SIX} --orig-port-src 1 --orig-port-dst {PORT} {expected(0, 2001, S6, C6)} {HOST6} -t 600
    -I expect {AMANDA} {expected(0, 2005)} {HOST}
    -I expect {AMANDA} {expected(0, 2005)} {PORTS} -t 600
    -I expect {AMANDA} -t 600
    -I expect {AMANDA} {expected(0, 2005)} {HOST} -t 600 --zone 1
    -L expect
    -L expect -o xml
    -L expect -o extended
    -L expect -o id
    -L expect -o save
    -L expect -f ipv6
    -L expect -f ipv4
    -L expect -p tcp
    -L expect -z
    -L expect -w 1
    -C expect
    -G expect {there(0, 2001)}
    -G expect {there(99, 2001)}
    -G expect {there(7, 2002)}
    -G expect {there(8, 2002)}
    -G expect {there(8, 2002, src="192.168.1.77")}
    -G expect {there(8, 2002, src="10.0.0.1")}
    -G expect {there(9, 2006)}
    -G expect {there(8, 2006)}
    -G expect {there(8, 2001, src=S6, dst=C6)}
    -G expect {there(0, 2001, "tcp")}
    -G expect {there(0, 2001)} -o xml
    -G expect -p udp -s {S} -d {C}
    -U expect {AMANDA} {expected(0, 2001)} {HOST} -t 60
    -A expect {AMANDA} {expected(0, 2001)} {HOST} -t 60
    -D expect {there(99, 2001)}
    -D expect {there(99, 2001)}
    -D expect {there(0, 2001, "tcp")}
    -D expect -p udp -s {S} -d {C}
    -D expect
    -L expect
    -D {AMANDA} | {UNCOUNTED}
    -L expect
    -F expect
    -L expect
    -C expect
    -F expect
    -E expect -p tcp
"""


def test_sessions(tracker):
    """What `conntrack` makes, asks for and ends is what it lists then."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s:
        master(s)
        master(s, src=C6, dst=S6)
        master(s, 3, help_=b"", dport=53)
        transcript = n.Transcript(world, "expectations")
        for options in SESSION.strip().splitlines():
            transcript.run(f"conntrack {options.strip()}")
        transcript.check()


KEY = n.flow(1, C, S, 17, 1, PORT)


def wanted(dport, sport=0, src=S, dst=C):
    """The attribute of what is expected."""
    return n.flow(2, src, dst, 17, sport, dport)


def mask(address="255.255.255.255", sport=0, dst="255.255.255.255"):
    return n.flow(3, address, dst, 17, sport, 0xFFFF)


def expect(s, dport, *more, of=KEY, src=S, mask_=None, flags=n.ACK | n.CREATE | n.EXCL):
    """Asks for an expectation; how that ends."""
    return s.outcome(n.EXP, n.EXP_NEW, flags, of, wanted(dport, src=src), mask_ or mask(), *more)


def check_unheld(world, s):
    """Fails unless the connection of the source port 1 is held by nobody when nothing is expected."""
    s.ask(n.EXP, n.EXP_DELETE, n.ACK)
    w.wait_until(lambda: world.lines("sport=1", "use=1"), 10, f"nobody holds the master: {world.lines('sport=1')}")


def shown(value):
    return value.hex() if isinstance(value, bytes) else "{" + " ".join(f"{k}:{shown(v)}" for k, v in value) + "}"


def note(transcript, title, answer):
    """Messages without numbers and times, which are each tracker's own."""
    if isinstance(answer, tuple):
        transcript.note(f"# {title}: {answer}")
        return
    transcript.note(f"# {title}", *sorted(
        f"{kind:#x} {flags:#x} {head.hex()} " + " ".join(f"{k}:" + ("*" if k in (4, 5) else shown(v)) for k, v in attrs)
        for kind, flags, head, attrs in answer))


def test_messages(tracker):
    """The messages themselves: attributes in stock's order and form; lists of one connection's expectations."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s:
        for port in (1, 2):
            master(s, port)
        master(s, 3, help_=b"", dport=53)
        transcript = n.Transcript(world, "expectation_messages")
        other = n.flow(1, C, S, 17, 2, PORT)
        for flags in range(8):
            note(transcript, f"of flags {flags}", expect(s, 3000 + flags, n.be32(8, flags), of=KEY if flags % 2 else other))
        note(transcript, "another", expect(s, 3000, of=other, flags=n.ACK | n.CREATE))
        note(transcript, "a fifth of four", expect(s, 3008, n.be32(9, 0), n.be32(4, 5)))
        note(transcript, "all", s.ask(n.EXP, n.EXP_GET, n.DUMP, family=0))
        note(transcript, "of IPv4", s.ask(n.EXP, n.EXP_GET, n.DUMP, family=2))
        note(transcript, "of IPv6", s.ask(n.EXP, n.EXP_GET, n.DUMP, family=10))
        note(transcript, "of one connection", s.ask(n.EXP, n.EXP_GET, n.DUMP, KEY))
        note(transcript, "of one connection, by its reply tuple", s.ask(n.EXP, n.EXP_GET, n.DUMP, n.flow(1, S, C, 17, PORT, 2)))
        nobody = n.flow(1, C, S, 17, 9, PORT)
        bare = n.flow(1, C, S, 17, 3, 53)
        for flags in (n.DUMP, n.DUMP | n.ACK):
            note(transcript, f"of none, {flags:#x}", s.outcome(n.EXP, n.EXP_GET, flags, nobody))
        note(transcript, "of one that no helper reads", s.outcome(n.EXP, n.EXP_GET, n.DUMP | n.ACK, bare))
        note(transcript, "one", s.outcome(n.EXP, n.EXP_GET, 0, wanted(3003)))
        note(transcript, "one, acknowledged", s.outcome(n.EXP, n.EXP_GET, n.ACK, wanted(3003)))
        # What is said of a connection is taken for what is expected.
        note(transcript, "by what is no master", s.outcome(n.EXP, n.EXP_GET, n.ACK, n.flow(1, S, C, 17, 0, 3003)))
        note(transcript, "by its master", s.outcome(n.EXP, n.EXP_GET, n.ACK, KEY))
        note(transcript, "by nothing", s.outcome(n.EXP, n.EXP_GET, n.ACK))
        (one,) = s.ask(n.EXP, n.EXP_GET, 0, wanted(3003))
        number = dict(one[3])[5]
        false = bytes([number[0] ^ 1]) + number[1:]
        for message in (n.EXP_GET, n.EXP_DELETE):
            for title, sent in (("a false number", false), ("its number", number)):
                note(transcript, f"{message} with {title}", s.outcome(n.EXP, message, n.ACK, wanted(3003), n.attr(5, sent)))
        # Of packets and requests on any of them.
        cpus = s.ask(n.EXP, n.EXP_STATS_CPU, n.DUMP, family=0)
        transcript.note(*(f"{kind:#x} {flags:#x} {head.hex()} {[number for number, _ in attrs]}" for kind, flags, head, attrs in cpus))
        counts = [sum(int.from_bytes(dict(attrs)[number]) for *_, attrs in cpus) for number in (1, 2, 3)]
        transcript.note(f"came, were announced, have ended: {counts}")
        note(transcript, "what a CPU has counted", s.outcome(n.EXP, n.EXP_STATS_CPU, n.ACK, family=0))
        note(transcript, "message 4", s.outcome(n.EXP, 4, n.ACK))
        for name in (b"ftp\0", b"nobody\0", b"amanda\0"):
            note(transcript, f"all of {name} end", s.outcome(n.EXP, n.EXP_DELETE, n.ACK, n.attr(6, name)))
            note(transcript, "what is left", s.ask(n.EXP, n.EXP_GET, n.DUMP, family=0))
        transcript.check()
        # The numbers of those that were there at once.
        for dport in range(4000, 4004):
            expect(s, dport)
        ids = [dict(attrs)[5] for _, _, _, attrs in s.ask(n.EXP, n.EXP_GET, n.DUMP)]
        w.check_equal(len(set(ids)), 4, f"numbers: {ids}")
        w.check_equal([dict(attrs)[5] for _, _, _, attrs in s.ask(n.EXP, n.EXP_GET, n.DUMP)], ids, "numbers the second time")


FULL = [
    ("master", 1, n.flow(1, C, S, 17, 1, PORT)),
    ("tuple", 2, n.flow(2, S, C, 17, 0, 3000)),
    ("mask", 3, n.flow(3, "255.255.255.255", "255.255.255.255", 17, 0, 0xFFFF)),
    ("timeout", 4, n.be32(4, 600)),
    ("helper", 6, n.attr(6, b"amanda\0")),
    ("zone", 7, n.be16(7, 0)),
    ("flags", 8, n.be32(8, 1)),
    ("class", 9, n.be32(9, 0)),
]


def rows(attributes):
    """Attributes as bytes, from (number, value)."""
    return b"".join(n.attr(kind, [rows(value)] if isinstance(value, list) else value) for kind, value in attributes)


def variants(attributes, path=()):
    """Each attribute, at any depth, left out, doubled, cut short and lengthened; with a title."""
    for at, (kind, value) in enumerate(attributes):
        title = ".".join(map(str, (*path, kind)))
        before, behind = attributes[:at], attributes[at + 1:]
        yield f"{title} missing", before + behind
        yield f"{title} doubled", before + [(kind, value)] * 2 + behind
        if isinstance(value, list):
            yield f"{title} empty", before + [(kind, [])] + behind
            yield f"{title} flat", before + [(kind, rows(value))] + behind
            yield f"{title} of one byte", before + [(kind, b"\1")] + behind
            for name, inner in variants(value, (*path, kind)):
                yield name, before + [(kind, inner)] + behind
        else:
            for size in range(len(value)):
                yield f"{title} of {size} bytes", before + [(kind, value[:size])] + behind
            yield f"{title} with two bytes more", before + [(kind, value + bytes(2))] + behind


NUMBERS = {4: 4, 5: 4, 7: 2, 8: 4, 9: 4}
VALUES = (0, 1, 2, 3, 4, 7, 8, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def brief(outcome):
    """How a request ended: with so many messages, or an error, where, and what is said of it."""
    if isinstance(outcome, list):
        return str(len(outcome))
    name, more = outcome
    more = dict(more)
    where = f" at {int.from_bytes(bytes.fromhex(more[2]), 'little')}" if 2 in more else ""
    policy = f" {more[4]}" if 4 in more else ""
    text = f" {bytes.fromhex(more[1])[:-1].decode()!r}" if 1 in more else ""
    return f"{name}{where}{text}{policy}"


def test_generated(tracker):
    """Every attribute missing, doubled, cut at every length, and numbers out of range, in each message."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s:
        master(s)
        transcript = n.Transcript(world, "generated_expectations")
        whole = n.attributes(b"".join(bytes_ for _, _, bytes_ in FULL))
        requests = [("whole", whole), *variants(whole)]
        for kind, size in NUMBERS.items():
            others = [one for one in whole if one[0] != kind]
            # Of times there is a scenario of its own.
            values = [value for value in VALUES if value < 1 << 8 * size and (kind != 4 or 2 < value < 1 << 20)]
            requests += [(f"{kind} = {value:#x}", others + [(kind, value.to_bytes(size, "big"))]) for value in values]
        for protocol in range(256):
            wrong = [(kind, value) for kind, value in whole if kind != 2]
            requests.append((f"protocol {protocol}", wrong + n.attributes(n.flow(2, S, C, protocol, 0, 3000))))
        for title, attributes in requests:
            row = rows(attributes)
            said = []
            for message, flags in ((n.EXP_NEW, n.ACK | n.CREATE | n.EXCL), (n.EXP_NEW, n.ACK), (n.EXP_GET, n.ACK),
                                   (n.EXP_GET, n.DUMP | n.ACK), (n.EXP_DELETE, n.ACK), (n.EXP_STATS_CPU, n.ACK)):
                said.append(s.outcome(n.EXP, message, flags, row))
            transcript.note(f"{title}: " + ", ".join(map(brief, said)))
            s.ask(n.EXP, n.EXP_DELETE, n.ACK)
        for family in (0, 1, 2, 7, 10, 255):
            said = [s.outcome(n.EXP, message, flags, rows(whole), family=family)
                    for message, flags in ((n.EXP_NEW, n.ACK | n.CREATE), (n.EXP_GET, n.ACK), (n.EXP_GET, n.DUMP | n.ACK), (n.EXP_DELETE, n.ACK))]
            transcript.note(f"family {family}: " + ", ".join(map(brief, said)))
        transcript.check()
        check_unheld(world, s)
        w.check_equal(world.firewall("conntrack -C").strip(), "1", "connections")


BAD = {
    "a master that is not there": (n.flow(1, C, S, 17, 9, PORT), b""),
    "a master in another zone": (KEY, n.be16(7, 3)),
    "a master that no helper reads": (n.flow(1, C, S, 17, 3, 53), b""),
    "a class of two": (KEY, n.be32(9, 1)),
    "a class of 256": (KEY, n.be32(9, 256)),
    "a function that is not there": (KEY, n.attr(11, b"nobody\0")),
    "a function without an end": (KEY, n.attr(11, b"nobody")),
    "a translation": (KEY, n.attr(10, [n.be32(1, 0), n.flow(2, C, S, 17, 1, 2)])),
    "an empty translation": (KEY, n.attr(10, [])),
    "another helper's name": (KEY, n.attr(6, b"ftp\0")),
    "a name of 16 letters": (KEY, n.attr(6, b"sixteen letters!\0")),
    "flags of the kernel's own": (KEY, n.be32(8, 8)),
}


def test_refusals(tracker):
    """What is refused, and what of it is there then."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s:
        master(s)
        master(s, 2)
        master(s, 3, help_=b"", dport=53)
        master(s, 4, zone=3)
        transcript = n.Transcript(world, "refused_expectations")
        for title, (of, more) in BAD.items():
            transcript.note(f"{title}: {expect(s, 3000, more, of=of)}")
            transcript.run("conntrack -L expect")
            s.ask(n.EXP, n.EXP_DELETE, n.ACK)
        transcript.note("# in a zone")
        transcript.note(f"{expect(s, 3000, n.be16(7, 3), of=n.flow(1, C, S, 17, 4, PORT))}")
        for zone in (0, 3):
            transcript.note(f"zone {zone}: {len(s.outcome(n.EXP, n.EXP_GET, n.ACK, wanted(3000), n.be16(7, zone)))}")
        transcript.note("# which of two")
        other = n.flow(1, C, S, 17, 2, PORT)
        for title, say in {
            "the first": lambda: expect(s, 3000),
            "again": lambda: expect(s, 3000),
            "again, without EXCL": lambda: expect(s, 3000, n.be32(4, 60), flags=n.ACK | n.CREATE),
            "of another": lambda: expect(s, 3000, of=other),
            "of another source": lambda: expect(s, 3000, src=C),
            "of any source": lambda: expect(s, 3000, src="192.168.1.0", mask_=mask("255.255.255.0")),
            "of a network of them": lambda: expect(s, 3001, src="192.168.1.11", mask_=mask("255.255.255.0")),
            "in it": lambda: expect(s, 3001, src="192.168.1.7"),
            "in it, for another": lambda: expect(s, 3001, src="192.168.1.7", of=other),
            "beside it": lambda: expect(s, 3001, src="192.168.2.7"),
        }.items():
            transcript.note(f"{title}: {say()}")
        transcript.run("conntrack -L expect")
        transcript.check()
        check_unheld(world, s)


def test_met(tracker):
    """Packets meet what a user expects: once, or again and again, or not while it is inactive."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s:
        w.sh("ip netns exec firewall sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600")
        master(s)
        permanent, inactive = 1, 2
        transcript = n.Transcript(world, "met_expectations")
        for dport, flags in ((2001, 0), (2002, permanent), (2003, inactive)):
            w.check_equal(expect(s, dport, n.be32(8, flags)), [], "expected")
        for sport in (7, 8):
            for dport in (2001, 2002, 2003, 2004):
                world.server.send(w.udp(S, C, sport, dport))
        w.time.sleep(0.2)
        for options in ("-L", "-L -u EXPECTED", "-L expect", "-L expect -o xml", f"-D {AMANDA}", "-L expect", "-L"):
            transcript.run(f"conntrack {options} | {UNCOUNTED}")
        transcript.check()


def test_lists(tracker):
    """/proc says of each what kind it is; the seeds' list says what theirs said."""
    tracker.helper("amanda")
    kinds = ("PERMANENT", "INACTIVE")
    with w.World(tracker) as world, n.Socket() as s:
        master(s)
        wanted, older = [], []
        for flags in range(4):
            w.check_equal(expect(s, 2000 + flags, n.be32(8, flags)), [], "expected")
            words = ",".join(kind for bit, kind in enumerate(kinds) if flags >> bit & 1)
            line = f"src={S} dst={C} sport=0 dport={2000 + flags}"
            wanted.append(" ".join(f"l3proto = 2 proto=17 {line} {words} amanda".split()))
            older.append(f"proto=17 {line}")

        def lines(name):
            text = world.firewall(f"cat /proc/net/{name}")
            return sorted(" ".join(line.split()[1:]) for line in text.splitlines())

        w.check_equal(lines("nf_conntrack_expect"), sorted(wanted), "nf_conntrack_expect")
        if tracker.ours:
            w.check_equal(lines("ip_conntrack_expect"), sorted(older), "ip_conntrack_expect")


def listed(s, *more):
    """The ports of what is expected, and how long each waits."""
    ports = {}
    for _, _, _, attrs in s.ask(n.EXP, n.EXP_GET, n.DUMP, *more):
        one = dict(attrs)
        port = int.from_bytes(dict(dict(one[2])[2])[3])
        w.check(port not in ports, f"{port} is listed once")
        ports[port] = int.from_bytes(one[4])
    return ports


def test_times(tracker):
    """Its time is the helper's, then what a user says; when it is over nobody sees or meets it."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s:
        master(s)
        expect(s, 3000, n.be32(4, 5))
        (left,) = listed(s).values()
        w.check(170 < left <= 180, f"it waits {left} s, as amanda's do")
        for seconds in (600, 4000):
            w.check_equal(expect(s, 3000, n.be32(4, seconds), flags=n.ACK), [], "changed")
            (left,) = listed(s).values()
            w.check(seconds - 10 < left <= seconds, f"it waits {left} s, {seconds} were said")
        w.check_equal(expect(s, 3000, flags=n.ACK), [], "nothing is changed")
        w.check_equal(expect(s, 3000, n.be32(4, 1), flags=n.ACK), [], "to a second")
        w.wait_until(lambda: not listed(s), 10, "it is over")
        w.check_equal(s.outcome(n.EXP, n.EXP_GET, n.ACK, wanted(3000))[0], "ENOENT", "asked for")
        w.check_equal(s.outcome(n.EXP, n.EXP_DELETE, n.ACK, wanted(3000))[0], "ENOENT", "ended")
        w.check_equal(expect(s, 3000, n.be32(4, 60), flags=n.ACK)[0], "ENOENT", "changed when it is over")
        w.check_equal(expect(s, 3000), [], "expected anew")
        # What would begin anew at 2^32 (reliability: expectation timeout overflow).
        for seconds in (0, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000):
            expect(s, 3000, flags=n.ACK | n.CREATE)
            w.check_equal(expect(s, 3000, n.be32(4, seconds), flags=n.ACK), [], f"{seconds} seconds")
            left = listed(s).get(3000)
            if tracker.ours:
                w.check(left is None if seconds == 0 else left > 1 << 20, f"it waits {left} s, {seconds} were said")
        world.server.send(w.udp(S, C, 7, 3000))
        w.time.sleep(0.2)
        w.check_equal(len(world.lines("dport=3000")), 1, "a connection comes")


def test_many(tracker, many=300):
    """More than a part of a list holds: each is listed once, while others come and go."""
    tracker.helper("amanda")
    with w.World(tracker) as world, n.Socket() as s, n.Socket() as other:
        w.sh("sysctl -qw net.netfilter.nf_conntrack_expect_max=100000")
        for sport in range(1, many + 1):
            master(s, sport)
            for at in range(4):
                w.check_equal(expect(s, 4 * sport + at + 2000, of=n.flow(1, C, S, 17, sport, PORT)), [], "expected")
        w.check_equal(world.firewall("conntrack -C expect").strip(), str(4 * many), "expectations")
        stay = set(range(2004, 2004 + 4 * many))
        w.check_equal(set(listed(s)), stay, "listed")
        for sport in (1, many):
            w.check_equal(set(listed(s, n.flow(1, C, S, 17, sport, PORT))), {4 * sport + at + 2000 for at in range(4)}, "one's")
        # A list is asked for, and read while a third of the connections end.
        s.send(n.EXP, n.EXP_GET, n.DUMP, family=0)
        found, sport = [], 3
        while True:
            part = s.messages()
            found += [int.from_bytes(dict(dict(dict(n.attributes(body[4:]))[2])[2])[3]) for kind, _, body in part if kind != n.DONE]
            if any(kind == n.DONE for kind, _, _ in part):
                break
            for _ in range(15):
                if sport <= many:
                    other.ask(n.CT, n.DELETE, n.ACK, n.flow(1, C, S, 17, sport, PORT))
                    sport += 3
        w.check(sport > 3, "the list has come in parts")
        for gone in range(sport, many + 1, 3):
            other.ask(n.CT, n.DELETE, n.ACK, n.flow(1, C, S, 17, gone, PORT))
        # Where the last that was listed has gone, stock lists its chain anew.
        w.check(not tracker.ours or len(found) == len(set(found)), f"each is listed once: {len(found)} of {len(set(found))}")
        gone = {4 * sport + at + 2000 for sport in range(3, many + 1, 3) for at in range(4)}
        w.check(stay - gone <= set(found) <= stay, f"those that stay are listed, {sorted(stay - gone - set(found))[:9]} are not")
        w.check_equal(set(listed(s)), stay - gone, "what is left")
        s.ask(n.EXP, n.EXP_DELETE, n.ACK)
        w.check_equal(world.firewall("conntrack -C expect").strip(), "0", "at the end")


def test_its_connection_goes(tracker, rounds=200):
    """The list of one connection's expectations is begun and its connection ended before the rest is read (CVE-2026-23458)."""
    w.sh(f"modprobe {'ip' if tracker.ours else 'nf'}_conntrack_irc max_dcc_channels=64")
    with w.World(tracker) as world, n.Socket() as other:
        irc, key = n.attr(5, [n.attr(1, b"irc\0")]), n.flow(1, C, S, 6, 1, 6667)
        for _ in range(rounds):
            with n.Socket() as s:
                master(other, 1, help_=irc, protocol=6, dport=6667)
                for dport in range(3000, 3060):
                    w.check_equal(expect(other, dport, of=key), [], "expected")
                s.send(n.EXP, n.EXP_GET, n.DUMP, key)
                # A part is made when the one before it is read.
                size = 4096
                first = s.messages(size)
                other.ask(n.CT, n.DELETE, n.ACK, key)
                first += s.messages(size)
                w.check(first[-1][0] != n.DONE, "the list has more than two parts")
                # One that did not fit any more may have been written before.
                late = 0
                while (part := s.messages(size))[-1][0] != n.DONE:
                    late += len(part)
                w.check(late <= 1, f"{late} are listed after their connection's end")
        w.check_equal(world.firewall("conntrack -C").strip(), "0", "connections")
        w.check_equal(world.firewall("conntrack -C expect").strip(), "0", "expectations")


@w.ours_only
def test_class_stays(tracker):
    """What is expected keeps its class, whichever of its helper's a message about it names; talk has two."""
    tracker.helper("talk")
    with w.World(tracker) as _, n.Socket() as s:
        talk, key = n.attr(5, [n.attr(1, b"talk\0")]), n.flow(1, C, S, 17, 1, 517)
        master(s, 1, help_=talk, dport=517)
        w.check_equal(expect(s, 3000, of=key), [], "the first")
        w.check_equal(expect(s, 3000, n.be32(9, 1), of=key)[0], "EEXIST", "again")
        again = n.flow(2, S, C, 17, 5, 3000)  # Another tuple to be looked for, the same to be expected.
        w.check_equal(s.outcome(n.EXP, n.EXP_NEW, n.ACK | n.CREATE, key, again, mask(), n.be32(9, 1)), [], "one that it stands for")
        (attrs,) = (attrs for *_, attrs in s.ask(n.EXP, n.EXP_GET, n.DUMP))
        w.check_equal(int.from_bytes(dict(attrs)[9]), 0, "its class")
