// SPDX-License-Identifier: GPL-2.0
//! The heads of the chains, in two arrays: one in use, and one that is about to be.

use core::cell::UnsafeCell;

use crate::{
    due::Due,
    entry::Lead,
    sync::{AtomicUsize, Ordering},
};

/// The begin of a chain: the word of its first entry, or zero.
#[repr(transparent)]
pub struct Head(Lead);

/// The chain begins in the other array now. (A bit that words of entries leave free, and that is clear where a
/// chain is changed.)
const MOVED: usize = 2;

impl Head {
    /// An empty chain.
    #[must_use]
    pub fn new() -> Self {
        Self(Lead(AtomicUsize::new(0)))
    }

    /// The word of its first entry; the chain is locked, and has not moved.
    #[inline]
    pub(crate) fn first(&self) -> usize {
        self.0 .0.load(Ordering::Relaxed)
    }

    /// The word that leads to it.
    #[inline]
    pub(crate) fn leads(&self) -> &Lead {
        &self.0
    }

    /// The same for readers, who may find that it has moved just now: then there is none.
    #[inline]
    pub(crate) fn entered(&self) -> usize {
        match self.0 .0.load(Ordering::Acquire) {
            MOVED => 0,
            word => word,
        }
    }

    /// Changes that; the chain is locked.
    #[inline]
    pub(crate) fn set_first(&self, word: usize) {
        // Release: whoever finds the entry sees all of it.
        self.0 .0.store(word, Ordering::Release);
    }

    /// Whether the chain begins in the other array. Who has come over a link that was cut for that
    /// sees it.
    #[inline]
    pub(crate) fn is_moved(&self) -> bool {
        self.0 .0.load(Ordering::Relaxed) & MOVED != 0
    }

    /// Says so; who sees it sees what was done to the chain before.
    #[inline]
    pub(crate) fn set_moved(&self) {
        self.0 .0.store(MOVED, Ordering::Release);
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory for chains.
pub trait Chains {
    /// The begin of each.
    fn heads(&self) -> &[Head];

    /// When each is to be looked through; as many.
    fn dues(&self) -> &[Due];
}

/// Where the chain of a hash begins.
pub(crate) struct Spot<'a> {
    pub(crate) head: &'a Head,
    /// What the head said.
    pub(crate) first: usize,
    /// The bits of a hash that do not tell its bucket.
    pub(crate) rest: u32,
    /// When the bucket is due; there is one.
    pub(crate) due: Option<&'a Due>,
}

/// Heads, as many as a power of two.
///
/// # Invariants
///
/// There are `1 << bits` heads, and `bits` and `shift` are 32 together.
pub(crate) struct Array<H> {
    heads: H,
    /// The bits of a hash that do not tell its bucket.
    shift: u32,
    /// The power, at most 31.
    pub(crate) bits: u32,
}

impl<H: Chains> Array<H> {
    /// `Err` where their number is not a power of two, or beyond reason.
    pub(crate) fn new(heads: H) -> Result<Self, H> {
        let len = heads.heads().len();
        let bits = len.trailing_zeros();
        if len.is_power_of_two() && bits < u32::BITS && heads.dues().len() == len {
            let shift = u32::BITS.wrapping_sub(bits);
            Ok(Self { heads, shift, bits })
        } else {
            Err(heads)
        }
    }

    pub(crate) fn into_heads(self) -> H {
        self.heads
    }

    /// The first hash from `hash` on whose bucket is not empty, or where so many buckets further on
    /// begin, or the last bucket.
    fn not_empty(&self, hash: u32, most: usize) -> u32 {
        let at = self.number(hash);
        let rest = self.heads.heads().get(at..).unwrap_or_default();
        let empty = rest.iter().take(most).take_while(|head| head.first() == 0);
        match empty.count().min(rest.len().saturating_sub(1)) {
            0 => hash,
            empty => self.begin(at.saturating_add(empty)).unwrap_or(hash),
        }
    }

    /// The number of the bucket of a hash.
    #[inline]
    pub(crate) fn number(&self, hash: u32) -> usize {
        // CAST: of 31 bits at most.
        u64::from(hash).wrapping_shr(self.shift) as usize
    }

    /// The first hash of a bucket; `None` behind the last.
    pub(crate) fn begin(&self, number: usize) -> Option<u32> {
        u32::try_from((number as u64).wrapping_shl(self.shift)).ok()
    }

    /// When the bucket of a hash is due; it is there.
    #[inline]
    pub(crate) fn due(&self, hash: u32) -> Option<&Due> {
        self.heads.dues().get(self.number(hash))
    }

    /// The buckets from that number on, and when they are due.
    #[inline]
    pub(crate) fn from(&self, number: usize) -> impl Iterator<Item = (&Head, &Due)> {
        let heads = self.heads.heads().get(number..).unwrap_or_default();
        heads
            .iter()
            .zip(self.heads.dues().get(number..).unwrap_or_default())
    }

    /// Each bucket is due when that of the same hashes in `old` is, or earlier: there are twice as many now, or half
    /// as many.
    fn keep_dues(&self, old: &Self) {
        let earlier = |mine: &Due, before: &Due| mine.set(mine.get().earlier(before.get()));
        let (mine, before) = (self.heads.dues(), old.heads.dues());
        if mine.len() > before.len() {
            for (two, one) in mine.chunks_exact(2).zip(before) {
                two.iter().for_each(|due| earlier(due, one));
            }
        } else {
            for (one, two) in mine.iter().zip(before.chunks_exact(2)) {
                two.iter().for_each(|due| earlier(one, due));
            }
        }
    }

