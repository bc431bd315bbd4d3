// SPDX-License-Identifier: GPL-2.0
//! When buckets are to be looked through: a byte for each, so that who looks for entries whose time is over
//! comes to their buckets alone, and touches no other entry.
//!
//! These are hints. One may be lost that meets another of the same bucket, a look or a change of the number of
//! buckets in the same moment; then the bucket is looked through [`Moment::FARTHEST`] units after it was last.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::{
    buckets::Head,
    entry::{unword, Key, Node, ReadSide, Ref, Seen},
    sync::Ordering,
    table::{Storage, Stripe, Table},
};

/// A moment, in units that the owner chooses, on a circle of 256: one that lies farther ahead than any may is past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u8);

impl Moment {
    /// The most units that a bucket goes without a look; less than half a circle.
    /// (Where a unit is about a second it is less than the two minutes that TCP begins with, which need no write then.)
    pub const FARTHEST: u8 = 112;

    /// That of a clock which shows so many units.
    #[inline]
    #[must_use]
    pub const fn new(units: u32) -> Self {
        Self(units as u8) // CAST: a circle.
    }

    /// So many units later.
    #[inline]
    #[must_use]
    pub const fn later(self, units: u8) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// How many units it lies ahead of `now`; zero if it is now or past.
    #[inline]
    #[must_use]
    pub const fn ahead_of(self, now: Self) -> u8 {
        // (A unit more: clocks of two CPUs.)
        match self.0.wrapping_sub(now.0) {
            ahead if ahead <= Self::FARTHEST.saturating_add(1) => ahead,
            _ => 0,
        }
    }

    /// The earlier of two that are not farther apart than [`Self::FARTHEST`].
    #[must_use]
    pub(crate) const fn earlier(self, other: Self) -> Self {
        if self.ahead_of(other) == 0 {
            self
        } else {
            other
        }
    }
}

/// At the latest so many units from `now` on.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// From here on.
    pub now: Moment,
    /// At most [`Moment::FARTHEST`].
    pub units: u8,
}

impl Ahead {
    /// Whenever it would be without this.
    pub(crate) const FARTHEST: Self = Self {
        now: Moment(0),
        units: u8::MAX,
    };
}

/// When a bucket is to be looked through. (Not of loom: whatever it says, no entry is lost by it.)
#[derive(Default)]
#[repr(transparent)]
pub struct Due(AtomicU8);

impl Due {
    #[inline]
    pub(crate) fn get(&self) -> Moment {
        Moment(self.0.load(Relaxed))
    }

    #[inline]
    pub(crate) fn set(&self, moment: Moment) {
        self.0.store(moment.0, Relaxed);
    }

    /// Makes it that, if it was later; whether it was.
    #[inline]
    pub(crate) fn within(&self, by: Ahead) -> bool {
        let later = self.get().ahead_of(by.now) > by.units;
        if later {
            self.set(by.now.later(by.units));
        }
        later
    }
}

/// Who looks buckets through. Both say of an entry that stays in how many units it is to be looked at again.
pub trait Look<E: Node> {
    /// What is to be said of an entry; `None`: [`Self::end`] is to be asked.
    fn look(&mut self, entry: &Seen<'_, E>) -> Option<u8>;

    /// The same of one with one key, while its chain is locked; `None`: it is taken out.
    fn end(&mut self, entry: &E) -> Option<u8>;

    /// It was taken out; the reference is the table's. Its chain is still locked.
    fn ended(&mut self, entry: Ref<E>) {
        drop(entry);
    }
}

/// What was looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// How many buckets were asked whether they are due.
    pub asked: usize,
    /// Where the first bucket begins that was not asked whether it is due; `None` if all were.
    pub behind: Option<u32>,
    /// How many units ahead the first of those is due that were asked.
    pub soonest: u8,
}

impl<E: Node, S: Storage> Table<E, S> {
    /// The table is empty: each bucket is due as late as can be.
    pub fn look_after<G: ReadSide>(&self, now: Moment, _read: &G) {
        // SAFETY: a read side is open.
        let array = unsafe { self.buckets.in_use() };
        for (_, due) in array.from(0) {
            due.set(now.later(Moment::FARTHEST));
        }
    }

    /// The bucket of a hash is to be looked through by then, or earlier; whether it was to be later.
    pub fn look_by<G: ReadSide>(&self, hash: u32, by: Ahead, _read: &G) -> bool {
        // SAFETY: a read side is open.
        let spot = unsafe { self.buckets.spot(hash) };
        spot.due.is_some_and(|due| due.within(by))
    }

