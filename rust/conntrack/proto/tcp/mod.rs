// SPDX-License-Identifier: GPL-2.0
//! TCP (RFC 9293): states, and the cases that a table cannot tell.

mod table;
mod window;

pub use self::table::{step, State, Step};
pub use crate::wire::tcp::MOST_SCALE;

use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

pub(super) use self::window::EndsMut;
use self::window::{About, End, Ends, Fit, Flags, Offer};
use super::{Effect, Outcome};
use crate::{
    packet::{Segment, Tcp as View},
    reason::Reason,
    seq::Seq,
    setting::Setting,
    status::Status,
    time::{Instant, Ticks},
    timeouts::{Config, Timeouts},
    tuple::Direction,
};

/// A timeout for each state.
#[derive(Clone, Debug)]
pub struct StateTimeouts([Setting<Ticks>; 10]);

impl StateTimeouts {
    /// What `timeout` says of each state.
    pub fn new(timeout: impl FnMut(State) -> Setting<Ticks>) -> Self {
        Self(State::ALL.map(timeout))
    }

    /// The timeout of a state.
    #[inline]
    #[must_use]
    pub fn of(&self, state: State) -> Ticks {
        self.setting(state).get()
    }

    /// The same, to be changed.
    #[inline]
    #[must_use]
    pub fn setting(&self, state: State) -> &Setting<Ticks> {
        // There is one for each.
        let [first, ..] = &self.0;
        self.0.get(state as usize).unwrap_or(first)
    }
}

/// What is remembered of a TCP connection, without a gap, for it is kept with each (as
/// [`super::Kept`], whose size it has).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Tcp {
    ends: Ends,
    recent: Recent,
}

/// What is remembered of the last segments.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Recent {
    last: Last,
    /// The window of that segment.
    window: u16,
    /// How often the last acknowledgement came again.
    retrans: u8,
    place: Place,
}

/// The same where it is kept, part by part.
pub(super) struct Parts<'a> {
    pub(super) ends: EndsMut<'a>,
    pub(super) recent: &'a mut Recent,
}

/// The numbers of the last segment that counted, or that was let through unjudged.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, PartialEq, Eq)]
#[repr(C)]
struct Last {
    seq: Seq,
    ack: Seq,
    end: Seq,
}

/// Where a connection is: its state in the low four bits, then in three bits what the last segment
/// was, and in one its direction.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(transparent)]
struct Place(u8);

impl Place {
    #[inline]
    fn new(state: State, segment: Segment, direction: Direction) -> Self {
        Self(state as u8 | ((segment as u8) << 4) | ((direction as u8) << 7))
    }

    #[inline]
    fn state(self) -> State {
        State::from_number(self.0 & 15).unwrap_or(State::None)
    }

    #[inline]
    fn segment(self) -> Segment {
        Segment::from_number((self.0 >> 4) & 7)
    }

    #[inline]
    fn direction(self) -> Direction {
        if self.0 >> 7 == 0 {
            Direction::Original
        } else {
            Direction::Reply
        }
    }
}

/// What there is to know beside the segment.
pub(super) struct Context<'a> {
    pub(super) status: Status,
    /// When the entry expires.
    pub(super) expires: Option<Instant>,
    pub(super) now: Instant,
    pub(super) timeouts: &'a Timeouts,
    pub(super) config: &'a Config,
}

/// What the ends have agreed on, and what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// By how many bits the windows of an end are shifted.
    pub scale: u8,
    /// IP_CT_TCP_FLAG_ of linux/netfilter/nf_conntrack_tcp.h.
    pub flags: u8,
}

/// Bits that take the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagChange {
    /// The new bits.
    pub value: u8,
    /// Which of them are meant.
    pub mask: u8,
}

/// What a user makes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Its state.
    pub state: Option<State>,
    /// What is known of its ends: original, reply.
    pub flags: [Option<FlagChange>; 2],
    /// By how many bits their windows are shifted; at most [`MOST_SCALE`] are taken.
    pub scales: Option<[u8; 2]>,
}

impl Tcp {
    /// What the ends have agreed on, and what is known of them: original, reply.
    #[must_use]
    pub fn agreed(&self) -> [Agreed; 2] {
        self.ends.agreed()
    }

