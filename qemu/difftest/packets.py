# SPDX-License-Identifier: GPL-2.0
"""Packets as bytes, from their network header on, with the right checksums unless told otherwise."""

import socket
import struct

TCP, UDP, ICMP, ICMPV6, SCTP, GRE = 6, 17, 1, 58, 132, 47
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ip(src, dst, protocol, payload, *, ttl=64, fragment=0, ident=1, options=b"", extensions=b"", first=None):
    """A network header of the family of the addresses (bytes) before a payload."""
    if len(src) == 16:
        body = extensions + payload
        first = protocol if first is None else first
        return struct.pack("!IHBB", 6 << 28, len(body) & 0xFFFF, first, ttl) + src + dst + body
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, (words * 4 + len(payload)) & 0xFFFF, ident, fragment, ttl,
                       protocol, 0) + src + dst + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def pseudo(src, dst, protocol, length):
    if len(src) == 16:
        return src + dst + struct.pack("!II", length, protocol)
    return src + dst + struct.pack("!BBH", 0, protocol, length & 0xFFFF)


def with_checksum(src, dst, protocol, data, at, wrong=False):
    """`data` with its checksum at offset `at`."""
    pad = b"" if protocol == ICMP else pseudo(src, dst, protocol, len(data))
    value = checksum(pad + data)
    if protocol == UDP and value == 0:
        value = 0xFFFF
    return data[:at] + struct.pack("!H", value ^ (0x55 if wrong else 0)) + data[at + 2:]


def tcp(src, dst, sport, dport, flags, seq, ack, *, window=8192, options=b"", data=b"", wrong=False, offset=None):
    options += bytes(-len(options) % 4)
    bits = sum(FLAGS[flag] for flag in flags) if isinstance(flags, str) else flags
    words = 5 + len(options) // 4 if offset is None else offset
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, words << 4, bits,
                          window, 0, 0) + options + data
    return with_checksum(src, dst, TCP, segment, 16, wrong)


def udp(src, dst, sport, dport, data=b"x", *, wrong=False, none=False, length=None):
    length = 8 + len(data) if length is None else length
    datagram = struct.pack("!HHHH", sport, dport, length & 0xFFFF, 0) + data
    return datagram if none else with_checksum(src, dst, UDP, datagram, 6, wrong)


def icmp(src, dst, kind, code, rest=b"\0\0\0\0", data=b"", *, wrong=False):
    message = struct.pack("!BBH", kind, code, 0) + rest + data
    return with_checksum(src, dst, ICMPV6 if len(src) == 16 else ICMP, message, 2, wrong)


CRC32C = []
for index in range(256):
    value = index
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    CRC32C.append(value)


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC32C[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def sctp(sport, dport, tag, chunks, *, wrong=False):
    """`chunks`: of type, flags, value."""
    body = b""
    for kind, flags, value in chunks:
        body += struct.pack("!BBH", kind, flags, 4 + len(value)) + value + bytes(-len(value) % 4)
    return sctp_raw(sport, dport, tag, body, wrong=wrong)


def sctp_raw(sport, dport, tag, body, *, wrong=False):
    head = struct.pack("!HHI", sport, dport, tag)
    crc = crc32c(head + bytes(4) + body) ^ (0x55 if wrong else 0)
    return head + struct.pack("<I", crc) + body


def gre(version, key=None, protocol=0x0800, data=b"payload"):
    if version == 1:
        # RFC 2637: the key is the payload's length and the call's number.
        return struct.pack("!HHHH", 0x2001, 0x880B, len(data), (key or 0) & 0xFFFF) + data
    if key is None:
        return struct.pack("!HH", version, protocol) + data
    return struct.pack("!HHI", 0x2000 | version, protocol, key) + data


def fragments(packet, sizes, ident):
    """A packet cut after so many bytes of payload each (multiples of 8)."""
    out = []
    if packet[0] >> 4 == 6:
        head, body, protocol = packet[:40], packet[40:], packet[6]
    else:
        length = (packet[0] & 15) * 4
        head, body, protocol = packet[:length], packet[length:], packet[9]
    at = 0
    for size in [*sizes, len(body)]:
        part = body[at:at + size]
        if not part:
            break
        more = at + len(part) < len(body)
        if packet[0] >> 4 == 6:
            extension = struct.pack("!BBHI", protocol, 0, at | more, ident)
            out.append(ip(head[8:24], head[24:40], protocol, part, extensions=extension, first=44, ttl=head[7]))
        else:
            out.append(ip(head[12:16], head[16:20], protocol, part, fragment=at // 8 | more << 13, ident=ident & 0xFFFF,
                          ttl=head[8], options=head[20:]))
        at += len(part)
    return out
