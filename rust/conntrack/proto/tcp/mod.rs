// SPDX-License-Identifier: GPL-2.0
//! TCP (RFC 9293): states, and the cases that a table cannot tell.

mod ends;
mod near;
mod recent;
mod table;
mod usual;
mod window;

pub use self::table::{step, State, Step};
pub use crate::wire::tcp::MOST_SCALE;

use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

pub(super) use self::ends::EndsMut;
use self::{
    ends::{End, Ends, Flags, Offer},
    recent::{Last, Place, Recent},
    window::Fit,
};
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

/// The same where it is kept, part by part.
pub(super) struct Parts<'a> {
    pub(super) ends: EndsMut<'a>,
    pub(super) recent: &'a mut Recent,
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

/// A connection is worth keeping once the client has answered the server's SYN/ACK, or one that
/// was picked up has been answered.
fn assured(old: State, new: State) -> Status {
    match (old, new) {
        (State::SynRecv | State::Established, State::Established) => Status::ASSURED,
        _ => Status::NONE,
    }
}
