// SPDX-License-Identifier: GPL-2.0
//! Whether a segment lies within the windows that both ends have offered.
//!
//! After Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000), with windows
//! that scale (RFC 7323) and selective acknowledgements (RFC 2018). The tracker stands between the
//! ends: a segment that it sees may be lost after it, and one that reached its end may have gone
//! by another way. So a segment has to touch its window, not to lie in it, and one that is late is
//! let through without counting.

use core::ops::{BitAnd, BitOr, Not};

use zerocopy::transmute_mut;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

use super::{Agreed, Change, FlagChange, State, MOST_SCALE};
use crate::{
    packet::{Options, Segment, Tcp as View, TcpOption},
    reason::Reason,
    seq::Seq,
    tuple::Direction,
};

/// What is known of an end: IP_CT_TCP_FLAG_ of linux/netfilter/nf_conntrack_tcp.h, for users see
/// and set it.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(u8);

impl Flags {
    /// It has offered to scale windows.
    pub(super) const SCALES: Self = Self(1 << 0);
    /// It has allowed selective acknowledgements.
    pub(super) const SACKS: Self = Self(1 << 1);
    /// It was not seen from its beginning, so what does not fit may fit.
    pub(super) const LIBERAL: Self = Self(1 << 3);
    /// It waits for the acknowledgement of data.
    pub(super) const UNACKNOWLEDGED: Self = Self(1 << 4);
    /// It was the first to close.
    pub(super) const CLOSED_FIRST: Self = Self(1 << 2);
    /// `acked` means something.
    pub(super) const HAS_ACKED: Self = Self(1 << 5);
    /// Of the client: its SYN was let through while the last FIN was waiting for its ACK. The next
    /// ACK may be the challenge to it (RFC 5961), not the answer to the FIN.
    pub(super) const EXPECTS_CHALLENGE: Self = Self(1 << 6);
    /// Of the client: SYNs crossed, without an answer to either.
    pub(super) const SIMULTANEOUS: Self = Self(1 << 7);
    /// What is of the connection rather than of the client.
    const OF_BOTH: Self = Self(3 << 6);

    #[inline]
    pub(super) fn has(self, flag: Self) -> bool {
        self & flag == flag
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// What the options of a SYN say: in the low four bits by how many bits its windows are shifted,
/// above them [`Flags::SCALES`] and [`Flags::SACKS`].
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(transparent)]
pub(super) struct Offer(u8);

impl Offer {
    #[inline(always)]
    pub(super) fn read(options: Options<'_>) -> Self {
        match options.usual_scale() {
            Some(scale) => Self(((Flags::SCALES | Flags::SACKS).0 << 4) | (scale & SCALE)),
            None => Self::read_all(options),
        }
    }

    /// The same, one option after the other.
    #[inline(never)]
    fn read_all(options: Options<'_>) -> Self {
        let (mut flags, mut scale) = (Flags::default(), 0);
        for option in options {
            match option {
                TcpOption::Scale(bits) => {
                    flags = flags | Flags::SCALES;
                    scale = bits;
                }
                TcpOption::SackPermitted => flags = flags | Flags::SACKS,
                _ => {}
            }
        }
        Self((flags.0 << 4) | (scale & SCALE))
    }

    fn flags(self) -> Flags {
        Flags(self.0 >> 4)
    }

    fn scale(self) -> u8 {
        self.0 & SCALE
    }
}

/// How far back an acknowledgement may lie at least: more than any window that does not scale.
const LEAST: u32 = 66_000;

/// The bits of a scale: the largest is 14 (RFC 7323, 2.3).
const SCALE: u8 = 15;

/// One end of a connection: what it has sent, and what it has said of what it takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// Behind the last byte that it has sent.
    pub(super) sent: Seq,
    /// Behind the last byte that the other end has offered to take from it.
    limit: Seq,
    /// The largest window that it has offered, in bytes; zero where it has sent nothing yet.
    window: u32,
    /// The last byte that it has acknowledged; see [`Flags::HAS_ACKED`].
    pub(super) acked: Seq,
    /// By how many bits its windows are shifted.
    scale: u8,
    pub(super) flags: Flags,
}