    /// Changes it as a user wants.
    pub(super) fn change(&mut self, change: &Change) {
        let state = change.state.unwrap_or(self.state());
        self.recent.place = Place::new(state, self.last_segment(), self.last_direction());
        self.ends.change(change);
    }

    /// The state of a connection that `segment` may start.
    pub(super) fn open(segment: &View<'_>, config: &Config) -> Result<Self, Reason> {
        let ends = match step(Direction::Original, segment.segment, State::None) {
            Step::To(State::SynSent) => Ends::new(End::first(segment), End::default()),
            // A connection taken over in mid-stream, from another firewall or after a restart.
            Step::To(_) if config.tcp_loose.get() => {
                Ends::new(End::picked_up(segment), End::opposite())
            }
            _ => return Err(Reason::TcpNotNew),
        };
        Ok(Self {
            ends,
            recent: Recent::new(Place::new(State::None, Segment::None, Direction::Original)),
        })
    }

    /// The state of a connection that `segment`, a SYN, has started: what [`Self::open`] and
    /// [`Self::update`] would make of it.
    #[inline(always)]
    pub(super) fn request(segment: &View<'_>) -> Self {
        Self {
            ends: Ends::new(End::first(segment), End::asked(segment)),
            recent: Recent::new(Place::new(
                State::SynSent,
                Segment::Syn,
                Direction::Original,
            )),
        }
    }

    /// How long that lives.
    #[inline(always)]
    pub(super) fn request_timeout(timeouts: &Timeouts) -> Ticks {
        // What the last segment's window was is not known yet.
        let usual = timeouts.tcp.of(State::SynSent);
        usual.min(timeouts.tcp_retrans.get())
    }

    /// The state.
    #[must_use]
    #[inline]
    pub fn state(&self) -> State {
        self.recent.place.state()
    }

    /// What the last segment was.
    #[inline]
    fn last_segment(&self) -> Segment {
        self.recent.place.segment()
    }

    /// The direction of the last segment.
    #[inline]
    fn last_direction(&self) -> Direction {
        self.recent.place.direction()
    }

    /// This host has reset the connection: the timeout that follows, if it was open.
    pub fn close(&mut self, timeouts: &Timeouts) -> Option<Ticks> {
        let before = self.state();
        self.recent.place = Place::new(State::Close, self.last_segment(), self.last_direction());
        (before != State::Close).then(|| timeouts.tcp.of(State::Close))
    }

    /// What a segment does that has nothing unusual, to a connection that is open and stays so, was
    /// answered and is assured: the timeout that follows, which is all that changes but for what is
    /// remembered here. `None`: it is to be asked for by [`Self::update`], and nothing was changed.
    #[inline(always)]
    pub(super) fn stay(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        timeouts: &Timeouts,
        config: &Config,
    ) -> Option<Ticks> {
        // A copy for each direction, where the compiler knows all places.
        match direction {
            Direction::Original => {
                Self::stay_in(parts, segment, Direction::Original, timeouts, config)
            }
            Direction::Reply => Self::stay_in(parts, segment, Direction::Reply, timeouts, config),
        }
    }

    /// The same in one direction.
    #[inline(always)]
    fn stay_in(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        timeouts: &Timeouts,
        config: &Config,
    ) -> Option<Ticks> {
        let Parts { mut ends, recent } = parts;
        let open = State::Established;
        // Both directions' tables leave it so.
        let stays = segment.segment == Segment::Ack && recent.place.state() == open;
        if !stays || !ends.keep_to(segment, direction) {
            return None;
        }
        recent.count_retransmission(segment, direction);
        recent.place = Place::new(open, Segment::Ack, direction);
        Some(recent.timeout(ends.about, open, segment, timeouts, config))
    }

