// SPDX-License-Identifier: GPL-2.0
//! What is known of both ends of a connection, and how it is kept.

use core::ops::{BitAnd, BitOr, Not};

use zerocopy::transmute_mut;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

use super::{Agreed, Change, FlagChange, MOST_SCALE};
use crate::{
    packet::{Options, Tcp as View, TcpOption},
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
    pub(super) const OF_BOTH: Self = Self(3 << 6);

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
    pub(super) fn read_all(options: Options<'_>) -> Self {
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

    pub(super) fn flags(self) -> Flags {
        Flags(self.0 >> 4)
    }

    pub(super) fn scale(self) -> u8 {
        self.0 & SCALE
    }
}

/// The bits of a scale: the largest is 14 (RFC 7323, 2.3).
pub(super) const SCALE: u8 = 15;

/// One end of a connection: what it has sent, and what it has said of what it takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// Behind the last byte that it has sent.
    pub(super) sent: Seq,
    /// Behind the last byte that the other end has offered to take from it.
    pub(super) limit: Seq,
    /// The largest window that it has offered, in bytes; zero where it has sent nothing yet.
    pub(super) window: u32,
    /// The last byte that it has acknowledged; see [`Flags::HAS_ACKED`].
    pub(super) acked: Seq,
    /// By how many bits its windows are shifted.
    pub(super) scale: u8,
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
    pub(super) fn begin(&mut self, segment: &View<'_>) {
        self.sent = segment.end();
        self.limit = self.sent;
        self.window = u32::from(segment.window).max(1);
        self.take_offer(segment.options);
    }

    /// The offer of a SYN takes the place of all that was known; a SYN without options says
    /// nothing.
    #[inline(always)]
    pub(super) fn take_offer(&mut self, options: Options<'_>) {
        if !options.is_empty() {
            let offer = Offer::read(options);
            self.scale = offer.scale();
            self.flags = (self.flags & Flags::LIBERAL) | offer.flags();
        }
    }
}

/// What is kept of an end; the rest of it stands with [`Ends`], so that nothing is left empty.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Kept {
    pub(super) sent: Seq,
    pub(super) limit: Seq,
    pub(super) acked: Seq,
}

/// Both ends where they are kept, as a segment meets them.
pub(super) struct Sides<'a> {
    pub(super) sender: &'a mut Kept,
    pub(super) receiver: &'a mut Kept,
    /// The largest window that the sender has offered; zero while it has sent nothing.
    pub(super) sender_window: &'a mut u32,
    pub(super) receiver_window: &'a mut u32,
    pub(super) of_sender: &'a mut Flags,
    pub(super) of_receiver: &'a mut Flags,
    /// By how many bits the sender's windows are shifted.
    pub(super) scale: u8,
}

/// Both ends, as they are kept.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Ends {
    pub(super) kept: [Kept; 2],
    pub(super) windows: [u32; 2],
    pub(super) about: About,
}

/// What there is to know of both ends but for numbers.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct About {
    pub(super) flags: [Flags; 2],
    /// The scale of the original end in the low four bits, of the reply's in the high ones.
    pub(super) scales: u8,
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
    pub(super) kept: &'a mut [Kept; 2],
    pub(super) windows: &'a mut [u32; 2],
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
    pub(super) fn sides(&mut self, direction: Direction) -> Sides<'_> {
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
}
