// SPDX-License-Identifier: GPL-2.0
//! The ways of nearly all packets: of the usual form, with nothing unusual about what they do. Whatever
//! else turns up is left to `track.rs`, which has a way for all.

use conntrack::{
    ctinfo::CtInfo,
    packet::{self, Segment, Tcp, Transport, Ways},
    proto::{self, Effect, Kept, Places, Question, WORDS},
    status::Status,
    time::Ticks,
    tuple::{Direction, Tuple},
    zone::Zone,
};
use netfilter::{Change, Conn, Context, NewConn};
use rcu_table::Ref;

use crate::{
    namespace::Namespace,
    track::{accept, count, ctinfo, decide, is_plain, open, question, settle, Decision},
};

/// A packet of which nothing was said so far, read in the quickest way, and what is `left` to be done (in
/// the caller's memory, and so touched only if there is anything). `false`: it is none of those.
#[inline(always)]
pub(crate) fn packet(context: &Context<'_, Namespace>, left: &mut Option<Decision>) -> bool {
    let ways = Quick { context, left };
    packet::quick(context.family(), context.skb.linear(), ways).is_some()
}

/// What becomes of packets that no rule wishes anything for.
struct Quick<'a, 'b> {
    context: &'a Context<'b, Namespace>,
    left: &'a mut Option<Decision>,
}

impl<'a> Ways<'a> for Quick<'a, '_> {
    type End = ();

    // What is passed to functions that are not compiled into this one has to be in memory, so they
    // get next to nothing, and read the packet again.
    #[inline(always)]
    fn flow(self, tuple: Tuple, transport: Transport<'a>) {
        let Context { net, read, .. } = *self.context;
        let shared = &net.tracker().shared;
        let zone = Zone::DEFAULT;
        let hash = shared.hash(net, zone.id(Direction::Original), &tuple);
        let Some((conn, direction)) = shared.find_hashed(net, zone, &tuple, hash, read) else {
            let [a, b, c, d, e] = tuple.to_numbers();
            *self.left = unknown(self.context, hash, a, b, c, d, e);
            return;
        };
        let glance = conn.glance();
        if glance.stays(proto::settled(&transport, direction)) {
            let now = netfilter::now();
            let question = question(net, &conn, glance, direction, &transport, now);
            let lock = transport.has_lock();
            if let Some(timeout) = Conn::with_state(&conn, lock, Stay(question)) {
                conn.restart(now, timeout);
                let ctinfo = ctinfo(glance.status(), direction);
                self.context.skb.attach_first(conn, ctinfo);
                return;
            }
        }
        *self.left = known(self.context, conn, direction);
    }

    #[inline(always)]
    fn segment(self, _: Tuple, _: Tcp<'a>) {
        *self.left = segment(self.context);
    }
}

/// A packet that no connection knows; its tuple is in numbers, for these need not be in memory.
/// `None` here and below: all is done.
#[inline(never)]
fn unknown(
    context: &Context<'_, Namespace>,
    hash: u32,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
) -> Option<Decision> {
    let tuple = Tuple::of_numbers([a, b, c, d, e]);
    let timeouts = &context.net.tracker().config.timeouts;
    if let Some((state, timeout)) = proto::begin_quickly(&tuple, timeouts, netfilter::now()) {
        if start(context, &tuple, hash, &state, timeout) {
            return None;
        }
    }
    Some(
        match packet::usual(context.family(), context.skb.linear()) {
            Some((_, transport)) => open(context, &transport, &tuple, hash, Zone::DEFAULT, None),
            None => decide(context, None), // Not reached: it was read so before.
        },
    )
}

/// A TCP segment that does something else than to acknowledge.
#[inline(never)]
fn segment(context: &Context<'_, Namespace>) -> Option<Decision> {
    let net = context.net;
    let read = packet::usual(context.family(), context.skb.linear());
    let Some((tuple, transport @ Transport::Tcp(segment))) = read else {
        return Some(decide(context, None)); // Not reached, as above.
    };
    let shared = &net.tracker().shared;
    let zone = Zone::DEFAULT;
    let hash = shared.hash(net, zone.id(Direction::Original), &tuple);
    if let Some((conn, direction)) = shared.find_hashed(net, zone, &tuple, hash, context.read) {
        return advance(context, conn, direction, &transport);
    }
    if segment.segment == Segment::Syn {
        let mut state = [0; WORDS];
        let timeout = proto::request(&mut state, &segment, &net.tracker().config.timeouts);
        if start(context, &tuple, hash, &state, timeout) {
            return None;
        }
    }
    Some(open(context, &transport, &tuple, hash, zone, None))
}

