// SPDX-License-Identifier: GPL-2.0
//! Looking up, putting in, taking out.

use core::{marker::PhantomData, ptr::NonNull};

use crate::{
    buckets::{Array, Buckets, Chains, Spot},
    due::Ahead,
    entry::{unword, word, Key, Lead, Link, Node, ReadSide, Ref, Seen},
    sync::{AtomicU32, Ordering},
};

/// A lock over the buckets of a range of hashes, and how many entries are there.
///
/// # Safety
///
/// Between `lock` (or `lock_second`) and the unlock of its kind no other thread gets past either
/// of them, and what was written before an unlock is seen after the next lock.
pub unsafe trait Stripe {
    /// What is to be known to give the lock back.
    type Before: Copy;

    /// Takes the lock.
    fn lock(&self) -> Self::Before;

    /// Takes the lock while another of the same table is held.
    fn lock_second(&self);

    /// Gives it back.
    ///
    /// # Safety
    ///
    /// The caller must hold it by `lock`, which has given `before`.
    unsafe fn unlock(&self, before: Self::Before);

    /// Gives it back.
    ///
    /// # Safety
    ///
    /// The caller must hold it by `lock_second`.
    unsafe fn unlock_second(&self);

    /// How many entries it has by their first keys; zero at first, and changed under the lock.
    fn entries(&self) -> &AtomicU32;
}

/// Memory for a table: its owner allocates it.
///
/// # Safety
///
/// `stripes` returns the same slice at every call, of a power of two of them, and `Heads` gives the
/// same slices at every call.
pub unsafe trait Storage {
    /// As many chains as a power of two, empty at first.
    type Heads: Chains;
    /// The kind of lock.
    type Stripe: Stripe;

    /// The locks.
    fn stripes(&self) -> &[Self::Stripe];
}

/// Why an entry was not put in. Either way it comes back.
pub enum Insert<E: Node> {
    /// Another entry has one of its keys.
    Clash(Clash<E>),
    /// It is in already, or was: another holder was quicker.
    Again(Ref<E>),
}

/// What is looked for. (Not a function: the compiler puts a method into the caller if told so.)
pub trait Sought<E> {
    /// What is made of the entry.
    type Found;

    /// What is made of an entry that is met by `key`; `None` if it is another.
    fn is(&self, entry: &E, key: Key) -> Option<Self::Found>;
}

/// The same by a function.
struct By<F>(F);

impl<E, R, F: Fn(&E, Key) -> Option<R>> Sought<E> for By<F> {
    type Found = R;

    #[inline]
    fn is(&self, entry: &E, key: Key) -> Option<R> {
        self.0(entry, key)
    }
}

/// Two entries that cannot both be in the table.
pub struct Clash<E: Node> {
    /// The one that was to be put in.
    pub entry: Ref<E>,
    /// The one that is there; `None` where it is just being destroyed.
    pub other: Option<Ref<E>>,
}

/// The table.
///
/// # Invariants
///
/// - A chain is sorted by hash, and changed only under its lock, which stays the same when the
///   number of buckets changes.
/// - Each entry in a chain is linked by all its keys, by exactly one call of `insert`, and the
///   table owns one count of it.
pub struct Table<E: Node, S: Storage> {
    pub(crate) buckets: Buckets<S::Heads>,
    storage: S,
    _entries: PhantomData<Ref<E>>,
}

/// A place in a chain: what is to lead to it, and the word that follows.
struct Place<'a> {
    before: &'a Lead,
    next: usize,
}

/// What has become of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// How many entries there are under its lock.
    pub entries: u32,
    /// Whether the bucket is to be looked through earlier than before.
    pub sooner: bool,
}

impl<E: Node, S: Storage> Table<E, S> {
    /// An empty table; `None` if there is not a power of two of buckets, or fewer than locks.
    pub fn new(heads: S::Heads, storage: S) -> Option<Self> {
        let array = Array::new(heads).ok()?;
        let locks = storage.stripes().len();
        (locks.is_power_of_two() && locks.trailing_zeros() <= array.bits).then(|| Self {
            buckets: Buckets::new(array),
            storage,
            _entries: PhantomData,
        })
    }

    /// How many buckets there are.
    pub fn buckets<G: ReadSide>(&self, _read: &G) -> usize {
        // SAFETY: a read side is open.
        unsafe { self.buckets.len() }
    }

    /// The locks.
    pub(crate) fn stripes(&self) -> &[S::Stripe] {
        self.storage.stripes()
    }

    /// How many entries there are.
    pub fn entries(&self) -> u32 {
        let counts = self.stripes().iter().map(Stripe::entries);
        counts.fold(0, |sum, count| {
            sum.saturating_add(count.load(Ordering::Relaxed))
        })
    }

