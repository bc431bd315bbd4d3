// SPDX-License-Identifier: GPL-2.0
//! The ways of nearly all packets: of the usual form, with nothing unusual about what they do. Whatever
//! else turns up is left to `track.rs`, which has a way for all.

use conntrack::{
    ctinfo::CtInfo,
    packet::{self, Header, Segment, Tcp, Transport, Ways},
    proto::{self, Before, Effect, Kept, Places, Question, WORDS},
    status::Status,
    time::{Instant, Ticks},
    timeouts::Config,
    tuple::{Direction, Numbers, Tuple},
    zone::Zone,
};
use netfilter::{Change, Conn, Context, NewConn, Verdict};
use rcu_table::Ref;

use crate::{
    namespace::Namespace,
    track::{accept, carry_out, count, ctinfo, decide, is_plain, open, question, settle},
};

/// A packet of which nothing was said so far, read in the quickest way. `None`: it is none of those.
#[inline(always)]
pub(crate) fn packet(context: &mut Context<'_, Namespace>) -> Option<Verdict> {
    let met = packet::quick(context.family, context.skb.linear(), Quick { context })?;
    // What is passed to functions that are not compiled into this one has to be in memory, so they
    // get next to nothing, and read the packet again.
    Some(match met {
        Met::Settled => Verdict::Accept,
        Met::Known(conn, direction) => known(&mut context.again(), conn, direction),
        Met::Unknown(
            hash,
            Numbers {
                src: [a, b],
                to,
                dst,
                last,
                rest,
            },
        ) => unknown(&mut context.again(), hash, a, b, to, dst, last, rest),
        Met::Over => over(&mut context.again()),
        Met::Segment => segment(&mut context.again()),
    })
}

/// What a packet turned out to be.
enum Met {
    /// All is done.
    Settled,
    /// It may change its connection.
    Known(Ref<Conn>, Direction),
    /// No connection knows its tuple (in numbers, which need not be in memory), which has that hash.
    Unknown(u32, Numbers),
    /// Its connection is over, or just being destroyed, or to be found otherwise.
    Over,
    /// A TCP segment that does something else than to acknowledge, or that no connection knows.
    Segment,
}

/// What becomes of packets that no rule wishes anything for.
struct Quick<'a, 'b> {
    context: &'a Context<'b, Namespace>,
}

impl<'a> Ways<'a> for Quick<'a, '_> {
    type End = Met;

    #[inline(always)]
    fn flow(self, tuple: Tuple, header: impl Header<'a>) -> Met {
        let Context { net, read, .. } = *self.context;
        let tracker = net.tracker();
        // Live or not, for its status is looked at once more with a reference.
        let (hash, found) = tracker.shared.meet(net, &tuple, &read);
        let Some((seen, direction)) = found else {
            return match header.has_lock() {
                true => Met::Segment,
                false => Met::Unknown(hash, tuple.to_numbers()),
            };
        };
        let Some(direction) = direction else {
            return Met::Over;
        };
        let Some(conn) = seen.get() else {
            return Met::Over;
        };
        let (glance, expires, now) = (conn.glance(), conn.expires(), netfilter::now());
        let lock = header.has_lock();
        if !glance.stays(proto::settled(lock)) {
            return Met::Known(conn, direction);
        }
        if expires.remaining(now).is_none() {
            return Met::Over;
        }
        let (status, config) = (glance.status(), &tracker.config);
        let stay = Stay {
            header,
            direction,
            status,
            now,
            config,
        };
        let Some(timeout) = Conn::with_state(&conn, lock, stay) else {
            return Met::Known(conn, direction);
        };
        conn.restart(expires, now, timeout);
        let ctinfo = ctinfo(status, direction);
        self.context.skb.attach_first(conn, ctinfo);
        Met::Settled
    }

    #[inline(always)]
    fn segment(self, _: Tuple, _: Tcp<'a>) -> Met {
        Met::Segment
    }
}