impl End {
    /// The end that sends the first segment seen, a SYN.
    #[inline(always)]
    pub(super) fn first(segment: &View<'_>) -> Self {
        let mut end = Self::default();
        end.begin(segment);
        end
    }

    /// The end that a SYN asks, the first segment seen: it may send as much as is offered there.
    #[inline(always)]
    pub(super) fn asked(segment: &View<'_>) -> Self {
        Self {
            limit: Seq::new(u32::from(segment.window).max(1)),
            ..Self::default()
        }
    }

    /// The end that sends the first segment seen, in mid-stream. What was agreed before is not
    /// known: windows may scale, and data may be acknowledged selectively.
    pub(super) fn picked_up(segment: &View<'_>) -> Self {
        let window = u32::from(segment.window).max(1);
        Self {
            sent: segment.end(),
            limit: segment.end().add(window),
            window,
            ..Self::opposite()
        }
    }

    /// The other end of one that was picked up.
    pub(super) fn opposite() -> Self {
        Self {
            flags: Flags::SACKS | Flags::LIBERAL,
            ..Self::default()
        }
    }

    /// An end that has sent up to `sent`, a SYN with this window and offer.
    pub(super) fn resumed(sent: Seq, window: u16, offer: Offer) -> Self {
        Self {
            sent,
            limit: sent,
            window: u32::from(window).max(1),
            acked: Seq::default(),
            scale: offer.scale(),
            flags: offer.flags(),
        }
    }

    /// Forgets what was seen of it.
    pub(super) fn reset(&mut self) {
        *self = Self {
            flags: self.flags & Flags::LIBERAL,
            ..Self::default()
        };
    }

    /// Begins, or begins anew, with a SYN.
    #[inline(always)]
    fn begin(&mut self, segment: &View<'_>) {
        self.sent = segment.end();
        self.limit = self.sent;
        self.window = u32::from(segment.window).max(1);
        self.take_offer(segment.options);
    }

    /// The offer of a SYN takes the place of all that was known; a SYN without options says
    /// nothing.
    #[inline(always)]
    fn take_offer(&mut self, options: Options<'_>) {
        if !options.is_empty() {
            let offer = Offer::read(options);
            self.scale = offer.scale();
            self.flags = (self.flags & Flags::LIBERAL) | offer.flags();
        }
    }
}

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

/// What is kept of an end; the rest of it stands with [`Ends`], so that nothing is left empty.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
struct Kept {
    sent: Seq,
    limit: Seq,
    acked: Seq,
}

/// Both ends where they are kept, as a segment meets them.
struct Sides<'a> {
    sender: &'a mut Kept,
    receiver: &'a mut Kept,
    /// The largest window that the sender has offered; zero while it has sent nothing.
    sender_window: &'a mut u32,
    receiver_window: &'a mut u32,
    of_sender: &'a mut Flags,
    of_receiver: &'a mut Flags,
    /// By how many bits the sender's windows are shifted.
    scale: u8,
}

/// Both ends, as they are kept.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Ends {
    kept: [Kept; 2],
    windows: [u32; 2],
    pub(super) about: About,
}

/// What there is to know of both ends but for numbers.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct About {
    flags: [Flags; 2],
    /// The scale of the original end in the low four bits, of the reply's in the high ones.
    scales: u8,
    /// What the client has offered with a SYN that was let through.
    pub(super) offer: Offer,
}

impl About {
    /// Whether one of the ends has the flag.
    #[inline]
    pub(super) fn any(&self, flag: Flags) -> bool {
        let [original, reply] = self.flags;
        (original | reply).has(flag)
    }

