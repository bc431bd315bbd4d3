// SPDX-License-Identifier: GPL-2.0
//! Status bits of a connection: `enum ip_conntrack_status` of
//! linux/netfilter/nf_conntrack_common.h.

use core::ops::BitOr;

/// A set of status bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(u32);

impl Status {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// Another connection announced this one.
    pub const EXPECTED: Self = Self(1 << 0);
    /// Packets were seen in both directions.
    pub const SEEN_REPLY: Self = Self(1 << 1);
    /// Worth keeping when room is short.
    pub const ASSURED: Self = Self(1 << 2);
    /// In the table: its first packet left this host, or reached it.
    pub const CONFIRMED: Self = Self(1 << 3);
    /// Its source address is translated.
    pub const SRC_NAT: Self = Self(1 << 4);
    /// Its destination address is translated.
    pub const DST_NAT: Self = Self(1 << 5);
    /// Its sequence numbers are shifted.
    pub const SEQ_ADJUST: Self = Self(1 << 6);
    /// On its way out of the table.
    pub const DYING: Self = Self(1 << 9);
    /// Packets do not set its timeout back.
    pub const FIXED_TIMEOUT: Self = Self(1 << 10);
    /// No connection, but a rule's wish for one.
    pub const TEMPLATE: Self = Self(1 << 11);

    /// A helper was given to it by a rule or a user.
    pub const HELPER: Self = Self(1 << 13);
    /// Bits that users may set (all but IPS_UNCHANGEABLE_MASK).
    const CHANGEABLE: u32 =
        Self::SEEN_REPLY.0 | Self::ASSURED.0 | Self::FIXED_TIMEOUT.0 | Self::HELPER.0;

    /// The bits of it that users may set.
    #[must_use]
    pub const fn changeable(self) -> Self {
        Self(self.0 & Self::CHANGEABLE)
    }

    /// A set from the kernel's word.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The kernel's word.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Status {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
