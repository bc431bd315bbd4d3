// SPDX-License-Identifier: GPL-2.0
//! Entries, their links, and the two kinds of handle on them.

use core::{
    fmt,
    marker::PhantomData,
    mem::{align_of, ManuallyDrop},
    ops::Deref,
    ptr::NonNull,
};

use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// By which of its keys an entry is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The one that every entry has.
    First,
    /// The one that some have beside it.
    Second,
}

/// A word that leads to an entry, or nowhere; in [`STATE`] is what else there is to say of it.
#[repr(transparent)]
pub(crate) struct Lead(pub(crate) AtomicUsize);

impl Lead {
    /// Has it lead to the entry behind a word; the chain is locked.
    #[inline]
    pub(crate) fn lead_to(&self, word: usize) {
        let state = self.0.load(Ordering::Relaxed) & STATE;
        // Release: whoever finds the entry sees all of it.
        self.0.store(word | state, Ordering::Release);
    }
}

/// What ties an entry into one chain; 16 bytes, so that it fits where the kernel's list nodes are.
#[repr(C)]
pub struct Link {
    /// The word of the next entry in the chain, or zero; in [`STATE`] what is with this link.
    next: Lead,
    /// The hash of the key, by which a chain is sorted. Does not change.
    hash: u32,
    /// A word for the entry's own use.
    pub room: AtomicU32,
}

/// Bit 0 of a word: the key. The rest of it is the entry's address, aligned to eight bytes.
const KEY: usize = 1;
/// Bits of a link's own word that are of the link itself.
const STATE: usize = 6;
const FRESH: usize = 0;
const CLAIMED: usize = 2;
const LINKED: usize = 4;
const REMOVED: usize = 6;

/// The word for an entry that is linked by `key`.
pub(crate) fn word<E>(entry: NonNull<E>, key: Key) -> usize {
    const { assert!(align_of::<E>() > KEY | STATE) };
    let bit = match key {
        Key::First => 0,
        Key::Second => KEY,
    };
    entry.as_ptr() as usize | bit
}

/// The entry behind a word without a state, and the key that it is linked by.
#[inline]
pub(crate) fn unword<E>(word: usize) -> Option<(NonNull<E>, Key)> {
    let key = if word & KEY == 0 {
        Key::First
    } else {
        Key::Second
    };
    Some((NonNull::new((word & !KEY) as *mut E)?, key))
}

impl Default for Link {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Link {
    /// A link that is in no chain yet, for a key of this hash.
    #[must_use]
    pub fn new(hash: u32) -> Self {
        Self {
            next: Lead(AtomicUsize::new(FRESH)),
            hash,
            room: AtomicU32::new(0),
        }
    }

    /// The hash of its key.
    #[inline]
    pub fn hash(&self) -> u32 {
        self.hash
    }

    /// The word of the next entry.
    #[inline]
    pub(crate) fn next(&self, order: Ordering) -> usize {
        self.next.0.load(order) & !STATE
    }

    /// The word that leads on.
    #[inline]
    pub(crate) fn leads(&self) -> &Lead {
        &self.next
    }

    /// Changes the word of the next entry; the chain is locked.
    #[inline]
    pub(crate) fn set_next(&self, word: usize) {
        self.next.lead_to(word);
    }

    /// Makes the caller the only one who may link it. Not left to the locks: another insert may
    /// be under way in another table, under locks of its own.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        self.next
            .0
            .compare_exchange(FRESH, CLAIMED, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives a claim back.
    #[inline]
    pub(crate) fn unclaim(&self) {
        self.next.0.store(FRESH, Ordering::Relaxed);
    }

    /// Whether it is in a chain.
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.next.0.load(Ordering::Acquire) & STATE == LINKED
    }

    /// It is about to be found, in front of the entry behind `next`.
    #[inline]
    pub(crate) fn set_linked(&self, next: usize) {
        self.next.0.store(next | LINKED, Ordering::Release);
    }

    /// It is in no chain any more, though it still leads on.
    #[inline]
    pub(crate) fn set_removed(&self) {
        self.next.0.fetch_or(REMOVED, Ordering::Relaxed);
    }
}

/// An entry of the table.
///
/// # Safety
///
/// - `link` and `second` return the same at every call, and the links are part of the entry.
/// - The entry does not move while it has a count.
/// - `try_get` and `put` keep an exact count of references. At the last `put` the entry may be
///   destroyed, but its memory (the links and all that `find`'s callers read of it) stays valid
///   until every [`ReadSide`] that was open at that time has ended.
/// - Every entry starts with a count of one.
pub unsafe trait Node: Sized {
    /// What ties it into the chain of its first key.
    fn link(&self) -> &Link;

    /// The same for its second key, if it has one.
    fn second(&self) -> Option<&Link>;

    /// The link of a key that it is linked by.
    #[inline]
    fn link_of(&self, key: Key) -> &Link {
        match key {
            Key::First => self.link(),
            Key::Second => self.second().unwrap_or(self.link()),
        }
    }

    /// The entry is about to be looked at: what is read of it may be fetched ahead.
    #[inline(always)]
    fn expect(_entry: NonNull<Self>) {}

    /// Adds one to the count unless it is zero.
    fn try_get(&self) -> bool;

    /// Takes one from the count.
    ///
    /// # Safety
    ///
    /// The caller must own one count of `this`, and not use it after.
    unsafe fn put(this: NonNull<Self>);

    /// Whether this entry, which is to be put in by `key`, and one that is there by `other_key`
    /// exclude each other. Their hashes are the same.
    fn conflicts(&self, key: Key, other: &Self, other_key: Key) -> bool;

    /// Called once, under the locks, when the entry stands in its chains: from here on readers
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

/// Knows when all readers of before have gone.
///
/// # Safety
///
/// Every [`ReadSide`] that was open when `wait` was called has ended when it returns.
pub unsafe trait Grace {
    /// Waits for that.
    fn wait(&self);
}

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
