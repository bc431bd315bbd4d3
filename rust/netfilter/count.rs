// SPDX-License-Identifier: GPL-2.0
//! Reference counts, in the manner of linux/refcount.h: one that overflows stays, and what it
//! counts is leaked rather than freed early.

use core::sync::atomic::{fence, AtomicI32, Ordering};

/// Adds one unless it is zero; whether it was not.
#[inline]
pub(crate) fn try_get(count: &AtomicI32) -> bool {
    let mut seen = count.load(Ordering::Relaxed);
    loop {
        if seen <= 0 {
            return seen != 0; // Saturated, as is what follows the largest number; or none.
        }
        match count.compare_exchange_weak(
            seen,
            seen.wrapping_add(1),
            Ordering::Acquire,
            Ordering::Relaxed,
        ) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
}

/// Takes one away; whether that was the last. What other holders did before is visible then.
#[inline]
pub(crate) fn put(count: &AtomicI32) -> bool {
    match count.fetch_sub(1, Ordering::Release) {
        1 => {
            fence(Ordering::Acquire);
            true
        }
        2.. => false,
        // Saturated: undo the step towards zero.
        _ => {
            count.store(i32::MIN / 2, Ordering::Relaxed);
            false
        }
    }
}
