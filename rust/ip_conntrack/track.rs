// SPDX-License-Identifier: GPL-2.0
//! PREROUTING and OUTPUT: which connection a packet belongs to, and what it does to it.

use conntrack::{
    ctinfo::CtInfo,
    event::Events,
    packet::{self, Class, Packet, Transport},
    proto::{self, Before, Effect, Outcome, Places, Question, State, WORDS},
    reason::Reason,
    status::Status,
    time::Instant,
    timeouts::Config,
    tuple::{protocol, Direction, Tuple},
    zone::Zone,
};
use kernel::prelude::*;
use netfilter::{
    Attached, Change, Conn, Context, Expectation, Extension, Extras, Features, Glance, Net,
    NewConn, Session, Share, Verdict, Window,
};
use rcu_table::Ref;

use crate::{counts::Event, evict, expect, helpers, namespace::Namespace, quick, related};

/// What becomes of a packet.
pub(crate) enum Decision {
    /// It belongs to a connection.
    Tracked(Ref<Conn>, CtInfo),
    /// The same, and there is something odd about it.
    Odd(Ref<Conn>, CtInfo, Reason),
    /// It is left alone, and rules see it as UNTRACKED.
    Untracked,
    /// It goes on without a connection: INVALID.
    Invalid(Reason),
    /// The same, though it would be of a connection.
    Misfit(Ref<Conn>, CtInfo, Reason),
    /// It goes no further.
    Drop(Reason),
}

/// How often a packet may find that the connection it belongs to must give way to a new one.
/// Each round takes one old connection out of the table, so more than a few mean that another
/// CPU keeps putting them back; the packet is then dropped rather than looped on.
const ROUNDS: usize = 8;

/// A packet at its first hook.
#[inline(always)]
pub(crate) fn packet(context: &mut Context<'_, Namespace>) -> Verdict {
    if context.skb.is_unmarked() && !to_be_verified(context) {
        if let Some(verdict) = quick::packet(context) {
            return verdict;
        }
    }
    unusual(&mut context.again())
}

/// A packet that could not be read in the quickest way, or of which something was said.
#[inline(never)]
fn unusual(context: &mut Context<'_, Namespace>) -> Verdict {
    let template = match context.skb.attached() {
        Attached::None => {
            if let Some(decision) = usual(context) {
                return carry_out(context, decision);
            }
            None
        }
        // Seen before (loopback), or not to be tracked (a rule in the raw table).
        Attached::Conn(..) | Attached::Untracked => return Verdict::Accept,
        Attached::Template(_) => context.skb.take_template(),
    };
    let decision = decide(context, template.as_deref());
    carry_out(context, decision)
}

/// What becomes of a packet of the usual form that no rule wishes anything for; `None` of any other.
fn usual(context: &Context<'_, Namespace>) -> Option<Decision> {
    if to_be_verified(context) {
        return None;
    }
    let (tuple, transport) = packet::usual(context.family, context.skb.linear())?;
    Some(flow(context, &transport, &tuple, None))
}

/// Whether the packet's checksum is to be verified, and nobody has done that yet.
#[inline]
fn to_be_verified(context: &Context<'_, Namespace>) -> bool {
    !context.skb.checksum_known()
        && context.at_prerouting()
        && context.net.tracker().config.checksum.get()
}

