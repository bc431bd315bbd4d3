// SPDX-License-Identifier: GPL-2.0
//! Entries, their links, and the two kinds of handle on them.

use core::{fmt, marker::PhantomData, mem::ManuallyDrop, ops::Deref, ptr::NonNull};

use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// By which of its two tuples an entry is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The tuple of packets in the direction of the first.
    Original,
    /// The tuple of answers.
    Reply,
}

impl Side {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Original, Self::Reply];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Original => 0,
            Self::Reply => 1,
        }
    }
}

/// What ties an entry into one chain; 16 bytes, so that it fits where the kernel's list nodes are.
#[repr(C)]
pub struct Link {
    /// The word of the next entry in the chain, or zero.
    pub(crate) next: AtomicUsize,
    /// The hash of the tuple; written before the entry is linked, and not changed after.
    pub(crate) hash: AtomicU32,
    state: AtomicU32,
}

const FRESH: u32 = 0;
const CLAIMED: u32 = 1;
const LINKED: u32 = 2;
const REMOVED: u32 = 3;

impl Link {
    /// A link that is in no chain yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next: AtomicUsize::new(0),
            hash: AtomicU32::new(0),
            state: AtomicU32::new(FRESH),
        }
    }

    /// Makes the caller the only one who may link it. Not left to the locks: another insert may
    /// be under way with other hashes, or in another table, under locks of its own.
    pub(crate) fn claim(&self) -> bool {
        self.state
            .compare_exchange(FRESH, CLAIMED, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives a claim back.
    pub(crate) fn unclaim(&self) {
        self.state.store(FRESH, Ordering::Relaxed);
    }

    /// Whether it is in a chain; its hash can be read then.
    pub(crate) fn is_linked(&self) -> bool {
        self.state.load(Ordering::Acquire) == LINKED
    }

    pub(crate) fn set_linked(&self) {
        // Release: with the state goes the hash.
        self.state.store(LINKED, Ordering::Release);
    }

    pub(crate) fn set_removed(&self) {
        self.state.store(REMOVED, Ordering::Relaxed);
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// An entry of the table.
///
/// # Safety
///
/// - `links` returns the same two links at every call, and they are part of the entry.
/// - The entry is aligned to at least two bytes, and does not move while it has a count.
/// - `try_get` and `put` keep an exact count of references. At the last `put` the entry may be
///   destroyed, but its memory (the links and all that `find`'s callers read of it) stays valid
///   until every [`ReadSide`] that was open at that time has ended.
/// - Every entry starts with a count of one.
pub unsafe trait Node: Sized {
    /// What ties it into the chain of its original and of its reply tuple.
    fn links(&self) -> [&Link; 2];

    /// Adds one to the count unless it is zero.
    fn try_get(&self) -> bool;

    /// Takes one from the count.
    ///
    /// # Safety
    ///
    /// The caller must own one count of `this`, and not use it after.
    unsafe fn put(this: NonNull<Self>);

    /// Whether the tuple of this entry at `side` is that of `other` at `other_side`.
    fn conflicts(&self, side: Side, other: &Self, other_side: Side) -> bool;

    /// Called once, under the locks, when the entry stands in both chains: from here on readers
    /// may take it for real.
    fn published(&self);
}

/// Evidence that a read-side critical section is open.
///
/// # Safety
///
/// While a value of the type is borrowed, no entry whose last count was put after the section
/// began may have its memory given back.
pub unsafe trait ReadSide {}

/// A counted reference to an entry.
///
/// # Invariants
///
/// Owns one count of the entry.
pub struct Ref<E: Node>(NonNull<E>);

// SAFETY: a reference gives `&E`, and drops the entry on whichever thread is last.
unsafe impl<E: Node + Send + Sync> Send for Ref<E> {}
// SAFETY: as above.
unsafe impl<E: Node + Send + Sync> Sync for Ref<E> {}

impl<E: Node> Ref<E> {
    /// Takes over a count.
    ///
    /// # Safety
    ///
    /// The caller must own one count of a valid entry, and not use that count itself any more.
    #[must_use]
    pub unsafe fn from_raw(entry: NonNull<E>) -> Self {
        Self(entry)
    }

    /// Hands the count over to the caller.
    #[must_use]
    pub fn into_raw(this: Self) -> NonNull<E> {
        ManuallyDrop::new(this).0
    }
}

impl<E: Node> Deref for Ref<E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        // SAFETY: a count is owned, so the entry is alive.
        unsafe { self.0.as_ref() }
    }
}

impl<E: Node> Clone for Ref<E> {
    fn clone(&self) -> Self {
        // A count is owned, so there is one to add to.
        let counted = self.try_get();
        debug_assert!(counted);
        Self(self.0)
    }
}

impl<E: Node> Drop for Ref<E> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a count is owned, and gone with this value.
        unsafe { E::put(self.0) };
    }
}

impl<E: Node + fmt::Debug> fmt::Debug for Ref<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// An entry that a reader has met: good for a look while the read side is open.
///
/// # Invariants
///
/// The entry's memory is valid for `'g`.
pub struct Seen<'g, E: Node> {
    entry: NonNull<E>,
    _read: PhantomData<&'g E>,
}

impl<E: Node> Seen<'_, E> {
    /// # Safety
    ///
    /// The entry must have been reached through the table, under the read side of the result's
    /// lifetime.
    pub(crate) unsafe fn new(entry: NonNull<E>) -> Self {
        Self {
            entry,
            _read: PhantomData,
        }
    }

    /// A reference of one's own; `None` where the entry is just being destroyed.
    #[must_use]
    #[inline]
    pub fn get(&self) -> Option<Ref<E>> {
        // SAFETY: `try_get` has added the count that the reference takes over.
        self.try_get().then(|| unsafe { Ref::from_raw(self.entry) })
    }
}

impl<E: Node> Deref for Seen<'_, E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        // SAFETY: by the type's invariant.
        unsafe { self.entry.as_ref() }
    }
}
