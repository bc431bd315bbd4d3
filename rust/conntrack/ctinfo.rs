// SPDX-License-Identifier: GPL-2.0
//! What a packet is to its connection: `enum ip_conntrack_info` of
//! linux/netfilter/nf_conntrack_common.h, the low three bits of `skb->_nfct`.

use crate::tuple::Direction;

/// What a packet is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CtInfo {
    /// Part of a connection that has seen both directions, in the original one.
    Established = 0,
    /// Starts a connection that another announced, or is an ICMP error about one.
    Related = 1,
    /// Starts a connection, or one that nobody has answered yet.
    New = 2,
    /// Part of a connection, in the reply direction.
    EstablishedReply = 3,
    /// An ICMP error in the reply direction.
    RelatedReply = 4,
    /// Not to be tracked; goes with no connection.
    Untracked = 7,
}

impl CtInfo {
    /// The value behind the kernel's number.
    #[inline]
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Established,
            1 => Self::Related,
            2 => Self::New,
            3 => Self::EstablishedReply,
            4 => Self::RelatedReply,
            7 => Self::Untracked,
            _ => return None,
        })
    }

    /// The kernel's number.
    #[inline]
    #[must_use]
    pub fn bits(self) -> u8 {
        self as u8
    }

    /// The direction of the packet.
    #[inline]
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::Established | Self::Related | Self::New => Direction::Original,
            Self::EstablishedReply | Self::RelatedReply | Self::Untracked => Direction::Reply,
        }
    }
}
