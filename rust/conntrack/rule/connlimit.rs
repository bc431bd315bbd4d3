// SPDX-License-Identifier: GPL-2.0
//! The match `connlimit` (linux/netfilter/xt_connlimit.h).

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::Rule;

/// The match `connlimit`, revision 1. (The kernel keeps a pointer behind it.)
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connlimit {
    mask: [u32; 4],
    limit: u32,
    flags: u32,
}

const INVERTED: u32 = 1;
const BY_DESTINATION: u32 = 2;

impl Rule for Connlimit {}

impl Connlimit {
    /// Connections are counted that have this in common: the address, or the network, of one of
    /// the ends. Addresses are words as they lie in the packet; of IPv4 the first counts.
    #[inline]
    #[must_use]
    pub fn key(&self, src: [u32; 4], dst: [u32; 4]) -> [u32; 4] {
        let mut key = if self.flags & BY_DESTINATION == 0 {
            src
        } else {
            dst
        };
        for (word, mask) in key.iter_mut().zip(&self.mask) {
            *word &= mask;
        }
        key
    }

    /// Whether so many connections are more than the rule's limit.
    #[inline]
    #[must_use]
    pub fn is_above(&self, connections: u32) -> bool {
        connections > self.limit
    }

    /// Whether so many connections are what the rule asks for.
    #[inline]
    #[must_use]
    pub fn matches(&self, connections: u32) -> bool {
        self.is_above(connections) != (self.flags & INVERTED != 0)
    }
}
