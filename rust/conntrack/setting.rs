// SPDX-License-Identifier: GPL-2.0
//! What users may change while packets come in.

use core::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::time::{Instant, Ticks};

/// What a setting can hold: a number of 32 bits, or what it stands for.
pub trait Value: Copy {
    /// The value behind a number; out of range it is the nearest.
    fn from_number(number: u32) -> Self;
    /// The number.
    fn number(self) -> u32;
    /// The value behind a number that [`Value::number`] has given.
    #[inline]
    fn of_number(number: u32) -> Self {
        Self::from_number(number)
    }
}

impl Value for u32 {
    #[inline]
    fn from_number(number: u32) -> Self {
        number
    }

    #[inline]
    fn number(self) -> u32 {
        self
    }
}

impl Value for u8 {
    #[inline]
    fn from_number(number: u32) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }

    #[inline]
    fn of_number(number: u32) -> Self {
        // CAST: it was one of this type.
        number as Self
    }

    #[inline]
    fn number(self) -> u32 {
        self.into()
    }
}

impl Value for bool {
    #[inline]
    fn from_number(number: u32) -> Self {
        number != 0
    }

    #[inline]
    fn number(self) -> u32 {
        self.into()
    }
}

impl Value for Ticks {
    #[inline]
    fn from_number(number: u32) -> Self {
        Self::new(number)
    }

    #[inline]
    fn of_number(number: u32) -> Self {
        Self::of_u32(number)
    }

    #[inline]
    fn number(self) -> u32 {
        self.as_u32()
    }
}

impl Value for Instant {
    #[inline]
    fn from_number(number: u32) -> Self {
        Self::from_ticks(number)
    }

    #[inline]
    fn number(self) -> u32 {
        self.as_ticks()
    }
}

/// A value that is read for each packet and may change between two of them.
pub struct Setting<V>(AtomicU32, PhantomData<V>);

impl<V: Value> Setting<V> {
    /// A setting with its first value.
    #[must_use]
    pub fn new(value: V) -> Self {
        Self(AtomicU32::new(value.number()), PhantomData)
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> V {
        // Relaxed: each setting stands for itself.
        V::of_number(self.0.load(Ordering::Relaxed))
    }

    /// Changes the value.
    pub fn set(&self, value: V) {
        self.0.store(value.number(), Ordering::Relaxed);
    }
}

/// A copy has the value of the moment, and goes its own way.
impl<V: Value> Clone for Setting<V> {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl<V: Value + fmt::Debug> fmt::Debug for Setting<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
