// SPDX-License-Identifier: GPL-2.0
//! A place for what one module lends to another, which may take it back at any time.

use core::{
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use kernel::{prelude::*, sync::rcu};

use crate::rcu::ReadSide;

/// A place for one value, which readers under RCU see; empty at first.
///
/// # Invariants
///
/// Not null means valid for the current read side.
pub struct Slot<T>(AtomicPtr<T>);

impl<T: Send + Sync> Slot<T> {
    /// An empty place.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// What stands there.
    #[inline]
    #[must_use]
    pub fn get<'a>(&self, _read: ReadSide<'a>) -> Option<&'a T> {
        // SAFETY: not null, so its owner waits for this read side before it frees it.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Puts a value there, until the result is dropped. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` where there is one; `ENOMEM`.
    pub fn fill(&'static self, value: T) -> Result<Filled<T>> {
        let value = NonNull::from(KBox::leak(KBox::new(value, GFP_KERNEL)?));
        // Release: readers see all of it.
        let taken = self.0.compare_exchange(
            null_mut(),
            value.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if taken.is_err() {
            // SAFETY: leaked just now, and nobody else has seen it.
            drop(unsafe { KBox::from_raw(value.as_ptr()) });
            return Err(EBUSY);
        }
        Ok(Filled { slot: self, value })
    }
}

impl<T: Send + Sync> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A place that is filled while this lives. To drop it may sleep, and waits for those who are
/// reading.
pub struct Filled<T: Send + Sync + 'static> {
    slot: &'static Slot<T>,
    value: NonNull<T>,
}

// SAFETY: the value is `Send` and `Sync`.
unsafe impl<T: Send + Sync> Send for Filled<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Filled<T> {}

impl<T: Send + Sync> Drop for Filled<T> {
    fn drop(&mut self) {
        self.slot.0.store(null_mut(), Ordering::Release);
        rcu::synchronize_rcu();
        // SAFETY: leaked by `fill`; no reader has it any more.
        drop(unsafe { KBox::from_raw(self.value.as_ptr()) });
    }
}
