// SPDX-License-Identifier: GPL-2.0
//! The last segments of a connection: what they say of those that follow, and of how long it lives.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

use super::{
    ends::{About, Flags},
    State,
};
use crate::{
    packet::{Segment, Tcp as View},
    seq::Seq,
    time::Ticks,
    timeouts::{Config, Timeouts},
    tuple::Direction,
};

/// What is remembered of the last segments.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(in super::super) struct Recent {
    pub(super) last: Last,
    /// The window of that segment.
    pub(super) window: u16,
    /// How often the last acknowledgement came again.
    pub(super) retrans: u8,
    pub(super) place: Place,
}

/// The numbers of the last segment that counted, or that was let through unjudged.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Last {
    pub(super) seq: Seq,
    pub(super) ack: Seq,
    pub(super) end: Seq,
}

/// Where a connection is: its state in the low four bits, then in three bits what the last segment
/// was, and in one its direction.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(transparent)]
pub(super) struct Place(u8);

impl Place {
    /// The same in the state of a number.
    #[cfg(test)]
    pub(super) fn with_number(self, state: u8) -> Self {
        Self((self.0 & 0xf0) | state)
    }

    #[inline]
    pub(super) fn new(state: State, segment: Segment, direction: Direction) -> Self {
        Self(state as u8 | ((segment as u8) << 4) | ((direction as u8) << 7))
    }

    #[inline]
    pub(super) fn state(self) -> State {
        State::from_number(self.0 & 15).unwrap_or(State::None)
    }

    #[inline]
    pub(super) fn segment(self) -> Segment {
        Segment::from_number((self.0 >> 4) & 7)
    }

    #[inline]
    pub(super) fn direction(self) -> Direction {
        if self.0 >> 7 == 0 {
            Direction::Original
        } else {
            Direction::Reply
        }
    }
}

impl Recent {
    /// Nothing, but that the connection is so far.
    pub(super) fn new(place: Place) -> Self {
        Self {
            last: Last::default(),
            window: 0,
            retrans: 0,
            place,
        }
    }

    /// Counts how often the same acknowledgement comes again.
    #[inline(always)]
    pub(super) fn count_retransmission(&mut self, segment: &View<'_>, direction: Direction) {
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
    pub(super) fn timeout(
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
