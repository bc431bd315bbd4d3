// SPDX-License-Identifier: GPL-2.0
//! Whether a segment lies within the windows that both ends have offered.
//!
//! After Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000), with windows
//! that scale (RFC 7323) and selective acknowledgements (RFC 2018). The tracker stands between the
//! ends: a segment that it sees may be lost after it, and one that reached its end may have gone
//! by another way. So a segment has to touch its window, not to lie in it, and one that is late is
//! let through without counting.

use super::{
    ends::{End, Ends, Flags, Sides, SCALE},
    State,
};
use crate::{
    packet::{Segment, Tcp as View, TcpOption},
    reason::Reason,
    seq::Seq,
    tuple::Direction,
};

/// How far back an acknowledgement may lie at least: more than any window that does not scale.
pub(super) const LEAST: u32 = 66_000;

/// How a segment lies to the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It counts.
    In,
    /// It is let through and does not count.
    Late(Reason),
    /// It does not belong to the connection.
    Outside(Reason),
}

/// What a segment says, after all that is to be read into it.
struct Claim {
    seq: Seq,
    end: Seq,
    ack: Seq,
    /// The highest that is acknowledged, selectively or not.
    sack: Seq,
}

impl Ends {
    /// How a segment lies to the windows of a connection in `state`; what it tells of them is
    /// remembered if it counts.
    pub(super) fn fit(&mut self, segment: &View<'_>, direction: Direction, state: State) -> Fit {
        let mut sack = segment.ack;
        let mut ends = self.parts();
        let sides = ends.sides(direction);
        if sides.of_receiver.has(Flags::SACKS) {
            sack = highest_ack(segment);
        }
        if (*sides.sender_window == 0 || segment.is_syn())
            && self.introduce(segment, sack, direction, state) == Introduced::Fully
        {
            return Fit::In;
        }
        let mut ends = self.parts();
        let mut sides = ends.sides(direction);
        let claim = claim(&sides, segment, sack, state);
        match misfit(&sides, &claim) {
            None => learn(&mut sides, segment, &claim),
            Some(Misfit::Beyond(otherwise)) => return beyond(&mut sides, &claim, otherwise),
            Some(Misfit::Other(fit)) => return fit,
        }
        Fit::In
    }

    /// Takes the first segment of an end, or one that may begin it anew.
    fn introduce(
        &mut self,
        segment: &View<'_>,
        sack: Seq,
        direction: Direction,
        state: State,
    ) -> Introduced {
        let (mut sender, mut receiver) = self.pair(direction);
        let introduced = introduce(&mut sender, &mut receiver, segment, sack, direction, state);
        self.set(direction, sender, receiver);
        introduced
    }
}

/// The highest that a segment acknowledges, selectively or not.
fn highest_ack(segment: &View<'_>) -> Seq {
    let mut options = segment.options;
    let blocks = options.find_map(|option| match option {
        TcpOption::Sack(blocks) => Some(blocks),
        _ => None,
    });
    blocks
        .unwrap_or_default()
        .iter()
        .fold(segment.ack, |highest, [_, behind]| {
            highest.later(Seq::new(behind.get()))
        })
}

/// Whether a segment was all that its sender had to say so far.
#[derive(PartialEq, Eq)]
enum Introduced {
    Fully,
    ToBePlaced,
}

/// Takes the first segment of an end, or one that begins it anew.
fn introduce(
    sender: &mut End,
    receiver: &mut End,
    segment: &View<'_>,
    sack: Seq,
    direction: Direction,
    state: State,
) -> Introduced {
    let new = sender.window == 0;
    let again =
        matches!(state, State::SynSent | State::SynRecv) && segment.end().after(sender.sent);
    if segment.is_syn() && (new || again) {
        sender.begin(segment);
        // RFC 7323, 2.2: windows scale only if both ends say so.
        if direction == Direction::Reply && !(sender.flags & receiver.flags).has(Flags::SCALES) {
            sender.scale = 0;
            receiver.scale = 0;
        }
        // A SYN that crosses the other's acknowledges nothing that could be looked at.
        if !segment.acks && (new || direction == Direction::Reply) {
            return Introduced::Fully;
        }
    } else if new {
        sender.sent = segment.end();
        sender.window = scaled(segment, sender.scale).max(1);
        sender.limit = sender.sent.add(sender.window);
        if receiver.window == 0 {
            // Nothing was seen of it: it has sent what is acknowledged here.
            receiver.sent = sack;
            receiver.limit = sack;
        } else if sack == receiver.sent.add(1) {
            // The answer to a keepalive, perhaps, which takes a byte that was sent before.
            receiver.sent = sack;
        }
    }
    Introduced::ToBePlaced
}

