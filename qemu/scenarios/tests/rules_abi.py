# SPDX-License-Identifier: GPL-2.0
"""What x_tables is told byte for byte: revisions that iptables has given up, rules that are refused
with the very error that stock has, room that belongs to the kernel."""

import errno
import struct

import rules as r
import world as w
import xtables as x

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
# What user space may have left where the kernel keeps a pointer.
GARBAGE = struct.pack("=Q", 0xdead4eaddeadbeef)


def ct(revision, flags=0, zone=0, events=0, expected=0, helper=b"", timeouts=b"", end=GARBAGE):
    """A rule of the target CT (struct xt_ct_target_info, xt_ct_target_info_v1)."""
    data = struct.pack("=HHII16s", flags, zone, events, expected, helper)
    if revision:
        data += struct.pack("=32s", timeouts)
    return x.part("CT", revision, x.aligned(data) + end)


def conntrack(revision, wanted, inverted=0, states=0, status=0, protocol=0, ports=(0, 0, 0, 0), high=(0, 0, 0, 0)):
    """A rule of the match conntrack (struct xt_conntrack_mtinfo1 to 3) without addresses."""
    order = "=" if revision == 3 else ">"
    data = struct.pack("=128xIIH", 0, 0, protocol) + struct.pack(f"{order}4H", *ports) + struct.pack("=HH", wanted, inverted)
    data += struct.pack("=BB" if revision == 1 else "=HH", states, status)
    if revision == 3:
        data += struct.pack("=4H", *high)
    return x.part("conntrack", revision, data)


NO_REVISION = (errno.ENOENT, errno.EPROTOTYPE)
STATE, PROTO, STATUS, ORIGSRC_PORT, ORIGDST_PORT = 1, 2, 64, 256, 512


def check_shown(found, expected, what, kernels_own=0):
    """Fails unless a rule's parts are shown as they were sent; what is the kernel's own is zero."""
    shown = expected[:len(expected) - kernels_own] + bytes(kernels_own)
    w.check_equal(found[:len(shown)], shown, f"{what}: what the kernel shows of a rule")


