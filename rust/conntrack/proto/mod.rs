// SPDX-License-Identifier: GPL-2.0
//! What each transport protocol makes of a packet of a connection.

mod gre;
mod keep;
pub mod sctp;
pub mod tcp;
mod udp;

use crate::{
    packet::{Segment, Tcp, Transport},
    reason::Reason,
    setting::Setting,
    show::Detail,
    status::Status,
    time::{Instant, Ticks},
    timeouts::{Config, Timeouts},
    tuple::{protocol, Direction, Family, Tuple},
    wire::{icmp, icmpv6},
};

pub(crate) use self::udp::SETTLE_SECS as UDP_SETTLE_SECS;
pub use self::{
    keep::{is_large, of_word, word_of, Kept, Places, WORDS},
    udp::Udp,
};

/// What a protocol remembers of a connection.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// TCP.
    Tcp(tcp::Tcp),
    /// UDP.
    Udp(Udp),
    /// ICMP: nothing.
    Icmp,
    /// ICMPv6: nothing.
    Icmpv6,
    /// SCTP.
    Sctp(sctp::Sctp),
    /// GRE: nothing.
    Gre,
    /// Any other protocol: nothing.
    Generic,
}

/// What a user makes of a connection's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of a TCP connection.
    Tcp(tcp::Change),
    /// Of an SCTP association.
    Sctp(sctp::Change),
}

/// What a packet does to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It belongs to it.
    Accept(Effect),
    /// It belongs to it, and ends it: the entry goes at once.
    Kill,
    /// It does not belong to it: INVALID.
    Invalid(Reason),
    /// Nor does this one, but the entry has lost touch and shall live no longer than so.
    Shorten(Reason, Ticks),
    /// The connection is over and the packet starts another: the entry goes, and the packet is
    /// looked at anew.
    Repeat,
}

/// What an entry is before a packet.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Its status bits.
    pub status: Status,
    /// When it expires, if it is to be found by then: what has just begun is not.
    pub expires: Option<Instant>,
    /// How long it lives after a packet: as the namespace has it, or as a rule has said.
    pub timeouts: &'a Timeouts,
}

impl<'a> Before<'a> {
    /// Of an entry that the packet starts.
    #[must_use]
    pub fn new(timeouts: &'a Timeouts) -> Self {
        Self {
            status: Status::NONE,
            expires: None,
            timeouts,
        }
    }
}

/// A packet of a connection, and what there is to know beside it.
#[derive(Clone, Copy)]
pub struct Question<'a, 'b> {
    /// What it says.
    pub transport: &'a Transport<'b>,
    /// Which way it goes.
    pub direction: Direction,
    /// The entry before it.
    pub before: Before<'a>,
    /// The time.
    pub now: Instant,
    /// The namespace's settings.
    pub config: &'a Config,
}

impl<'a> Question<'a, '_> {
    /// The same for TCP.
    #[inline(always)]
    fn tcp(&self) -> tcp::Context<'a> {
        tcp::Context {
            status: self.before.status,
            expires: self.before.expires,
            now: self.now,
            timeouts: self.before.timeouts,
            config: self.config,
        }
    }
}

/// What changes of the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Its new timeout; `None` to leave it.
    pub timeout: Option<Ticks>,
    /// Status bits to set.
    pub set: Status,
    /// Whether the protocol's state is another now.
    pub moved: bool,
    /// What is odd about the packet, although it passes.
    pub remark: Option<Reason>,
}

impl Effect {
    /// Nothing changes, for a reason.
    fn pass(remark: Reason) -> Outcome {
        Outcome::Accept(Self {
            remark: Some(remark),
            ..Self::default()
        })
    }

    fn timeout(timeout: Ticks) -> Outcome {
        Self::moved(false, timeout)
    }

    fn moved(moved: bool, timeout: Ticks) -> Outcome {
        Outcome::Accept(Self {
            timeout: Some(timeout),
            moved,
            ..Self::default()
        })
    }
}

