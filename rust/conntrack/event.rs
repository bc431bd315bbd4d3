// SPDX-License-Identifier: GPL-2.0
//! What happens to a connection, for who listens: `enum ip_conntrack_events` of
//! linux/netfilter/nf_conntrack_common.h.

use core::ops::BitOr;

/// A set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u16);

impl Events {
    /// None.
    pub const NONE: Self = Self(0);
    /// How many there are.
    pub const COUNT: u32 = 11;
    /// All that there are.
    pub const ALL: Self = Self((1 << Self::COUNT) - 1);
    /// It is new.
    pub const NEW: Self = Self(1 << 0);
    /// It is new, and was expected.
    pub const RELATED: Self = Self(1 << 1);
    /// It is over.
    pub const DESTROY: Self = Self(1 << 2);
    /// It was answered.
    pub const REPLY: Self = Self(1 << 3);
    /// It is worth keeping.
    pub const ASSURED: Self = Self(1 << 4);
    /// Its protocol's state is another.
    pub const PROTOINFO: Self = Self(1 << 5);
    /// A helper reads it.
    pub const HELPER: Self = Self(1 << 6);
    /// Its mark is another.
    pub const MARK: Self = Self(1 << 7);
    /// Its sequence numbers are shifted.
    pub const SEQADJ: Self = Self(1 << 8);
    /// Its security mark is another.
    pub const SECMARK: Self = Self(1 << 9);
    /// Its labels are others.
    pub const LABEL: Self = Self(1 << 10);

    /// A set from the kernel's bits.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// A set from a rule's word; of its bits as many count as there are events.
    #[must_use]
    pub const fn from_word(bits: u32) -> Self {
        let [low, high, ..] = bits.to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }

    /// The kernel's bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether any of `other` is in it.
    #[inline]
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it is empty.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Events {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What happens to an expected connection: `enum ip_conntrack_expect_events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is expected.
    New,
    /// It has come, or is expected no more.
    Destroy,
}

impl Expected {
    /// Whether it is in a set of these, as rules have it: a bit for each.
    #[must_use]
    pub const fn is_in(self, set: Events) -> bool {
        set.bits() & (1 << self as u16) != 0
    }
}
