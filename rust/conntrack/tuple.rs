// SPDX-License-Identifier: GPL-2.0
//! Tuples: what tells one flow from another.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{transmute, transmute_ref};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

use crate::wire::{icmp, icmpv6};

/// Transport protocols (linux/in.h).
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
}

/// A network protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The kernel's number (PF_INET, PF_INET6; NFPROTO_ numbers are the same).
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// The family behind the kernel's number.
    #[inline]
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Ipv4),
            10 => Some(Self::Ipv6),
            _ => None,
        }
    }
}

/// An address of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The network protocol.
    pub family: Family,
    /// Words as they lie in a packet; IPv4 in the first, the others zero.
    pub words: [u32; 4],
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self {
                family: Family::Ipv4,
                words: [u32::from_ne_bytes(address.octets()), 0, 0, 0],
            },
            IpAddr::V6(address) => Self {
                family: Family::Ipv6,
                words: words(address.octets()),
            },
        }
    }
}

/// Bytes of a packet as words.
pub(crate) fn words(bytes: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_ne_bytes)
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// That of its first packet.
    Original = 0,
    /// That of the answers.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }

    /// 0 or 1.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What tells one flow from another, in the layout of `struct nf_conntrack_tuple`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, PartialEq, Eq)]
#[repr(C)]
pub struct Tuple {
    /// Words of the source address as they lie in the packet; IPv4 in the first.
    src: [u32; 4],
    /// Port or ICMP identifier, network order.
    src_id: [u8; 2],
    /// The family's number, host order.
    family: u16,
    dst: [u32; 4],
    /// Port, or ICMP type and code, network order.
    dst_id: [u8; 2],
    protocol: u8,
    direction: u8,
}

/// A tuple as few numbers, for functions that are called with them.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Numbers {
    /// The words of the source, two by two.
    pub src: [u64; 2],
    /// Its identifier, the family, and the first word of the destination.
    pub to: u64,
    /// The next two words of that.
    pub dst: u64,
    /// Its last.
    pub last: u32,
    /// The other identifier, the protocol and the direction.
    pub rest: u32,
}

/// The words that tell flows apart, to be hashed with a key. They are the same for a tuple and for
/// that of its answers, whichever end has the lower numbers comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashWords {
    /// The address of one end, the number of the other, and the protocol; the same the other way round,
    /// and the zone.
    Ipv4([u64; 2]),
    /// The address of one end; that of the other; the rest.
    Ipv6([u64; 5]),
}

/// A word of 48 bits with a number above it.
#[inline]
fn high(low: u64, number: u16) -> u64 {
    low | (u64::from(number) << 48)
}

/// Both in their order.
#[inline]
fn sorted<T: Ord>(one: T, other: T) -> [T; 2] {
    if one <= other {
        [one, other]
    } else {
        [other, one]
    }
}

/// Two words as one.
#[inline]
fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

impl Tuple {
    /// A tuple in the original direction. Addresses are words as they lie in the packet.
    #[inline]
    #[must_use]
    pub fn new(
        family: Family,
        protocol: u8,
        src: [u32; 4],
        src_id: [u8; 2],
        dst: [u32; 4],
        dst_id: [u8; 2],
    ) -> Self {
        Self {
            src,
            src_id,
            family: family.number(),
            dst,
            dst_id,
            protocol,
            direction: Direction::Original as u8,
        }
    }

    /// The same tuple from no address and no port: what an expectation is found by.
    #[must_use]
    pub fn without_source(mut self) -> Self {
        self.src = [0; 4];
        self.src_id = [0; 2];
        self
    }