/// What a packet does to a connection whose state is kept as words: those of a state of the packet's
/// protocol, which is part of the tuple.
pub fn update(kept: &mut Kept, question: &Question<'_, '_>) -> Outcome {
    let direction = question.direction;
    match question.transport {
        Transport::Tcp(segment) => {
            tcp::Tcp::within(kept).update(segment, direction, &question.tcp())
        }
        Transport::Sctp(view) => {
            let [first, second, third, ..] = kept;
            let mut sctp = sctp::Sctp::kept([*first, *second, *third]);
            let outcome = sctp.update(view, direction, question.before);
            [*first, *second, *third] = sctp.keep();
            outcome
        }
        _ => {
            let mut word = word_of(kept);
            let outcome = update_word(&mut word, question);
            *kept = of_word(word);
            outcome
        }
    }
}

/// The same of protocols whose state is no more than a word.
#[inline(always)]
pub fn update_word(word: &mut u32, question: &Question<'_, '_>) -> Outcome {
    let Before {
        status, timeouts, ..
    } = question.before;
    match question.transport {
        Transport::Udp(_) => {
            let mut udp = Udp::kept(*word);
            let outcome = udp.update(status, question.now, timeouts);
            *word = udp.keep();
            outcome
        }
        Transport::Icmp(_) => Effect::timeout(timeouts.icmp.get()),
        Transport::Icmpv6(_) => Effect::timeout(timeouts.icmpv6.get()),
        Transport::Gre => gre::update(status, timeouts),
        // (The first two have more than a word.)
        Transport::Tcp(_) | Transport::Sctp(_) | Transport::Other => {
            Effect::timeout(timeouts.generic.get())
        }
    }
}

/// What a packet does to a connection that it starts, whose state `kept` (all zero) becomes.
///
/// # Errors
///
/// Why it starts none.
pub fn begin(
    kept: &mut Kept,
    transport: &Transport<'_>,
    timeouts: &Timeouts,
    now: Instant,
    config: &Config,
) -> Result<Effect, Reason> {
    match transport {
        Transport::Tcp(segment) if segment.segment == Segment::Syn => {
            return Ok(Effect {
                timeout: Some(request(kept, segment, timeouts)),
                moved: true,
                ..Effect::default()
            });
        }
        Transport::Tcp(segment) => *tcp::Tcp::within(kept) = tcp::Tcp::open(segment, config)?,
        Transport::Udp(_) => {} // Begins with zero.
        _ => *kept = State::open(transport, config)?.keep(),
    }
    let question = Question {
        transport,
        direction: Direction::Original,
        before: Before::new(timeouts),
        now,
        config,
    };
    match update(kept, &question) {
        Outcome::Accept(effect) => Ok(effect),
        Outcome::Invalid(reason) | Outcome::Shorten(reason, _) => Err(reason),
        Outcome::Kill | Outcome::Repeat => Err(Reason::TcpNotNew),
    }
}

/// What a SYN does to a connection that it starts, whose state `kept` becomes; how long it lives.
#[inline(always)]
pub fn request(kept: &mut Kept, segment: &Tcp<'_>, timeouts: &Timeouts) -> Ticks {
    *tcp::Tcp::within(kept) = tcp::Tcp::request(segment);
    tcp::Tcp::request_timeout(timeouts)
}

/// What a packet of UDP or an echo does to a connection that it starts: its state, and how long it lives. `None` says nothing: [`begin`] does.
#[inline(always)]
#[must_use]
pub fn begin_quickly(tuple: &Tuple, timeouts: &Timeouts, now: Instant) -> Option<(Kept, Ticks)> {
    let nothing = of_word(0);
    let [kind, _] = tuple.dst_id();
    if tuple.protocol() == protocol::UDP {
        let mut udp = Udp::default();
        return match udp.update(Status::NONE, now, timeouts) {
            Outcome::Accept(effect) => Some((of_word(udp.keep()), effect.timeout?)),
            _ => None,
        };
    }
    match (tuple.protocol(), tuple.family()) {
        (protocol::ICMP, Family::Ipv4) if icmp::is_request(kind) => {
            Some((nothing, timeouts.icmp.get()))
        }
        (protocol::ICMPV6, Family::Ipv6) if icmpv6::is_request(kind) => {
            Some((nothing, timeouts.icmpv6.get()))
        }
        _ => None,
    }
}