    /// Whether something was noted of the connection that few segments bring about.
    #[inline]
    pub(super) fn is_odd(&self) -> bool {
        let [original, _] = self.flags;
        original & Flags::OF_BOTH != Flags::default()
    }
}

/// Both ends where they are kept, part by part.
pub(in super::super) struct EndsMut<'a> {
    kept: &'a mut [Kept; 2],
    windows: &'a mut [u32; 2],
    pub(super) about: &'a mut About,
}

impl<'a> EndsMut<'a> {
    /// Both ends behind their words.
    #[inline(always)]
    pub(in super::super) fn within(
        kept: &'a mut [u32; 6],
        windows: &'a mut [u32; 2],
        about: &'a mut u32,
    ) -> Self {
        Self {
            kept: transmute_mut!(kept),
            windows,
            about: transmute_mut!(about),
        }
    }

    /// Both ends, to be changed in place.
    #[inline(always)]
    fn sides(&mut self, direction: Direction) -> Sides<'_> {
        let [original, reply] = &mut *self.kept;
        let [window, other] = &mut *self.windows;
        let About { flags, scales, .. } = &mut *self.about;
        let [of_original, of_reply] = flags;
        match direction {
            Direction::Original => Sides {
                sender: original,
                receiver: reply,
                sender_window: window,
                receiver_window: other,
                of_sender: of_original,
                of_receiver: of_reply,
                scale: *scales & SCALE,
            },
            Direction::Reply => Sides {
                sender: reply,
                receiver: original,
                sender_window: other,
                receiver_window: window,
                of_sender: of_reply,
                of_receiver: of_original,
                scale: *scales >> 4,
            },
        }
    }

    /// The end that sends in `direction` is the first to close.
    #[inline(always)]
    pub(super) fn close_first(&mut self, direction: Direction) {
        let sides = self.sides(direction);
        *sides.of_sender = *sides.of_sender | Flags::CLOSED_FIRST;
    }

    /// Whether a SYN/ACK is the first that the server sends, and answers just the SYN, with an offer in
    /// the usual form. If not, nothing is remembered.
    #[inline(always)]
    pub(super) fn answer(&mut self, segment: &View<'_>) -> bool {
        let Sides {
            sender,
            receiver,
            sender_window,
            receiver_window,
            of_sender,
            of_receiver,
            ..
        } = self.sides(Direction::Reply);
        let first = *sender_window == 0 && *of_sender == Flags::default();
        // The window of a SYN does not scale.
        let asked = (1..=u32::from(u16::MAX)).contains(receiver_window);
        let answers = asked && segment.ack == receiver.sent;
        let (true, Some(scale)) = (first && answers, segment.options.usual_scale()) else {
            return false;
        };
        let (sent, window) = (segment.end(), u32::from(segment.window));
        *sender = Kept {
            sent,
            limit: sent,
            acked: segment.ack,
        };
        *sender_window = window.max(1);
        *of_sender = Flags::SCALES | Flags::SACKS | Flags::HAS_ACKED;
        *of_receiver = *of_receiver & !Flags::UNACKNOWLEDGED;
        let both = of_receiver.has(Flags::SCALES);
        let offered = segment.ack.add(window);
        if offered.after(receiver.limit.back(1)) {
            // As in `learn`.
            receiver.limit = offered.add(u32::from(window == 0));
        }
        // RFC 7323, 2.2: windows scale only if both ends say so.
        let scales = &mut self.about.scales;
        *scales = if both {
            (*scales & SCALE) | (scale << 4)
        } else {
            0
        };
        true
    }

    /// Whether a segment that acknowledges lies all within what was offered, and its numbers are near to
    /// what was seen before, as they are of nearly all. If not, nothing is remembered, and it may
    /// fit all the same ([`Ends::fit`]): this asks for no more than there is to be known of most.
    #[inline(always)]
    pub(super) fn keep_to(&mut self, segment: &View<'_>, direction: Direction) -> bool {
        /// So far from where distances wrap that two of them may be added.
        const FAR: u32 = 1 << 30;
        let Sides {
            sender,
            receiver,
            sender_window,
            receiver_window,
            of_sender,
            of_receiver,
            scale,
        } = self.sides(direction);
        if of_receiver.has(Flags::SACKS) && !segment.options.say_nothing() {
            return false;
        }
        let (end, ack) = (segment.end(), segment.ack);
        let new = end.since(sender.sent);
        let unacknowledged = receiver.sent.since(ack);
        let offered = !segment.seq.after(sender.limit) && !end.after(sender.limit);
        // (A window of zero is none that was seen.)
        let near = new < FAR
            && unacknowledged <= LEAST
            && sender_window.wrapping_sub(1) < FAR
            && *receiver_window < FAR;
        if !offered || segment.window == 0 || !near {
            return false;
        }
        // As `learn` has it.
        let window = scaled(segment, scale);
        *sender_window = window.max(*sender_window);
        if new != 0 {
            sender.sent = end;
            *of_sender = *of_sender | Flags::UNACKNOWLEDGED;
        }
        if !of_sender.has(Flags::HAS_ACKED) {
            sender.acked = ack;
            *of_sender = *of_sender | Flags::HAS_ACKED;
        } else if ack.after(sender.acked) {
            sender.acked = ack;
        }
        let limit = ack.add(window);
        if limit.after(receiver.limit.back(1)) {
            receiver.limit = limit;
        }
        if unacknowledged == 0 {
            *of_receiver = *of_receiver & !Flags::UNACKNOWLEDGED;
        }
        true
    }
}

