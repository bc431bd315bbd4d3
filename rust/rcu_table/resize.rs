// SPDX-License-Identifier: GPL-2.0
//! Another number of buckets, while readers and writers go on.
//!
//! A hash's bucket is its high bits, and a chain is sorted by hash. So the chains of twice as many
//! buckets are the same, each cut in two, and those of half as many are the same, two by two one
//! behind the other: no entry is moved, and at most one link is changed.

use crate::{
    buckets::{Array, Chains, Head},
    entry::{unword, Grace, Link, Node},
    sync::Ordering,
    table::{Storage, Stripe, Table},
};

/// How many chains are changed before others may run.
const SHARE: u32 = 64;

impl<E: Node, S: Storage> Table<E, S> {
    /// Goes over to `heads`, twice as many as there are or half as many. Calls `pause` now and
    /// then; may wait for as long as `grace` and that do.
    ///
    /// # Errors
    ///
    /// They come back where their number is another, or less than that of the locks, and while
    /// somebody else is at it.
    pub fn resize(
        &self,
        heads: S::Heads,
        grace: &impl Grace,
        mut pause: impl FnMut(),
    ) -> Result<(), S::Heads> {
        let new = Array::new(heads)?;
        let locks = self.stripes().len().trailing_zeros();
        let suits = |old: u32, new: u32| old.abs_diff(new) == 1 && new >= locks;
        let all = |old: &Array<S::Heads>, new: &Array<S::Heads>| {
            let fewer = old.bits.min(new.bits);
            for at in 0..1_u32.wrapping_shl(fewer) {
                let hash = (u64::from(at) << u32::BITS).wrapping_shr(fewer) as u32;
                self.change(hash, old, new);
                if at % SHARE == 0 {
                    pause();
                }
            }
        };
        // SAFETY: all chains are changed, and with each all heads of the old array that it has;
        // `grace` waits for readers.
        unsafe { self.buckets.replace(new, suits, all, || grace.wait()) }
    }

    /// Changes the chains of the bucket that `hash` begins, of the smaller of both arrays.
    fn change(&self, hash: u32, old: &Array<S::Heads>, new: &Array<S::Heads>) {
        let stripe = self.stripe(hash);
        // Where the second half begins. There are at most 31 bits, so there are two halves.
        let middle = hash | (1_u32 << 31).wrapping_shr(old.bits.min(new.bits));
        let before = stripe.lock();
        keep_due([hash, middle], old, new);
        // SAFETY: the chains are locked.
        unsafe {
            if old.bits < new.bits {
                cut::<E>(
                    old.head(hash),
                    [hash, middle].map(|at| new.head(at)),
                    middle,
                );
            } else {
                join::<E>([hash, middle].map(|at| old.head(at)), new.head(hash));
            }
            stripe.unlock(before);
        }
    }
}

/// The buckets of two hashes are due when they were before. (They are one bucket now, or were.)
fn keep_due<H: Chains>([low, high]: [u32; 2], old: &Array<H>, new: &Array<H>) {
    if let (Some(one), Some(other)) = (old.due(low), old.due(high)) {
        let due = one.get().earlier(other.get());
        let both = [low, high].into_iter().filter_map(|hash| new.due(hash));
        both.for_each(|bucket| bucket.set(due));
    }
}

/// The last link of a chain that begins with the word `at` whose hash is below `end`, and the word
/// behind it.
///
/// # Safety
///
/// The chain must be locked for as long as the result is used.
unsafe fn last_below<'a, E: Node + 'a>(mut at: usize, end: u64) -> (Option<&'a Link>, usize) {
    let mut last = None;
    while let Some((entry, key)) = unword::<E>(at) {
        // SAFETY: entries in a locked chain have the table's count.
        let link = unsafe { entry.as_ref() }.link_of(key);
        if u64::from(link.hash()) >= end {
            break;
        }
        last = Some(link);
        at = link.next(Ordering::Relaxed);
    }
    (last, at)
}

/// Makes two chains of one: the second has the hashes from `middle` on.
///
/// # Safety
///
/// All three must be locked.
unsafe fn cut<E: Node>(one: &Head, [low, high]: [&Head; 2], middle: u32) {
    // SAFETY: the caller's promise.
    let (last, rest) = unsafe { last_below::<E>(one.first(), middle.into()) };
    low.set_first(if last.is_some() { one.first() } else { 0 });
    high.set_first(rest);
    // Before the cut: who comes to its end too early looks here.
    one.set_moved();
    if let Some(last) = last {
        last.set_next(0);
    }
}

/// Makes one chain of two.
///
/// # Safety
///
/// All three must be locked.
unsafe fn join<E: Node>([low, high]: [&Head; 2], one: &Head) {
    // SAFETY: the caller's promise.
    let (last, _) = unsafe { last_below::<E>(low.first(), u64::MAX) };
    match last {
        Some(last) => {
            last.set_next(high.first());
            one.set_first(low.first());
        }
        None => one.set_first(high.first()),
    }
    low.set_moved();
    high.set_moved();
}