/// The status bits that a connection must have for [`stay`], or for [`stay_word`].
#[inline(always)]
#[must_use]
pub fn settled(has_lock: bool) -> Status {
    if has_lock {
        Status::SEEN_REPLY | Status::ASSURED
    } else {
        Status::NONE
    }
}

/// What a packet that has nothing unusual does to a settled connection that it does not change: the
/// timeout that follows. `None`: [`update`] is to be asked, and nothing was changed.
#[inline(always)]
pub fn stay(places: Places<'_>, question: &Question<'_, '_>) -> Option<Ticks> {
    let Transport::Tcp(segment) = question.transport else {
        return None;
    };
    tcp::Tcp::stay(
        tcp::Parts::within(places),
        segment,
        question.direction,
        question.before.timeouts,
        question.config,
    )
}

/// The same of a state that is no more than a word. (Of UDP and echoes; others
/// have to ask [`update`].)
#[inline(always)]
#[must_use]
pub fn stay_word(word: u32, question: &Question<'_, '_>) -> Option<Ticks> {
    let Before {
        status, timeouts, ..
    } = question.before;
    let direction = question.direction;
    let known = direction == Direction::Original || status.contains(Status::SEEN_REPLY);
    match question.transport {
        Transport::Udp(_) => Udp::kept(word).stay(status, direction, question.now, timeouts),
        Transport::Icmp(_) if known => Some(timeouts.icmp.get()),
        Transport::Icmpv6(_) if known => Some(timeouts.icmpv6.get()),
        _ => None,
    }
}

/// Whether [`advance`] may have an answer for a packet of a connection with these status bits.
#[inline(always)]
#[must_use]
pub fn may_advance(transport: &Transport<'_>, status: Status) -> bool {
    let answered = status.contains(Status::SEEN_REPLY);
    match transport {
        Transport::Tcp(segment) => match segment.segment {
            Segment::Ack | Segment::Fin => answered,
            Segment::SynAck => !answered,
            _ => false,
        },
        Transport::Sctp(_) => false,
        _ => true,
    }
}

/// What a packet does that has nothing unusual, of those that [`may_advance`]; its state is changed
/// where it is. `None`: [`update`] is to be asked, and nothing was changed.
#[inline(always)]
pub fn advance(places: Places<'_>, question: &Question<'_, '_>) -> Option<Effect> {
    let Transport::Tcp(segment) = question.transport else {
        return None;
    };
    let parts = tcp::Parts::within(places);
    tcp::Tcp::advance(parts, segment, question.direction, &question.tcp())
}

/// The same of a state that is no more than a word.
#[inline(always)]
pub fn advance_word(word: &mut u32, question: &Question<'_, '_>) -> Option<Effect> {
    match update_word(word, question) {
        Outcome::Accept(effect) => Some(effect),
        _ => None, // Not reached: these accept all packets.
    }
}

impl State {
    /// The state of a connection that a packet may start, before the packet has done anything.
    ///
    /// # Errors
    ///
    /// Why it starts none.
    #[inline]
    pub fn open(transport: &Transport<'_>, config: &Config) -> Result<Self, Reason> {
        match transport {
            Transport::Tcp(segment) => tcp::Tcp::open(segment, config).map(Self::Tcp),
            Transport::Udp(_) => Ok(Self::Udp(Udp::default())),
            Transport::Icmp(icmp) if icmp::is_request(icmp.kind) => Ok(Self::Icmp),
            Transport::Icmpv6(icmp) if icmpv6::is_request(icmp.kind) => Ok(Self::Icmpv6),
            Transport::Icmp(_) | Transport::Icmpv6(_) => Err(Reason::IcmpNotRequest),
            Transport::Sctp(packet) => sctp::Sctp::open(packet).map(Self::Sctp),
            Transport::Gre => Ok(Self::Gre),
            Transport::Other => Ok(Self::Generic),
        }
    }

