# SPDX-License-Identifier: GPL-2.0
"""nftables' expression ct count: how many connections a rule has at once, or an element of its set."""

import nft
import rules as r
import world as w

C, S = w.GHOST_CLIENT, w.GHOST_SERVER
C6, S6 = w.GHOST_CLIENT6, w.GHOST_SERVER6


def datagrams(world, ports, src=C, dst=S):
    for port in ports:
        world.client.send(w.udp(src, dst, port, 2000))
        w.time.sleep(0.03)
    w.time.sleep(0.1)


def ended(world):
    """All connections are over."""
    world.firewall("conntrack -F")


def test_of_a_rule(tracker):
    """Up to so many, and above: each connection counts once, and no more when it is over."""
    rules = ["ct count 3", "ct count over 3", "ct count over 0"]
    for family, src, dst in (("ip", C, S), ("ip6", C6, S6), ("inet", C, S)):
        with w.World(tracker) as world:
            nft.load(nft.table(nft.chain(rules), family=family))
            datagrams(world, range(1000, 1005), src, dst)
            nft.check_counted([("ct count 3", 3), ("ct count over 3", 2), ("ct count over 0", 5)])
            datagrams(world, range(1000, 1003), src, dst)
            nft.check_counted([("ct count 3", 3), ("ct count over 3", 5), ("ct count over 0", 8)])
            ended(world)
            datagrams(world, range(1010, 1012), src, dst)
            nft.check_counted([("ct count 3", 5), ("ct count over 3", 5), ("ct count over 0", 10)])
            nft.check_comes_back()
            r.check_nobody_elses(tracker)


def test_what_is_above_is_dropped(tracker):
    """The usual use: more than so many are kept out, and get in when others have gone."""
    with w.World(tracker) as world:
        nft.load(nft.table(nft.chain(["ct state new ct count over 2 counter drop"])))
        datagrams(world, range(1000, 1006))
        w.check_equal(w.setting("count"), 2, "connections")
        nft.check_counted([("over", 4)])
        ended(world)
        datagrams(world, range(1010, 1013))
        w.check_equal(w.setting("count"), 2, "connections after those before were over")


def test_long_open(tracker):
    """What is open when a rule comes is not counted, in a rule or an element; what begins later is, as long as it is."""
    def handshake(world, port):
        for sender, packet in (("client", w.tcp(C, S, port, 22, "S", seq=100)), ("server", w.tcp(S, C, 22, port, "SA", seq=500, ack=101)),
                               ("client", w.tcp(C, S, port, 22, "A", seq=101, ack=501))):
            getattr(world, sender).send(packet)
            w.time.sleep(0.1)

    with w.World(tracker) as world:
        handshake(world, 1000)
        nft.load(nft.table("set s { type ipv4_addr; size 100; flags dynamic; }\n",
                           nft.chain(["ct count over 0", "ct count 0", "add @s { ip saddr ct count over 0 }"]), family="ip"))
        world.client.send(w.tcp(C, S, 1000, 22, "A", seq=101, ack=501))
        w.time.sleep(0.1)
        nft.check_counted([("over 0", 0), ("up to 0", 1), ("over 0 of an address", 0)])
        handshake(world, 1001)
        # The answer is the first packet from the server's address, but of a connection that is not long open.
        nft.check_counted([("over 0", 3), ("up to 0", 1), ("over 0 of an address", 3)])
        world.client.send(w.tcp(C, S, 1001, 22, "R", seq=101))
        w.time.sleep(0.1)
        world.client.send(w.tcp(C, S, 1000, 22, "A", seq=101, ack=501))
        w.time.sleep(0.1)
        nft.check_counted([("over 0", 3), ("up to 0", 3), ("over 0 of an address", 3)])


def test_before_the_tracker(tracker):
    """In the hook before the tracker a packet has no connection yet, and is counted all the same."""
    with w.World(tracker) as world:
        nft.load(nft.table(nft.chain(["ct count over 2 counter drop"], "prerouting", "raw"), family="ip"))
        datagrams(world, range(1000, 1005))
        w.check_equal(w.setting("count"), 2, "connections")
        nft.check_counted([("over", 3)])


def test_of_each_address(tracker):
    """An element of a set has a count of its own, and goes when nothing is in it."""
    others = (w.CLIENT, "192.168.1.4")
    with w.World(tracker) as world:
        nft.load(nft.table("set s { type ipv4_addr; size 100; flags dynamic; }\n",
                           nft.chain(["ct state new add @s { ip saddr ct count over 2 } counter drop"])))
        for src in (C, *others):
            datagrams(world, range(1000, 1004), src)
        nft.check_counted([("over", 6)])
        elements = " ".join(nft.listing())
        w.check(all(f"{address} ct count over 2" in elements for address in (C, *others)), f"elements: {elements}")
        ended(world)
        datagrams(world, range(1010, 1011))
        nft.check_counted([("over", 6)])


def test_many_come_and_go(tracker):
    """Rules with counts come and go under traffic; modules can be unloaded afterwards."""
    with w.World(tracker) as world:
        for number in range(20):
            nft.load(nft.table(nft.chain([f"ct count {number}", "ct count over 1"])))
            datagrams(world, [1000 + number])
            nft.load("flush ruleset")
    name = "nft_expr_connlimit" if tracker.ours else "nft_connlimit"
    w.wait_until(lambda: not w.sh(f"rmmod {name} 2>&1", check=False), 20, f"{name} is unloaded")