/// A packet that is looked at from the beginning, for its connection is over, or not to be found so.
#[cold]
#[inline(never)]
fn over(context: &mut Context<'_, Namespace>) -> Verdict {
    let decision = decide(context, None);
    carry_out(context, decision)
}

/// A packet that no connection knows.
#[inline(never)]
#[allow(clippy::too_many_arguments)] // Numbers, which need not be in memory.
fn unknown(
    context: &mut Context<'_, Namespace>,
    hash: u32,
    a: u64,
    b: u64,
    to: u64,
    dst: u64,
    last: u32,
    rest: u32,
) -> Verdict {
    let src = [a, b];
    let tuple = Tuple::of_numbers(Numbers {
        src,
        to,
        dst,
        last,
        rest,
    });
    let timeouts = &context.net.tracker().config.timeouts;
    if let Some((state, timeout)) = proto::begin_quickly(&tuple, timeouts, netfilter::now()) {
        if start(context, tuple, hash, state, timeout) {
            return Verdict::Accept;
        }
    }
    let decision = match packet::usual(context.family, context.skb.linear()) {
        Some((tuple, transport)) => open(context, &transport, &tuple, hash, Zone::DEFAULT, None),
        None => decide(context, None), // Not reached: it was read so before.
    };
    carry_out(context, decision)
}

/// A TCP segment that does something else than to acknowledge, or that no connection knows.
#[inline(never)]
fn segment(context: &mut Context<'_, Namespace>) -> Verdict {
    let left = packet::quick(context.family, context.skb.linear(), Segments { context });
    finish(context, left)
}

/// What becomes of such segments.
struct Segments<'a, 'b> {
    context: &'a Context<'b, Namespace>,
}

impl<'a> Ways<'a> for Segments<'a, '_> {
    type End = Left;

    #[inline(always)]
    fn flow(self, _: Tuple, _: impl Header<'a>) -> Left {
        Left::Everything // It acknowledges what nobody knows.
    }

    #[inline(always)]
    fn segment(self, tuple: Tuple, segment: Tcp<'a>) -> Left {
        let Context { net, read, .. } = *self.context;
        let tracker = net.tracker();
        let (hash, found) = tracker.shared.meet(net, &tuple, &read);
        if let Some((seen, direction)) = found {
            return match (seen.get(), direction) {
                (Some(conn), Some(direction)) => {
                    advance(self.context, conn, direction, &Transport::Tcp(segment))
                }
                _ => Left::Everything,
            };
        }
        if segment.segment == Segment::Syn {
            let mut state = [0; WORDS];
            let timeout = proto::request(&mut state, &segment, &tracker.config.timeouts);
            if start(self.context, tuple, hash, state, timeout) {
                return Left::Nothing;
            }
        }
        Left::Everything
    }
}

/// A packet of the usual form that may change its connection.
#[inline(never)]
fn known(context: &mut Context<'_, Namespace>, conn: Ref<Conn>, direction: Direction) -> Verdict {
    let ways = Known {
        context,
        conn,
        direction,
    };
    let left = packet::quick(context.family, context.skb.linear(), ways);
    finish(context, left)
}

/// What becomes of such packets.
struct Known<'a, 'b> {
    context: &'a Context<'b, Namespace>,
    conn: Ref<Conn>,
    direction: Direction,
}

impl<'a> Ways<'a> for Known<'a, '_> {
    type End = Left;

    #[inline(always)]
    fn flow(self, _: Tuple, header: impl Header<'a>) -> Left {
        advance(self.context, self.conn, self.direction, &header.read())
    }

    #[inline(always)]
    fn segment(self, _: Tuple, _: Tcp<'a>) -> Left {
        Left::Everything // Not reached: it was read otherwise before.
    }
}

/// What there is left to do for a packet.
enum Left {
    Nothing,
    /// It does something less usual to its connection.
    Change(Ref<Conn>, Direction),
    Everything,
}