    /// The state of a connection of which no packet was seen: users make such, for another
    /// firewall has seen them.
    #[must_use]
    pub fn unseen(tuple: &Tuple) -> Self {
        Self::kept(tuple, [0; WORDS])
    }

    /// Changes it as a user wants; nothing where the change is of another protocol.
    pub fn change(&mut self, change: &Change) {
        match (self, change) {
            (Self::Tcp(tcp), Change::Tcp(change)) => tcp.change(change),
            (Self::Sctp(sctp), Change::Sctp(change)) => sctp.change(change),
            _ => {}
        }
    }

    /// What a packet does to a connection of this state; the one that starts it comes here too,
    /// right after [`State::open`], with no status bit set and no time left.
    pub fn update(
        &mut self,
        transport: &Transport<'_>,
        direction: Direction,
        entry: Before<'_>,
        now: Instant,
        config: &Config,
    ) -> Outcome {
        let mut kept = self.keep();
        let question = Question {
            transport,
            direction,
            before: entry,
            now,
            config,
        };
        let outcome = update(&mut kept, &question);
        *self = self.same_of(kept);
        outcome
    }

    /// The state's name, for protocols that have states.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Tcp(tcp) => Some(tcp.state().name()),
            Self::Sctp(sctp) => Some(sctp.state().name()),
            _ => None,
        }
    }

    /// What it has to say in `/proc`.
    #[must_use]
    pub fn detail(&self, timeouts: &Timeouts, hz: u32) -> Detail {
        let secs = |setting: &Setting<Ticks>| setting.get().as_secs(hz);
        match self {
            Self::Gre => Detail::Timeouts(secs(&timeouts.gre), secs(&timeouts.gre_stream)),
            _ => self.name().map_or(Detail::None, Detail::State),
        }
    }

    /// Whether the connection is on its way out, though it was worth keeping: such an entry may
    /// be evicted.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_closing(),
            Self::Sctp(sctp) => sctp.is_closing(),
            _ => false,
        }
    }

    /// Whether the connection is over, and remembered only for what is still on its way.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Tcp(tcp) => matches!(tcp.state(), tcp::State::TimeWait | tcp::State::Close),
            _ => false,
        }
    }

    /// Whether two that came up with the same flow at once may be taken for one: nothing of the
    /// first packet is lost by that.
    #[must_use]
    pub fn may_merge(&self) -> bool {
        !matches!(self, Self::Tcp(_) | Self::Sctp(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{icmp::IcmpView, udp::UdpView};

    const UDP: Transport<'_> = Transport::Udp(UdpView { has_checksum: true });

    #[test]
    fn what_begins_quickly_begins_so() {
        let config = Config::defaults(250);
        let now = Instant::from_ticks(77);
        let echo = |kind| IcmpView {
            kind,
            code: 0,
            id: [0, 1],
        };
        for (family, number, dst_id, transport, quick) in [
            (Family::Ipv4, protocol::UDP, [0, 53], UDP, true),
            (
                Family::Ipv4,
                protocol::ICMP,
                [8, 0],
                Transport::Icmp(echo(8)),
                true,
            ),
            (
                Family::Ipv6,
                protocol::ICMPV6,
                [128, 0],
                Transport::Icmpv6(echo(128)),
                true,
            ),
            (
                Family::Ipv4,
                protocol::ICMP,
                [0, 0],
                Transport::Icmp(echo(0)),
                false,
            ),
            (Family::Ipv4, protocol::GRE, [0, 0], Transport::Gre, false),
        ] {
            let tuple = Tuple::new(family, number, [1; 4], [0, 1], [2; 4], dst_id);
            let quickly = begin_quickly(&tuple, &config.timeouts, now);
            assert_eq!(quickly.is_some(), quick, "{transport:?}");
            let mut kept = [0; WORDS];
            let begun = begin(&mut kept, &transport, &config.timeouts, now, &config);
            if let Some((state, timeout)) = quickly {
                assert_eq!(state, kept);
                assert_eq!(begun.map(|effect| effect.timeout), Ok(Some(timeout)));
                assert!(!is_large(number) && !transport.has_lock());
            }
        }
    }

    /// What stays is just what is not changed.
    #[test]
    fn a_word_stays_that_is_not_changed() {
        let config = Config::defaults(250);
        let from = Instant::from_ticks(u32::MAX - 10);
        for (bits, late, direction) in (0..8).flat_map(|bits| {
            [-20_i32, -1, 0, 1, 20].into_iter().flat_map(move |late| {
                [Direction::Original, Direction::Reply].map(|direction| (bits, late, direction))
            })
        }) {
            let pick = |bit: u32, status| {
                if (bits >> bit) & 1 == 1 {
                    status
                } else {
                    Status::NONE
                }
            };
            let status = Status::CONFIRMED
                | pick(0, Status::SEEN_REPLY)
                | pick(1, Status::ASSURED)
                | pick(2, Status::EXPECTED);
            let question = Question {
                transport: &UDP,
                direction,
                before: Before {
                    status,
                    ..Before::new(&config.timeouts)
                },
                now: Instant::from_ticks(from.as_ticks().wrapping_add_signed(late)),
                config: &config,
            };
            let before = Udp::kept(from.as_ticks()).keep();
            let mut word = before;
            let Some(effect) = advance_word(&mut word, &question) else {
                panic!()
            };
            let gains = match direction {
                Direction::Original => effect.set,
                Direction::Reply => effect.set | Status::SEEN_REPLY,
            };
            let changes = word != before || !status.contains(gains);
            let wanted = if changes { None } else { effect.timeout };
            assert_eq!(
                stay_word(before, &question),
                wanted,
                "{status:?} {late} {direction:?}"
            );
        }
    }

    /// A question and its answer, and what goes both ways for longer.
    #[test]
    fn a_word_stays_or_advances() {
        let config = Config::defaults(250);
        let timeouts = &config.timeouts;
        let start = Instant::from_ticks(77);
        let ask = |status, now| Question {
            transport: &UDP,
            direction: Direction::Reply,
            before: Before {
                status: Status::CONFIRMED | status,
                ..Before::new(timeouts)
            },
            now,
            config: &config,
        };
        let first = Udp::kept(start.add(timeouts.udp_settle).as_ticks()).keep();
        let (short, long) = (timeouts.udp.get(), timeouts.udp_stream.get());
        let answer = ask(Status::SEEN_REPLY, start);
        assert!(may_advance(&UDP, answer.before.status));
        assert_eq!(stay_word(first, &answer), Some(short));
        let later = start.add(Ticks::from_secs(3, 250));
        let stream = ask(Status::SEEN_REPLY, later);
        assert_eq!(stay_word(first, &stream), None);
        let mut word = first;
        let effect = advance_word(&mut word, &stream).map(|effect| (effect.set, effect.timeout));
        assert_eq!(effect, Some((Status::ASSURED, Some(long))));
        let assured = ask(Status::SEEN_REPLY | Status::ASSURED, later);
        assert_eq!(stay_word(word, &assured), Some(long));
        // These are of states that take more.
        assert_eq!(with_places(word, |places| stay(places, &assured)), None);
        assert_eq!(with_places(word, |places| advance(places, &assured)), None);
        assert_eq!(with_places(word, |places| places.get()), of_word(word));
    }

    fn with_places<R>(mut word: u32, way: impl FnOnce(Places<'_>) -> R) -> R {
        way(Places {
            first: &mut [0; 6],
            next: &mut [0; 2],
            middle: &mut word,
            last: &mut [0; 4],
        })
    }
}
