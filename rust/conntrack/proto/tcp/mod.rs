// SPDX-License-Identifier: GPL-2.0
//! TCP (RFC 9293): states, and the cases that a table cannot tell.

mod table;
mod window;

pub use self::table::{step, State, Step};

use self::window::{End, Ends, Fit, Flags, Offer};
use super::{Effect, Outcome};
use crate::{
    packet::{Segment, Tcp as View},
    reason::Reason,
    seq::Seq,
    setting::Setting,
    status::Status,
    time::Ticks,
    timeouts::{Config, Timeouts},
    tuple::Direction,
};

/// A timeout for each state.
#[derive(Debug)]
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
        let [no, ss, sr, es, fw, cw, la, tw, cl, s2] = &self.0;
        match state {
            State::None => no,
            State::SynSent => ss,
            State::SynRecv => sr,
            State::Established => es,
            State::FinWait => fw,
            State::CloseWait => cw,
            State::LastAck => la,
            State::TimeWait => tw,
            State::Close => cl,
            State::SynSent2 => s2,
        }
    }
}

/// What the last segment was that counted, or that was let through unjudged.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: Seq,
    ack: Seq,
    end: Seq,
    window: u16,
    segment: Segment,
    direction: Direction,
    /// What its options offered, of a SYN that was let through.
    offer: Offer,
}

/// What is remembered of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    ends: Ends,
    last: Last,
    state: State,
    /// How often the last acknowledgement came again.
    retrans: u8,
    /// SYNs crossed, without an answer to either.
    simultaneous_open: bool,
    /// A SYN was let through while the last FIN was waiting for its ACK: the next ACK may be
    /// the challenge to it (RFC 5961), not the answer to the FIN.
    expect_challenge: bool,
}

/// What there is to know beside the segment.
pub(super) struct Context<'a> {
    pub(super) status: Status,
    /// How long the entry has left.
    pub(super) remaining: Ticks,
    pub(super) timeouts: &'a Timeouts,
    pub(super) config: &'a Config,
}

