// SPDX-License-Identifier: GPL-2.0
//! PREROUTING and OUTPUT: which connection a packet belongs to, and what it does to it.

use conntrack::{
    ctinfo::CtInfo,
    packet::{Class, Packet},
    proto::{Before, Outcome, State},
    status::Status,
    tuple::{Direction, Tuple},
};
use kernel::prelude::*;
use netfilter::{Attached, Conn, Context, Net, NewConn, Verdict, Window};
use rcu_table::Ref;

use crate::{namespace::Namespace, related};

/// What becomes of a packet.
pub(crate) enum Decision {
    /// It belongs to a connection.
    Tracked(Ref<Conn>, CtInfo),
    /// It is left alone, and rules see it as UNTRACKED.
    Untracked,
    /// It goes on without a connection: INVALID.
    Invalid,
    /// It goes no further.
    Drop,
}

/// How often a packet may find that the connection it belongs to must give way to a new one.
/// Each round takes one old connection out of the table, so more than a few mean that another
/// CPU keeps putting them back; the packet is then dropped rather than looped on.
const ROUNDS: usize = 8;

/// A packet at its first hook.
#[inline]
pub(crate) fn packet(context: &mut Context<'_, Namespace>) -> Verdict {
    match context.skb.attached() {
        Attached::None => {}
        // Seen before (loopback), or not to be tracked (a rule in the raw table).
        Attached::Conn(..) | Attached::Untracked => return Verdict::Accept,
        // Templates are made by rules that this tracker refuses.
        Attached::Template => context.skb.detach(),
    }
    match decide(context) {
        Decision::Tracked(conn, ctinfo) => {
            context.skb.attach(conn, ctinfo);
            Verdict::Accept
        }
        Decision::Untracked => {
            context.skb.set_untracked();
            Verdict::Accept
        }
        Decision::Invalid => Verdict::Accept,
        Decision::Drop => Verdict::Drop,
    }
}

#[inline]
fn decide(context: &Context<'_, Namespace>) -> Decision {
    let mut window = Window::new();
    let Ok(packet) = Packet::parse(context.family, context.skb.bytes(&mut window)) else {
        return Decision::Invalid;
    };
    // Fragments leave this host only where a socket has asked for it (IP_NODEFRAG).
    if context.at_output() && packet.is_first_fragment() {
        return Decision::Invalid;
    }
    if context.at_prerouting() {
        if let Some(checksum) = packet.checksum() {
            if !context
                .skb
                .checksum_ok(context.hook, context.family, checksum)
            {
                return Decision::Invalid;
            }
        }
    }
    match packet.classify() {
        Ok(Class::Flow(tuple)) => flow(context, &packet, &tuple),
        Ok(Class::Error(quoted)) => related::error(context, &quoted),
        Ok(Class::Untracked) => Decision::Untracked,
        Err(_) => Decision::Invalid,
    }
}

/// A packet with a tuple of its own.
#[inline]
fn flow(context: &Context<'_, Namespace>, packet: &Packet<'_>, tuple: &Tuple) -> Decision {
    let net = context.net;
    let shared = &net.tracker().shared;
    let hash = shared.hash(net, tuple);
    for _ in 0..ROUNDS {
        let Some((conn, direction)) = shared.find(net, tuple, hash, context.read) else {
            return open(net, packet, tuple);
        };
        let ctinfo = ctinfo(conn.status(), direction);
        match update(net, &conn, direction, packet) {
            Outcome::Accept(_) => {
                if ctinfo == CtInfo::EstablishedReply {
                    conn.set_status(Status::SEEN_REPLY);
                }
                return Decision::Tracked(conn, ctinfo);
            }
            Outcome::Kill => {
                if ctinfo == CtInfo::EstablishedReply {
                    conn.set_status(Status::SEEN_REPLY);
                }
                shared.kill(&conn);
                return Decision::Tracked(conn, ctinfo);
            }
            Outcome::Repeat => shared.kill(&conn),
            Outcome::Invalid(_) | Outcome::Shorten(..) => return Decision::Invalid,
        }
    }
    Decision::Drop
}

/// What a packet is to a connection of this status.
fn ctinfo(status: Status, direction: Direction) -> CtInfo {
    match direction {
        Direction::Reply => CtInfo::EstablishedReply,
        Direction::Original if status.contains(Status::SEEN_REPLY) => CtInfo::Established,
        Direction::Original if status.contains(Status::EXPECTED) => CtInfo::Related,
        Direction::Original => CtInfo::New,
    }
}

/// What a packet does to its connection.
#[inline]
fn update(net: &Net<Namespace>, conn: &Conn, direction: Direction, packet: &Packet<'_>) -> Outcome {
    let now = netfilter::now();
    let config = &net.tracker().config;
    let outcome = {
        let mut state = conn.lock();
        let before = Before {
            status: conn.status(),
            remaining: conn.expires().remaining(now).unwrap_or_default(),
        };
        state.update(packet, direction, before, now, config)
    };
    match outcome {
        Outcome::Accept(effect) => {
            conn.set_status(effect.set);
            if let Some(timeout) = effect.timeout {
                conn.refresh(now, timeout);
            }
        }
        Outcome::Shorten(_, timeout) => conn.refresh(now, timeout),
        _ => {}
    }
    outcome
}

/// A packet that no connection knows: perhaps it starts one.
fn open(net: &Net<Namespace>, packet: &Packet<'_>, tuple: &Tuple) -> Decision {
    let tracker = net.tracker();
    let config = &tracker.config;
    let (Some(reply), Ok(mut state)) = (tuple.invert(), State::open(packet, tuple, config)) else {
        return Decision::Invalid;
    };
    let first = state.update(
        packet,
        Direction::Original,
        Before::default(),
        netfilter::now(),
        config,
    );
    let Outcome::Accept(effect) = first else {
        return Decision::Invalid;
    };
    if net.census().len() >= tracker.shared.max() {
        if !netfilter::limited() {
            pr_warn!("table full, dropping packet\n");
        }
        return Decision::Drop;
    }
    let new = NewConn {
        original: tuple,
        reply: &reply,
        state,
        timeout: effect.timeout.unwrap_or_default(),
        status: effect.set,
    };
    match net.new_conn(tracker.shared.cache(), new) {
        Some(conn) => Decision::Tracked(conn, CtInfo::New),
        None => Decision::Drop,
    }
}

/// This host has reset a connection.
pub(crate) fn close(net: &Net<Namespace>, conn: &Conn) {
    if !conn.status().contains(Status::CONFIRMED) {
        return;
    }
    let timeouts = &net.tracker().config.timeouts;
    let timeout = match &mut *conn.lock() {
        State::Tcp(tcp) => tcp.close(timeouts),
        _ => None,
    };
    if let Some(timeout) = timeout {
        conn.refresh(netfilter::now(), timeout);
    }
}