    /// What a segment does that acknowledges, and perhaps ends its direction, to a connection that was
    /// answered, or that answers a SYN, if there is nothing unusual about either. `None`: it is to be
    /// asked for by [`Self::update`], and nothing was changed.
    #[inline(always)]
    pub(super) fn advance(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Option<Effect> {
        // As in `stay`.
        match direction {
            Direction::Original => Self::advance_in(parts, segment, Direction::Original, context),
            Direction::Reply => Self::advance_in(parts, segment, Direction::Reply, context),
        }
    }

    /// The same in one direction.
    #[inline(always)]
    fn advance_in(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Option<Effect> {
        let Parts { mut ends, recent } = parts;
        let old = recent.place.state();
        let kind = segment.segment;
        if ends.about.is_odd() {
            return None;
        }
        let answers = kind == Segment::SynAck;
        let new = if answers {
            let asked = old == State::SynSent && direction == Direction::Reply;
            if !asked || !ends.answer(segment) {
                return None;
            }
            State::SynRecv
        } else {
            let Step::To(new) = step(direction, kind, old) else {
                return None;
            };
            if !ends.keep_to(segment, direction) {
                return None;
            }
            new
        };
        if kind == Segment::Ack {
            recent.count_retransmission(segment, direction);
        }
        recent.place = Place::new(new, kind, direction);
        if new == State::FinWait && old != State::FinWait {
            ends.close_first(direction);
        }
        let timeout = recent.timeout(ends.about, new, segment, context.timeouts, context.config);
        Some(Effect {
            timeout: Some(timeout),
            set: assured(old, new),
            moved: new != old,
            remark: None,
        })
    }

    /// All of it, part by part.
    #[cfg(test)]
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            ends: self.ends.parts(),
            recent: &mut self.recent,
        }
    }

    /// What a segment does.
    pub(super) fn update(
        &mut self,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Outcome {
        let old = self.state();
        match step(direction, segment.segment, old) {
            Step::Invalid => Outcome::Invalid(Reason::TcpState),
            Step::To(State::SynSent) if matches!(old, State::TimeWait | State::Close) => {
                if self.may_reopen(direction) {
                    Outcome::Repeat
                } else {
                    self.let_through(segment, direction)
                }
            }
            Step::Ignore if self.answers_unjudged_syn(segment, direction) => {
                self.resync(direction);
                self.place(segment, direction, State::SynRecv, State::SynSent, context)
            }
            Step::Ignore => self.let_through(segment, direction),
            Step::To(State::TimeWait) if self.is_challenge(segment, direction) => {
                self.ends.note(Flags::EXPECTS_CHALLENGE, false);
                Effect::pass(Reason::TcpChallenge)
            }
            Step::To(State::Close) if segment.segment == Segment::Rst => {
                self.reset(segment, direction, context)
            }
            Step::To(new) => {
                let new = self.settle_simultaneous_open(new, segment, direction);
                self.place(segment, direction, new, old, context)
            }
        }
    }

    /// Whether a SYN after the end may start the tuple anew (RFC 9293, 3.6.1): an end has closed
    /// in good order, or this one has just reset.
    fn may_reopen(&self, direction: Direction) -> bool {
        self.ends.any(Flags::CLOSED_FIRST)
            || (self.last_segment() == Segment::Rst && self.last_direction() == direction)
    }

    /// Whether this SYN/ACK answers a SYN that was let through unjudged.
    fn answers_unjudged_syn(&self, segment: &View<'_>, direction: Direction) -> bool {
        segment.segment == Segment::SynAck
            && self.last_segment() == Segment::Syn
            && self.last_direction() != direction
            && segment.ack == self.recent.last.end
    }

    /// Both ends agree on a start that was not believed: believe it, with what that SYN said.
    fn resync(&mut self, direction: Direction) {
        self.ends.note(Flags::EXPECTS_CHALLENGE, false);
        let (mut sender, _) = self.ends.pair(direction);
        sender.reset();
        let receiver = End::resumed(
            self.recent.last.end,
            self.recent.window,
            self.ends.about.offer,
        );
        self.ends.set(direction, sender, receiver);
    }

    /// Whether this ACK answers a SYN that was let through, not the last FIN.
    fn is_challenge(&self, segment: &View<'_>, direction: Direction) -> bool {
        self.state() == State::LastAck
            && segment.segment == Segment::Ack
            && self.last_segment() == Segment::Syn
            && self.last_direction() != direction
            && self.ends.any(Flags::EXPECTS_CHALLENGE)
    }

    /// The table cannot tell an ACK that ends a simultaneous open from one that answers a
    /// SYN/ACK: the first comes from the server as well.
    fn settle_simultaneous_open(
        &mut self,
        new: State,
        segment: &View<'_>,
        direction: Direction,
    ) -> State {
        match new {
            State::SynSent2 => self.ends.note(Flags::SIMULTANEOUS, true),
            State::SynRecv
                if self.ends.any(Flags::SIMULTANEOUS)
                    && direction == Direction::Reply
                    && segment.segment == Segment::Ack =>
            {
                return State::Established;
            }
            _ => {}
        }
        new
    }

    /// Remembers a segment that is let through without a change.
    fn let_through(&mut self, segment: &View<'_>, direction: Direction) -> Outcome {
        let challenge = self.state() == State::SynSent
            && segment.segment == Segment::Ack
            && direction == Direction::Reply;
        self.recent.last = Last {
            seq: segment.seq,
            ack: if challenge {
                segment.ack
            } else {
                self.recent.last.ack
            },
            end: segment.end(),
        };
        self.recent.window = segment.window;
        self.recent.place = Place::new(self.state(), segment.segment, direction);
        if segment.segment == Segment::Syn && direction == Direction::Original {
            self.ends.about.offer = Offer::read(segment.options);
            let challenge = self.state() == State::LastAck;
            self.ends.note(Flags::EXPECTS_CHALLENGE, challenge);
            // What the server acknowledges next may be this one.
            self.ends.note(Flags::SIMULTANEOUS, false);
        }
        Effect::pass(Reason::TcpUnjudged)
    }

    /// A reset: whoever can guess a number near the window could end connections of others, so
    /// of an open one only the exact number does it (RFC 5961, 3).
    fn reset(
        &mut self,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Outcome {
        let old = self.state();
        // The end has come; what is remembered may be of a use of the tuple before.
        if self.is_closing() {
            return self.enter(segment, direction, State::Close, old, context);
        }
        let open = old == State::Established && context.status.contains(Status::ASSURED);
        let (_, receiver) = self.ends.pair(direction);
        let mut new = State::Close;
        if receiver.flags.has(Flags::HAS_ACKED) && self.last_segment() != Segment::Syn {
            let acked = receiver.acked;
            let answers_unjudged_syn = segment.seq == Seq::new(0) && !open;
            if !answers_unjudged_syn {
                if acked.after(segment.seq) && !context.config.tcp_ignore_invalid_rst.get() {
                    return Outcome::Invalid(Reason::TcpReset);
                }
                if open && segment.seq != acked && !self.follows_data(segment, direction) {
                    // The other end will ask with a challenge if it means nothing to it.
                    new = old;
                }
            }
            if new == State::Close {
                return self.place(segment, direction, new, old, context);
            }
        }
        if self.refuses_unjudged(segment, direction, context.status) {
            return self.enter(segment, direction, new, old, context);
        }
        self.place(segment, direction, new, old, context)
    }

    /// Whether it is over but for what is still on its way; such an entry may also be evicted.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(
            self.state(),
            State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close
        )
    }

