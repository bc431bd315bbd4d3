// SPDX-License-Identifier: GPL-2.0
//! The buckets: looking up, putting in, taking out, walking.

use core::{marker::PhantomData, ptr::NonNull};

use crate::{
    entry::{Node, ReadSide, Ref, Seen, Side},
    sync::{AtomicUsize, Ordering},
};

/// The begin of a chain: the word of its first entry, or zero.
#[repr(transparent)]
pub struct Head(AtomicUsize);

impl Head {
    /// An empty chain.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

/// A lock over some buckets.
///
/// # Safety
///
/// Between `lock` (or `lock_second`) and the unlock of its kind no other thread gets past either
/// of them, and what was written before an unlock is seen after the next lock.
pub unsafe trait RawLock {
    /// Takes the lock.
    fn lock(&self);

    /// Takes the lock while another of the same table is held.
    fn lock_second(&self);

    /// Gives it back.
    ///
    /// # Safety
    ///
    /// The caller must hold it by `lock`.
    unsafe fn unlock(&self);

    /// Gives it back.
    ///
    /// # Safety
    ///
    /// The caller must hold it by `lock_second`.
    unsafe fn unlock_second(&self);
}

/// Memory for a table: its owner allocates it.
///
/// # Safety
///
/// Both functions return the same slices at every call, and neither is empty.
pub unsafe trait Storage {
    /// The kind of lock.
    type Lock: RawLock;

    /// The chains, empty at first.
    fn heads(&self) -> &[Head];

