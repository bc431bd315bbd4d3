// SPDX-License-Identifier: GPL-2.0
//! PREROUTING and OUTPUT: which connection a packet belongs to, and what it does to it.

use conntrack::{
    ctinfo::CtInfo,
    packet::{self, Class, Packet},
    proto::{Before, Outcome, State},
    reason::Reason,
    status::Status,
    timeouts::Config,
    tuple::{protocol, Direction, Tuple},
};
use kernel::prelude::*;
use netfilter::{Attached, Conn, Context, Net, NewConn, Session, Verdict, Window};
use rcu_table::Ref;

use crate::{counts::Event, evict, expect, helpers, namespace::Namespace, related};

/// What becomes of a packet.
pub(crate) enum Decision {
    /// It belongs to a connection.
    Tracked(Ref<Conn>, CtInfo),
    /// It is left alone, and rules see it as UNTRACKED.
    Untracked,
    /// It goes on without a connection: INVALID.
    Invalid(Reason),
    /// It goes no further.
    Drop(Reason),
}

/// How often a packet may find that the connection it belongs to must give way to a new one.
/// Each round takes one old connection out of the table, so more than a few mean that another
/// CPU keeps putting them back; the packet is then dropped rather than looped on.
const ROUNDS: usize = 8;

/// A packet at its first hook.
#[inline]
pub(crate) fn packet(context: &mut Context<'_, Namespace>) -> Verdict {
    let template = match context.skb.attached() {
        Attached::None => None,
        // Seen before (loopback), or not to be tracked (a rule in the raw table).
        Attached::Conn(..) | Attached::Untracked => return Verdict::Accept,
        Attached::Template => context.skb.take_template(),
    };
    match decide(context, template.as_deref()) {
        Decision::Tracked(conn, ctinfo) => {
            context.skb.attach(conn, ctinfo);
            Verdict::Accept
        }
        Decision::Untracked => {
            context.skb.set_untracked();
            Verdict::Accept
        }
        Decision::Invalid(reason) => {
            invalid(context, reason);
            Verdict::Accept
        }
        Decision::Drop(reason) => {
            let counts = &context.net.tracker().counts;
            counts.event(Event::Drop);
            counts.reason(reason);
            trace(context, reason, Verdict::Drop);
            Verdict::Drop
        }
    }
}

/// Counts a packet that is INVALID, and says why to who wants to know.
#[cold]
fn invalid(context: &Context<'_, Namespace>, reason: Reason) {
    let mut window = Window::new();
    let bytes = context.skb.bytes(&mut window);
    let protocol = packet::protocol_of(context.family, bytes).unwrap_or(0);
    let counts = &context.net.tracker().counts;
    counts.event(Event::Invalid);
    if matches!(protocol, protocol::ICMP | protocol::ICMPV6) {
        counts.event(Event::IcmpError);
    }
    counts.reason(reason);
    log(context, protocol, reason);
    trace(context, reason, Verdict::Accept);
}

/// Tells whoever traces it of a packet that belongs to no connection.
#[cold]
fn trace(context: &Context<'_, Namespace>, reason: Reason, verdict: Verdict) {
    if !context.traced() {
        return;
    }
    let mut window = Window::new();
    let bytes = context.skb.bytes(&mut window);
    // Of less than a network header there is nothing to tell but the reason.
    let nothing = Tuple::new(context.family, 0, [0; 4], [0; 2], [0; 4], [0; 2]);
    let tuple = packet::tuple_of(context.family, bytes).unwrap_or(nothing);
    context.trace(&tuple, reason.name(), verdict);
}

/// Says why a packet is INVALID, or odd, if users want that of its protocol.
fn log(context: &Context<'_, Namespace>, protocol: u8, reason: Reason) {
    const ALL: u8 = 255;
    let wanted = context.net.tracker().config.log_invalid.get();
    if wanted != 0 && (wanted == ALL || wanted == protocol) {
        context.log_invalid(protocol, reason.name());
    }
}

#[inline]
fn decide(context: &Context<'_, Namespace>, template: Option<&Conn>) -> Decision {
    let mut window = Window::new();
    let packet = match Packet::parse(context.family, context.skb.bytes(&mut window)) {
        Ok(packet) => packet,
        Err(reason) => return Decision::Invalid(reason),
    };
    // Fragments leave this host only where a socket has asked for it (IP_NODEFRAG).
    if context.at_output() && packet.is_first_fragment() {
        return Decision::Invalid(Reason::Fragment);
    }
    if context.at_prerouting() && context.net.tracker().config.checksum.get() {
        if let Some(checksum) = packet.checksum() {
            if !context
                .skb
                .checksum_ok(context.hook, context.family, checksum)
            {
                return Decision::Invalid(Reason::Checksum);
            }
        }
    }
    match packet.classify() {
        Ok(Class::Flow(tuple)) => flow(context, &packet, &tuple, template),
        Ok(Class::Error(quoted)) => related::error(context, &quoted),
        Ok(Class::Untracked) => Decision::Untracked,
        Err(reason) => Decision::Invalid(reason),
    }
}