    /// The same tuple, marked as the one of `direction`.
    #[inline]
    #[must_use]
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction as u8;
        self
    }

    /// The network protocol.
    #[inline]
    #[must_use]
    pub fn family(&self) -> Family {
        if self.family == Family::Ipv6.number() {
            Family::Ipv6
        } else {
            Family::Ipv4
        }
    }

    /// The transport protocol's number.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The source address.
    #[inline]
    #[must_use]
    pub fn src(&self) -> Address {
        Address {
            family: self.family(),
            words: self.src,
        }
    }

    /// The destination address.
    #[inline]
    #[must_use]
    pub fn dst(&self) -> Address {
        Address {
            family: self.family(),
            words: self.dst,
        }
    }

    /// Words of the source address, as they lie in the packet.
    #[inline]
    #[must_use]
    pub fn src_words(&self) -> [u32; 4] {
        self.src
    }

    /// Words of the destination address, as they lie in the packet.
    #[inline]
    #[must_use]
    pub fn dst_words(&self) -> [u32; 4] {
        self.dst
    }

    /// Source port or ICMP identifier, network order.
    #[inline]
    #[must_use]
    pub fn src_id(&self) -> [u8; 2] {
        self.src_id
    }

    /// Destination port, or ICMP type and code, network order.
    #[inline]
    #[must_use]
    pub fn dst_id(&self) -> [u8; 2] {
        self.dst_id
    }

    /// Whether it tells of the same flow; the direction does not count, and of an IPv4 address only
    /// the first word does.
    #[inline(always)]
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.is(&Self {
            direction: self.direction,
            ..*other
        })
    }

    /// The same, and whether it is marked as the one of the same direction.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let (one, two) = (self.to_numbers(), other.to_numbers());
        let ([s0, ..], [t0, ..]) = (self.words(), other.words());
        // What differs most often comes first.
        if one.to != two.to || s0 != t0 || one.rest != two.rest {
            return false;
        }
        other.family() == Family::Ipv4
            || (one.src == two.src && one.dst == two.dst && one.last == two.last)
    }

    /// The direction that packets with this tuple have in the flow of two tuples, where the second is the
    /// [inverse](Self::invert) of the first.
    #[inline(always)]
    #[must_use]
    pub fn direction_in(&self, [original, reply]: [&Self; 2]) -> Option<Direction> {
        let echo = matches!(self.protocol, protocol::ICMP | protocol::ICMPV6);
        if self.family() == Family::Ipv6 || echo {
            let is = |at, tuple: &Self| tuple.is(&self.with_direction(at)).then_some(at);
            return is(Direction::Original, original).or_else(|| is(Direction::Reply, reply));
        }
        // What either end sends to is all that tells such a flow from others of its protocol.
        let back = Self {
            dst: self.src,
            src_id: self.dst_id,
            ..*self
        };
        let ends = (self.to_numbers().to, back.to_numbers().to);
        let (one, other) = (original.to_numbers().to, reply.to_numbers().to);
        let at = if (one, other) == ends {
            Direction::Original
        } else if (other, one) == ends {
            Direction::Reply
        } else {
            return None;
        };
        (original.protocol == self.protocol).then_some(at)
    }

    /// All of it, to be handed over without memory.
    #[inline(always)]
    #[must_use]
    pub fn to_numbers(self) -> Numbers {
        transmute!(self)
    }

    /// The tuple behind numbers that [`Self::to_numbers`] has given.
    #[inline(always)]
    #[must_use]
    pub fn of_numbers(numbers: Numbers) -> Self {
        transmute!(numbers)
    }

    /// All of it, as it lies in memory.
    #[inline(always)]
    fn words(&self) -> &[u32; 10] {
        transmute_ref!(self)
    }

    /// The tuple that an answer has; `None` where nothing answers (some ICMP types).
    #[inline(always)]
    #[must_use]
    pub fn invert(&self) -> Option<Self> {
        let (src_id, dst_id) = match (self.protocol, self.family()) {
            (protocol::ICMP, Family::Ipv4) => {
                (self.src_id, invert_icmp(self.dst_id, icmp::answer)?)
            }
            (protocol::ICMPV6, Family::Ipv6) => {
                (self.src_id, invert_icmp(self.dst_id, icmpv6::answer)?)
            }
            _ => (self.dst_id, self.src_id),
        };
        let direction = if self.direction == 0 { 1 } else { 0 };
        Some(Self {
            src: self.dst,
            src_id,
            family: self.family,
            dst: self.src,
            dst_id,
            protocol: self.protocol,
            direction,
        })
    }

    /// The words that tell this flow from others; `zone` is the number of its zone in this
    /// direction. Of ICMP the identifier counts, not what kind of question or answer it is.
    #[inline(always)]
    #[must_use]
    pub fn hash_words(&self, zone: u16) -> HashWords {
        let protocol = u16::from(self.protocol);
        let src_id = u16::from_ne_bytes(self.src_id);
        let dst_id = match (self.protocol, self.family()) {
            (protocol::ICMP, Family::Ipv4) | (protocol::ICMPV6, Family::Ipv6) => src_id,
            _ => u16::from_ne_bytes(self.dst_id),
        };
        let [s0, s1, s2, s3] = self.src;
        let [d0, d1, d2, d3] = self.dst;
        if self.family() == Family::Ipv4 {
            // What one end sends to: of the answers it is the other. (It lies so in a tuple.)
            let to = |id: u16, address: u32| u64::from(id) | (u64::from(address) << 32);
            let [one, other] = sorted(to(src_id, d0), to(dst_id, s0));
            let with = |word: u64, number: u16| word | (u64::from(number) << 16);
            return HashWords::Ipv4([with(one, protocol), with(other, zone)]);
        }
        let src = ([join(s0, s1), join(s2, s3)], src_id);
        let dst = ([join(d0, d1), join(d2, d3)], dst_id);
        let [([a, b], one), ([c, d], other)] = sorted(src, dst);
        let ids = (u64::from(one) << 16) | u64::from(other);
        HashWords::Ipv6([a, b, c, d, high(ids | (u64::from(protocol) << 32), zone)])
    }
}

#[inline(always)]
fn invert_icmp([kind, code]: [u8; 2], answer: impl Fn(u8) -> Option<u8>) -> Option<[u8; 2]> {
    Some([answer(kind)?, code])
}

/// Which bits of a source count where a tuple is compared with what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceMask {
    /// Words of the address, as they lie in the packet.
    pub address: [u32; 4],
    /// The port, network order.
    pub port: [u8; 2],
}

impl SourceMask {
    /// No bit: any host may call, from any port.
    pub const ANYONE: Self = Self {
        address: [0; 4],
        port: [0; 2],
    };

