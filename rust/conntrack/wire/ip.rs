// SPDX-License-Identifier: GPL-2.0
//! IPv4 (RFC 791) and IPv6 (RFC 8200): where the transport header is, and of what protocol.

use zerocopy::network_endian::U16;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Bytes;
use crate::{
    reason::Reason,
    tuple::{Family, Tuple},
};

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Ipv4Header {
    version_length: u8,
    tos: u8,
    total_length: U16,
    id: U16,
    fragment: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    src: [u8; 4],
    dst: [u8; 4],
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Ipv6Header {
    version_flow: [u8; 4],
    payload_length: U16,
    next_header: u8,
    hop_limit: u8,
    src: [[u8; 4]; 4],
    dst: [[u8; 4]; 4],
}

/// The first two bytes of most extension headers.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Extension {
    next_header: u8,
    length: u8,
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct FragmentHeader {
    next_header: u8,
    reserved: u8,
    offset: U16,
    id: [u8; 4],
}

/// What a network header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) family: Family,
    /// Words of the addresses, as they lie in the packet.
    pub(crate) src: [u32; 4],
    pub(crate) dst: [u32; 4],
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    /// Whether more fragments of the same packet follow (IPv4).
    pub(crate) more_fragments: bool,
    /// Where the transport header begins, from the beginning of `bytes`.
    pub(crate) transport: usize,
}

/// Reads the network header at `offset`.
#[inline]
pub(crate) fn parse(family: Family, bytes: Bytes<'_>, offset: usize) -> Result<Network, Reason> {
    match family {
        Family::Ipv4 => parse_v4(bytes, offset),
        Family::Ipv6 => parse_v6(bytes, offset),
    }
}

/// Reads an IPv4 header that has no options and is not that of a fragment; the transport header
/// begins right behind it. `None` of any other, and where it does not lie at hand.
#[inline(always)]
pub(crate) fn usual_v4(bytes: Bytes<'_>) -> Option<(Usual, usize)> {
    let header: Ipv4Header = bytes.read_here(0)?;
    // All but "don't fragment".
    let fragment = header.fragment.get() & 0x3fff;
    (header.version_length == 0x45 && fragment == 0).then_some((
        Usual {
            src: [u32::from_ne_bytes(header.src), 0, 0, 0],
            dst: [u32::from_ne_bytes(header.dst), 0, 0, 0],
            protocol: header.protocol,
        },
        size_of::<Ipv4Header>(),
    ))
}

/// Reads an IPv6 header, if it lies at hand. Where its protocol is a transport protocol there are no
/// extensions, and the transport header begins right behind it.
#[inline(always)]
pub(crate) fn usual_v6(bytes: Bytes<'_>) -> Option<(Usual, usize)> {
    let header: Ipv6Header = bytes.read_here(0)?;
    Some((
        Usual {
            src: header.src.map(u32::from_ne_bytes),
            dst: header.dst.map(u32::from_ne_bytes),
            protocol: header.next_header,
        },
        size_of::<Ipv6Header>(),
    ))
}

/// What a network header of the usual form says.
pub(crate) struct Usual {
    pub(crate) src: [u32; 4],
    pub(crate) dst: [u32; 4],
    pub(crate) protocol: u8,
}

impl Usual {
    /// The tuple of a packet with these numbers behind the header.
    #[inline(always)]
    pub(crate) fn tuple(&self, family: Family, protocol: u8, [src, dst]: [[u8; 2]; 2]) -> Tuple {
        Tuple::new(family, protocol, self.src, src, self.dst, dst)
    }
}

#[inline]
fn parse_v4(bytes: Bytes<'_>, offset: usize) -> Result<Network, Reason> {
    /// The offset of a fragment, without its flags.
    const OFFSET: u16 = 0x1fff;
    const MORE: u16 = 0x2000;
    let header: Ipv4Header = bytes.read(offset).ok_or(Reason::NetworkTruncated)?;
    if header.fragment.get() & OFFSET != 0 {
        return Err(Reason::Fragment);
    }
    let words = usize::from(header.version_length & 0xf);
    if words < 5 {
        return Err(Reason::NetworkHeader);
    }
    let transport = offset.saturating_add(words.saturating_mul(4));
    if transport > bytes.len() {
        return Err(Reason::NetworkHeader);
    }
    Ok(Network {
        family: Family::Ipv4,
        src: [u32::from_ne_bytes(header.src), 0, 0, 0],
        dst: [u32::from_ne_bytes(header.dst), 0, 0, 0],
        protocol: header.protocol,
        hop_limit: header.ttl,
        more_fragments: header.fragment.get() & MORE != 0,
        transport,
    })
}

#[inline]
fn parse_v6(bytes: Bytes<'_>, offset: usize) -> Result<Network, Reason> {
    let header: Ipv6Header = bytes.read(offset).ok_or(Reason::NetworkTruncated)?;
    let first = offset.saturating_add(size_of::<Ipv6Header>());
    let (protocol, transport) = skip_extensions(bytes, header.next_header, first)?;
    Ok(Network {
        family: Family::Ipv6,
        src: header.src.map(u32::from_ne_bytes),
        dst: header.dst.map(u32::from_ne_bytes),
        protocol,
        hop_limit: header.hop_limit,
        more_fragments: false,
        transport,
    })
}

/// Finds the transport header behind extension headers that begin at `at`.
///
/// The kernel puts fragments together before they come here, so a fragment header that is left
/// is that of a whole packet, or of a packet quoted by an ICMP error.
fn skip_extensions(bytes: Bytes<'_>, mut next: u8, mut at: usize) -> Result<(u8, usize), Reason> {
    // Extension headers (linux/in6.h, linux/ipv6.h).
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const NOTHING: u8 = 59;
    const DESTINATION: u8 = 60;
    /// How many extension headers the kernel takes (IP6_MAX_EXT_HDRS_CNT in net/ipv6.h).
    const MOST: usize = 12;
    // One step more than that, to see the transport protocol behind the last of them.
    for _ in 0..=MOST {
        let length = match next {
            NOTHING => return Err(Reason::NoTransport),
            FRAGMENT => {
                let fragment: FragmentHeader = bytes.read(at).ok_or(Reason::NoTransport)?;
                if fragment.offset.get() & !7 != 0 {
                    return Err(Reason::Fragment);
                }
                8
            }
            HOP_BY_HOP | ROUTING | AUTHENTICATION | DESTINATION => {
                let extension: Extension = bytes.read(at).ok_or(Reason::NoTransport)?;
                let units = usize::from(extension.length);
                if next == AUTHENTICATION {
                    // RFC 4302: in words of four bytes, less two.
                    units.saturating_add(2).saturating_mul(4)
                } else {
                    units.saturating_add(1).saturating_mul(8)
                }
            }
            protocol => return Ok((protocol, at)),
        };
        let extension: Extension = bytes.read(at).ok_or(Reason::NoTransport)?;
        next = extension.next_header;
        at = at.saturating_add(length);
    }
    Err(Reason::NoTransport)
}
