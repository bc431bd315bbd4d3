// SPDX-License-Identifier: GPL-2.0
//! What connections have, as bits of their status words.

use conntrack::setting::Value;

use crate::news::ENDED_BY_USER;

/// What the upper half of the kernel's status word has of ours; `news.rs` has the rest.
pub(super) mod own {
    /// Where the bits of `Features` begin.
    pub(in crate::conn) const FEATURES: u32 = 56;
    pub(in crate::conn) const ACCOUNT: u64 = COUNTS | STAMPS;
    pub(in crate::conn) const COUNTS: u64 = super::Features::COUNTS.word();
    pub(in crate::conn) const STAMPS: u64 = super::Features::STAMPS.word();
    /// A rule has said how long it lives after a packet. It stays so when the rule's policy is withdrawn, and
    /// takes the longer ways, with the namespace's timeouts.
    pub(in crate::conn) const TIMED: u64 = 1 << 56;
    /// Rules count it (tally.rs), or did.
    pub(in crate::conn) const TALLIED: u64 = 1 << 57;
    /// It is in the table by each of its tuples.
    pub(in crate::conn) const APART: u64 = 1 << 58;
    /// It has an account, which is behind it.
    pub(in crate::conn) const BEHIND: u64 = 1 << 59;
}

const _: () = assert!(ENDED_BY_USER < 1 << own::FEATURES);

/// The bit of the status word that says whether somebody listens.
pub(crate) const LISTENED: u64 = Features::EVENTS.word();

/// It is in the table, no helper reads it, and nothing of it is to be told: its packets have
/// nothing to do at their last hook. The highest bit, which is tested soonest.
pub(crate) const QUIET: u64 = 1 << 63;

/// What a connection has beside what all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// Packets and bytes are counted.
    pub const COUNTS: Self = Self(1 << 4);
    /// It is known when it began and ended.
    pub const STAMPS: Self = Self(1 << 5);
    /// Somebody listens to its events.
    pub const EVENTS: Self = Self(1 << 6);

    /// Together with others, where it `has` these.
    #[must_use]
    pub const fn with(self, other: Self, has: bool) -> Self {
        Self(self.0 | if has { other.0 } else { 0 })
    }

    /// Whether there is an account.
    #[inline]
    pub(crate) const fn account(self) -> bool {
        self.0 & (Self::COUNTS.0 | Self::STAMPS.0) != 0
    }

    /// Its bits in the status word.
    #[inline]
    pub(super) const fn word(self) -> u64 {
        (self.0 as u64) << own::FEATURES
    }
}

impl Value for Features {
    #[inline]
    fn from_number(number: u32) -> Self {
        // CAST: only what `number` has given comes back.
        Self(number as u8)
    }

    #[inline]
    fn number(self) -> u32 {
        self.0.into()
    }
}