    /// One host, from any port.
    #[must_use]
    pub const fn host(family: Family) -> Self {
        Self {
            address: match family {
                Family::Ipv4 => [u32::MAX, 0, 0, 0],
                Family::Ipv6 => [u32::MAX; 4],
            },
            port: [0; 2],
        }
    }

    /// What two masks have in common.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = *self;
        for (to, other) in both.address.iter_mut().zip(other.address) {
            *to &= other;
        }
        for (to, other) in both.port.iter_mut().zip(other.port) {
            *to &= other;
        }
        both
    }

    /// Whether two tuples have the same source, as far as it counts.
    #[must_use]
    pub fn same(&self, one: &Tuple, other: &Tuple) -> bool {
        let addresses = one.src.iter().zip(other.src).zip(self.address);
        let ports = one.src_id.iter().zip(other.src_id).zip(self.port);
        addresses.fold(0, |differ, ((one, other), mask)| {
            differ | (one ^ other) & mask
        }) == 0
            && ports.fold(0, |differ, ((one, other), mask)| {
                differ | (one ^ other) & mask
            }) == 0
    }
}

/// An IPv4 address from the first word.
#[must_use]
pub fn ipv4([word, ..]: [u32; 4]) -> Ipv4Addr {
    Ipv4Addr::from(word.to_ne_bytes())
}

/// An IPv6 address from its words.
#[must_use]
pub fn ipv6(words: [u32; 4]) -> Ipv6Addr {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip([a, b, c, d].as_flattened()) {
        *to = *from;
    }
    Ipv6Addr::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The kernel's own layout; the glue asserts it against bindgen as well.
    const _: () = assert!(size_of::<Tuple>() == 40);
    const _: () = assert!(core::mem::offset_of!(Tuple, direction) == 39);

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        (
            any::<bool>(),
            any::<u8>(),
            any::<[u32; 4]>(),
            any::<[u8; 2]>(),
            any::<[u32; 4]>(),
            any::<[u8; 2]>(),
        )
            .prop_map(|(v6, protocol, src, src_id, dst, dst_id)| {
                let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
                Tuple::new(family, protocol, src, src_id, dst, dst_id)
            })
    }

    proptest! {
        #[test]
        fn twice_inverted_is_the_same(tuple in any_tuple()) {
            if let Some(inverse) = tuple.invert() {
                prop_assert_eq!(inverse.invert(), Some(tuple));
            }
        }

        #[test]
        fn answers_have_the_same_words(tuple in any_tuple()) {
            if let Some(inverse) = tuple.invert() {
                prop_assert_eq!(tuple.hash_words(7), inverse.hash_words(7));
            }
        }

        #[test]
        fn packets_find_their_direction(tuple in any_tuple(), other in any_tuple()) {
            if let Some(inverse) = tuple.invert() {
                let flow = [&tuple, &inverse];
                let answer = inverse.with_direction(Direction::Original);
                let own = if tuple.matches(&inverse) { Direction::Original } else { Direction::Reply };
                prop_assert_eq!(tuple.direction_in(flow), Some(Direction::Original));
                prop_assert_eq!(answer.direction_in(flow), Some(own));
                let [mut port, mut address, mut number] = [tuple; 3];
                port.dst_id[1] ^= 1;
                address.src[0] ^= 1;
                number.protocol ^= 128;
                for near in [other, port, address, number] {
                    let known = near.matches(&tuple) || near.matches(&inverse);
                    prop_assert_eq!(near.direction_in(flow).is_some(), known);
                }
            }
        }

        #[test]
        fn direction_does_not_tell_flows_apart(tuple in any_tuple()) {
            let reply = tuple.with_direction(Direction::Reply);
            prop_assert!(tuple.matches(&reply));
            prop_assert_eq!(Tuple::of_numbers(reply.to_numbers()), reply);
            prop_assert!(tuple.is(&tuple) && reply.is(&reply) && !tuple.is(&reply));
            prop_assert_eq!(tuple.hash_words(7), reply.hash_words(7));
            prop_assert_ne!(tuple.hash_words(7), tuple.hash_words(8));
        }
    }

    #[test]
    fn every_field_counts() {
        let base = Tuple::new(
            Family::Ipv6,
            17,
            [1, 2, 3, 4],
            [5, 6],
            [7, 8, 9, 10],
            [11, 12],
        );
        let mut others = [base; 6];
        others[0].src[3] ^= 1;
        others[1].dst[3] ^= 1;
        others[2].src_id[1] ^= 1;
        others[3].dst_id[0] ^= 1;
        others[4].protocol ^= 1;
        others[5].family = 2;
        for other in others {
            assert!(!base.matches(&other));
            assert_ne!(base.hash_words(0), other.hash_words(0));
        }
    }

    #[test]
    fn addresses_are_shown_in_order() {
        assert_eq!(
            ipv4([u32::from_ne_bytes([192, 0, 2, 1]), 9, 9, 9]).to_string(),
            "192.0.2.1"
        );
        let words = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]].map(u32::from_ne_bytes);
        assert_eq!(ipv6(words).to_string(), "2001:db8::1");
    }
}
