// SPDX-License-Identifier: GPL-2.0
//! UDP datagrams (RFC 768).

use zerocopy::network_endian::U16;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Bytes;
use crate::{reason::Reason, tuple::Family};

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    src: [u8; 2],
    dst: [u8; 2],
    length: U16,
    checksum: U16,
}

/// A datagram's header, checked.
#[derive(Clone, Copy, Debug)]
pub struct UdpView {
    /// Whether its sender has put in a checksum.
    pub has_checksum: bool,
}

/// Where the payload of the datagram at `offset` begins and ends.
pub(crate) fn payload(bytes: Bytes<'_>, offset: usize) -> Option<(usize, usize)> {
    let header: Header = bytes.read(offset)?;
    let end = match usize::from(header.length.get()) {
        0 => bytes.len(), // A jumbogram.
        length => offset.checked_add(length)?,
    };
    Some((offset.checked_add(size_of::<Header>())?, end))
}

/// Reads the datagram at `offset`, if its header lies at hand: its ports, and what it says.
#[inline(always)]
pub(crate) fn usual(bytes: Bytes<'_>, offset: usize) -> Option<([[u8; 2]; 2], UdpView)> {
    let header: Header = bytes.read_here(offset)?;
    let length = usize::from(header.length.get());
    // The header is there, so this is no more than there is.
    let room = bytes.len().wrapping_sub(offset);
    let view = UdpView {
        has_checksum: header.checksum.get() != 0,
    };
    (size_of::<Header>()..=room)
        .contains(&length)
        .then_some(([header.src, header.dst], view))
}

/// Reads the datagram at `offset`.
#[inline]
pub(crate) fn parse(family: Family, bytes: Bytes<'_>, offset: usize) -> Result<UdpView, Reason> {
    let header: Header = bytes.read(offset).ok_or(Reason::TransportTruncated)?;
    let room = bytes.len().saturating_sub(offset);
    let length = usize::from(header.length.get());
    // RFC 2675, 4: a jumbogram over IPv6 says zero.
    let jumbo = family == Family::Ipv6 && length == 0 && room > usize::from(u16::MAX);
    if !jumbo && (length < size_of::<Header>() || length > room) {
        return Err(Reason::UdpLength);
    }
    Ok(UdpView {
        has_checksum: header.checksum.get() != 0,
    })
}
