// SPDX-License-Identifier: GPL-2.0
//! Headers as they lie in packets. One exists only where all its bytes do.

pub(crate) mod icmp;
pub(crate) mod icmpv6;
pub(crate) mod ip;
pub(crate) mod sctp;
pub(crate) mod tcp;
pub(crate) mod udp;

use core::fmt;

use zerocopy::{FromBytes, IntoBytes};

/// What of a packet does not lie at hand.
pub trait Rest {
    /// Fills `to` from `offset` on, from the network header on; `false` where there is less.
    fn copy(&self, offset: usize, to: &mut [u8]) -> bool;
}

/// Nothing lies elsewhere.
impl Rest for () {
    fn copy(&self, _: usize, _: &mut [u8]) -> bool {
        false
    }
}

/// The bytes of a packet, from its network header on.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    head: &'a [u8],
    len: usize,
    rest: &'a dyn Rest,
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes")
            .field("head", &self.head)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<'a> Bytes<'a> {
    /// A packet of `len` bytes that begins with `head`; `rest` gives those that are not in it.
    #[inline]
    #[must_use]
    pub fn new(head: &'a [u8], len: u32, rest: &'a dyn Rest) -> Self {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Self {
            // More bytes than the packet has would be another packet's.
            head: head.get(..len).unwrap_or(head),
            len,
            rest,
        }
    }

    /// The same of one that begins with `head`, which is no longer than that.
    #[inline(always)]
    #[must_use]
    pub fn of_part(head: &'a [u8], len: u32) -> Self {
        Self {
            head,
            len: usize::try_from(len).unwrap_or(usize::MAX),
            rest: &(),
        }
    }

    /// A packet that is all there.
    #[inline]
    #[must_use]
    pub fn whole(head: &'a [u8]) -> Self {
        Self {
            head,
            len: head.len(),
            rest: &(),
        }
    }

    /// How many bytes the packet has.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The header `T` at `offset`, if it lies at hand.
    #[inline(always)]
    pub(crate) fn read_here<T: FromBytes>(&self, offset: usize) -> Option<T> {
        Some(T::read_from_prefix(self.head.get(offset..)?).ok()?.0)
    }

    /// The header `T` at `offset`.
    #[inline]
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Option<T> {
        match self.head.get(offset..) {
            Some(bytes) if bytes.len() >= size_of::<T>() => {
                Some(T::read_from_prefix(bytes).ok()?.0)
            }
            _ => self.fetch(offset),
        }
    }

    /// The same from the part that is not at hand.
    #[cold]
    fn fetch<T: FromBytes + IntoBytes>(&self, offset: usize) -> Option<T> {
        if offset.checked_add(size_of::<T>())? > self.len {
            return None;
        }
        let mut value = T::new_zeroed();
        self.rest
            .copy(offset, value.as_mut_bytes())
            .then_some(value)
    }

    /// All that lies at hand from `offset` on.
    #[inline(always)]
    pub(crate) fn here_from(&self, offset: usize) -> Option<&'a [u8]> {
        self.head.get(offset..)
    }

    /// Bytes that lie at hand.
    #[inline]
    pub(crate) fn at_hand(&self, from: usize, to: usize) -> Option<&'a [u8]> {
        self.head.get(from..to)
    }
}
