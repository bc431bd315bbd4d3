// SPDX-License-Identifier: GPL-2.0
//! UDP: no states, but a difference between a question with its answer and a stream.

use super::{Effect, Outcome};
use crate::{
    status::Status,
    time::{Instant, Ticks},
    timeouts::Timeouts,
    tuple::Direction,
};

/// What is remembered of a UDP flow.
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// From when on traffic both ways makes a stream of it.
    stream_from: Instant,
}

impl Default for Udp {
    fn default() -> Self {
        Self {
            stream_from: Instant::from_ticks(0),
        }
    }
}

impl Udp {
    /// As a word.
    pub(super) fn keep(self) -> u32 {
        self.stream_from.as_ticks()
    }

    /// From a word that `keep` has made.
    pub(super) fn kept(word: u32) -> Self {
        Self {
            stream_from: Instant::from_ticks(word),
        }
    }

    /// What [`Self::update`] says of a flow that is in the table and stays what it is; `None` of one that
    /// is answered now, or becomes a stream.
    #[inline(always)]
    pub(super) fn stay(
        self,
        status: Status,
        direction: Direction,
        now: Instant,
        timeouts: &Timeouts,
    ) -> Option<Ticks> {
        // Most are that.
        if status.contains(Status::SEEN_REPLY | Status::ASSURED) {
            return Some(timeouts.udp_stream.get());
        }
        let changes = if status.contains(Status::SEEN_REPLY) {
            now.after(self.stream_from)
        } else {
            direction == Direction::Reply
        };
        (!changes).then(|| timeouts.udp.get())
    }

    #[inline(always)]
    pub(super) fn update(&mut self, status: Status, now: Instant, timeouts: &Timeouts) -> Outcome {
        if !status.contains(Status::CONFIRMED) {
            self.stream_from = now.add(timeouts.udp_settle);
        }
        if !status.contains(Status::SEEN_REPLY) {
            return Effect::timeout(timeouts.udp.get());
        }
        // A question and its answer are over soon; what goes both ways for longer is a stream,
        // lives longer and is worth keeping.
        // ASSURED tells of a stream so old that its beginning has wrapped into the future.
        if status.contains(Status::ASSURED) || now.after(self.stream_from) {
            return Outcome::Accept(Effect {
                timeout: Some(timeouts.udp_stream.get()),
                set: Status::ASSURED,
                ..Effect::default()
            });
        }
        Effect::timeout(timeouts.udp.get())
    }
}

/// How long traffic both ways must last to be a stream, in seconds.
pub(crate) const SETTLE_SECS: u32 = 2;
