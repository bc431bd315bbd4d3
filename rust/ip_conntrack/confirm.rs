// SPDX-License-Identifier: GPL-2.0
//! INPUT and POSTROUTING: a packet that starts a connection has come through, so the connection
//! goes into the table.

use conntrack::{ctinfo::CtInfo, event::Events, reason::Reason, status::Status, tuple::Direction};
use netfilter::{Attached, Conn, Net, ReadSide, Skb, Verdict};
use rcu_table::{Insert, Ref};

use crate::{counts::Event, events, help, namespace::Namespace};

/// How often an expired entry may stand in the way before the packet is given up.
const ROUNDS: usize = 4;

/// A packet at its last hook, unless there is nothing to do.
#[inline(never)]
pub(crate) fn packet(net: &Net<Namespace>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict {
    if let Some((conn, ctinfo)) = skb.attached_any() {
        let unheard = conn.glance().begins_unheard() && conn.session().is_none();
        if unheard && starts(ctinfo) {
            if let Some(conn) = conn.hold() {
                return insert(net, skb, conn, ctinfo, read);
            }
        }
    }
    other(net, skb, read)
}

/// Whether a packet starts its connection. An ICMP error or a reset of our own goes the other way: it starts
/// nothing.
#[inline]
fn starts(ctinfo: CtInfo) -> bool {
    ctinfo.direction() == Direction::Original
}

/// A packet of a connection that is in the table, or of which somebody hears or reads.
#[cold]
#[inline(never)]
fn other(net: &Net<Namespace>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict {
    let Attached::Conn(conn, ctinfo) = skb.attached() else {
        return Verdict::Accept;
    };
    let status = conn.status();
    if status.contains(Status::CONFIRMED) {
        return finish(net, skb, read);
    }
    if !starts(ctinfo) {
        return Verdict::Accept;
    }
    match conn.hold() {
        Some(conn) if !status.contains(Status::DYING) => begin(net, skb, conn, ctinfo, read),
        _ => {
            net.tracker().counts.event(Event::InsertFailed);
            Verdict::Drop
        }
    }
}

/// A connection begins that users hear of, or that a helper reads.
#[cold]
#[inline(never)]
fn begin(
    net: &Net<Namespace>,
    skb: &mut Skb,
    conn: Ref<Conn>,
    ctinfo: CtInfo,
    read: ReadSide<'_>,
) -> Verdict {
    // Before others find it, so that they hear of its begin first.
    conn.note(birth(&conn));
    match insert(net, skb, conn, ctinfo, read) {
        Verdict::Accept => finish(net, skb, read),
        verdict => verdict,
    }
}

/// The packet has come through: what it announces was not kept out before, and users hear of it.
#[cold]
fn finish(net: &Net<Namespace>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict {
    let verdict = help::packet(net, skb, read);
    if verdict == Verdict::Accept {
        events::deliver(skb);
    }
    verdict
}

#[inline(always)] // Into the way of those of which nobody hears.
fn insert(
    net: &Net<Namespace>,
    skb: &mut Skb,
    mut conn: Ref<Conn>,
    ctinfo: CtInfo,
    read: ReadSide<'_>,
) -> Verdict {
    let shared = &net.tracker().shared;
    for _ in 0..ROUNDS {
        match shared.insert(conn, read) {
            // Or a copy of the packet was quicker (bridges and multicast make copies).
            Ok(()) | Err(Insert::Again(_)) => return Verdict::Accept,
            Err(Insert::Clash(clash)) => match clash.other {
                Some(other) if !other.expired(netfilter::now()) => {
                    return resolve(net, skb, &clash.entry, other, ctinfo);
                }
                Some(other) => {
                    shared.kill(&other);
                    conn = clash.entry;
                }
                None => conn = clash.entry,
            },
        }
    }
    lost(net, Reason::Unsettled)
}

/// What is to be told of a new connection.
#[cold]
fn birth(conn: &Ref<Conn>) -> Events {
    let helper = conn.session().filter(|session| session.helper().is_alive());
    let known = if helper.is_some() {
        Events::HELPER
    } else {
        Events::NONE
    };
    let begun = match conn.master() {
        Some(_) => Events::RELATED,
        None => Events::NEW,
    };
    let has_states = Conn::lock(conn).name().is_some();
    let state = if has_states {
        Events::PROTOINFO
    } else {
        Events::NONE
    };
    known | begun | state
}

/// Another packet of the flow, in either direction, was quicker: where that loses nothing, this
/// one belongs to the entry which that one has made.
#[cold]
fn resolve(
    net: &Net<Namespace>,
    skb: &mut Skb,
    mine: &Ref<Conn>,
    other: Ref<Conn>,
    ctinfo: CtInfo,
) -> Verdict {
    let (original, reply) = (
        mine.tuple(Direction::Original),
        mine.tuple(Direction::Reply),
    );
    let pair = |a, b| {
        other.tuple(Direction::Original).matches(a) && other.tuple(Direction::Reply).matches(b)
    };
    let same = pair(original, reply) || pair(reply, original);
    if !same || !Conn::lock(mine).may_merge() {
        return lost(net, Reason::Clash);
    }
    net.tracker().counts.event(Event::ClashResolved);
    skb.attach(other, ctinfo);
    Verdict::Accept
}

/// A packet whose connection does not get into the table.
fn lost(net: &Net<Namespace>, reason: Reason) -> Verdict {
    let counts = &net.tracker().counts;
    counts.event(Event::Drop);
    counts.event(Event::InsertFailed);
    counts.reason(reason);
    Verdict::Drop
}
