// SPDX-License-Identifier: GPL-2.0
//! ICMP (RFC 792, RFC 950).

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Bytes;
use crate::reason::Reason;

/// The first eight bytes of every message, in both families.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    id: [u8; 2],
    rest: [u8; 2],
}

/// How long it is, in bytes.
pub(crate) const HEADER_LEN: usize = size_of::<Header>();

/// What counts of it.
#[derive(Clone, Copy, Debug)]
pub struct IcmpView {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The identifier, where the type has one.
    pub id: [u8; 2],
}

/// Reads the message at `offset`.
#[inline]
pub(crate) fn parse(bytes: Bytes<'_>, offset: usize) -> Result<IcmpView, Reason> {
    let header: Header = bytes.read(offset).ok_or(Reason::TransportTruncated)?;
    Ok(IcmpView {
        kind: header.kind,
        code: header.code,
        id: header.id,
    })
}

/// Reads the message at `offset`, if it lies at hand and is an echo or the answer to one, which have
/// the types `echo`.
#[inline(always)]
pub(crate) fn usual(bytes: Bytes<'_>, offset: usize, echo: [u8; 2]) -> Option<IcmpView> {
    let header: Header = bytes.read_here(offset)?;
    echo.contains(&header.kind).then_some(IcmpView {
        kind: header.kind,
        code: header.code,
        id: header.id,
    })
}

/// An echo and its answer.
pub(crate) const ECHOES: [u8; 2] = [ECHO, ECHO_REPLY];

/// The highest type that anybody defined (NR_ICMP_TYPES in linux/icmp.h).
pub(crate) const LAST: u8 = 18;

const ECHO_REPLY: u8 = 0;
const ECHO: u8 = 8;
const TIMESTAMP: u8 = 13;
const TIMESTAMP_REPLY: u8 = 14;
const INFORMATION: u8 = 15;
const INFORMATION_REPLY: u8 = 16;
const ADDRESS: u8 = 17;
const ADDRESS_REPLY: u8 = 18;

/// Whether a message reports that a packet went wrong, and quotes it: unreachable, source
/// quench, redirect, time exceeded, parameter problem.
pub(crate) fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// The type that answers a type, or is answered by it.
#[inline(always)]
pub(crate) fn answer(kind: u8) -> Option<u8> {
    Some(match kind {
        ECHO => ECHO_REPLY,
        ECHO_REPLY => ECHO,
        TIMESTAMP => TIMESTAMP_REPLY,
        TIMESTAMP_REPLY => TIMESTAMP,
        INFORMATION => INFORMATION_REPLY,
        INFORMATION_REPLY => INFORMATION,
        ADDRESS => ADDRESS_REPLY,
        ADDRESS_REPLY => ADDRESS,
        _ => return None,
    })
}

/// Whether a message asks for an answer, and so may start a connection.
#[inline]
pub(crate) fn is_request(kind: u8) -> bool {
    matches!(kind, ECHO | TIMESTAMP | INFORMATION | ADDRESS)
}