/// A packet of the usual form that may change its connection.
#[inline(never)]
fn known(
    context: &Context<'_, Namespace>,
    conn: Ref<Conn>,
    direction: Direction,
) -> Option<Decision> {
    let ways = Known {
        context,
        conn,
        direction,
    };
    packet::quick(context.family(), context.skb.linear(), ways)
        .unwrap_or_else(|| Some(decide(context, None))) // Not reached, as above.
}

/// What becomes of such packets.
struct Known<'a, 'b> {
    context: &'a Context<'b, Namespace>,
    conn: Ref<Conn>,
    direction: Direction,
}

impl<'a> Ways<'a> for Known<'a, '_> {
    type End = Option<Decision>;

    #[inline(always)]
    fn flow(self, _: Tuple, transport: Transport<'a>) -> Option<Decision> {
        advance(self.context, self.conn, self.direction, &transport)
    }

    #[inline(always)]
    fn segment(self, _: Tuple, _: Tcp<'a>) -> Option<Decision> {
        Some(changed(self.context, self.conn, self.direction)) // Not reached, as above.
    }
}

/// A packet that may change its connection, most probably in a way that has nothing unusual.
#[inline(always)]
fn advance(
    context: &Context<'_, Namespace>,
    conn: Ref<Conn>,
    direction: Direction,
    transport: &Transport<'_>,
) -> Option<Decision> {
    let (glance, now) = (conn.glance(), netfilter::now());
    if proto::may_advance(transport, glance.status()) {
        let question = question(context.net, &conn, glance, direction, transport, now);
        let lock = transport.has_lock();
        if let Some(effect) = Conn::with_state(&conn, lock, Advance(question)) {
            accept(context, &conn, direction, now, &effect);
            let ctinfo = ctinfo(glance.status(), direction);
            context.skb.attach_first(conn, ctinfo);
            return None;
        }
    }
    Some(changed(context, conn, direction))
}

/// A packet of the usual form that does something less usual to its connection.
#[inline(never)]
fn changed(context: &Context<'_, Namespace>, conn: Ref<Conn>, direction: Direction) -> Decision {
    let read = packet::usual(context.family(), context.skb.linear());
    let settled = read.and_then(|(_, transport)| settle(context, conn, direction, &transport));
    settled.unwrap_or_else(|| decide(context, None))
}

/// Starts a connection that comes from nowhere, and of which nobody wants anything, as nearly all do.
/// `false`: [`open`] is to be asked.
#[inline(always)]
fn start(
    context: &Context<'_, Namespace>,
    tuple: &Tuple,
    hash: u32,
    state: &Kept,
    timeout: Ticks,
) -> bool {
    let net = context.net;
    let tracker = net.tracker();
    let (true, Some(reply)) = (
        net.census().len() < tracker.shared.max() && is_plain(net, tuple),
        tuple.invert(),
    ) else {
        return false;
    };
    let new = NewConn {
        original: tuple,
        reply: &reply,
        hashes: (hash, None),
        state,
        timeout,
        status: Status::NONE,
        zone: Zone::DEFAULT,
        marks: [0; 2],
        extension: None,
        features: tracker.wanted.features(),
    };
    let Some(conn) = net.new_conn(tracker.shared.cache(), new) else {
        return false;
    };
    count(context, &conn, Direction::Original);
    context.skb.attach_first(conn, CtInfo::New);
    true
}

/// What a packet does to a connection that it does not change.
struct Stay<'a, 'b>(Question<'a, 'b>);

impl Change for Stay<'_, '_> {
    type Result = Option<Ticks>;

    #[inline(always)]
    fn change(self, state: Places<'_>) -> Option<Ticks> {
        proto::stay(state, &self.0)
    }

    #[inline(always)]
    fn change_word(self, word: &mut u32) -> Option<Ticks> {
        proto::stay_word(*word, &self.0)
    }
}

/// What a packet does to its connection that has nothing unusual.
struct Advance<'a, 'b>(Question<'a, 'b>);

impl Change for Advance<'_, '_> {
    type Result = Option<Effect>;

    #[inline(always)]
    fn change(self, state: Places<'_>) -> Option<Effect> {
        proto::advance(state, &self.0)
    }

    #[inline(always)]
    fn change_word(self, word: &mut u32) -> Option<Effect> {
        proto::advance_word(word, &self.0)
    }
}