def revisions(tracker, version):
    c, s = (C, S) if version == 4 else (w.GHOST_CLIENT6, w.GHOST_SERVER6)
    with w.World(tracker) as world:
        tables = {name: x.Table(world, version, name) for name in ("raw", "mangle", "filter")}
        # Zones by older revisions of CT, and the target NOTRACK.
        raw = [(x.part("udp", 0, struct.pack("=4HBB", sport, sport, 0, 65535, 0, 0)), target)
               for sport, target in ((1000, ct(0, zone=5)), (1001, ct(1, zone=6)), (1002, ct(2, zone=7)),
                                     (1003, x.part("NOTRACK", 0, b"")), (1004, ct(0, flags=1)), (1005, ct(1, flags=1)))]
        w.check_equal(tables["raw"].replace(x.PREROUTING, raw, protocol=17), 0, "error of the rules in raw")
        mark = struct.pack("=IIIB", 0x25, 0xff, 0, 0)
        mangle = [(b"", x.part("CONNMARK", 1, mark)), (x.part("connmark", 1, struct.pack("=IIB", 0x25, 0xff, 0)), None)]
        w.check_equal(tables["mangle"].replace(x.FORWARD, mangle), 0, "error of the rules in mangle")
        matches = [
            (conntrack(1, STATE, states=8), 3), (conntrack(2, STATE, states=8), 3), (conntrack(3, STATE, states=8), 3),
            (conntrack(1, STATE, STATE, states=8), 4), (conntrack(2, STATE, states=256), 3),
            (conntrack(1, PROTO, protocol=17), 4), (conntrack(2, PROTO, PROTO, protocol=17), 0),
            (conntrack(1, ORIGSRC_PORT, ports=(1000, 0, 0, 0)), 2), (conntrack(2, ORIGDST_PORT, ORIGDST_PORT, ports=(0, 2000, 0, 0)), 0),
            (conntrack(3, ORIGSRC_PORT, ports=(1000, 0, 0, 0), high=(1001, 0, 0, 0)), 3),
            (conntrack(1, STATUS, status=2), 1), (conntrack(2, STATUS, STATUS, status=2), 3),
            (x.part("state", 0, struct.pack("=I", 8)), 3), (x.part("state", 0, struct.pack("=I", 64)), 3),
            (x.part("helper", 0, struct.pack("=i30s", 1, b"x" * 29)), 7),
            (x.part("connlimit", 1, struct.pack("=4III", 0, 0, 0, 0, 0, 0) + GARBAGE), 4),
            (x.part("cluster", 0, struct.pack("=4I", 1, 1, 0, 0)), 4),
        ]
        w.check_equal(tables["filter"].replace(x.FORWARD, [(match, None) for match, _ in matches]), 0, "error of the rules in filter")
        for sender, packet in [("client", w.udp(c, s, port, 2000)) for port in range(1000, 1006)] + [("server", w.udp(s, c, 2000, 1000))]:
            if sender == "server":
                # In the zone of the connection.
                w.check_equal(tables["raw"].replace(x.PREROUTING, [(b"", ct(0, zone=5))]), 0, "error of another rule")
            getattr(world, sender).send(packet)
            w.time.sleep(0.05)
        w.time.sleep(0.2)
        for at, (found, (match, packets)) in enumerate(zip(tables["filter"].rules(x.FORWARD, len(matches)), matches, strict=True)):
            name = match[2:31].rstrip(b"\0").decode()
            check_shown(found[0], match, f"{name} {match[31]}", 8 if name == "connlimit" else 0)
            if name != "connlimit":
                w.check_equal(found[1], packets, f"packets of rule {at}, {name} {match[31]}")
        w.check_equal([packets for _, packets in tables["mangle"].rules(x.FORWARD, 2)], [7, 4], "packets of the rules of marks")
        (parts, packets), = tables["raw"].rules(x.PREROUTING, 1)
        check_shown(parts, ct(0, zone=5), "CT 0", 8)
        with w.inside("firewall"), open("/proc/thread-self/net/nf_conntrack") as file:
            lines = file.read().splitlines()
        zones = sorted(word for line in lines for word in line.split() if word.startswith("zone"))
        w.check_equal(zones, ["zone=5", "zone=6", "zone=7"], "zones of the entries")
        w.check(all("mark=37" in line.split() for line in lines), f"marks of the entries: {lines}")
        r.check_nobody_elses(tracker)


def test_revisions_ipv4(tracker):
    revisions(tracker, 4)


def test_revisions_ipv6(tracker):
    revisions(tracker, 6)


def target(name, revision, form, *values):
    return b"", x.part(name, revision, struct.pack(form, *values))


def match(name, revision, form, *values):
    return x.part(name, revision, struct.pack(form, *values)), None


