// SPDX-License-Identifier: GPL-2.0
//! Headers as they lie in packets. A view exists only where all its bytes do.

pub(crate) mod icmp;
pub(crate) mod icmpv6;
pub(crate) mod ip;
pub(crate) mod tcp;
pub(crate) mod udp;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The header `T` at `offset`.
#[inline]
pub(crate) fn header<T>(bytes: &[u8], offset: usize) -> Option<&T>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    let (header, _) = T::ref_from_prefix(bytes.get(offset..)?).ok()?;
    Some(header)
}