/// The window of a segment that is no SYN, in bytes.
#[inline(always)]
pub(super) fn scaled(segment: &View<'_>, scale: u8) -> u32 {
    u32::from(segment.window) << (scale & SCALE)
}

/// Reads a segment as its sender means it.
#[inline(always)]
fn claim(sides: &Sides<'_>, segment: &View<'_>, sack: Seq, state: State) -> Claim {
    let Sides {
        sender, receiver, ..
    } = sides;
    let reset = segment.segment == Segment::Rst;
    // Some stacks set ACK in a reset and acknowledge nothing.
    let acks = segment.acks && !(reset && segment.ack == Seq::new(0));
    let (ack, sack) = if acks {
        (segment.ack, sack)
    } else {
        (receiver.sent, receiver.sent)
    };
    // The refusal of a SYN has no number of its own (RFC 9293, 3.5.2).
    let (seq, end) = if reset && segment.seq == Seq::new(0) && state == State::SynSent {
        (sender.sent, sender.sent)
    } else {
        (segment.seq, segment.end())
    };
    Claim {
        seq,
        end,
        ack,
        sack,
    }
}

/// Why a segment does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Misfit {
    /// It begins behind what the receiver takes. Whether it fits otherwise.
    Beyond(bool),
    Other(Fit),
}

/// Where a segment lies; `None`: within the windows.
#[inline(always)]
fn misfit(sides: &Sides<'_>, claim: &Claim) -> Option<Misfit> {
    let Sides {
        sender, receiver, ..
    } = sides;
    let (window, other) = (*sides.sender_window, *sides.receiver_window);
    // The last byte of the receiver's largest window back from what was sent.
    let touches = claim.end.after(sender.sent.back(other).back(1));
    let ack_recent = claim
        .sack
        .after(receiver.sent.back(window.max(LEAST)).back(1));
    let acks_unsent = claim.sack.after(receiver.sent);
    if claim.seq.after(sender.limit) {
        let otherwise = touches && ack_recent && !acks_unsent;
        return Some(Misfit::Beyond(otherwise));
    }
    if acks_unsent {
        return Some(Misfit::Other(Fit::Outside(Reason::TcpAckAbove)));
    }
    if other != 0 && !touches {
        return Some(Misfit::Other(Fit::Late(Reason::TcpSeqBelow)));
    }
    if !ack_recent {
        return Some(Misfit::Other(Fit::Late(Reason::TcpAckBelow)));
    }
    None
}

/// A segment begins behind what the receiver has offered to take; `otherwise` it fits.
fn beyond(sides: &mut Sides<'_>, claim: &Claim, otherwise: bool) -> Fit {
    let over = claim.end.since(sides.sender.limit).wrapping_add(1);
    let window = *sides.receiver_window;
    if window != 0 && over <= window && otherwise {
        // Some send more than was offered. If rules let it pass and the other end takes it,
        // its acknowledgement must not count as one of data that was never sent.
        sides.sender.sent = claim.end;
        *sides.of_sender = *sides.of_sender | Flags::UNACKNOWLEDGED;
        return Fit::Late(Reason::TcpOvershot);
    }
    Fit::Outside(Reason::TcpSeqAbove)
}

/// Remembers what a segment that counts tells of both ends.
#[inline(always)]
fn learn(sides: &mut Sides<'_>, segment: &View<'_>, claim: &Claim) {
    let Sides {
        sender,
        receiver,
        sender_window,
        receiver_window,
        of_sender,
        of_receiver,
        scale,
    } = sides;
    // RFC 7323, 2.2: the window of a SYN is never scaled.
    let window = if segment.is_syn() {
        u32::from(segment.window)
    } else {
        scaled(segment, *scale)
    };
    let beyond_ack = claim.sack.since(claim.ack);
    **sender_window = (**sender_window).max(window.wrapping_add(beyond_ack));
    if claim.end.after(sender.sent) {
        sender.sent = claim.end;
        **of_sender = **of_sender | Flags::UNACKNOWLEDGED;
    }
    if segment.acks {
        if !of_sender.has(Flags::HAS_ACKED) {
            sender.acked = claim.ack;
            **of_sender = **of_sender | Flags::HAS_ACKED;
        } else if claim.ack.after(sender.acked) {
            sender.acked = claim.ack;
        }
    }
    if **receiver_window != 0 && claim.end.after(sender.limit) {
        // It took more than it had offered.
        **receiver_window = receiver_window.wrapping_add(claim.end.since(sender.limit));
    }
    let offered = claim.sack.add(window);
    if offered.after(receiver.limit.back(1)) {
        // A closed window is probed with one byte (RFC 9293, 3.8.6.1).
        receiver.limit = offered.add(u32::from(window == 0));
    }
    if claim.ack == receiver.sent {
        **of_receiver = **of_receiver & !Flags::UNACKNOWLEDGED;
    }
}
