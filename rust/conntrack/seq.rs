// SPDX-License-Identifier: GPL-2.0
//! Sequence numbers of TCP (RFC 9293, 3.4): they wrap, so they have no order, only distances.

use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

/// A sequence number.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, PartialEq, Eq)]
#[repr(transparent)]
pub struct Seq(u32);

impl Seq {
    /// The number that a segment carries, in host order.
    #[inline]
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// So many bytes later.
    #[inline]
    #[must_use]
    #[allow(clippy::should_implement_trait)] // Not `Add`: the sum wraps.
    pub const fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// So many bytes earlier.
    #[inline]
    #[must_use]
    pub const fn back(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// How many bytes it lies behind `earlier`.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether it lies after `other`, on the shorter way round.
    #[inline]
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        (other.0.wrapping_sub(self.0) as i32) < 0
    }

    /// The later of both.
    #[inline]
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        if other.after(self) {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_on_over_the_wrap() {
        let (before, after) = (Seq::new(u32::MAX - 1), Seq::new(3));
        assert!(after.after(before) && !before.after(after) && !before.after(before));
        assert_eq!(before.add(5), after);
        assert_eq!(after.back(5), before);
        assert_eq!(after.since(before), 5);
        assert_eq!(before.later(after), after);
        assert_eq!(after.later(before), after);
    }
}