    /// The head of the bucket of a hash: its high bits are the bucket's number.
    #[inline]
    pub(crate) fn head(&self, hash: u32) -> &Head {
        // SAFETY: it is less than `1 << bits`, and there are so many (invariant).
        unsafe { self.heads.heads().get_unchecked(self.number(hash)) }
    }
}

/// Both arrays.
///
/// # Invariants
///
/// - The array of number `current`, which is 0 or 1, is there.
/// - The other is there while a head of the first is marked as moved.
/// - An array is put into its place and taken away only by who has set `resizing`, and taken away
///   only when all readers have gone that may have come upon it.
pub(crate) struct Buckets<H> {
    arrays: [UnsafeCell<Option<Array<H>>>; 2],
    current: AtomicUsize,
    resizing: AtomicUsize,
}

// SAFETY: arrays are read by all, and changed where nobody reads them (invariants).
unsafe impl<H: Send> Send for Buckets<H> {}
// SAFETY: as above.
unsafe impl<H: Send + Sync> Sync for Buckets<H> {}

impl<H: Chains> Buckets<H> {
    pub(crate) fn new(array: Array<H>) -> Self {
        Self {
            arrays: [UnsafeCell::new(Some(array)), UnsafeCell::new(None)],
            current: AtomicUsize::new(0),
            resizing: AtomicUsize::new(0),
        }
    }

    /// # Safety
    ///
    /// `at` must be 0 or 1, and that array be there for as long as the result is used.
    #[inline]
    unsafe fn array(&self, at: usize) -> &Array<H> {
        // SAFETY: the caller's promise.
        unsafe {
            let place = self.arrays.get_unchecked(at).get();
            (*place).as_ref().unwrap_unchecked()
        }
    }

    /// The array in use.
    ///
    /// # Safety
    ///
    /// A read side must be open for as long as the result is used.
    pub(crate) unsafe fn in_use(&self) -> &Array<H> {
        // SAFETY: it stays while a reader is there (invariants).
        unsafe { self.array(self.current.load(Ordering::Acquire)) }
    }

    /// How many buckets there are.
    ///
    /// # Safety
    ///
    /// A read side must be open.
    pub(crate) unsafe fn len(&self) -> usize {
        // SAFETY: the caller's promise.
        1_usize.wrapping_shl(unsafe { self.in_use() }.bits)
    }

    /// Where the chain of a hash begins now.
    ///
    /// # Safety
    ///
    /// A read side must be open for as long as the result is used.
    #[inline(always)]
    pub(crate) unsafe fn spot(&self, hash: u32) -> Spot<'_> {
        let mut at = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: the array in use, or the other, and a head of this one is moved; neither goes
            // while a reader is there (invariants).
            let array = unsafe { self.array(at) };
            let head = array.head(hash);
            let first = head.0 .0.load(Ordering::Acquire);
            if first & MOVED == 0 {
                let rest = u32::MAX.checked_shr(array.bits).unwrap_or(0);
                let due = array.due(hash);
                return Spot {
                    head,
                    first,
                    rest,
                    due,
                };
            }
            at ^= 1;
        }
    }

    /// The first hash from `hash` on whose bucket is not empty, or where so many buckets further on
    /// begin, or the last bucket.
    ///
    /// # Safety
    ///
    /// A read side must be open.
    pub(crate) unsafe fn not_empty(&self, hash: u32, most: usize) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { self.in_use() }.not_empty(hash, most)
    }

    /// Has `each` move chains, and waits with `grace` until the array before is not used any more.
    ///
    /// # Errors
    ///
    /// `suits` says of the old and of the new array that they do not go together, or others are at
    /// it.
    ///
    /// # Safety
    ///
    /// `each` must mark all heads of the first array as moved; after `grace` no reader is left that
    /// was there before.
    pub(crate) unsafe fn replace(
        &self,
        new: Array<H>,
        suits: impl FnOnce(u32, u32) -> bool,
        each: impl FnOnce(&Array<H>, &Array<H>),
        grace: impl FnOnce(),
    ) -> Result<(), H> {
        if self.resizing.swap(1, Ordering::Acquire) != 0 {
            return Err(new.into_heads());
        }
        let at = self.current.load(Ordering::Relaxed);
        // SAFETY: the array in use; only who is here can take it away.
        let old = unsafe { self.array(at) };
        if !suits(old.bits, new.bits) {
            self.resizing.store(0, Ordering::Release);
            return Err(new.into_heads());
        }
        // SAFETY: no array is there: who was here before has taken it away.
        unsafe { *self.arrays.get_unchecked(at ^ 1).get() = Some(new) };
        // SAFETY: put there just now.
        let new = unsafe { self.array(at ^ 1) };
        each(old, new);
        self.current.store(at ^ 1, Ordering::Release);
        grace();
        // Some have still told the one before, and nobody is left who does.
        new.keep_dues(old);
        // SAFETY: whoever comes now finds the new array in use, with no head moved; those that came
        // before have gone.
        unsafe { *self.arrays.get_unchecked(at).get() = None };
        self.resizing.store(0, Ordering::Release);
        Ok(())
    }
}
