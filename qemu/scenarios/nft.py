# SPDX-License-Identifier: GPL-2.0
"""Rules of the firewall made by nft, and what they count; and messages to nf_tables that nft does not send."""

import errno
import re
import struct

import netlink as n
import world as w

# linux/netfilter/nfnetlink.h, nf_tables.h
SUBSYSTEM, NEW_RULE, NEW_OBJECT = 10, 6, 18
BATCH_BEGIN, BATCH_END = 16, 17
APPEND = 0x800
FAMILIES = {"ip": 2, "ip6": 10, "inet": 1}
TABLE, CHAIN, EXPRESSIONS, ELEMENT, NAME, DATA = 1, 2, 4, 1, 1, 2
OBJECT_NAME, OBJECT_KIND, OBJECT_DATA = 2, 3, 4


def load(text):
    """Makes what a text says, all or nothing."""
    w.run_inside("firewall", "nft", "-f", "-", input=text)


def listing():
    """All that nft tells of the firewall's rules, line by line."""
    return [line.strip() for line in w.run_inside("firewall", "nft", "list", "ruleset").splitlines()]


def chain(rules, hook="forward", priority="filter", name=None, declare=""):
    """A chain of rules at a hook, each with a counter; at its end, unless it has one."""
    lines = "\n".join(rule if "counter" in rule else f"{rule} counter" for rule in rules)
    return f"chain {name or hook} {{ type filter hook {hook} priority {priority}; {declare}\n{lines}\n}}\n"


def table(*parts, family="inet", name="t"):
    return f"table {family} {name} {{\n{''.join(parts)}}}\n"


def counted():
    """Rules that count, with how many packets each has counted, in their order."""
    found = (re.match(r"(.*)\bcounter packets (\d+) bytes \d+( accept| drop)?$", line) for line in listing())
    return [(match[1].strip(), int(match[2])) for match in found if match]


def check_counted(expected):
    """Fails unless rules have counted so many packets. Of what nft writes otherwise than it reads, both are given."""
    found = counted()
    w.check_equal(len(found), len(expected), f"rules that count: {found}")
    wrong = [f"{rule} (nft: {told}): {packets}, expected {right}"
             for (told, packets), (rule, right) in zip(found, expected, strict=True) if packets != right]
    w.check(not wrong, "packets that rules counted: " + "; ".join(wrong))


def check_comes_back():
    """Fails unless what nft tells makes the same rules again."""
    before = listing()
    load("\n".join(["flush ruleset", *before]))
    w.check_equal(listing(), before, "what was told and made again")


def refused(text):
    """What nft says of what cannot be made: the reason alone."""
    with w.inside("firewall"):
        done = w.subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
    w.check(done.returncode, f"refused: {text}")
    return done.stderr.strip().splitlines()[0].rsplit(": ", 1)[-1]


class Batches:
    """A socket for transactions of one message."""

    def __init__(self, socket):
        self.socket = socket

    def outcome(self, message, family, *attrs):
        """By its name, why a message is refused; "made" if it is not."""
        self.socket.seq += 3
        body = struct.pack("=BBH", FAMILIES[family], 0, 0) + b"".join(attrs)

        def whole(kind, flags, seq, body):
            return struct.pack("=IHHII", 16 + len(body), kind, n.REQUEST | flags, seq, 0) + body

        bounds = struct.pack("!BBH", 0, 0, SUBSYSTEM)
        rest = self.socket.seq
        self.socket.socket.send(whole(BATCH_BEGIN, 0, rest - 2, bounds) + whole(SUBSYSTEM << 8 | message, n.CREATE | n.ACK | APPEND, rest - 1, body)
                                + whole(BATCH_END, 0, rest, bounds))
        answer = self.socket.socket.recv(65536)
        _, kind, _, seq, _, number = struct.unpack_from("=IHHIIi", answer)
        # Without memory for the transaction its begin is answered.
        w.check(kind == n.ERROR and (seq == rest - 1 or seq == rest - 2 and number), f"an answer: {kind} to {seq}, {number}")
        return errno.errorcode[-number] if number else "made"

    def rule(self, family, name, *attrs):
        data = [n.attr(DATA, list(attrs))] if attrs else []
        return self.outcome(NEW_RULE, family, n.attr(TABLE, b"t\0"), n.attr(CHAIN, b"c\0"),
                            n.attr(EXPRESSIONS, [n.attr(ELEMENT, [n.attr(NAME, name.encode() + b"\0"), *data])]))

    def object(self, family, kind, name, *attrs):
        return self.outcome(NEW_OBJECT, family, n.attr(TABLE, b"t\0"), n.attr(OBJECT_NAME, name.encode() + b"\0"), n.be32(OBJECT_KIND, kind),
                            n.attr(OBJECT_DATA, list(attrs)))
