// SPDX-License-Identifier: GPL-2.0
//! The match `conntrack`, revisions 1 to 3 (linux/netfilter/xt_conntrack.h).

use zerocopy::native_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{state, Refused, Rule, Seen};
use crate::{
    ctinfo::CtInfo,
    status::Status,
    tuple::{Direction, Family, Tuple},
};

/// Bits of states beside those that the match `state` has too.
const SNAT: u16 = 1 << 6;
const DNAT: u16 = 1 << 7;
const UNTRACKED: u16 = 1 << 8;

/// A packet's place in its connection.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// What the packet is to its connection.
    pub ctinfo: CtInfo,
    /// The connection's tuples, original and reply.
    pub tuples: [&'a Tuple; 2],
    /// The connection's status bits.
    pub status: Status,
}

/// What all revisions begin with.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Common {
    /// Address and mask: original source and destination, reply source and destination.
    addresses: [[[U32; 4]; 2]; 4],
    /// The least and the most, in seconds.
    expires: [U32; 2],
    l4proto: U16,
    /// In the order of the addresses.
    ports: [[u8; 2]; 4],
    wanted: U16,
    inverted: U16,
}

/// Revision 1.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Revision1 {
    common: Common,
    states: u8,
    status: u8,
}

/// Revision 2: wider sets of states and of status bits.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Revision2 {
    common: Common,
    states: U16,
    status: U16,
    padding: [u8; 2],
}

/// Revision 3: ranges of ports.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Revision3 {
    common: Common,
    states: U16,
    status: U16,
    /// The last of each range, host order, as the first is in `common.ports` here.
    ports_high: [U16; 4],
    padding: [u8; 2],
}

/// Bits of `wanted` and `inverted` (XT_CONNTRACK_*).
mod ask {
    pub(super) const STATE: u16 = 1 << 0;
    pub(super) const PROTO: u16 = 1 << 1;
    /// In the order of the addresses.
    pub(super) const ADDRESS: [u16; 4] = [1 << 2, 1 << 3, 1 << 4, 1 << 5];
    pub(super) const STATUS: u16 = 1 << 6;
    pub(super) const EXPIRES: u16 = 1 << 7;
    pub(super) const PORT: [u16; 4] = [1 << 8, 1 << 9, 1 << 10, 1 << 11];
    pub(super) const DIRECTION: u16 = 1 << 12;
    /// It was written as `-m state`.
    pub(super) const ALIAS: u16 = 1 << 13;
    pub(super) const ALL: u16 = (1 << 14) - 1;
}

/// A revision.
pub trait Revision: Rule {
    /// Its number.
    const NUMBER: u8;
    #[doc(hidden)]
    fn common(&self) -> &Common;
    #[doc(hidden)]
    fn states(&self) -> u16;
    #[doc(hidden)]
    fn status(&self) -> u16;
    /// Whether a port is the one that the rule asks for; `at` in the order of the addresses.
    #[doc(hidden)]
    fn has_port(&self, at: usize, port: [u8; 2]) -> bool;

    /// Whether a packet is what the rule asks for; `remaining` is its connection's time left, in
    /// seconds.
    #[inline]
    #[must_use]
    fn matches(&self, seen: Seen<Flow<'_>>, remaining: impl FnOnce() -> u32) -> bool {
        let common = self.common();
        if !common.agrees(ask::STATE, || self.states() & states(&seen) != 0) {
            return false;
        }
        match seen {
            Seen::Flow(_) if common.wanted.get() & !(ask::STATE | ask::ALIAS) == 0 => true,
            Seen::Flow(flow) => {
                common.flow(&flow)
                    && self.ports(&flow)
                    && common.agrees(ask::STATUS, || {
                        u32::from(self.status()) & flow.status.bits() != 0
                    })
                    && common.agrees(ask::EXPIRES, || common.in_time(remaining()))
            }
            // Without a connection only its state can be asked for; the rest then counts for
            // nothing, as with stock.
            _ => common.wants(ask::STATE),
        }
    }

    #[doc(hidden)]
    #[inline]
    fn ports(&self, flow: &Flow<'_>) -> bool {
        let [original, reply] = flow.tuples;
        let found = [
            original.src_id(),
            original.dst_id(),
            reply.src_id(),
            reply.dst_id(),
        ];
        let mut rules = ask::PORT.iter().zip(found).enumerate();
        rules.all(|(at, (what, port))| self.common().agrees(*what, || self.has_port(at, port)))
    }
}

