# SPDX-License-Identifier: GPL-2.0
"""What nf_tables is told of expressions and objects that cannot be: messages that nft does not send."""

import netlink as n
import nft
import world as w

DREG, KEY, DIRECTION, SREG = 1, 2, 3, 4
HELPER, TIMEOUT, EXPECTATION = 3, 7, 9


def expressions(batches):
    """Each key in each way, with and without a direction, in tables of each family."""
    register = {"read": n.be32(DREG, 1), "write": n.be32(SREG, 1), "both": n.be32(DREG, 1) + n.be32(SREG, 1), "neither": b""}
    directions = {"": b"", " original": n.u8(DIRECTION, 0), " reply": n.u8(DIRECTION, 1)}
    for family in nft.FAMILIES:
        # What is written has to be there: nothing has put it into the register.
        for way in ("read", "write"):
            for key in range(26):
                for name, direction in directions.items():
                    yield f"{family} {way} {key}{name}", batches.rule(family, "ct", n.be32(KEY, key), register[way], direction)
    for way in ("both", "neither"):
        yield f"ip {way} 0", batches.rule("ip", "ct", n.be32(KEY, 0), register[way])
    yield "no key", batches.rule("ip", "ct", register["read"])
    yield "nothing", batches.rule("ip", "ct")
    yield "a third direction", batches.rule("ip", "ct", n.be32(KEY, 17), register["read"], n.u8(DIRECTION, 2))
    yield "a key of two bytes", batches.rule("ip", "ct", n.attr(KEY, b"\0\0"), register["read"])
    yield "a key beyond all", batches.rule("ip", "ct", n.be32(KEY, 256), register["read"])
    for number in (0, 4, 5, 8, 20, 21, 23, 24, 1 << 31):
        yield f"helper's name into register {number}", batches.rule("ip", "ct", n.be32(KEY, 6), n.be32(DREG, number))
        yield f"state into register {number}", batches.rule("ip", "ct", n.be32(KEY, 0), n.be32(DREG, number))
    yield "notrack", batches.rule("ip", "notrack")
    yield "notrack with an attribute", batches.rule("ip", "notrack", n.be32(1, 1))


def objects(batches):
    """Helpers and timeouts, complete and not."""
    ftp, tcp, none = n.attr(1, b"ftp\0"), n.u8(3, 6), n.attr(1, b"none\0")
    for what, attrs in {"whole": [ftp, tcp], "no name": [tcp], "no protocol": [ftp], "protocol 0": [ftp, n.u8(3, 0)], "unknown": [none, tcp],
                        "another protocol": [ftp, n.u8(3, 17)], "no text": [n.attr(1, b""), tcp], "a long name": [n.attr(1, b"x" * 16 + b"\0"), tcp],
                        "of ip": [ftp, tcp, n.be16(2, 2)], "of ip6": [ftp, tcp, n.be16(2, 10)], "of inet": [ftp, tcp, n.be16(2, 1)],
                        "of none": [ftp, tcp, n.be16(2, 3)], "of many": [ftp, tcp, n.be16(2, 0x102)]}.items():
        for family in nft.FAMILIES:
            yield f"helper {family} {what}", batches.object(family, HELPER, f"h {what}", *attrs)
    data, udp = n.attr(3, [n.be32(1, 7)]), n.u8(2, 17)
    for what, attrs in {"whole": [udp, data], "no protocol": [data], "no timeouts": [udp], "none of them": [udp, n.attr(3, [])],
                        "another protocol": [n.u8(2, 99), data], "all others": [n.u8(2, 255), data], "of ip6": [n.be16(1, 10), udp, data],
                        "short": [udp, n.attr(3, [n.attr(1, b"\0")])], "more": [udp, n.attr(3, [n.be32(9, 7)])]}.items():
        yield f"timeout {what}", batches.object("inet", TIMEOUT, f"t {what}", *attrs)


    tcp, port, time, size = n.u8(2, 6), n.be16(3, 5432), n.attr(4, (90_000).to_bytes(4, "little")), n.u8(5, 2)
    for what, attrs in {"whole": [tcp, port, time, size], "no protocol": [port, time, size], "no port": [tcp, time, size], "no time": [tcp, port, size],
                        "no size": [tcp, port, time], "any size": [tcp, port, time, n.u8(5, 0)], "of icmp": [n.u8(2, 1), port, time, size],
                        "of udp": [n.u8(2, 17), port, time, size], "of dccp": [n.u8(2, 33), port, time, size],
                        "of ip": [tcp, port, time, size, n.be16(1, 2)], "of ip6": [tcp, port, time, size, n.be16(1, 10)],
                        "of inet": [tcp, port, time, size, n.be16(1, 1)], "of many": [tcp, port, time, size, n.be16(1, 0x102)]}.items():
        for family in nft.FAMILIES:
            yield f"expectation {family} {what}", batches.object(family, EXPECTATION, f"e {what}", *attrs)


def test_whatever_messages(tracker):
    """Why each is refused, as with the stock tracker; what is made is listed, and goes."""
    with w.World(tracker) as world, n.Socket() as socket:
        tracker.helper("ftp")
        nft.load("".join(nft.table("chain c { }\n", family=family) for family in nft.FAMILIES))
        transcript = n.Transcript(world, "nft_refusals")
        batches = nft.Batches(socket)
        w.check_equal(batches.rule("ip", "ct", n.be32(KEY, 14), n.be32(DREG, 23)), "ERANGE", "eight bytes into the last four")
        w.check_equal(w.setting("acct"), 0, "whether connections are counted for a rule that was refused")
        for part in (expressions, objects):
            for what, outcome in part(batches):
                transcript.said.append(f"{what}: {outcome}")
        transcript.said += filter(None, nft.listing())
        transcript.check()
        nft.load("flush ruleset")


def test_families_that_are_not_tracked(tracker):
    """In tables of frames and of ARP there is nothing to ask; what is not to be tracked may be said anywhere."""
    with w.World(tracker):
        for family, hook in (("arp", "input"), ("bridge", "forward")):
            for rule in ("ct state new", "ct count over 2"):
                said = nft.refused(nft.table(nft.chain([rule], hook), family=family))
                w.check("Protocol error" in said, f"{family}: {rule}: {said}")
            nft.load(nft.table(nft.chain(["notrack"], hook), family=family))