/// Does to a packet what was decided.
#[inline(never)]
pub(crate) fn carry_out(context: &mut Context<'_, Namespace>, decision: Decision) -> Verdict {
    match decision {
        Decision::Tracked(conn, ctinfo) => {
            context.skb.attach(conn, ctinfo);
            Verdict::Accept
        }
        Decision::Odd(conn, ctinfo, remark) => {
            context.skb.attach(conn, ctinfo);
            odd(context, remark);
            Verdict::Accept
        }
        Decision::Misfit(conn, ctinfo, reason) => {
            // The log may tell of the connection.
            context.skb.attach(conn, ctinfo);
            invalid(context, reason);
            context.skb.detach();
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

/// Says what is odd about a packet, to who wants to know.
#[cold]
#[inline(never)]
fn odd(context: &Context<'_, Namespace>, remark: Reason) {
    let mut window = Window::new();
    let bytes = context.skb.bytes(&mut window);
    let protocol = packet::protocol_of(context.family, bytes).unwrap_or(0);
    log(context, protocol, remark);
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
#[cold]
fn log(context: &Context<'_, Namespace>, protocol: u8, reason: Reason) {
    const ALL: u8 = 255;
    let wanted = context.net.tracker().config.log_invalid.get();
    if wanted != 0 && (wanted == ALL || wanted == protocol) {
        context.log_invalid(protocol, reason.name());
    }
}

/// What becomes of a packet.
#[inline(never)]
pub(crate) fn decide(context: &Context<'_, Namespace>, template: Option<&Conn>) -> Decision {
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
            if !context.skb.checksum_known()
                && !context
                    .skb
                    .checksum_ok(context.hook(), context.family, checksum)
            {
                return Decision::Invalid(Reason::Checksum);
            }
        }
    }
    match packet.classify() {
        Ok(Class::Flow(tuple)) => flow(context, packet.transport(), &tuple, template),
        Ok(Class::Error(quoted)) => related::error(context, zone(context, template), &quoted),
        Ok(Class::Untracked) => Decision::Untracked,
        Err(reason) => Decision::Invalid(reason),
    }
}

/// The zone of a packet: that of the rule that it has met.
#[inline]
fn zone(context: &Context<'_, Namespace>, template: Option<&Conn>) -> Zone {
    template.map_or(Zone::DEFAULT, |template| {
        template.zone().of_mark(context.skb.mark())
    })
}

/// A packet with a tuple of its own.
#[inline(never)]
fn flow(
    context: &Context<'_, Namespace>,
    transport: &Transport<'_>,
    tuple: &Tuple,
    template: Option<&Conn>,
) -> Decision {
    let net = context.net;
    let shared = &net.tracker().shared;
    let zone = zone(context, template);
    let hash = shared.hash(net, zone.id(Direction::Original), tuple);
    for _ in 0..ROUNDS {
        let Some((conn, direction)) = shared.find_hashed(net, zone, tuple, hash, context.read)
        else {
            return open(context, transport, tuple, hash, zone, template);
        };
        if let Some(decision) = settle(context, conn, direction, transport) {
            return decision;
        }
    }
    Decision::Drop(Reason::Unsettled)
}

/// Does to a connection what the engine says of a packet; `None`: it is over, and the packet is to
/// be looked at anew.
#[inline(never)]
pub(crate) fn settle(
    context: &Context<'_, Namespace>,
    conn: Ref<Conn>,
    direction: Direction,
    transport: &Transport<'_>,
) -> Option<Decision> {
    let net = context.net;
    let shared = &net.tracker().shared;
    let (glance, now) = (conn.glance(), netfilter::now());
    let question = question(net, &conn, glance, direction, transport, now);
    let outcome = Conn::with_state(&conn, transport.has_lock(), Update(question));
    let ctinfo = ctinfo(glance.status(), direction);
    Some(match outcome {
        Outcome::Accept(effect) => {
            accept(context, &conn, direction, now, &effect);
            match effect.remark {
                None => Decision::Tracked(conn, ctinfo),
                Some(remark) => Decision::Odd(conn, ctinfo, remark),
            }
        }
        Outcome::Kill => {
            count(context, &conn, direction);
            // Who hears of its end hears of a connection that was never answered, as with stock.
            shared.kill(&conn);
            if ctinfo == CtInfo::EstablishedReply {
                conn.gain(Status::SEEN_REPLY);
            }
            Decision::Tracked(conn, ctinfo)
        }
        Outcome::Repeat => {
            shared.kill(&conn);
            return None;
        }
        Outcome::Invalid(reason) => Decision::Misfit(conn, ctinfo, reason),
        Outcome::Shorten(reason, timeout) => {
            shared.refresh(&conn, now, timeout);
            Decision::Misfit(conn, ctinfo, reason)
        }
    })
}

/// Does to a connection what a packet of it does.
#[inline(always)]
pub(crate) fn accept(
    context: &Context<'_, Namespace>,
    conn: &Ref<Conn>,
    direction: Direction,
    now: Instant,
    effect: &Effect,
) {
    let bits = match direction {
        Direction::Original => effect.set,
        Direction::Reply => effect.set | Status::SEEN_REPLY,
    };
    if conn.is_watched() {
        watched(conn, bits, effect.moved);
    } else {
        conn.set_status(bits);
    }
    if let Some(timeout) = effect.timeout {
        context.net.tracker().shared.refresh(conn, now, timeout);
        count(context, conn, direction);
    }
}

/// Counts a packet, where the connection's packets are counted.
#[inline]
pub(crate) fn count(context: &Context<'_, Namespace>, conn: &Conn, direction: Direction) {
    if let Some(account) = conn.counters() {
        account.add(direction, 1, context.skb.len().into());
    }
}

/// What a packet is to a connection of this status.
pub(crate) fn ctinfo(status: Status, direction: Direction) -> CtInfo {
    match direction {
        Direction::Reply => CtInfo::EstablishedReply,
        Direction::Original if status.contains(Status::SEEN_REPLY) => CtInfo::Established,
        Direction::Original if status.contains(Status::EXPECTED) => CtInfo::Related,
        Direction::Original => CtInfo::New,
    }
}

/// What the engine is asked of a packet.
#[inline(always)]
pub(crate) fn question<'a, 'b>(
    net: &'a Net<Namespace>,
    conn: &'a Conn,
    glance: Glance,
    direction: Direction,
    transport: &'a Transport<'b>,
    now: Instant,
) -> Question<'a, 'b> {
    let config = &net.tracker().config;
    Question {
        transport,
        direction,
        before: Before {
            status: glance.status(),
            expires: Some(conn.expires()),
            timeouts: conn.timeouts().unwrap_or(&config.timeouts),
        },
        now,
        config,
    }
}

/// What a packet does to its connection.
struct Update<'a, 'b>(Question<'a, 'b>);

impl Change for Update<'_, '_> {
    type Result = Outcome;

    #[inline(always)]
    fn change(self, mut state: Places<'_>) -> Outcome {
        let mut kept = state.get();
        let outcome = proto::update(&mut kept, &self.0);
        state.set(&kept);
        outcome
    }

    #[inline(always)]
    fn change_word(self, word: &mut u32) -> Outcome {
        proto::update_word(word, &self.0)
    }
}

/// A packet sets status bits of a connection, and perhaps its state has moved, which somebody may want to
/// know.
#[cold]
#[inline(never)]
fn watched(conn: &Ref<Conn>, bits: Status, moved: bool) {
    conn.gain(bits);
    if moved {
        conn.note(Events::PROTOINFO);
        if conn.is_tallied() && Conn::lock(conn).is_over() {
            conn.uncount();
        }
    }
}

/// Whether a new connection, of a packet without a template, comes from nowhere and nobody reads it:
/// nearly all are like that.
#[inline(always)]
pub(crate) fn is_plain(net: &Net<Namespace>, tuple: &Tuple) -> bool {
    let tracker = net.tracker();
    !expect::any(net) && !helpers::may_be_assigned(tracker, tuple) && !tracker.has_labels()
}

/// A packet that no connection knows: perhaps it starts one.
#[inline(never)]
pub(crate) fn open(
    context: &Context<'_, Namespace>,
    transport: &Transport<'_>,
    tuple: &Tuple,
    hash: u32,
    zone: Zone,
    template: Option<&Conn>,
) -> Decision {
    for _ in 0..ROUNDS {
        if let Some(decision) = try_open(context, transport, tuple, hash, zone, template) {
            return decision;
        }
    }
    Decision::Drop(Reason::Unsettled)
}

/// The same; `None`: another packet has taken what was expected of this one, which is to be looked at anew.
fn try_open(
    context: &Context<'_, Namespace>,
    transport: &Transport<'_>,
    tuple: &Tuple,
    hash: u32,
    zone: Zone,
    template: Option<&Conn>,
) -> Option<Decision> {
    let net = context.net;
    let tracker = net.tracker();
    let config = &tracker.config;
    let Some(reply) = tuple.invert() else {
        return Some(Decision::Invalid(Reason::IcmpNotRequest));
    };
    let timeouts = template.and_then(Conn::timeouts);
    let timeouts = timeouts.unwrap_or(&config.timeouts);
    let (mut state, now) = ([0; WORDS], netfilter::now());
    let effect = match proto::begin(&mut state, transport, timeouts, now, config) {
        Ok(effect) => effect,
        Err(reason) => return Some(Decision::Invalid(reason)),
    };
    if net.census().len() >= tracker.max() && !evict::make_room(net, hash, context.read) {
        if !netfilter::limited() {
            pr_warn!("table full, dropping packet\n");
        }
        return Some(no_room(config, Reason::TableFull));
    }
    let origin = if template.is_none() && is_plain(net, tuple) {
        Origin::new(tracker)
    } else {
        match Origin::search(context, tuple, zone, template) {
            Ok(origin) => origin,
            Err(_) => return Some(no_room(config, Reason::NoMemory)),
        }
    };
    let (ctinfo, born) = if origin.expectation.is_some() {
        (CtInfo::Related, Status::EXPECTED)
    } else {
        (CtInfo::New, Status::NONE)
    };
    let hashes = if zone.id(Direction::Original) == zone.id(Direction::Reply) {
        (hash, None)
    } else {
        tracker.shared.hashes(net, zone, [tuple, &reply])
    };
    let new = NewConn {
        original: *tuple,
        reply,
        hashes,
        state,
        timeout: effect.timeout.unwrap_or_default(),
        status: effect.set | born,
        zone,
        marks: origin.marks,
        features: origin.features,
    };
    let Some(conn) = net.new_conn(tracker.shared.cache(), new, origin.extension) else {
        return Some(no_room(config, Reason::NoMemory));
    };
    // Not before: where there is no memory, the packet comes once more.
    if origin
        .expectation
        .is_some_and(|expectation| !expect::take(net, &expectation))
    {
        return None;
    }
    count(context, &conn, Direction::Original);
    Some(Decision::Tracked(conn, ctinfo))
}

/// Where a connection comes from, and what it has from there.
struct Origin {
    /// By which another has announced it.
    expectation: Option<Ref<Expectation>>,
    /// That one's marks.
    marks: [u32; 2],
    extension: Option<KBox<Extension>>,
    features: Features,
}

impl Origin {
    /// Nowhere.
    #[inline]
    fn new(tracker: &Namespace) -> Self {
        Self {
            expectation: None,
            marks: [0; 2],
            extension: None,
            features: tracker.wanted.features(),
        }
    }

    /// Looks for where it comes from, and for what a rule wishes it to have.
    #[cold]
    #[inline(never)]
    fn search(
        context: &Context<'_, Namespace>,
        tuple: &Tuple,
        zone: Zone,
        template: Option<&Conn>,
    ) -> Result<Self> {
        let tracker = context.net.tracker();
        let mut origin = Self::new(tracker);
        let expectation = expect::meet(context.net, zone, tuple, context.read);
        let wishes = template.and_then(Conn::extension).map(Extension::extras);
        let masks = wishes.and_then(|wishes| wishes.masks);
        // As with stock: where events are told if somebody listens, no rule asks for more.
        let asked = masks.is_some() && tracker.wanted.events() == 0;
        origin.features = origin.features.with(Features::EVENTS, asked);
        let master = expectation.as_ref().map(|expectation| expectation.master());
        origin.marks = master.map_or([0; 2], |master| master.marks());
        origin.extension = Extension::new(Extras {
            master: master.cloned(),
            session: session(context, tuple, expectation.as_deref(), template)?,
            labels: tracker.has_labels(),
            timeouts: wishes
                .and_then(|wishes| wishes.timeouts.as_ref())
                .map(Share::lend),
            masks,
            shifts: None,
        })?;
        origin.expectation = expectation;
        Ok(origin)
    }
}

/// What a helper is to keep of a new connection. An expected one is read by the helper of its
/// master, if that wants to read on; any other by the one that a rule says, or else the port.
fn session(
    context: &Context<'_, Namespace>,
    tuple: &Tuple,
    expectation: Option<&Expectation>,
    template: Option<&Conn>,
) -> Result<Option<KBox<Session>>> {
    let helper_of = |conn: &Conn| conn.session().map(|session| session.helper().clone());
    let helper = match (expectation, template) {
        // Of those whose master was itself expected none is read: each keeps its master.
        (Some(expectation), _)
            if expectation.what().helped && expectation.master().master().is_none() =>
        {
            helper_of(expectation.master())
        }
        (Some(_), _) => None,
        (None, template) => template
            .and_then(helper_of)
            .or_else(|| helpers::assigned(context.net.tracker(), tuple)),
    };
    match helper.filter(|helper| helper.reads(tuple.protocol())) {
        Some(helper) => Session::new(&helper, context.read),
        None => Ok(None),
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
    let defaults = &net.tracker().config.timeouts;
    let timeouts = conn.timeouts().unwrap_or(defaults);
    let timeout = match &mut *Conn::lock(conn) {
        State::Tcp(tcp) => tcp.close(timeouts),
        _ => None,
    };
    if let Some(timeout) = timeout {
        conn.note(Events::PROTOINFO);
        conn.uncount();
        let shared = &net.tracker().shared;
        shared.refresh(conn, netfilter::now(), timeout);
    }
}