impl Tcp {
    /// The state of a connection that `segment` may start.
    pub(super) fn open(segment: &View<'_>, config: &Config) -> Result<Self, Reason> {
        let ends = match step(Direction::Original, segment.segment, State::None) {
            Step::To(State::SynSent) => Ends {
                original: End::first(segment),
                reply: End::default(),
            },
            // A connection taken over in mid-stream, from another firewall or after a restart.
            Step::To(_) if config.tcp_loose.get() => Ends {
                original: End::picked_up(segment),
                reply: End::opposite(),
            },
            _ => return Err(Reason::TcpNotNew),
        };
        Ok(Self {
            ends,
            last: Last {
                seq: Seq::default(),
                ack: Seq::default(),
                end: Seq::default(),
                window: 0,
                segment: Segment::None,
                direction: Direction::Original,
                offer: Offer::default(),
            },
            state: State::None,
            retrans: 0,
            simultaneous_open: false,
            expect_challenge: false,
        })
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// This host has reset the connection: the timeout that follows, if it was open.
    pub fn close(&mut self, timeouts: &Timeouts) -> Option<Ticks> {
        let before = core::mem::replace(&mut self.state, State::Close);
        (before != State::Close).then(|| timeouts.tcp.of(State::Close))
    }

    /// What a segment does.
    #[inline]
    pub(super) fn update(
        &mut self,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Outcome {
        let old = self.state;
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
                self.expect_challenge = false;
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
            || (self.last.segment == Segment::Rst && self.last.direction == direction)
    }

    /// Whether this SYN/ACK answers a SYN that was let through unjudged.
    fn answers_unjudged_syn(&self, segment: &View<'_>, direction: Direction) -> bool {
        segment.segment == Segment::SynAck
            && self.last.segment == Segment::Syn
            && self.last.direction != direction
            && segment.ack == self.last.end
    }

    /// Both ends agree on a start that was not believed: believe it, with what that SYN said.
    fn resync(&mut self, direction: Direction) {
        let Last {
            end, window, offer, ..
        } = self.last;
        self.expect_challenge = false;
        let (sender, receiver) = self.ends.pair(direction);
        *receiver = End::resumed(end, window, offer);
        sender.reset();
    }

    /// Whether this ACK answers a SYN that was let through, not the last FIN.
    fn is_challenge(&self, segment: &View<'_>, direction: Direction) -> bool {
        self.state == State::LastAck
            && segment.segment == Segment::Ack
            && self.last.segment == Segment::Syn
            && self.last.direction != direction
            && self.expect_challenge
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
            State::SynSent2 => self.simultaneous_open = true,
            State::SynRecv
                if self.simultaneous_open
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
        let challenge = self.state == State::SynSent
            && segment.segment == Segment::Ack
            && direction == Direction::Reply;
        self.last = Last {
            seq: segment.seq,
            ack: if challenge {
                segment.ack
            } else {
                self.last.ack
            },
            end: segment.end(),
            window: segment.window,
            segment: segment.segment,
            direction,
            offer: self.last.offer,
        };
        if segment.segment == Segment::Syn && direction == Direction::Original {
            self.last.offer = Offer::read(segment.options);
            self.expect_challenge = self.state == State::LastAck;
            // What the server acknowledges next may be this one.
            self.simultaneous_open = false;
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
        let old = self.state;
        // The end has come; what is remembered may be of a use of the tuple before.
        if self.is_closing() {
            return self.enter(segment, direction, State::Close, old, context);
        }
        let open = old == State::Established && context.status.contains(Status::ASSURED);
        let (_, receiver) = self.ends.pair(direction);
        let mut new = State::Close;
        if receiver.flags.has(Flags::HAS_ACKED) && self.last.segment != Segment::Syn {
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
            self.state,
            State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close
        )
    }

    /// Whether a reset comes right behind data of the same sender.
    fn follows_data(&self, segment: &View<'_>, direction: Direction) -> bool {
        self.last.segment == Segment::Ack
            && self.last.direction == direction
            && segment.seq == self.last.end
    }

    /// Whether a reset refuses a segment that was let through unjudged: its numbers are not those
    /// of the windows that are remembered.
    fn refuses_unjudged(&self, segment: &View<'_>, direction: Direction, status: Status) -> bool {
        let last = &self.last;
        let syn = status.contains(Status::SEEN_REPLY)
            && last.segment == Segment::Syn
            && last.direction != direction;
        let ack = !status.contains(Status::ASSURED) && last.segment == Segment::Ack;
        let challenged = self.state == State::SynSent
            && last.segment == Segment::Ack
            && last.direction == Direction::Reply;
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
        let liberal = context.config.tcp_be_liberal.get();
        match self.ends.fit(segment, direction, self.state, liberal) {
            Fit::Late(reason) => return Effect::pass(reason),
            Fit::Outside(reason) => return self.outside(segment, direction, reason, context),
            Fit::In if segment.segment == Segment::Ack => {
                self.count_retransmission(segment, direction);
            }
            Fit::In | Fit::Tolerated => {}
        }
        self.enter(segment, direction, new, old, context)
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
        if self.last.direction == direction || !ends(self.last.segment) {
            self.last.segment = segment.segment;
            self.last.direction = direction;
            return Outcome::Invalid(reason);
        }
        let least = Ticks::from_secs(120, context.config.hz);
        let timeout = context.timeouts.tcp_unacknowledged.get();
        if context.remaining >= least && context.remaining > timeout {
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
        self.last.segment = segment.segment;
        self.last.direction = direction;
        self.state = new;
        if new == State::FinWait && old != State::FinWait {
            let (sender, _) = self.ends.pair(direction);
            sender.flags = sender.flags | Flags::CLOSED_FIRST;
        }
        let timeout = self.timeout(segment, context);
        let moved = new != old;
        if context.status.contains(Status::SEEN_REPLY) {
            return Outcome::Accept(Effect {
                timeout: Some(timeout),
                set: assured(old, new),
                moved,
                remark: None,
            });
        }
        match segment.segment {
            // The only answer is a refusal: there is no connection to keep.
            Segment::Rst => Outcome::Kill,
            // Else whoever keeps trying keeps the entry for ever.
            Segment::Syn if old == State::SynSent => Outcome::Accept(Effect::default()),
            // Picked up in mid-stream: five days are for those that answer.
            _ if new == State::Established => Effect::moved(
                moved,
                timeout.min(context.timeouts.tcp_unacknowledged.get()),
            ),
            _ => Effect::moved(moved, timeout),
        }
    }

    /// Counts how often the same acknowledgement comes again.
    fn count_retransmission(&mut self, segment: &View<'_>, direction: Direction) {
        let last = &mut self.last;
        let again = last.direction == direction
            && last.seq == segment.seq
            && last.ack == segment.ack
            && last.end == segment.end()
            && last.window == segment.window;
        if again {
            self.retrans = self.retrans.saturating_add(1);
            return;
        }
        self.retrans = 0;
        last.seq = segment.seq;
        last.ack = segment.ack;
        last.end = segment.end();
        last.window = segment.window;
    }

    /// How long it lives in its state after a segment.
    fn timeout(&self, segment: &View<'_>, context: &Context<'_>) -> Ticks {
        let timeouts = context.timeouts;
        let usual = timeouts.tcp.of(self.state);
        let retrans = timeouts.tcp_retrans.get();
        let unacknowledged = timeouts.tcp_unacknowledged.get();
        let half_reset = segment.segment == Segment::Rst && self.state == State::Established;
        if self.retrans >= context.config.tcp_max_retrans.get() && usual > retrans {
            retrans
        } else if (half_reset || self.ends.any(Flags::UNACKNOWLEDGED)) && usual > unacknowledged {
            unacknowledged
        } else if self.last.window == 0 && usual > retrans {
            retrans
        } else {
            usual
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
