# SPDX-License-Identifier: GPL-2.0
"""Tables of x_tables as the kernel takes them (linux/netfilter_ipv4/ip_tables.h, ip6_tables.h), for
what iptables never sends: older revisions, and rules that are wrong."""

import ctypes
import os
import socket
import struct

import world as w

SET_REPLACE, GET_INFO, GET_ENTRIES = 64, 64, 65
PREROUTING, FORWARD, OUTPUT = 0, 2, 3
# The hooks of each table.
HOOKS = {"filter": (1, 2, 3), "raw": (0, 3), "mangle": (0, 1, 2, 3, 4)}
ACCEPT = struct.pack("=i4x", -2)

libc = ctypes.CDLL(None, use_errno=True)


def aligned(data):
    return data + bytes(-len(data) % 8)


def part(name, revision, data):
    """A match or a target of a rule."""
    data = aligned(data)
    return struct.pack("=H29sB", 32 + len(data), name.encode(), revision) + data


class Table:
    """A table of the firewall."""

    def __init__(self, world, version, name):
        self.name = name
        self.version = version
        self.level = socket.SOL_IP if version == 4 else 41
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self.socket = world.socket("firewall", family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        w.sh(f"modprobe {'iptable' if version == 4 else 'ip6table'}_{name}")

    def _get(self, option, data):
        buffer = ctypes.create_string_buffer(data, len(data))
        size = ctypes.c_uint32(len(data))
        if libc.getsockopt(self.socket.fileno(), self.level, option, buffer, ctypes.byref(size)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return buffer.raw

    def _info(self):
        """How many entries there are, and how many bytes."""
        return struct.unpack("=II", self._get(GET_INFO, struct.pack("=32s52x", self.name.encode()))[-8:])

    def entry(self, matches, target, protocol=0):
        """A rule for packets of a transport protocol, if one is given."""
        if self.version == 4:
            head = struct.pack("=80xHBB", protocol, 0, 0)
        else:
            # IP6T_F_PROTO: a protocol is asked for.
            head = struct.pack("=128xHBBB3x", protocol, 0, 1 if protocol else 0, 0)
        # Behind it: nfcache, the two offsets, comefrom, counters.
        fixed = len(aligned(head + bytes(12))) + 16
        offset = fixed + len(matches)
        body = head + struct.pack("=IHHI", 0, offset, offset + len(target), 0)
        return aligned(body) + bytes(16) + matches + target

    def replace(self, hook, rules, protocol=0):
        """Puts rules (their matches, and a target or none) into one chain, and makes the others
        empty; the error number, or 0."""
        accept = part("", 0, ACCEPT)
        # On to the next rule: a verdict that leads behind it is what user space writes for none.
        entries, entry_at, end_at, count = b"", {}, {}, 0
        for chain in HOOKS[self.name]:
            entry_at[chain] = len(entries)
            for matches, target in rules if chain == hook else ():
                blank = self.entry(matches, part("", 0, bytes(4)), protocol)
                target = target or part("", 0, struct.pack("=i", len(entries) + len(blank)))
                entries += self.entry(matches, target, protocol)
                count += 1
            end_at[chain] = len(entries)
            entries += self.entry(b"", accept)
            count += 1
        entries += self.entry(b"", part("ERROR", 0, b"ERROR".ljust(30, b"\0")))
        count += 1
        old, _ = self._info()
        counters = ctypes.create_string_buffer(16 * old)
        numbers = [[where.get(chain, 0) for chain in range(5)] for where in (entry_at, end_at)]
        valid = sum(1 << chain for chain in HOOKS[self.name])
        head = struct.pack("=32s3I5I5IIQ", self.name.encode(), valid, count, len(entries), *numbers[0], *numbers[1], old,
                           ctypes.addressof(counters))
        try:
            self.socket.setsockopt(self.level, SET_REPLACE, head + entries)
        except OSError as error:
            return error.errno
        return 0

    def _entries(self):
        """What the kernel says of each rule: the part behind its head, and how many packets."""
        count, size = self._info()
        data = self._get(GET_ENTRIES, struct.pack("=32sI4x", self.name.encode(), size) + bytes(size))[40:]
        at = 0
        fixed = 112 if self.version == 4 else 168
        for _ in range(count):
            _, next_offset = struct.unpack_from("=HH", data, at + fixed - 24 if self.version == 4 else at + 140)
            packets, _ = struct.unpack_from("=QQ", data, at + fixed - 16)
            yield data[at + fixed:at + next_offset], packets
            at += next_offset

    def rules(self, hook, count):
        """The parts of the first rules of a chain, and how many packets they have counted."""
        before = HOOKS[self.name].index(hook)
        found = list(self._entries())[before:before + count]
        w.check_equal(len(found), count, "rules in the kernel")
        return found