impl Ends {
    /// Two ends.
    #[inline(always)]
    pub(super) fn new(original: End, reply: End) -> Self {
        let mut ends = Self::default();
        ends.set(Direction::Original, original, reply);
        ends
    }

    /// The sender and the receiver of segments in `direction`.
    #[inline]
    pub(super) fn pair(&self, direction: Direction) -> (End, End) {
        let end = |kept: Kept, window, flags: Flags, scale| End {
            sent: kept.sent,
            limit: kept.limit,
            window,
            acked: kept.acked,
            scale,
            flags: flags & !Flags::OF_BOTH,
        };
        let [kept, other] = self.kept;
        let [flags, others] = self.about.flags;
        let [window, offered] = self.windows;
        let original = end(kept, window, flags, self.about.scales & SCALE);
        let reply = end(other, offered, others, self.about.scales >> 4);
        match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        }
    }

    /// Keeps what they are now.
    #[inline(always)]
    pub(super) fn set(&mut self, direction: Direction, sender: End, receiver: End) {
        let (original, reply) = match direction {
            Direction::Original => (sender, receiver),
            Direction::Reply => (receiver, sender),
        };
        self.kept = [original, reply].map(|end| Kept {
            sent: end.sent,
            limit: end.limit,
            acked: end.acked,
        });
        self.windows = [original.window, reply.window];
        let [flags, _] = self.about.flags;
        self.about.flags = [original.flags | (flags & Flags::OF_BOTH), reply.flags];
        self.about.scales = (original.scale & SCALE) | (reply.scale << 4);
    }

    /// Whether one of them has the flag.
    #[inline]
    pub(super) fn any(&self, flag: Flags) -> bool {
        self.about.any(flag)
    }

    /// What the ends have agreed on, and what is known of them: original, reply.
    pub(super) fn agreed(&self) -> [Agreed; 2] {
        let (original, reply) = self.pair(Direction::Original);
        [original, reply].map(|end| Agreed {
            scale: end.scale,
            flags: end.flags.0,
        })
    }

    /// Changes that as a user wants.
    pub(super) fn change(&mut self, change: &Change) {
        let (mut original, mut reply) = self.pair(Direction::Original);
        for (end, change) in [&mut original, &mut reply].into_iter().zip(change.flags) {
            if let Some(FlagChange { value, mask }) = change {
                let mask = Flags(mask) & !Flags::OF_BOTH;
                end.flags = end.flags & !mask | Flags(value) & mask;
            }
        }
        // RFC 7323, 2.2: windows scale only if both ends say so.
        if let Some([first, second]) = change.scales {
            if (original.flags & reply.flags).has(Flags::SCALES) {
                original.scale = first.min(MOST_SCALE);
                reply.scale = second.min(MOST_SCALE);
            }
        }
        self.set(Direction::Original, original, reply);
    }

    /// Sets a flag of the client's, or takes it back.
    pub(super) fn note(&mut self, flag: Flags, set: bool) {
        let [original, _] = &mut self.about.flags;
        *original = *original & !flag;
        if set {
            *original = *original | flag;
        }
    }

    /// Both ends, part by part.
    #[inline(always)]
    pub(super) fn parts(&mut self) -> EndsMut<'_> {
        EndsMut {
            kept: &mut self.kept,
            windows: &mut self.windows,
            about: &mut self.about,
        }
    }

    /// Whether what does not fit may fit: too little is known of who sends in `direction`.
    pub(super) fn is_liberal(&self, direction: Direction) -> bool {
        self.pair(direction).0.flags.has(Flags::LIBERAL)
    }

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
fn scaled(segment: &View<'_>, scale: u8) -> u32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::transmute;

    /// A number near `base`, on either side, near where distances wrap, or anywhere.
    fn near(base: u32) -> impl Strategy<Value = u32> {
        prop_oneof![
            4 => (0_u32..200_000).prop_map(move |by| base.wrapping_add(by).wrapping_sub(100_000)),
            2 => (0_u32..3).prop_map(move |by| base.wrapping_add(by).wrapping_sub(1)),
            1 => (0_u32..5).prop_map(move |by| base.wrapping_add(0x3fff_fffe + by)),
            1 => (0_u32..5).prop_map(move |by| base.wrapping_add(0x7fff_fffe + by)),
            1 => any::<u32>(),
        ]
    }

    type Case = ([u32; 6], [u32; 2], u32, [u32; 2], u32, u16);

    fn state_and_segment() -> impl Strategy<Value = Case> {
        any::<u32>().prop_flat_map(|base| {
            let numbers = || near(base);
            (
                [
                    numbers(),
                    numbers(),
                    numbers(),
                    numbers(),
                    numbers(),
                    numbers(),
                ],
                [near(100_000), near(100_000)],
                any::<u32>(),
                [numbers(), numbers()],
                near(100_000),
                any::<u16>(),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What keeps to what was offered follows, and the same is remembered of it.
        #[test]
        fn who_keeps_to_it_follows((kept, windows, about, [seq, ack], space, window) in state_and_segment(),
            fin: bool, state in 1_u8..8, options in 0..3_usize) {
            let all: [&[u8]; 3] = [
                &[],
                &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                &[1, 1, 5, 10, 0, 0, 0, 90, 0, 0, 0, 95],
            ];
            let state = State::from_number(state).unwrap();
            let segment = View {
                segment: if fin { Segment::Fin } else { Segment::Ack },
                seq: Seq::new(seq),
                ack: Seq::new(ack),
                acks: true,
                window,
                space,
                options: Options::new(all[options]),
            };
            for direction in [Direction::Original, Direction::Reply] {
                let (mut one, mut other) = ((kept, windows, about), (kept, windows, about));
                let keeps = EndsMut::within(&mut one.0, &mut one.1, &mut one.2).keep_to(&segment, direction);
                if keeps {
                    let mut ends = Ends {
                        kept: transmute!(other.0),
                        windows: other.1,
                        about: transmute!(other.2),
                    };
                    prop_assert_eq!(ends.fit(&segment, direction, state), Fit::In);
                    other = (transmute!(ends.kept), ends.windows, transmute!(ends.about));
                }
                prop_assert_eq!(one, other);
            }
        }
    }
}