/// Does what is left. (`None`: it was read otherwise before, which does not happen.)
#[inline(always)]
fn finish(context: &mut Context<'_, Namespace>, left: Option<Left>) -> Verdict {
    match left {
        Some(Left::Nothing) => Verdict::Accept,
        Some(Left::Change(conn, direction)) => changed(context, conn, direction),
        Some(Left::Everything) | None => over(context),
    }
}

/// A packet that may change its connection, most probably in a way that has nothing unusual.
#[inline(always)]
fn advance(
    context: &Context<'_, Namespace>,
    conn: Ref<Conn>,
    direction: Direction,
    transport: &Transport<'_>,
) -> Left {
    let (glance, expires, now) = (conn.glance(), conn.expires(), netfilter::now());
    if !glance.is_usual() || expires.remaining(now).is_none() {
        return Left::Everything;
    }
    if !proto::may_advance(transport, glance.status()) {
        return Left::Change(conn, direction);
    }
    let question = question(context.net, &conn, glance, direction, transport, now);
    let lock = transport.has_lock();
    let Some(effect) = Conn::with_state(&conn, lock, Advance(question)) else {
        return Left::Change(conn, direction);
    };
    accept(context, &conn, direction, now, &effect);
    let ctinfo = ctinfo(glance.status(), direction);
    context.skb.attach_first(conn, ctinfo);
    Left::Nothing
}

/// A packet of the usual form that does something less usual to its connection.
#[inline(never)]
fn changed(context: &mut Context<'_, Namespace>, conn: Ref<Conn>, direction: Direction) -> Verdict {
    let read = packet::usual(context.family, context.skb.linear());
    let settled = read.and_then(|(_, transport)| settle(context, conn, direction, &transport));
    let decision = settled.unwrap_or_else(|| decide(context, None));
    carry_out(context, decision)
}

/// Starts a connection that comes from nowhere, and of which nobody wants anything, as nearly all do.
/// `false`: [`open`] is to be asked.
#[inline(always)]
fn start(
    context: &Context<'_, Namespace>,
    tuple: Tuple,
    hash: u32,
    state: Kept,
    timeout: Ticks,
) -> bool {
    let net = context.net;
    let tracker = net.tracker();
    let (true, Some(reply)) = (
        net.census().len() < tracker.max() && is_plain(net, &tuple),
        tuple.invert(),
    ) else {
        return false;
    };
    let new = NewConn {
        original: tuple,
        reply,
        hashes: (hash, None),
        state,
        timeout,
        status: Status::NONE,
        zone: Zone::DEFAULT,
        marks: [0; 2],
        features: tracker.wanted.features(),
    };
    let Some(conn) = net.new_conn(tracker.shared.cache(), new, None) else {
        return false;
    };
    count(context, &conn, Direction::Original);
    context.skb.attach_first(conn, CtInfo::New);
    true
}

/// What a packet does to a connection that it does not change.
struct Stay<'a, H> {
    header: H,
    direction: Direction,
    status: Status,
    now: Instant,
    config: &'a Config,
}

impl<'a, 'b, H: Header<'b>> Stay<'a, H> {
    /// The same, asked of what the packet says.
    #[inline(always)]
    fn question<'c>(&self, transport: &'c Transport<'b>) -> Question<'c, 'b>
    where
        'a: 'c,
    {
        Question {
            transport,
            direction: self.direction,
            before: Before {
                status: self.status,
                expires: None, // Not asked for.
                timeouts: &self.config.timeouts,
            },
            now: self.now,
            config: self.config,
        }
    }
}

impl<'b, H: Header<'b>> Change for Stay<'_, H> {
    type Result = Option<Ticks>;

    #[inline(always)]
    fn change(self, state: Places<'_>) -> Option<Ticks> {
        proto::stay(state, &self.question(&self.header.read()))
    }

    #[inline(always)]
    fn change_word(self, word: &mut u32) -> Option<Ticks> {
        proto::stay_word(*word, &self.question(&self.header.read()))
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