def rules():
    """Rules: table, transport protocol, parts, the error or 0."""
    label = "=HH"
    yield from (("filter", 0, match("connlabel", 0, label, bit, options), error) for bit, options, error in
                ((0, 0, 0), (127, 3, 0), (128, 0, errno.ERANGE), (65535, 1, errno.ERANGE), (0, 4, errno.EINVAL), (200, 8, errno.EINVAL)))
    amount = "=QQBB6x"
    yield from (("filter", 0, match("connbytes", 0, amount, 0, 0, what, direction), error) for what, direction, error in
                ((0, 0, 0), (2, 2, 0), (3, 0, errno.EINVAL), (0, 3, errno.EINVAL), (255, 255, errno.EINVAL)))
    nodes = "=4I"
    yield from (("filter", 0, match("cluster", 0, nodes, count, mask, 0, 0), error) for count, mask, error in
                ((32, 2 ** 32 - 1, 0), (4, 15, 0), (4, 16, errno.EDOM), (0, 1, errno.EDOM), (33, 0, errno.EINVAL)))
    marks = "=IIIBBB"
    yield from (("mangle", 0, target("CONNMARK", 2, marks, 0, 0, 0, direction, bits, mode), error) for direction, bits, mode, error in
                ((0, 31, 0, 0), (1, 0, 2, 0), (0, 0, 9, 0), (2, 0, 0, errno.EINVAL), (0, 32, 0, errno.EINVAL), (1, 255, 1, errno.EINVAL)))
    yield from ((table, 0, target("CONNSECMARK", 0, "=B", mode), error) for table, mode, error in
                (("mangle", 1, 0), ("mangle", 2, 0), ("mangle", 0, errno.EINVAL), ("mangle", 3, errno.EINVAL),
                 ("filter", 1, errno.EINVAL), ("raw", 2, errno.EINVAL)))
    long = b"x" * 32
    for revision in (0, 1, 2):
        known = 31 if revision == 2 else 1
        for bit in range(6):
            yield "raw", 0, (b"", ct(revision, flags=1 << bit)), 0 if 1 << bit & known else errno.EINVAL
        for options, protocol, error in (
                ({"zone": 5}, 0, 0), ({"events": 1}, 0, 0), ({"expected": 2 ** 31}, 0, 0),
                ({"helper": b"none"}, 0, errno.ENOENT), ({"helper": b"none"}, 6, errno.ENOENT),
                ({"helper": long[:16]}, 6, errno.ENAMETOOLONG), ({"helper": long[:16], "flags": 1}, 0, 0)):
            yield "raw", protocol, (b"", ct(revision, **options)), error
        if revision:
            for options, protocol, error in (
                    ({"timeouts": b"none"}, 0, errno.EINVAL), ({"timeouts": b"none"}, 6, errno.ENOENT),
                    ({"timeouts": long}, 6, errno.ENAMETOOLONG), ({"timeouts": long, "flags": 1}, 0, 0)):
                yield "raw", protocol, (b"", ct(revision, **options)), error
        yield "filter", 0, (b"", ct(revision)), errno.EINVAL
        yield "mangle", 0, (b"", ct(revision)), errno.EINVAL
    yield "filter", 0, (b"", x.part("NOTRACK", 0, b"")), errno.EINVAL
    # Of another size than the revision has.
    for name, revision, size in (("state", 0, 4), ("conntrack", 1, 152), ("conntrack", 3, 164), ("helper", 0, 36), ("connmark", 1, 12),
                                 ("connbytes", 0, 24), ("connlimit", 1, 32), ("connlabel", 0, 4), ("cluster", 0, 16)):
        for wrong in (size - 8, size + 8):
            yield "filter", 0, (x.part(name, revision, bytes(max(wrong, 0))), None), errno.EINVAL
    # Revisions that there are not. (The error says whether there is another for all families.)
    for name, revision in (("conntrack", 4), ("state", 1), ("connlabel", 1), ("connmark", 2)):
        yield "filter", 0, (x.part(name, revision, bytes(64)), None), NO_REVISION


def refused(tracker, version):
    with w.World(tracker) as world:
        tables = {name: x.Table(world, version, name) for name in ("raw", "mangle", "filter")}
        hooks = {"raw": x.PREROUTING, "mangle": x.FORWARD, "filter": x.FORWARD}
        wrong = []
        for table, protocol, (matches, its_target), error in rules():
            found = tables[table].replace(hooks[table], [(matches, its_target)], protocol)
            if found != error and not (error is NO_REVISION and found in NO_REVISION):
                part = matches or its_target
                names = [errno.errorcode.get(number, number) for number in (found, error)]
                wrong.append(f"{part[2:31].rstrip(bytes(1)).decode()} {part[31]} {part[32:].hex()} in {table}: {names[0]}, expected {names[1]}")
        w.check(not wrong, "; ".join(wrong))
        if tracker.ours:
            # Stock takes no notice of what it does not know.
            for revision in (1, 2, 3):
                for question in ({"wanted": 1 << 14}, {"wanted": 1, "inverted": 1 << 15}):
                    found = tables["filter"].replace(x.FORWARD, [(conntrack(revision, **question), None)])
                    w.check_equal(found, errno.EOPNOTSUPP, f"error of an unknown question, conntrack {revision}")
        r.check_nobody_elses(tracker)


def test_refused_ipv4(tracker):
    refused(tracker, 4)


def test_refused_ipv6(tracker):
    refused(tracker, 6)