    /// Whether a reset comes right behind data of the same sender.
    fn follows_data(&self, segment: &View<'_>, direction: Direction) -> bool {
        self.last_segment() == Segment::Ack
            && self.last_direction() == direction
            && segment.seq == self.recent.last.end
    }

    /// Whether a reset refuses a segment that was let through unjudged: its numbers are not those
    /// of the windows that are remembered.
    fn refuses_unjudged(&self, segment: &View<'_>, direction: Direction, status: Status) -> bool {
        let (last, kind) = (&self.recent.last, self.last_segment());
        let syn = status.contains(Status::SEEN_REPLY)
            && kind == Segment::Syn
            && self.last_direction() != direction;
        let ack = !status.contains(Status::ASSURED) && kind == Segment::Ack;
        let challenged = self.state() == State::SynSent
            && kind == Segment::Ack
            && self.last_direction() == Direction::Reply;
        ((syn || ack) && segment.ack == last.end) || (challenged && segment.seq == last.ack)
    }

    /// The connection is to be in state `new`, if the segment fits.
    fn place(
        &mut self,
        segment: &View<'_>,
        direction: Direction,
        new: State,
        old: State,
        context: &Context<'_>,
    ) -> Outcome {
        let fit = self.ends.fit(segment, direction, self.state());
        if fit != Fit::In && !self.tolerates(direction, context) {
            return self.misfit(fit, segment, direction, context);
        }
        if fit == Fit::In && segment.segment == Segment::Ack {
            self.recent.count_retransmission(segment, direction);
        }
        self.enter(segment, direction, new, old, context)
    }

    /// Whether what does not fit counts for nothing, and passes as if it did.
    fn tolerates(&self, direction: Direction, context: &Context<'_>) -> bool {
        context.config.tcp_be_liberal.get() || self.ends.is_liberal(direction)
    }

