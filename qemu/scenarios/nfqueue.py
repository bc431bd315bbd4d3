# SPDX-License-Identifier: GPL-2.0
"""The user-space end of an NFQUEUE (linux/netfilter/nfnetlink_queue.h)."""

import socket
import struct

import world as w

# linux/netfilter/nfnetlink.h and nfnetlink_queue.h
NFNL_SUBSYS_QUEUE = 3
NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT, NFQNL_MSG_CONFIG = 0, 1, 2
NFQA_PACKET_HDR, NFQA_VERDICT_HDR, NFQA_SECCTX = 1, 2, 18
NFQA_CFG_MASK, NFQA_CFG_FLAGS, NFQA_CFG_F_SECCTX = 4, 5, 1 << 4
NF_DROP, NF_ACCEPT = 0, 1


class Queue:
    """The user-space end of an NFQUEUE."""

    def __init__(self, world, number, security=False):
        self.world = world
        self.number = number
        # The security context of the last packet, if it is asked for.
        self.context = None
        self.netlink = world.socket("firewall", socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.netlink.bind((0, 0))
        self._send(NFQNL_MSG_CONFIG, 1, struct.pack("!BBH", 1, 0, 0))  # bind
        self._send(NFQNL_MSG_CONFIG, 2, struct.pack("!IB", 65535, 2))  # copy whole packets
        if security:
            flags = struct.pack("!I", NFQA_CFG_F_SECCTX)
            self._send(NFQNL_MSG_CONFIG, NFQA_CFG_FLAGS, flags, NFQA_CFG_MASK, flags)

    def _send(self, kind, *attributes):
        """Sends numbers and values of attributes."""
        body = struct.pack("=BB", 0, 0) + struct.pack("!H", self.number)
        for attribute, value in zip(attributes[::2], attributes[1::2], strict=True):
            body += struct.pack("=HH", 4 + len(value), attribute) + value + bytes(-len(value) % 4)
        head = struct.pack("=IHHII", 16 + len(body), NFNL_SUBSYS_QUEUE << 8 | kind, 1, 0, 0)
        self.netlink.send(head + body)

    def packet(self):
        """Waits for a packet; its number."""
        message = self.netlink.recv(65536)
        (kind,) = struct.unpack_from("=H", message, 4)
        w.check_equal(kind, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, "message of the queue")
        at = 20
        number = None
        self.context = None
        while at < len(message):
            size, attribute = struct.unpack_from("=HH", message, at)
            if attribute & 0x3FFF == NFQA_PACKET_HDR:
                number = struct.unpack_from("!I", message, at + 4)[0]
            elif attribute & 0x3FFF == NFQA_SECCTX:
                self.context = message[at + 4:at + size].rstrip(b"\0").decode()
            at += size + 3 & ~3
        w.check(number is not None, "a packet of the queue has a number")
        return number

    def verdict(self, packet, verdict):
        self._send(NFQNL_MSG_VERDICT, NFQA_VERDICT_HDR, struct.pack("!II", verdict, packet))

    def waiting(self):
        """How many packets wait for a verdict (/proc/net/netfilter/nfnetlink_queue)."""
        for line in self.world.firewall("cat /proc/net/netfilter/nfnetlink_queue").splitlines():
            number, _, waiting = line.split()[:3]
            if int(number) == self.number:
                return int(waiting)
        raise w.Mismatch(f"no queue {self.number}")
