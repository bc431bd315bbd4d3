// SPDX-License-Identifier: GPL-2.0
//! Points in time and spans of it, in ticks of the caller's clock (jiffies in the kernel).

/// A point in time: 32 bits that wrap, so it has no order, only distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(u32);

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u32);

impl Instant {
    /// The time when the clock shows `ticks`.
    #[inline]
    #[must_use]
    pub const fn from_ticks(ticks: u32) -> Self {
        Self(ticks)
    }

    /// What the clock shows.
    #[inline]
    #[must_use]
    pub const fn as_ticks(self) -> u32 {
        self.0
    }

    /// The time after a span.
    #[inline]
    #[must_use]
    #[allow(clippy::should_implement_trait)] // Not `Add`: the sum wraps.
    pub const fn add(self, span: Ticks) -> Self {
        Self(self.0.wrapping_add(span.0))
    }

    /// Whether this lies after `other`, on the shorter way round.
    #[inline]
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        (other.0.wrapping_sub(self.0) as i32) < 0
    }

    /// How long it is from `now` until this; `None` if it is now or was before.
    #[inline]
    #[must_use]
    pub const fn remaining(self, now: Self) -> Option<Ticks> {
        if self.after(now) {
            Some(Ticks(self.0.wrapping_sub(now.0)))
        } else {
            None
        }
    }

    /// How long this was before `now`; `None` if it is now or still to come.
    #[inline]
    #[must_use]
    pub const fn passed(self, now: Self) -> Option<Ticks> {
        now.remaining(self)
    }
}

impl Ticks {
    /// The longest span: more would look like the past.
    pub const MAX: Self = Self(i32::MAX as u32);

    /// A span of so many ticks, at most [`Self::MAX`].
    #[inline]
    #[must_use]
    pub const fn new(ticks: u32) -> Self {
        if ticks > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ticks)
        }
    }

    /// The span of which [`Self::as_u32`] has given the number.
    #[inline]
    #[must_use]
    pub const fn of_u32(ticks: u32) -> Self {
        Self(ticks)
    }

    /// A span of so many seconds of `hz` ticks each, at most [`Self::MAX`].
    #[must_use]
    pub const fn from_secs(secs: u32, hz: u32) -> Self {
        Self::new(secs.saturating_mul(hz))
    }

    /// How many ticks.
    #[inline]
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Milliseconds, of `hz` ticks a second; at most as many as there is room for.
    #[must_use]
    pub fn as_millis(self, hz: u32) -> u32 {
        let millis = u64::from(self.0).saturating_mul(1000);
        let millis = millis.checked_div(hz.into()).unwrap_or_default();
        u32::try_from(millis).unwrap_or(u32::MAX)
    }

    /// Whole seconds of `hz` ticks each.
    #[must_use]
    pub const fn as_secs(self, hz: u32) -> u32 {
        match self.0.checked_div(hz) {
            Some(secs) => secs,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_goes_on_over_the_wrap() {
        let before = Instant::from_ticks(u32::MAX - 9);
        let after = before.add(Ticks::new(20));
        assert_eq!(after.as_ticks(), 10);
        assert!(after.after(before));
        assert!(!before.after(after));
        assert_eq!(after.remaining(before), Some(Ticks::new(20)));
        assert_eq!(before.remaining(after), None);
        assert_eq!(before.remaining(before), None);
    }

    proptest! {
        #[test]
        fn what_is_added_remains(now: u32, span in 1..=i32::MAX as u32) {
            let now = Instant::from_ticks(now);
            prop_assert_eq!(now.add(Ticks::new(span)).remaining(now), Some(Ticks::new(span)));
        }
    }
}