    /// A segment does not lie within the windows.
    fn misfit(
        &mut self,
        fit: Fit,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Outcome {
        match fit {
            Fit::Outside(reason) => self.outside(segment, direction, reason, context),
            Fit::Late(reason) => Effect::pass(reason),
            Fit::In => Outcome::Accept(Effect::default()),
        }
    }

    /// A segment outside of the windows. Where both ends seem to close, or the same one again,
    /// it is rather the tracker that has lost count: the entry need not stay for days.
    fn outside(
        &mut self,
        segment: &View<'_>,
        direction: Direction,
        reason: Reason,
        context: &Context<'_>,
    ) -> Outcome {
        let ends = |segment| matches!(segment, Segment::Fin | Segment::Rst);
        let keeps = !context.status.contains(Status::ASSURED)
            || context.status.contains(Status::FIXED_TIMEOUT);
        if keeps || !ends(segment.segment) {
            return Outcome::Invalid(reason);
        }
        if self.last_direction() == direction || !ends(self.last_segment()) {
            self.recent.place = Place::new(self.state(), segment.segment, direction);
            return Outcome::Invalid(reason);
        }
        let least = Ticks::from_secs(120, context.config.hz);
        let timeout = context.timeouts.tcp_unacknowledged.get();
        let remaining = context.expires.and_then(|at| at.remaining(context.now));
        let remaining = remaining.unwrap_or_default();
        if remaining >= least && remaining > timeout {
            return Outcome::Shorten(reason, timeout);
        }
        Outcome::Invalid(reason)
    }

    /// The connection is in state `new`.
    fn enter(
        &mut self,
        segment: &View<'_>,
        direction: Direction,
        new: State,
        old: State,
        context: &Context<'_>,
    ) -> Outcome {
        self.recent.place = Place::new(new, segment.segment, direction);
        if new == State::FinWait && old != State::FinWait {
            let (mut sender, receiver) = self.ends.pair(direction);
            sender.flags = sender.flags | Flags::CLOSED_FIRST;
            self.ends.set(direction, sender, receiver);
        }
        let timeout = self.recent.timeout(
            &self.ends.about,
            new,
            segment,
            context.timeouts,
            context.config,
        );
        let moved = new != old;
        if context.status.contains(Status::SEEN_REPLY) {
            return Outcome::Accept(Effect {
                timeout: Some(timeout),
                set: assured(old, new),
                moved,
                remark: None,
            });
        }
        Self::unanswered(segment, new, old, timeout, context)
    }

    /// What a segment does to a connection in which nothing was answered so far.
    fn unanswered(
        segment: &View<'_>,
        new: State,
        old: State,
        timeout: Ticks,
        context: &Context<'_>,
    ) -> Outcome {
        let moved = new != old;
        match segment.segment {
            // The only answer is a refusal: there is no connection to keep.
            Segment::Rst => Outcome::Kill,
            // Else whoever keeps trying keeps the entry for ever.
            Segment::Syn if old == State::SynSent => Outcome::Accept(Effect {
                moved,
                ..Effect::default()
            }),
            // Picked up in mid-stream: five days are for those that answer.
            _ if new == State::Established => Effect::moved(
                moved,
                timeout.min(context.timeouts.tcp_unacknowledged.get()),
            ),
            _ => Effect::moved(moved, timeout),
        }
    }
}

impl Recent {
    /// Nothing, but that the connection is so far.
    fn new(place: Place) -> Self {
        Self {
            last: Last::default(),
            window: 0,
            retrans: 0,
            place,
        }
    }

    /// Counts how often the same acknowledgement comes again.
    #[inline(always)]
    fn count_retransmission(&mut self, segment: &View<'_>, direction: Direction) {
        let last = Last {
            seq: segment.seq,
            ack: segment.ack,
            end: segment.end(),
        };
        // What differs most often comes first.
        let again = self.last.end == last.end
            && self.place.direction() == direction
            && self.last == last
            && self.window == segment.window;
        if again {
            self.retrans = self.retrans.saturating_add(1);
            return;
        }
        self.retrans = 0;
        self.last = last;
        self.window = segment.window;
    }