/// A packet with a tuple of its own.
#[inline]
fn flow(
    context: &Context<'_, Namespace>,
    packet: &Packet<'_>,
    tuple: &Tuple,
    template: Option<&Conn>,
) -> Decision {
    let net = context.net;
    let shared = &net.tracker().shared;
    let hash = shared.hash(net, tuple);
    for _ in 0..ROUNDS {
        let Some((conn, direction)) = shared.find(net, tuple, hash, context.read) else {
            return open(context, packet, tuple, hash, template);
        };
        let ctinfo = ctinfo(conn.status(), direction);
        match update(net, &conn, direction, packet) {
            Outcome::Accept(effect) => {
                if let Some(remark) = effect.remark {
                    log(context, packet.protocol(), remark);
                }
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
            Outcome::Invalid(reason) | Outcome::Shorten(reason, _) => {
                return Decision::Invalid(reason);
            }
        }
    }
    Decision::Drop(Reason::Unsettled)
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
fn update(
    net: &Net<Namespace>,
    conn: &Ref<Conn>,
    direction: Direction,
    packet: &Packet<'_>,
) -> Outcome {
    let now = netfilter::now();
    let config = &net.tracker().config;
    let outcome = {
        let mut state = Conn::lock(conn);
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
fn open(
    context: &Context<'_, Namespace>,
    packet: &Packet<'_>,
    tuple: &Tuple,
    hash: u32,
    template: Option<&Conn>,
) -> Decision {
    let net = context.net;
    let tracker = net.tracker();
    let config = &tracker.config;
    let Some(reply) = tuple.invert() else {
        return Decision::Invalid(Reason::IcmpNotRequest);
    };
    let mut state = match State::open(packet, config) {
        Ok(state) => state,
        Err(reason) => return Decision::Invalid(reason),
    };
    let first = state.update(
        packet,
        Direction::Original,
        Before::default(),
        netfilter::now(),
        config,
    );
    let effect = match first {
        Outcome::Accept(effect) => effect,
        Outcome::Invalid(reason) | Outcome::Shorten(reason, _) => {
            return Decision::Invalid(reason);
        }
        Outcome::Kill | Outcome::Repeat => return Decision::Invalid(Reason::TcpNotNew),
    };
    if net.census().len() >= tracker.shared.max() && !evict::make_room(net, hash, context.read) {
        if !netfilter::limited() {
            pr_warn!("table full, dropping packet\n");
        }
        return no_room(config, Reason::TableFull);
    }
    // Most connections come from nowhere, and nobody reads them.
    let plain =
        template.is_none() && !expect::any(net) && !helpers::may_be_assigned(tracker, tuple);
    let mut origin = Origin::default();
    if !plain && origin.search(context, tuple, template).is_err() {
        return no_room(config, Reason::NoMemory);
    }
    let (ctinfo, born) = match origin.master {
        Some(_) => (CtInfo::Related, Status::EXPECTED),
        None => (CtInfo::New, Status::NONE),
    };
    let new = NewConn {
        original: tuple,
        reply: &reply,
        state,
        timeout: effect.timeout.unwrap_or_default(),
        status: effect.set | born,
        master: origin.master,
        session: origin.session,
    };
    match net.new_conn(tracker.shared.cache(), new) {
        Some(conn) => Decision::Tracked(conn, ctinfo),
        None => no_room(config, Reason::NoMemory),
    }
}

/// Where a connection comes from, and who reads it.
#[derive(Default)]
struct Origin {
    /// The connection that has announced it.
    master: Option<Ref<Conn>>,
    /// What a helper is to keep of it.
    session: Option<KBox<Session>>,
}

impl Origin {
    /// An expected connection is read by the helper of its master, if that wants to read on; any
    /// other by the one that a rule or the port says.
    #[cold]
    #[inline(never)]
    fn search(
        &mut self,
        context: &Context<'_, Namespace>,
        tuple: &Tuple,
        template: Option<&Conn>,
    ) -> Result {
        let helper_of = |conn: &Conn| conn.session().map(|session| session.helper().clone());
        let expectation = expect::take(context.net, tuple, context.read);
        let helper = match &expectation {
            // Of those whose master was itself expected none is read: each keeps its master.
            Some(expectation)
                if expectation.what().helped && expectation.master().master().is_none() =>
            {
                helper_of(expectation.master())
            }
            Some(_) => None,
            None => match template {
                Some(template) => helper_of(template),
                None => helpers::assigned(context.net.tracker(), tuple),
            },
        };
        if let Some(helper) = helper {
            if helper.reads(tuple.protocol()) {
                self.session = Session::new(&helper, context.read)?;
            }
        }
        self.master = expectation.map(|expectation| expectation.master().clone());
        Ok(())
    }
}

/// What becomes of a packet for which there is no room.
fn no_room(config: &Config, reason: Reason) -> Decision {
    if config.full_is_invalid.get() {
        Decision::Invalid(reason)
    } else {
        Decision::Drop(reason)
    }
}

/// This host has reset a connection.
pub(crate) fn close(net: &Net<Namespace>, conn: &Ref<Conn>) {
    if !conn.status().contains(Status::CONFIRMED) {
        return;
    }
    let timeouts = &net.tracker().config.timeouts;
    let timeout = match &mut *Conn::lock(conn) {
        State::Tcp(tcp) => tcp.close(timeouts),
        _ => None,
    };
    if let Some(timeout) = timeout {
        conn.refresh(netfilter::now(), timeout);
    }
}
