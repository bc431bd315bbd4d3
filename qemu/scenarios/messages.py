# SPDX-License-Identifier: GPL-2.0
"""Messages to ctnetlink as whoever wants to break it sends them: those that could be right, made by a
seed, and changed in their types, flags, attributes, lengths and nesting."""

import random
import socket
import struct

CONNTRACK, EXPECT, TIMEOUT = 1, 2, 8
REQUEST, MULTI, ACK, ECHO, ROOT, MATCH, EXCL, CREATE, APPEND = 1, 2, 4, 8, 0x100, 0x200, 0x200, 0x400, 0x800
NESTED, BIG_ENDIAN = 1 << 15, 1 << 14
NAMES = (b"ftp\0", b"irc\0", b"tftp\0", b"amanda\0", b"nobody\0", b"", b"f" * 16, b"f" * 40 + b"\0", b"ftp", b"fuzz\0", b"fuzz2\0")
# Numbers that stand at some border.
BORDERS = (0, 1, 2, 3, 6, 7, 11, 14, 15, 17, 32, 47, 58, 99, 127, 128, 132, 200, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


class Maker:
    """Makes messages of a seed: as often as it is asked, the same for the same."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, part):
        return self.random.random() < part

    def number(self, size):
        """A number in the network's order, as often as not one at a border."""
        value = self.random.choice(BORDERS) if self.chance(0.5) else self.random.getrandbits(8 * size)
        return (value & (1 << 8 * size) - 1).to_bytes(size)

    def some(self, *attributes):
        """Most of the attributes; each is a pair of its type and what makes it."""
        found = []
        for kind, make in attributes:
            if self.chance(0.7):
                value = make() if callable(make) else make
                found.append((kind, value))
        return found

    def u8(self):
        return self.number(1)

    def u16(self):
        return self.number(2)

    def u32(self):
        return self.number(4)

    def u64(self):
        return self.number(8)

    def tuple(self, family=None, protocol=None):
        """Of a few addresses and ports, so that some meet."""
        family = family or self.random.choice((4, 4, 4, 6))
        protocol = protocol or self.random.choice((6, 6, 17, 17, 1, 58, 132, 47, 99))
        hosts = [self.random.choice((b"\x01", b"\x02", b"\x05")) for _ in range(2)]
        if family == 4:
            network = [(1, b"\x0a\0\0" + hosts[0]), (2, b"\x0a\0\1" + hosts[1])]
        else:
            network = [(3, bytes(15) + hosts[0]), (4, b"\x20" + bytes(14) + hosts[1])]
        port = struct.pack("!H", self.random.choice((21, 80, 1000, 1001)))
        transport = [(1, bytes([protocol]))]
        if protocol == 1:
            transport += [(4, port), (5, bytes([self.random.choice((8, 0, 13))])), (6, b"\0")]
        elif protocol == 58:
            transport += [(7, port), (8, bytes([128])), (9, b"\0")]
        else:
            transport += [(2, port), (3, struct.pack("!H", self.random.choice((21, 53, 80))))]
        found = [(1, network), (2, transport)]
        if self.chance(0.1):
            found.append((3, self.u16()))
        return found

    def tuples(self):
        """Both directions of a connection."""
        original = self.tuple()
        (_, network), (_, transport), *rest = original
        (_, source), (_, destination) = network
        kinds = [kind for kind, _ in network]
        back = [(kinds[0], destination), (kinds[1], source)]
        if len(transport) == 3:
            protocol, (_, sport), (_, dport) = transport
            answer = [protocol, (2, dport), (3, sport)]
        else:
            answer = [(kind, b"\0" if kind in (5,) else value) for kind, value in transport]
        return [(1, original), (2, [(1, back), (2, answer), *rest])]

    def protocol_info(self):
        flags = lambda: self.number(2)
        tcp = self.some((1, lambda: bytes([self.random.choice((0, 1, 3, 9, 10, 11, 255))])), (2, self.u8), (3, self.u8), (4, flags), (5, flags))
        sctp = self.some((1, self.u8), (2, self.u32), (3, self.u32))
        return self.some((1, tcp)) if self.chance(0.7) else self.some((3, sctp), (2, tcp))

    def helper(self):
        return self.some((1, self.random.choice(NAMES)), (2, self.u32))

    def shift(self):
        return self.some((1, self.u32), (2, self.u32), (3, self.u32))

    def connection(self):
        mark = lambda: struct.pack("!I", self.random.choice((0, 1, 2, 2**32 - 1)))
        rest = self.some((3, lambda: struct.pack("!I", self.random.choice((0, 2, 6, 8, 14, 0x20e, 2**32 - 1)))), (4, self.protocol_info),
                         (7, lambda: struct.pack("!I", self.random.choice((0, 1, 100, 2**31, 2**32 - 1)))), (8, mark), (21, mark))
        for attribute in ((5, self.helper), (15, self.shift), (16, self.shift), (14, self.tuple), (18, self.u16), (12, self.u32),
                          (22, lambda: self.number(16)), (23, lambda: self.number(16)), (25, lambda: self.some((1, self.u32), (2, self.u32))),
                          (26, self.u32), (6, lambda: [(1, self.u32())]), (13, lambda: []), (24, lambda: self.shift()), (17, self.u32),
                          (9, lambda: [(1, self.u64()), (2, self.u64())]), (20, lambda: [(1, self.u64())]), (19, lambda: [(1, b"x\0")])):
            if self.chance(0.12):
                kind, make = attribute
                rest.append((kind, make()))
        tuples = self.tuples()
        if self.chance(0.3):
            tuples.pop(self.random.randrange(2))
        return (tuples if self.chance(0.9) else []) + rest

    def expectation(self):
        family, protocol = self.random.choice((4, 6)), self.random.choice((6, 17))
        mask = [(1, [(1, b"\xff" * 4), (2, b"\xff" * 4)] if family == 4 else [(3, b"\xff" * 16), (4, b"\xff" * 16)]),
                (2, [(1, bytes([protocol])), (2, b"\0\0"), (3, b"\xff\xff")])]
        return self.some((2, lambda: self.tuple(family, protocol)), (3, mask), (1, lambda: self.tuple(family, protocol)), (4, self.u32),
                         (6, self.random.choice(NAMES)), (8, self.u32), (9, self.u32)) + [
            pair for pair in self.some((5, self.u32), (7, self.u16), (10, lambda: self.some((1, self.u32), (2, self.tuple))), (11, b"nat\0"))
            if self.chance(0.3)]

    def policy(self):
        return self.some((1, self.random.choice(NAMES)), (2, lambda: struct.pack("!H", self.random.choice((2, 10)))),
                         (3, lambda: bytes([self.random.choice((1, 6, 17, 47, 58, 132, 255))])),
                         (4, lambda: [(kind, self.u32()) for kind in range(1, self.random.randrange(1, 16))]))

    def right(self):
        """Subsystem, message, flags, family and attributes of a message that could be right."""
        subsystem, make, numbers = self.random.choice((
            (CONNTRACK, self.connection, (0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7)), (CONNTRACK, self.connection, (0, 0, 0, 1, 2)),
            (EXPECT, self.expectation, (0, 0, 0, 1, 2, 3)), (TIMEOUT, self.policy, (0, 0, 1, 2, 3, 4))))
        number = self.random.choice(numbers)
        flags = REQUEST | self.random.choice((0, ACK))
        if number == 0:
            flags |= self.random.choice((CREATE, CREATE, CREATE | EXCL, 0))
        elif self.chance(0.3):
            flags |= ROOT | MATCH
        if self.chance(0.1):
            flags |= ECHO
        attributes = make()
        family = socket.AF_INET6 if (3, bytes(15)) in attributes else self.random.choice((socket.AF_INET, socket.AF_INET, socket.AF_INET6, 0))
        if number != 0 and self.chance(0.3):
            attributes = []
        return subsystem, number, flags, family, attributes

    # What is changed in attributes; each takes a list and a place in it.

    def drop(self, attributes, at):
        del attributes[at]

    def double(self, attributes, at):
        attributes.insert(self.random.randrange(len(attributes) + 1), attributes[at])

    def swap(self, attributes, at):
        other = self.random.randrange(len(attributes))
        attributes[at], attributes[other] = attributes[other], attributes[at]

    def retype(self, attributes, at):
        _, value = attributes[at]
        attributes[at] = self.random.choice((self.random.randrange(40), self.random.getrandbits(14), 0)), value

    def resize(self, attributes, at):
        kind, value = attributes[at]
        if isinstance(value, list):
            attributes[at] = kind, b""
        else:
            attributes[at] = kind, (value + self.random.randbytes(self.random.choice((1, 2, 4, 8, 300))))[:self.random.choice((0, 1, 2, 3, 4, 5, 8, 17, 400))]

    def fill(self, attributes, at):
        kind, value = attributes[at]
        size = 4 if isinstance(value, list) else len(value)
        attributes[at] = kind, self.number(size) if 0 < size <= 16 else self.random.randbytes(size)

    def nest(self, attributes, at):
        kind, value = attributes[at]
        for _ in range(self.random.choice((1, 1, 2, 30))):
            value = [(kind, value)]
        attributes[at] = kind, value

    def flatten(self, attributes, at):
        _, value = attributes[at]
        if isinstance(value, list):
            attributes[at:at + 1] = value

    CHANGES = (drop, double, swap, retype, resize, fill, fill, nest, flatten)

    def change(self, attributes):
        """Changes something in attributes, however deep."""
        while attributes:
            at = self.random.randrange(len(attributes))
            kind, value = attributes[at]
            if isinstance(value, list) and value and self.chance(0.7):
                value = list(value)
                attributes[at] = kind, value
                attributes = value
                continue
            self.random.choice(self.CHANGES)(self, attributes, at)
            return

    def write(self, attributes, wrong):
        """Their bytes; with `wrong`, some heads say what is not so."""
        out = b""
        for kind, value in attributes:
            if isinstance(value, list):
                value = self.write(value, wrong)
                kind |= NESTED
            length = 4 + len(value)
            if self.chance(wrong):
                kind ^= self.random.choice((NESTED, BIG_ENDIAN, NESTED | BIG_ENDIAN))
            if self.chance(wrong):
                length = self.random.choice((0, 1, 3, 4, 5, length - 1, length + 1, length + 8, 65535)) & 0xffff
            out += struct.pack("=HH", length & 0xffff, kind & 0xffff) + value + bytes(-len(value) % 4)
        return out

    def message(self):
        """The bytes of a message; most are wrong somewhere."""
        subsystem, number, flags, family, attributes = self.right()
        version = wrong = 0
        if self.chance(0.75):
            for _ in range(self.random.choice((0, 1, 1, 2, 5))):
                self.change(attributes)
            wrong = self.random.choice((0, 0, 0, 0.05, 0.3))
            if self.chance(0.1):
                number = self.random.randrange(256)
            if self.chance(0.03):
                subsystem = self.random.randrange(16)
            if self.chance(0.1):
                flags = self.random.getrandbits(16) | REQUEST
            if self.chance(0.1):
                family = self.random.getrandbits(8)
            if self.chance(0.1):
                version = self.random.getrandbits(8)
        body = struct.pack("=BBH", family, version, self.random.choice((0, 0, 0, 65535))) + self.write(attributes, wrong)
        length = 16 + len(body)
        data = struct.pack("=IHHII", length, subsystem << 8 | number, flags, self.random.getrandbits(32), 0) + body
        if wrong and self.chance(0.2):
            data = data[:self.random.randrange(len(data) + 1)]
        if wrong and self.chance(0.1):
            data = struct.pack("=I", self.random.choice((0, 15, 16, 19, 20, length - 1, length + 1, 2**31, 2**32 - 1))) + data[4:]
        return data[:60000] if len(data) < 60000 else data[:100]