    /// How long it lives in its state after a segment.
    #[inline(always)]
    fn timeout(
        &self,
        ends: &About,
        state: State,
        segment: &View<'_>,
        timeouts: &Timeouts,
        config: &Config,
    ) -> Ticks {
        let usual = timeouts.tcp.of(state);
        let half_reset = segment.segment == Segment::Rst && state == State::Established;
        // Each is read only where it counts.
        let retrans = || timeouts.tcp_retrans.get();
        if self.retrans >= config.tcp_max_retrans.get() && usual > retrans() {
            return retrans();
        }
        if half_reset || ends.any(Flags::UNACKNOWLEDGED) {
            let unacknowledged = timeouts.tcp_unacknowledged.get();
            if usual > unacknowledged {
                return unacknowledged;
            }
        }
        if self.window == 0 {
            return usual.min(timeouts.tcp_retrans.get());
        }
        usual
    }
}

/// A connection is worth keeping once the client has answered the server's SYN/ACK, or one that
/// was picked up has been answered.
fn assured(old: State, new: State) -> Status {
    match (old, new) {
        (State::SynRecv | State::Established, State::Established) => Status::ASSURED,
        _ => Status::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::Options;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    /// Options of segments of open connections: none, timestamps, timestamps and a block, a block.
    fn options() -> impl Strategy<Value = Vec<u8>> {
        let timestamps = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let block = |at: u32| {
            let [low, high] = [at, at.wrapping_add(500)].map(u32::to_be_bytes);
            [&[1, 1, 5, 10][..], &low, &high].concat()
        };
        (any::<[bool; 2]>(), near()).prop_map(move |([timed, sack], at)| {
            let parts = [(timed, timestamps.clone()), (sack, block(at))];
            parts
                .into_iter()
                .filter(|(has, _)| *has)
                .flat_map(|(_, part)| part)
                .collect()
        })
    }

    /// Options of a SYN: none, in the usual order with any shift, others, any.
    fn offer() -> impl Strategy<Value = Vec<u8>> {
        let usual = |scale| {
            let most = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3];
            [&most[..], &[scale]].concat()
        };
        prop_oneof![
            Just(Vec::new()),
            any::<u8>().prop_map(usual),
            Just(vec![2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]),
            prop::collection::vec(0..12u8, 1..40),
        ]
    }

    /// Numbers near each other, over the wrap too.
    fn near() -> impl Strategy<Value = u32> {
        prop_oneof![4 => (0..3000u32).prop_map(|at| at.wrapping_sub(1000)), 1 => any::<u32>()]
    }

    fn window() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), 1..3000u32, any::<u32>()]
    }

    /// What there is to know beside a segment of a connection with this status.
    fn context(config: &Config, status: Status) -> Context<'_> {
        Context {
            status,
            expires: None,
            now: Instant::from_ticks(0),
            timeouts: &config.timeouts,
            config,
        }
    }

    prop_compose! {
        fn open()(
            numbers in prop::array::uniform6(near()),
            last in prop::array::uniform3(near()),
            windows in [window(), window()],
            flags: [u8; 2],
            scales: u8,
            offer: u8,
            last_window in prop_oneof![Just(0), Just(700), any::<u16>()],
            retrans in 0..5u8,
            place in 0..16u8,
        ) -> Tcp {
            let [a, b, c, d, e, f] = numbers;
            let [seq, ack, end] = last;
            let [first, second] = windows;
            let [low, high] = last_window.to_ne_bytes();
            let words = [a, b, first, c, d, e, second, f];
            let rest = [flags[0], flags[1], scales, offer];
            let tail = [low, high, retrans, (place << 4) | State::Established as u8];
            let mut bytes = [0; 52];
            let parts = [words.as_bytes(), &rest, [seq, ack, end].as_bytes(), &tail].concat();
            bytes.copy_from_slice(&parts);
            zerocopy::transmute!(bytes)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// The short way of open connections comes to what the table and the windows say.
        #[test]
        fn the_short_way_is_the_long_one(
            tcp in open(),
            numbers in [near(), near()],
            space in prop_oneof![Just(0), 1..2000u32],
            window in prop_oneof![Just(0), Just(700), any::<u16>()],
            again: bool,
            options in options(),
            back: bool,
        ) {
            let config = Config::defaults(250);
            let [seq, ack] = if again {
                [tcp.recent.last.seq, tcp.recent.last.ack]
            } else {
                numbers.map(Seq::new)
            };
            let segment = View {
                segment: Segment::Ack,
                seq,
                ack,
                acks: true,
                window,
                space: if again { tcp.recent.last.end.since(seq) } else { space },
                options: Options::new(&options),
            };
            let direction = if back { Direction::Reply } else { Direction::Original };
            let context = context(&config, Status::CONFIRMED | Status::SEEN_REPLY | Status::ASSURED);
            let (mut short, mut long) = (tcp, tcp);
            match Tcp::stay(short.parts(), &segment, direction, &config.timeouts, &config) {
                Some(timeout) => {
                    let outcome = Outcome::Accept(Effect {
                        timeout: Some(timeout),
                        set: Status::ASSURED,
                        ..Effect::default()
                    });
                    prop_assert_eq!(long.update(&segment, direction, &context), outcome);
                    prop_assert_eq!(short.as_bytes(), long.as_bytes());
                }
                None => prop_assert_eq!(short.as_bytes(), tcp.as_bytes()),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// What a SYN starts is what the table and the windows say.
        #[test]
        fn the_short_way_of_a_request_is_the_long_one(
            seq: u32,
            ack: u32,
            data in prop_oneof![Just(0), 1..1400u32],
            window in prop_oneof![Just(0), any::<u16>()],
            offer in offer(),
            limits in prop::array::uniform2(prop_oneof![1..400u32, 40_000..200_000u32]),
            retrans in prop_oneof![Just(0), Just(3)],
        ) {
            let config = Config::defaults(250);
            let [request, retransmitted] = limits.map(Ticks::new);
            config.timeouts.tcp.setting(State::SynSent).set(request);
            config.timeouts.tcp_retrans.set(retransmitted);
            config.tcp_max_retrans.set(retrans);
            let segment = View {
                segment: Segment::Syn,
                seq: Seq::new(seq),
                ack: Seq::new(ack),
                acks: false,
                window,
                space: data + 1,
                options: Options::new(&offer),
            };
            let context = context(&config, Status::NONE);
            let mut long = Tcp::open(&segment, &config).map_err(|_| TestCaseError::fail("open"))?;
            let outcome = long.update(&segment, Direction::Original, &context);
            let Outcome::Accept(effect) = outcome else {
                return Err(TestCaseError::fail("update"));
            };
            let short = Tcp::request(&segment);
            prop_assert_eq!(short.as_bytes(), long.as_bytes());
            prop_assert_eq!(effect.timeout, Some(Tcp::request_timeout(&config.timeouts)));
            prop_assert_eq!((effect.set, effect.remark), (Status::NONE, None));
        }
    }

    prop_compose! {
        /// A connection in any state, and as often as not where the server has said nothing yet.
        fn any_state()(mut tcp in open(), state in 0..10u8, silent: bool) -> Tcp {
            let Place(place) = tcp.recent.place;
            tcp.recent.place = Place((place & 0xf0) | state);
            // (What is of the connection is never noted with the reply.)
            let (original, reply) = tcp.ends.pair(Direction::Original);
            let reply = if silent { End::default() } else { reply };
            tcp.ends.set(Direction::Original, original, reply);
            tcp
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40_000))]
        /// The way of usual segments through all states comes to what the table and the windows say.
        #[test]
        fn the_usual_way_is_the_long_one(
            tcp in any_state(),
            kind in prop::sample::select(vec![Segment::Ack, Segment::Fin, Segment::SynAck]),
            numbers in [near(), near()],
            answers: bool,
            space in prop_oneof![Just(0), Just(1), 1..2000u32],
            window in prop_oneof![Just(0), Just(700), any::<u16>()],
            options in prop_oneof![options(), offer()],
            back: bool,
        ) {
            let config = Config::defaults(250);
            let (client, _) = tcp.ends.pair(Direction::Original);
            let [seq, ack] = numbers.map(Seq::new);
            let segment = View {
                segment: kind,
                seq,
                ack: if answers { client.sent } else { ack },
                acks: true,
                window,
                space: space + u32::from(kind != Segment::Ack),
                options: Options::new(&options),
            };
            let answered = kind != Segment::SynAck;
            let direction = if back { Direction::Reply } else { Direction::Original };
            let seen = if answered { Status::SEEN_REPLY } else { Status::NONE };
            let context = context(&config, Status::CONFIRMED | seen);
            let (mut short, mut long) = (tcp, tcp);
            match Tcp::advance(short.parts(), &segment, direction, &context) {
                Some(effect) => {
                    let outcome = long.update(&segment, direction, &context);
                    prop_assert_eq!(outcome, Outcome::Accept(effect));
                    prop_assert_eq!(short.as_bytes(), long.as_bytes());
                }
                None => prop_assert_eq!(short.as_bytes(), tcp.as_bytes()),
            }
        }
    }

    /// It is gone by a whole connection as it should be: the answer to a SYN, its acknowledgement, and
    /// the end from either side.
    #[test]
    fn the_usual_way_is_gone() {
        let config = Config::defaults(250);
        let offer = [
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let segment = |segment, seq, ack, options| View {
            segment,
            seq: Seq::new(seq),
            ack: Seq::new(ack),
            acks: segment != Segment::Syn,
            window: 500,
            space: u32::from(segment != Segment::Ack),
            options: Options::new(options),
        };
        let mut tcp = Tcp::request(&segment(Segment::Syn, 100, 0, &offer));
        let (client, server) = (Direction::Original, Direction::Reply);
        for (kind, direction, seq, ack, state) in [
            (Segment::SynAck, server, 900, 101, State::SynRecv),
            (Segment::Ack, client, 101, 901, State::Established),
            (Segment::Fin, client, 101, 901, State::FinWait),
            (Segment::Ack, server, 901, 102, State::CloseWait),
            (Segment::Fin, server, 901, 102, State::LastAck),
            (Segment::Ack, client, 102, 902, State::TimeWait),
        ] {
            let options: &[u8] = if kind == Segment::SynAck {
                &offer
            } else {
                &timestamps
            };
            let seen = if kind == Segment::SynAck {
                Status::NONE
            } else {
                Status::SEEN_REPLY
            };
            let context = context(&config, Status::CONFIRMED | seen);
            let segment = segment(kind, seq, ack, options);
            let effect = Tcp::advance(tcp.parts(), &segment, direction, &context);
            assert_eq!(effect.map(|effect| effect.moved), Some(true), "{state:?}");
            assert_eq!(tcp.state(), state);
        }
    }

    /// It is gone for what most segments are: data in order, with timestamps, and their
    /// acknowledgements.
    #[test]
    fn the_short_way_is_gone() {
        let config = Config::defaults(250);
        let end = |at, acked| {
            let mut end = End::resumed(Seq::new(at), 500, Offer::read(Options::new(&[4, 2])));
            end.acked = Seq::new(acked);
            end.flags = end.flags | Flags::HAS_ACKED;
            end
        };
        let mut tcp = Tcp {
            ends: Ends::new(end(1000, u32::MAX - 50), end(u32::MAX - 50, 1000)),
            recent: Recent::new(Place::new(
                State::Established,
                Segment::Ack,
                Direction::Original,
            )),
        };
        let mut pass = |direction, seq, ack, space, options| {
            let segment = View {
                segment: Segment::Ack,
                seq: Seq::new(seq),
                ack: Seq::new(ack),
                acks: true,
                window: 500,
                space,
                options: Options::new(options),
            };
            Tcp::stay(tcp.parts(), &segment, direction, &config.timeouts, &config)
        };
        let timestamps: &[u8] = &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let block: &[u8] = &[1, 1, 5, 10, 0, 0, 0, 90, 0, 0, 0, 95];
        let (client, server) = (Direction::Original, Direction::Reply);
        let unacknowledged = config.timeouts.tcp_unacknowledged.get();
        let all = config.timeouts.tcp.of(State::Established);
        assert_eq!(pass(server, u32::MAX - 50, 1000, 0, &[]), Some(all));
        assert_eq!(
            pass(client, 1000, u32::MAX - 50, 100, timestamps),
            Some(unacknowledged)
        );
        assert_eq!(
            pass(server, u32::MAX - 50, 1100, 100, timestamps),
            Some(unacknowledged)
        );
        assert_eq!(pass(client, 1100, 49, 0, timestamps), Some(all));
        assert_eq!(pass(client, 1100, 49, 0, block), None);
        assert_eq!(pass(client, 1100, 50, 0, timestamps), None);
        assert_eq!(pass(client, 5000, 49, 0, timestamps), None);
    }
}
