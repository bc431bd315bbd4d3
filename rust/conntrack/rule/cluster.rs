// SPDX-License-Identifier: GPL-2.0
//! The match `cluster` (linux/netfilter/xt_cluster.h): of firewalls that all see the same packets,
//! which one a connection belongs to.

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{Refused, Rule};
use crate::tuple::Address;

/// The match `cluster`, revision 0.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Cluster {
    nodes: u32,
    /// A bit for each node that this firewall stands for.
    own: u32,
    seed: u32,
    flags: u32,
}

const INVERTED: u32 = 1;

/// The most nodes: one for each bit.
const NODES: u32 = 32;

impl Rule for Cluster {
    fn check(&self) -> Result<(), Refused> {
        if self.nodes > NODES {
            return Err(Refused::TooManyNodes);
        }
        // Of 32 nodes all are bits of a word.
        if self.own.checked_shr(self.nodes).unwrap_or(0) != 0 {
            return Err(Refused::NoSuchNode);
        }
        Ok(())
    }
}

impl Cluster {
    /// Whether a connection is this firewall's: `source` began it, or the one that has announced
    /// it. `hash` is the kernel's jhash of a word with a seed, which all firewalls of the cluster
    /// must agree on. Of a packet without a connection the answer is no, inverted or not.
    #[must_use]
    pub fn matches(&self, source: &Address, hash: impl FnOnce(u32, u32) -> u32) -> bool {
        // Of an IPv6 address stock takes the first word alone, and there may be stock firewalls
        // in the cluster.
        let [first, ..] = source.words;
        let hash = u64::from(hash(first, self.seed));
        // Each node gets as many hashes. CAST: the upper half of a product of two words is one.
        let node = (hash.wrapping_mul(self.nodes.into()) >> 32) as u32;
        let is_own = self.own.checked_shr(node).unwrap_or(0) & 1 != 0;
        is_own != (self.flags & INVERTED != 0)
    }
}
