# SPDX-License-Identifier: GPL-2.0
"""The user-space ends of NFQUEUE and NFLOG (linux/netfilter/nfnetlink_queue.h, nfnetlink_log.h)."""

import socket
import struct

import netlink as n
import world as w

# linux/netfilter/nfnetlink.h
NFNL_SUBSYS_QUEUE, NFNL_SUBSYS_ULOG = 3, 4
NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT, NFQNL_MSG_CONFIG = 0, 1, 2
NFQA_PACKET_HDR, NFQA_VERDICT_HDR = 1, 2
NFQA_PAYLOAD, NFQA_CT, NFQA_CT_INFO, NFQA_EXP, NFQA_SECCTX = 10, 11, 12, 15, 18
NFQA_CFG_MASK, NFQA_CFG_FLAGS, NFQA_CFG_F_CONNTRACK, NFQA_CFG_F_SECCTX = 4, 5, 1 << 1, 1 << 4
NFULA_CT, NFULA_CT_INFO = 18, 19
NFULNL_CFG_F_CONNTRACK = 4
NF_DROP, NF_ACCEPT, NF_QUEUE, NF_REPEAT, NF_STOP = 0, 1, 3, 4, 5


class End:
    """A socket that gets messages about packets."""

    def __init__(self, world, subsystem, number):
        self.subsystem = subsystem
        self.number = number
        self.netlink = world.socket("firewall", socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.netlink.bind((0, 0))

    def send(self, kind, *attributes, flags=0):
        body = struct.pack("=BB", 0, 0) + struct.pack("!H", self.number) + b"".join(attributes)
        head = struct.pack("=IHHII", 16 + len(body), self.subsystem << 8 | kind, n.REQUEST | flags, 0, 0)
        self.netlink.send(head + body)

    def configure(self, *attributes):
        """Asks for something, and waits for the outcome: the number of an error, or 0."""
        self.send(NFQNL_MSG_CONFIG if self.subsystem == NFNL_SUBSYS_QUEUE else 1, *attributes, flags=n.ACK)
        while True:
            message = self.netlink.recv(65536)
            (kind,) = struct.unpack_from("=H", message, 4)
            if kind == n.ERROR:
                return -struct.unpack_from("=i", message, 16)[0]

    def message(self, kind=0):
        """Waits for a message about a packet: its attributes."""
        message = self.netlink.recv(65536)
        (size, found) = struct.unpack_from("=IH", message)
        w.check_equal(found, self.subsystem << 8 | kind, "message about a packet")
        return n.attributes(message[20:size])


class Queue(End):
    """The user-space end of an NFQUEUE."""

    def __init__(self, world, number, conntrack=False, security=False):
        super().__init__(world, NFNL_SUBSYS_QUEUE, number)
        self.world = world
        # The security context of the last packet, if it is asked for.
        self.context = None
        flags = conntrack * NFQA_CFG_F_CONNTRACK | security * NFQA_CFG_F_SECCTX
        config = [n.attr(1, struct.pack("!BBH", 1, 0, 0)),  # bind
                  n.attr(2, struct.pack("!IB", 65535, 2)),  # copy whole packets
                  n.be32(NFQA_CFG_FLAGS, flags), n.be32(NFQA_CFG_MASK, flags)]
        w.check_equal(self.configure(*config), 0, f"queue {number}: error")

    def asked(self):
        """Waits for a packet: its number, and its attributes."""
        attributes = self.message(NFQNL_MSG_PACKET)
        found = dict(attributes)
        self.context = found[NFQA_SECCTX].rstrip(b"\0").decode() if NFQA_SECCTX in found else None
        return struct.unpack_from("!I", found[NFQA_PACKET_HDR])[0], attributes

    def packet(self):
        """Waits for a packet; its number."""
        number, _ = self.asked()
        return number

    def verdict(self, packet, verdict, *attributes):
        self.send(NFQNL_MSG_VERDICT, n.attr(NFQA_VERDICT_HDR, struct.pack("!II", verdict, packet)), *attributes)

    def waiting(self):
        """How many packets wait for a verdict (/proc/net/netfilter/nfnetlink_queue)."""
        for line in self.world.firewall("cat /proc/net/netfilter/nfnetlink_queue").splitlines():
            number, _, waiting = line.split()[:3]
            if int(number) == self.number:
                return int(waiting)
        raise w.Mismatch(f"no queue {self.number}")


class Log(End):
    """The user-space end of an NFLOG group."""

    def __init__(self, world, number, conntrack=True):
        super().__init__(world, NFNL_SUBSYS_ULOG, number)
        config = [n.attr(1, struct.pack("!B", 1)),  # bind
                  n.attr(2, struct.pack("!IBB", 65535, 2, 0)),  # copy whole packets
                  n.be32(5, 1)]  # at once
        if conntrack:
            config.append(n.be16(6, NFULNL_CFG_F_CONNTRACK))
        w.check_equal(self.configure(*config), 0, f"log {number}: error")