    /// Locks, of which each guards the buckets whose number gives its own when divided.
    fn locks(&self) -> &[Self::Lock];
}

/// Why an entry was not put in. Either way it comes back.
pub enum Insert<E: Node> {
    /// Another entry has one of its tuples.
    Clash(Clash<E>),
    /// It is in already, or was: another holder was quicker.
    Again(Ref<E>),
}

/// Two entries that cannot both be in the table.
pub struct Clash<E: Node> {
    /// The one that was to be put in.
    pub entry: Ref<E>,
    /// The one that is there; `None` where it is just being destroyed.
    pub other: Option<Ref<E>>,
    /// Which tuple of the one that is there.
    pub side: Side,
}

/// The table.
///
/// # Invariants
///
/// - A chain is changed only under its lock.
/// - Each entry in a chain is linked in both of its chains, by exactly one call of `insert`, and
///   the table owns one count of it.
pub struct Table<E: Node, S: Storage> {
    storage: S,
    _entries: PhantomData<Ref<E>>,
}

/// Bit 0 of a word: the side. Entries are aligned to at least two bytes.
const SIDE: usize = 1;

fn word<E>(entry: NonNull<E>, side: Side) -> usize {
    entry.as_ptr() as usize | side.index()
}

fn unword<E>(word: usize) -> Option<(NonNull<E>, Side)> {
    let side = if word & SIDE == 0 {
        Side::Original
    } else {
        Side::Reply
    };
    Some((NonNull::new((word & !SIDE) as *mut E)?, side))
}

impl<E: Node, S: Storage> Table<E, S> {
    /// An empty table.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            _entries: PhantomData,
        }
    }

    /// How many buckets there are.
    pub fn buckets(&self) -> usize {
        self.storage.heads().len()
    }

    /// The bucket of a hash: its high bits, scaled to the number of buckets.
    #[inline]
    #[must_use]
    pub fn bucket_of(&self, hash: u32) -> usize {
        let buckets = self.buckets() as u64;
        (u64::from(hash).wrapping_mul(buckets) >> 32) as usize
    }

    /// The chain of a bucket. `bucket` comes from `bucket_of` or was checked.
    #[inline]
    fn chain(&self, bucket: usize) -> Option<&AtomicUsize> {
        self.storage.heads().get(bucket).map(|head| &head.0)
    }

    /// The entry with a tuple that `same` recognises, and the side it is linked by.
    ///
    /// Entries with another hash are passed over without a look.
    #[inline]
    pub fn find<'g, G: ReadSide>(
        &self,
        hash: u32,
        _read: &'g G,
        same: impl Fn(&E, Side) -> bool,
    ) -> Option<(Seen<'g, E>, Side)> {
        let mut at = self.chain(self.bucket_of(hash))?.load(Ordering::Acquire);
        while let Some((entry, side)) = unword::<E>(at) {
            // SAFETY: reached through the table under an open read side, which outlives the
            // result: the memory is valid (contract of `Node`).
            let seen = unsafe { Seen::new(entry) };
            let [original, reply] = seen.links();
            let link = match side {
                Side::Original => original,
                Side::Reply => reply,
            };
            if link.hash.load(Ordering::Relaxed) == hash && same(&seen, side) {
                return Some((seen, side));
            }
            at = link.next.load(Ordering::Acquire);
        }
        None
    }

    /// Puts an entry in, under the hashes of its original and of its reply tuple.
    ///
    /// # Errors
    ///
    /// The entry comes back where one of its tuples is taken, or where it was put in before.
    pub fn insert(&self, entry: Ref<E>, hashes: [u32; 2]) -> Result<(), Insert<E>> {
        let buckets = hashes.map(|hash| self.bucket_of(hash));
        let held = self.lock(buckets);
        let result = self.insert_locked(entry, hashes, buckets);
        drop(held);
        result
    }

    fn insert_locked(
        &self,
        entry: Ref<E>,
        hashes: [u32; 2],
        buckets: [usize; 2],
    ) -> Result<(), Insert<E>> {
        let [claim, _] = entry.links();
        if !claim.claim() {
            return Err(Insert::Again(entry));
        }
        let mut sides = Side::BOTH.into_iter().zip(hashes).zip(buckets);
        if let Some((other, side)) =
            sides.find_map(|((at, hash), bucket)| self.conflict(&entry, at, hash, bucket))
        {
            claim.unclaim();
            return Err(Insert::Clash(Clash { entry, other, side }));
        }
        // Both, before either can be found: who finds the entry may take it out, and then waits
        // for the locks that are held here.
        for (link, hash) in entry.links().into_iter().zip(hashes) {
            link.hash.store(hash, Ordering::Relaxed);
            link.set_linked();
        }
        for (at, bucket) in Side::BOTH.into_iter().zip(buckets) {
            let Some(chain) = self.chain(bucket) else {
                continue; // Not reached: buckets come from `bucket_of`.
            };
            let links = entry.links();
            let link = links[at.index()];
            link.next
                .store(chain.load(Ordering::Relaxed), Ordering::Relaxed);
            // Release: whoever finds the entry sees all of it.
            chain.store(word(NonNull::from(&*entry), at), Ordering::Release);
        }
        entry.published();
        // INVARIANT: the table takes over the count; `remove` gives it back.
        let _ = Ref::into_raw(entry);
        Ok(())
    }

    /// An entry in `bucket` that has the tuple of `entry` at `side`. The bucket is locked.
    fn conflict(
        &self,
        entry: &E,
        side: Side,
        hash: u32,
        bucket: usize,
    ) -> Option<(Option<Ref<E>>, Side)> {
        let mut at = self.chain(bucket)?.load(Ordering::Relaxed);
        while let Some((other, other_side)) = unword::<E>(at) {
            // SAFETY: entries in a locked chain have the table's count.
            let seen = unsafe { Seen::new(other) };
            let link = seen.links()[other_side.index()];
            at = link.next.load(Ordering::Relaxed);
            if link.hash.load(Ordering::Relaxed) == hash && entry.conflicts(side, &seen, other_side)
            {
                return Some((seen.get(), other_side));
            }
        }
        None
    }

    /// Takes an entry out; the one caller that succeeds gets the table's own reference.
    pub fn remove(&self, entry: &E) -> Option<Ref<E>> {
        let links = entry.links();
        if !links.iter().all(|link| link.is_linked()) {
            return None;
        }
        let hashes = links.map(|link| link.hash.load(Ordering::Relaxed));
        let buckets = hashes.map(|hash| self.bucket_of(hash));
        let held = self.lock(buckets);
        // What counts is whether it stands in the chains of this table, now.
        let [original, reply] = buckets;
        let mine =
            self.unlink(entry, Side::Original, original) && self.unlink(entry, Side::Reply, reply);
        drop(held);
        // SAFETY: it was in the table, whose count goes to the caller.
        mine.then(|| unsafe { Ref::from_raw(NonNull::from(entry)) })
    }

    /// Takes an entry out of one chain, if it stands there. The bucket is locked.
    fn unlink(&self, entry: &E, side: Side, bucket: usize) -> bool {
        let wanted = word(NonNull::from(entry), side);
        let link = entry.links()[side.index()];
        let Some(mut place) = self.chain(bucket) else {
            return false; // Not reached: buckets come from `bucket_of`.
        };
        loop {
            let at = place.load(Ordering::Relaxed);
            if at == wanted {
                // Release: a reader that goes this way must see what follows as it is linked.
                place.store(link.next.load(Ordering::Relaxed), Ordering::Release);
                link.set_removed();
                return true;
            }
            let Some((other, other_side)) = unword::<E>(at) else {
                return false; // Another was quicker, or it is in another table.
            };
            // SAFETY: entries in a locked chain have the table's count, and while the lock is
            // held none is taken out by others.
            place = &unsafe { other.as_ref() }.links()[other_side.index()].next;
        }
    }

    /// The entries whose original tuple falls into `bucket`, so that a walk over all buckets
    /// meets each entry once. One that is put in or taken out meanwhile may or may not be met,
    /// and none is met twice within a bucket.
    pub fn bucket<'g, G: ReadSide>(&self, bucket: usize, _read: &'g G) -> Walk<'g, E> {
        Walk {
            at: self
                .chain(bucket)
                .map_or(0, |chain| chain.load(Ordering::Acquire)),
            _read: PhantomData,
        }
    }

    /// Locks two buckets, in the order of their locks, and a lock that guards both once.
    fn lock(&self, buckets: [usize; 2]) -> Held<'_, S::Lock> {
        let locks = self.storage.locks();
        let [a, b] = buckets.map(|bucket| bucket.checked_rem(locks.len()).unwrap_or(0));
        let held = Held {
            first: locks.get(a.min(b)),
            second: locks.get(a.max(b)).filter(|_| a != b),
        };
        if let Some(first) = held.first {
            first.lock();
        }
        if let Some(second) = held.second {
            second.lock_second();
        }
        held
    }
}

/// Buckets that are locked.
struct Held<'a, L: RawLock> {
    /// `None` only of a storage without locks, which the contract of `Storage` rules out.
    first: Option<&'a L>,
    second: Option<&'a L>,
}

impl<L: RawLock> Drop for Held<'_, L> {
    fn drop(&mut self) {
        // SAFETY: `Table::lock` has taken them, in the other order.
        unsafe {
            if let Some(second) = self.second {
                second.unlock_second();
            }
            if let Some(first) = self.first {
                first.unlock();
            }
        }
    }
}

/// A walk along a bucket.
pub struct Walk<'g, E: Node> {
    at: usize,
    _read: PhantomData<&'g E>,
}

impl<'g, E: Node> Iterator for Walk<'g, E> {
    type Item = Seen<'g, E>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((entry, side)) = unword::<E>(self.at) {
            // SAFETY: reached through the table under the read side `'g`.
            let seen = unsafe { Seen::new(entry) };
            self.at = seen.links()[side.index()].next.load(Ordering::Acquire);
            if side == Side::Original {
                return Some(seen);
            }
        }
        None
    }
}