/// The bits of a packet's states.
#[inline]
fn states(seen: &Seen<Flow<'_>>) -> u16 {
    match seen {
        Seen::Invalid => state::INVALID,
        Seen::Untracked => UNTRACKED,
        Seen::Flow(flow) => {
            let mut bits = state::of(flow.ctinfo);
            if flow.status.contains(Status::SRC_NAT) {
                bits |= SNAT;
            }
            if flow.status.contains(Status::DST_NAT) {
                bits |= DNAT;
            }
            bits
        }
    }
}

impl Common {
    fn check(&self) -> Result<(), Refused> {
        if (self.wanted.get() | self.inverted.get()) & !ask::ALL == 0 {
            Ok(())
        } else {
            Err(Refused::NotSupported)
        }
    }

    #[inline]
    fn wants(&self, what: u16) -> bool {
        self.wanted.get() & what != 0
    }

    /// Whether what is `found` is what the rule asks of `what`.
    #[inline]
    fn agrees(&self, what: u16, found: impl FnOnce() -> bool) -> bool {
        !self.wants(what) || found() != (self.inverted.get() & what != 0)
    }

    fn in_time(&self, remaining: u32) -> bool {
        let [soonest, latest] = &self.expires;
        (soonest.get()..=latest.get()).contains(&remaining)
    }

    /// What no revision asks for in another way.
    fn flow(&self, flow: &Flow<'_>) -> bool {
        let [original, _] = flow.tuples;
        let protocol = || self.l4proto.get() == u16::from(original.protocol());
        self.agrees(ask::DIRECTION, || {
            flow.ctinfo.direction() == Direction::Original
        }) && self.addresses(flow)
            && self.agrees(ask::PROTO, protocol)
    }

    fn addresses(&self, flow: &Flow<'_>) -> bool {
        let [original, reply] = flow.tuples;
        let found = [
            original.src_words(),
            original.dst_words(),
            reply.src_words(),
            reply.dst_words(),
        ];
        // Of an IPv4 rule user space fills the first word alone.
        let words = match original.family() {
            Family::Ipv4 => 1,
            Family::Ipv6 => 4,
        };
        let mut rules = ask::ADDRESS.iter().zip(&self.addresses).zip(found);
        rules.all(|((what, [address, mask]), found)| {
            let mut parts = address.iter().zip(mask).zip(found).take(words);
            let same =
                |((want, mask), word): ((&U32, &U32), u32)| (word ^ want.get()) & mask.get() == 0;
            self.agrees(*what, || parts.all(same))
        })
    }
}

/// Revisions 1 and 2: a port is one.
macro_rules! of_one_port {
    ($revision:ty, $number:literal) => {
        impl Rule for $revision {
            fn check(&self) -> Result<(), Refused> {
                self.common.check()
            }
        }

        impl Revision for $revision {
            const NUMBER: u8 = $number;

            #[inline]
            fn common(&self) -> &Common {
                &self.common
            }

            #[inline]
            fn states(&self) -> u16 {
                self.states.into()
            }

            #[inline]
            fn status(&self) -> u16 {
                self.status.into()
            }

            #[inline]
            fn has_port(&self, at: usize, port: [u8; 2]) -> bool {
                self.common.ports.get(at) == Some(&port)
            }
        }
    };
}

of_one_port!(Revision1, 1);
of_one_port!(Revision2, 2);

impl Rule for Revision3 {
    fn check(&self) -> Result<(), Refused> {
        self.common.check()
    }
}

impl Revision for Revision3 {
    const NUMBER: u8 = 3;

    #[inline]
    fn common(&self) -> &Common {
        &self.common
    }

    #[inline]
    fn states(&self) -> u16 {
        self.states.get()
    }

    #[inline]
    fn status(&self) -> u16 {
        self.status.get()
    }

    #[inline]
    fn has_port(&self, at: usize, port: [u8; 2]) -> bool {
        let (Some(first), Some(last)) = (self.common.ports.get(at), self.ports_high.get(at)) else {
            return false;
        };
        (u16::from_ne_bytes(*first)..=last.get()).contains(&u16::from_be_bytes(port))
    }
}