    /// What `same` makes of the first entry with this hash that it recognises.
    #[inline]
    pub fn find<'g, G: ReadSide, R>(
        &'g self,
        hash: u32,
        read: &'g G,
        same: impl Fn(&E, Key) -> Option<R>,
    ) -> Option<(Seen<'g, E>, R)> {
        self.seek(hash, read, By(same))
    }

    /// What `sought` makes of the first entry with this hash that it recognises.
    ///
    /// Entries with another hash are passed over without a look.
    #[inline(always)]
    #[allow(clippy::comparison_chain)] // One comparison for most.
    pub fn seek<'g, G: ReadSide, R>(
        &'g self,
        hash: u32,
        _read: &'g G,
        sought: impl Sought<E, Found = R>,
    ) -> Option<(Seen<'g, E>, R)> {
        loop {
            // SAFETY: a read side is open for as long as the result may be used.
            let spot = unsafe { self.buckets.spot(hash) };
            let mut at = spot.first;
            while let Some((entry, key)) = unword::<E>(at) {
                E::expect(entry);
                // SAFETY: reached through the table under an open read side, which outlives the
                // result: the memory is valid (contract of `Node`).
                let seen = unsafe { Seen::new(entry) };
                let link = seen.link_of(key);
                if link.hash() == hash {
                    if let Some(result) = sought.is(&seen, key) {
                        return Some((seen, result));
                    }
                } else if link.hash() > hash {
                    break;
                }
                at = link.next(Ordering::Acquire);
            }
            // What was looked for may have gone to another chain meanwhile.
            if !spot.head.is_moved() {
                return None;
            }
        }
    }

    /// Puts an entry in.
    ///
    /// # Errors
    ///
    /// The entry comes back where one of its keys is taken, or where it was put in before.
    pub fn insert<G: ReadSide>(&self, entry: Ref<E>, read: &G) -> Result<Done, Insert<E>> {
        self.insert_by(entry, Ahead::FARTHEST, read)
    }

    /// The same of one whose bucket is to be looked through by then.
    ///
    /// # Errors
    ///
    /// As for [`Self::insert`].
    #[inline(always)]
    pub fn insert_by<G: ReadSide>(
        &self,
        entry: Ref<E>,
        by: Ahead,
        _read: &G,
    ) -> Result<Done, Insert<E>> {
        let second = entry.second();
        let held = self.lock(&entry, second);
        if !entry.link().claim() {
            return Err(Insert::Again(entry));
        }
        // SAFETY: a read side is open, and the chains are locked.
        let linked = unsafe {
            match second {
                None => self.link(&entry, by),
                Some(second) => self.link_twice(&entry, second, by),
            }
        };
        let other = match linked {
            Ok(sooner) => {
                entry.published();
                // INVARIANT: the table takes over the count; who takes the entry out gives it back.
                let _ = Ref::into_raw(entry);
                let entries = held.count(1);
                return Ok(Done { entries, sooner });
            }
            Err(other) => other,
        };
        entry.link().unclaim();
        Err(Insert::Clash(Clash { entry, other }))
    }

    /// Links an entry that is claimed, by its only key; fails with the one that has the key.
    ///
    /// # Safety
    ///
    /// A read side must be open, and the chain be locked.
    #[inline(always)]
    unsafe fn link(&self, entry: &E, by: Ahead) -> Result<bool, Option<Ref<E>>> {
        // SAFETY: the caller's promise.
        let (spot, place) = unsafe {
            let spot = self.buckets.spot(entry.link().hash());
            let place = self.place(&spot, entry, Key::First)?;
            (spot, place)
        };
        entry.link().set_linked(place.next);
        place.before.lead_to(word(NonNull::from(entry), Key::First));
        Ok(spot.due.is_some_and(|due| due.within(by)))
    }

    /// The same of one that has this second link as well.
    ///
    /// # Safety
    ///
    /// As for `link`.
    #[inline(never)]
    unsafe fn link_twice(
        &self,
        entry: &E,
        second: &Link,
        by: Ahead,
    ) -> Result<bool, Option<Ref<E>>> {
        // SAFETY: the caller's promise.
        unsafe {
            for key in [Key::First, Key::Second] {
                let spot = self.buckets.spot(entry.link_of(key).hash());
                self.place(&spot, entry, key)?;
            }
            // Before it can be found: who finds it may take it out, and waits for the locks.
            second.set_linked(0);
            let sooner = self.link(entry, by)?;
            // Once more: it may come right behind the first.
            let other = self.buckets.spot(second.hash());
            let place = self.place(&other, entry, Key::Second)?;
            second.set_next(place.next);
            place
                .before
                .lead_to(word(NonNull::from(entry), Key::Second));
            Ok(sooner)
        }
    }

    /// Where a key of an entry belongs in its chain: before all of the same hash. Fails with another that
    /// has the key.
    ///
    /// # Safety
    ///
    /// As for `link`.
    #[inline(always)]
    unsafe fn place<'a>(
        &'a self,
        spot: &Spot<'a>,
        entry: &E,
        key: Key,
    ) -> Result<Place<'a>, Option<Ref<E>>> {
        let hash = entry.link_of(key).hash();
        // SAFETY: the caller's promise.
        let place = unsafe { self.before(spot, |link, _| link.hash() >= hash) };
        let mut at = place.next;
        while let Some((other, other_key)) = unword::<E>(at) {
            // SAFETY: entries in a locked chain have the table's count.
            let seen = unsafe { Seen::new(other) };
            let link = seen.link_of(other_key);
            if link.hash() != hash {
                break;
            }
            let itself = core::ptr::eq(&*seen, entry);
            if !itself && entry.conflicts(key, &seen, other_key) {
                return Err(seen.get());
            }
            at = link.next(Ordering::Relaxed);
        }
        Ok(place)
    }

    /// The place in a chain before the first link that `here` says yes to, or at the end.
    ///
    /// # Safety
    ///
    /// As for `link`; that the chain is locked, its head stays what it is.
    #[inline(always)]
    unsafe fn before<'a>(
        &'a self,
        spot: &Spot<'a>,
        here: impl Fn(&Link, usize) -> bool,
    ) -> Place<'a> {
        let mut place = Place {
            before: spot.head.leads(),
            next: spot.first,
        };
        while let Some((other, key)) = unword::<E>(place.next) {
            // SAFETY: entries in a locked chain have the table's count, and while the lock is held
            // none is taken out.
            let link = unsafe { other.as_ref() }.link_of(key);
            if here(link, place.next) {
                break;
            }
            place = Place {
                before: link.leads(),
                next: link.next(Ordering::Relaxed),
            };
        }
        place
    }

    /// Takes an entry out; the one caller that succeeds gets the table's own reference.
    pub fn remove<G: ReadSide>(&self, entry: &E, _read: &G) -> Option<Ref<E>> {
        if !entry.link().is_linked() {
            return None;
        }
        let second = entry.second();
        let held = self.lock(entry, second);
        // What counts is whether it stands in the chains of this table, now.
        // SAFETY: a read side is open, and the chains are locked.
        let mine = unsafe {
            self.unlink(entry, Key::First) && (second.is_none() || self.unlink(entry, Key::Second))
        };
        if mine {
            held.count(u32::MAX); // One less.
        }
        drop(held);
        // SAFETY: it was in the table, whose count goes to the caller.
        mine.then(|| unsafe { Ref::from_raw(NonNull::from(entry)) })
    }

    /// Takes an entry out of the chain of a key, if it stands there.
    ///
    /// # Safety
    ///
    /// As for `link`.
    unsafe fn unlink(&self, entry: &E, key: Key) -> bool {
        let wanted = word(NonNull::from(entry), key);
        let link = entry.link_of(key);
        // SAFETY: the caller's promise.
        let place = unsafe {
            let spot = self.buckets.spot(link.hash());
            self.before(&spot, |_, at| at == wanted)
        };
        if place.next != wanted {
            return false; // Another was quicker, or it is in another table.
        }
        place.before.lead_to(link.next(Ordering::Relaxed));
        link.set_removed();
        true
    }

    /// Locks the chains of an entry's keys, in the order of their locks, and a lock that guards
    /// both once.
    #[inline]
    fn lock(&self, entry: &E, second: Option<&Link>) -> Held<'_, S::Stripe> {
        let first = self.stripe(entry.link().hash());
        let second = second.map(|link| self.stripe(link.hash()));
        let (low, high) = match second {
            Some(second) if core::ptr::from_ref(second) < first => (second, Some(first)),
            Some(second) if !core::ptr::eq(first, second) => (first, Some(second)),
            _ => (first, None),
        };
        let before = low.lock();
        if let Some(high) = high {
            high.lock_second();
        }
        Held {
            first,
            low,
            before,
            high,
        }
    }

    /// The lock over the chains of a hash: by its high bits, as its bucket.
    #[inline]
    pub(crate) fn stripe(&self, hash: u32) -> &S::Stripe {
        let stripes = self.stripes();
        let at = u64::from(hash).wrapping_mul(stripes.len() as u64) >> u32::BITS;
        // SAFETY: a hash is less than two to the power of 32, so `at` is less than the length; which is
        // not zero, and the same as ever (`new`, contract of `Storage`).
        unsafe { stripes.get_unchecked(at as usize) }
    }
}

/// Chains that are locked.
struct Held<'a, T: Stripe> {
    /// The lock over the chain of the first key.
    first: &'a T,
    low: &'a T,
    before: T::Before,
    high: Option<&'a T>,
}

impl<T: Stripe> Held<'_, T> {
    /// Counts an entry; says how many there are.
    #[inline]
    fn count(&self, step: u32) -> u32 {
        let entries = self.first.entries();
        let now = entries.load(Ordering::Relaxed).wrapping_add(step);
        entries.store(now, Ordering::Relaxed);
        now
    }
}

impl<T: Stripe> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `Table::lock` has taken them, in the other order.
        unsafe {
            if let Some(high) = self.high {
                high.unlock_second();
            }
            self.low.unlock(self.before);
        }
    }
}
