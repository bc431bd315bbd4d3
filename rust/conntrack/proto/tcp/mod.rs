// SPDX-License-Identifier: GPL-2.0
//! TCP (RFC 9293): states, and the cases that a table cannot tell.

mod table;

pub use self::table::{step, State, Step};

use super::{Effect, Outcome};
use crate::{
    packet::{Segment, Tcp as View},
    reason::Reason,
    status::Status,
    time::Ticks,
    timeouts::{Config, Timeouts},
    tuple::Direction,
};

/// A timeout for each state.
#[derive(Clone, Copy, Debug)]
pub struct StateTimeouts([Ticks; 10]);

impl StateTimeouts {
    /// What `timeout` says of each state.
    pub fn new(timeout: impl FnMut(State) -> Ticks) -> Self {
        Self(State::ALL.map(timeout))
    }

    /// The timeout of a state.
    #[inline]
    #[must_use]
    pub fn of(&self, state: State) -> Ticks {
        let [no, ss, sr, es, fw, cw, la, tw, cl, s2] = self.0;
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
    segment: Segment,
    direction: Direction,
    seq: u32,
    ack: u32,
    end: u32,
    window: u16,
}

/// What is remembered of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    last: Last,
    state: State,
    /// How often the last acknowledgement came again.
    retrans: u8,
    /// SYNs crossed, without an answer to either.
    simultaneous_open: bool,
    /// A SYN was let through while the last FIN was waiting for its ACK: the next ACK may be
    /// the challenge to it (RFC 5961), not the answer to the FIN.
    expect_challenge: bool,
    /// An end closed in good order, so the tuple may be used anew.
    close_began: bool,
}

impl Tcp {
    /// The state of a connection that `segment` may start.
    pub(super) fn open(segment: &View, config: &Config) -> Result<Self, Reason> {
        match step(Direction::Original, segment.segment, State::None) {
            Step::To(State::SynSent) => {}
            // A connection taken over in mid-stream, from another firewall or after a restart.
            Step::To(_) if config.tcp_loose => {}
            _ => return Err(Reason::TcpNotNew),
        }
        Ok(Self {
            last: Last {
                segment: Segment::None,
                direction: Direction::Original,
                seq: 0,
                ack: 0,
                end: 0,
                window: 0,
            },
            state: State::None,
            retrans: 0,
            simultaneous_open: false,
            expect_challenge: false,
            close_began: false,
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
        segment: &View,
        direction: Direction,
        status: Status,
        config: &Config,
    ) -> Outcome {
        let old = self.state;
        match step(direction, segment.segment, old) {
            Step::Invalid => Outcome::Invalid(Reason::TcpState),
            Step::To(State::SynSent) if matches!(old, State::TimeWait | State::Close) => {
                if self.may_reopen(direction) {
                    Outcome::Repeat
                } else {
                    self.let_through(segment, direction, old)
                }
            }
            Step::Ignore if self.answers_unjudged_syn(segment, direction) => {
                // Both ends agree on a start that was not believed: believe it. A close that
                // was seen is that of the connection before.
                self.expect_challenge = false;
                self.close_began = false;
                self.enter(
                    State::SynRecv,
                    State::SynSent,
                    segment,
                    direction,
                    status,
                    config,
                )
            }
            Step::Ignore => self.let_through(segment, direction, old),
            Step::To(State::TimeWait) if self.is_challenge(segment, direction) => {
                self.expect_challenge = false;
                Outcome::Accept(Effect::default())
            }
            Step::To(new) => {
                let new = self.settle_simultaneous_open(new, segment, direction);
                self.enter(new, old, segment, direction, status, config)
            }
        }
    }

    /// Whether a SYN after the end may start the tuple anew (RFC 9293, 3.6.1): both ends closed
    /// in good order, or this end has just reset.
    fn may_reopen(&self, direction: Direction) -> bool {
        self.close_began || (self.last.segment == Segment::Rst && self.last.direction == direction)
    }

    /// Whether this SYN/ACK answers a SYN that was let through unjudged.
    fn answers_unjudged_syn(&self, segment: &View, direction: Direction) -> bool {
        segment.segment == Segment::SynAck
            && self.last.segment == Segment::Syn
            && self.last.direction != direction
            && segment.ack == self.last.end
    }

    /// Whether this ACK answers a SYN that was let through, not the last FIN.
    fn is_challenge(&self, segment: &View, direction: Direction) -> bool {
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
        segment: &View,
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
    fn let_through(&mut self, segment: &View, direction: Direction, state: State) -> Outcome {
        let ack = if state == State::SynSent
            && segment.segment == Segment::Ack
            && direction == Direction::Reply
        {
            segment.ack
        } else {
            self.last.ack
        };
        self.last = Last {
            segment: segment.segment,
            direction,
            seq: segment.seq,
            ack,
            end: segment.end(),
            window: segment.window,
        };
        if segment.segment == Segment::Syn && direction == Direction::Original {
            self.expect_challenge = state == State::LastAck;
            // What the server acknowledges next may be this one.
            self.simultaneous_open = false;
        }
        Outcome::Accept(Effect::default())
    }

    /// The connection is in state `new`.
    fn enter(
        &mut self,
        new: State,
        old: State,
        segment: &View,
        direction: Direction,
        status: Status,
        config: &Config,
    ) -> Outcome {
        if segment.segment == Segment::Ack {
            self.count_retransmission(segment, direction);
        }
        self.last.segment = segment.segment;
        self.last.direction = direction;
        self.state = new;
        if new == State::FinWait && old != State::FinWait {
            self.close_began = true;
        }
        let timeout = self.timeout(new, segment, &config.timeouts, config.tcp_max_retrans);
        if status.contains(Status::SEEN_REPLY) {
            return Outcome::Accept(Effect {
                timeout: Some(timeout),
                set: assured(old, new),
            });
        }
        match segment.segment {
            // The only answer is a refusal: there is no connection to keep.
            Segment::Rst => Outcome::Kill,
            // Else whoever keeps trying keeps the entry for ever.
            Segment::Syn if old == State::SynSent => Outcome::Accept(Effect::default()),
            // Picked up in mid-stream: five days are for those that answer.
            _ if new == State::Established => {
                Effect::timeout(timeout.min(config.timeouts.tcp_unacknowledged))
            }
            _ => Effect::timeout(timeout),
        }
    }

    /// Counts how often the same acknowledgement comes again.
    fn count_retransmission(&mut self, segment: &View, direction: Direction) {
        let last = Last {
            segment: self.last.segment,
            direction,
            seq: segment.seq,
            ack: segment.ack,
            end: segment.end(),
            window: segment.window,
        };
        let again = self.last.direction == direction
            && self.last.seq == last.seq
            && self.last.ack == last.ack
            && self.last.end == last.end
            && self.last.window == last.window;
        self.retrans = if again {
            self.retrans.saturating_add(1)
        } else {
            0
        };
        self.last = last;
    }

    /// How long it lives in `state`.
    fn timeout(&self, state: State, segment: &View, timeouts: &Timeouts, max_retrans: u8) -> Ticks {
        let usual = timeouts.tcp.of(state);
        if self.retrans >= max_retrans {
            usual.min(timeouts.tcp_retrans)
        } else if segment.segment == Segment::Rst && state == State::Established {
            usual.min(timeouts.tcp_unacknowledged)
        } else if self.last.window == 0 {
            usual.min(timeouts.tcp_retrans)
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