    /// Looks through what is due, from the bucket that the hash `from` begins on: asks `most` buckets, and looks
    /// through no more than `few`.
    ///
    /// An entry may be missed while its bucket is cut in two or put behind another; it is met by the next look.
    #[inline]
    pub fn look_through<'g, G: ReadSide>(
        &'g self,
        from: u32,
        [most, few]: [usize; 2],
        now: Moment,
        _read: &'g G,
        look: &mut impl Look<E>,
    ) -> Looked {
        // SAFETY: a read side is open.
        let array = unsafe { self.buckets.in_use() };
        let first = array.number(from);
        let (mut asked, mut buckets, mut soonest) = (0_usize, 0_usize, Moment::FARTHEST);
        let mut rest = array.from(first).take(most);
        while buckets < few {
            let next = rest.by_ref().find(|(_, due)| {
                asked = asked.wrapping_add(1); // One for each in memory.
                let ahead = due.get().ahead_of(now);
                if ahead != 0 {
                    soonest = soonest.min(ahead);
                }
                ahead == 0
            });
            let Some((head, due)) = next else { break };
            // Before: who makes it earlier meanwhile is heard.
            due.set(now.later(Moment::FARTHEST));
            if head.entered() != 0 {
                buckets = buckets.wrapping_add(1);
                let hash = array.begin(first.wrapping_add(asked).wrapping_sub(1));
                // SAFETY: as above, and the head is that of the hash.
                let units = unsafe { self.look(head, hash, look) };
                due.within(Ahead { now, units });
                soonest = soonest.min(units);
            }
            if head.is_moved() {
                // It is looked through in the other array, once that is in use.
                due.set(now);
                soonest = 0;
            }
        }
        Looked {
            asked,
            behind: array.begin(first.saturating_add(asked)),
            soonest,
        }
    }

    /// Looks at the entries of a chain, and takes out those that are to be: in how many units the first of the others
    /// is to be looked at again.
    ///
    /// # Safety
    ///
    /// A read side must be open for `'g`, and the head be that of the hash in an array of this table.
    #[inline(never)]
    unsafe fn look<'g>(&'g self, head: &'g Head, hash: Option<u32>, look: &mut impl Look<E>) -> u8 {
        let (mut soonest, mut ends) = (Moment::FARTHEST, false);
        let mut at = head.entered();
        while let Some((entry, key)) = unword::<E>(at) {
            // SAFETY: reached through the table under the read side `'g`.
            let seen = unsafe { Seen::<'g, E>::new(entry) };
            at = seen.link_of(key).next(Ordering::Acquire);
            if key == Key::First {
                match look.look(&seen) {
                    Some(units) => soonest = soonest.min(units),
                    None => ends = true,
                }
            }
        }
        match (ends, hash) {
            // SAFETY: the caller's promise.
            (true, Some(hash)) => soonest.min(unsafe { self.end(head, hash, look) }),
            _ => soonest,
        }
    }

    /// Takes those out of a chain that are to be; says the same of the others.
    ///
    /// # Safety
    ///
    /// A read side must be open, and the head be that of the hash in an array of this table.
    #[inline]
    unsafe fn end(&self, head: &Head, hash: u32, look: &mut impl Look<E>) -> u8 {
        let mut soonest = Moment::FARTHEST;
        let stripe = self.stripe(hash);
        let before = stripe.lock();
        let mut lead = head.leads();
        let mut at = if head.is_moved() { 0 } else { head.first() };
        while let Some((this, key)) = unword::<E>(at) {
            // SAFETY: entries in a locked chain have the table's count.
            let entry = unsafe { this.as_ref() };
            let link = entry.link_of(key);
            at = link.next(Ordering::Relaxed);
            let fate = match (key, entry.second()) {
                (Key::First, None) => look.end(entry),
                _ => Some(Moment::FARTHEST), // Not to be had by one lock.
            };
            match fate {
                Some(units) => {
                    soonest = soonest.min(units);
                    lead = link.leads();
                }
                None => {
                    lead.lead_to(at);
                    link.set_removed();
                    let entries = stripe.entries();
                    let left = entries.load(Ordering::Relaxed).wrapping_sub(1);
                    entries.store(left, Ordering::Relaxed);
                    // SAFETY: it was in the table, whose count this is.
                    look.ended(unsafe { Ref::from_raw(this) });
                }
            }
        }
        // SAFETY: locked above.
        unsafe { stripe.unlock(before) };
        soonest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_is_ahead_until_it_is_there(now: u32, units in 0..=Moment::FARTHEST) {
            let moment = Moment::new(now).later(units);
            for passed in 0..=u8::MAX {
                let left = moment.ahead_of(Moment::new(now).later(passed));
                // Half a circle after it, it looks as if it were to come.
                if passed < units + 128 {
                    prop_assert_eq!(left, units.saturating_sub(passed));
                }
            }
        }

        #[test]
        fn the_earlier_of_two(now: u32, one in 0..=Moment::FARTHEST, other in 0..=Moment::FARTHEST) {
            let at = |units| Moment::new(now).later(units);
            prop_assert_eq!(at(one).earlier(at(other)), at(one.min(other)));
        }
    }
}
