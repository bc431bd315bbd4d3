// SPDX-License-Identifier: GPL-2.0
//! A connection in the table.

use core::{ptr::NonNull, sync::atomic::Ordering};

use conntrack::{status::Status, tuple::Direction};
use rcu_table::{Key, Link, Node};

use super::{
    features::{own, LISTENED, QUIET},
    Apart, Conn,
};
use crate::{count, time};

impl Conn {
    /// Whether answers are those of the connection that was met by `key`.
    #[inline]
    pub(crate) fn is_met_in_reply(&self, key: Key) -> bool {
        key == Key::Second || !self.has(own::APART)
    }

    /// The directions of packets that meet it by `key`.
    fn directions_of(&self, key: Key) -> impl Iterator<Item = Direction> {
        let original = (key == Key::First).then_some(Direction::Original);
        let reply = self.is_met_in_reply(key).then_some(Direction::Reply);
        [original, reply].into_iter().flatten()
    }
}

// SAFETY: the links lie in the space of the kernel's list nodes; the count is exact; memory goes
// back only after a grace period; `published` runs once, under the bucket locks.
unsafe impl Node for Conn {
    #[inline]
    fn link(&self) -> &Link {
        // SAFETY: written as a `Link` when the connection was made; same size and alignment.
        unsafe { &*(&raw const (*self.head()).tuplehash[0].hnnode).cast() }
    }

    #[inline]
    fn second(&self) -> Option<&Link> {
        self.has(own::APART).then(|| {
            // SAFETY: one with two links is the begin of an `Apart` (invariant), all of which lives as
            // long.
            unsafe { &(*core::ptr::from_ref(self).cast::<Apart>()).second }
        })
    }

    #[inline(always)]
    fn expect(this: NonNull<Self>) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, whatever the address.
        unsafe {
            core::arch::asm!(
                "prefetcht0 [{at} + 64]",
                "prefetcht0 [{at} + 128]",
                at = in(reg) this.as_ptr(),
                options(nostack, preserves_flags, readonly)
            );
        }
    }

    #[inline]
    fn try_get(&self) -> bool {
        count::try_get(self.count())
    }

    #[inline]
    unsafe fn put(this: NonNull<Self>) {
        // SAFETY: the caller owns a count, so the object is alive.
        if count::put(unsafe { this.as_ref().count() }) {
            // SAFETY: that was the last count.
            unsafe { Self::destroy(this) };
        }
    }

    fn conflicts(&self, key: Key, other: &Self, other_key: Key) -> bool {
        // As stock has it, both zones are asked for the direction of the one that is there.
        let taken = |at, other_at| {
            self.tuple(at).matches(other.tuple(other_at))
                && self.zone().id(other_at) == other.zone().id(other_at)
        };
        let mut mine = self.directions_of(key);
        self.same_namespace(other)
            // One that is over may stay until that is told (`news.rs`).
            && !other.status().contains(Status::DYING)
            && mine.any(|at| other.directions_of(other_key).any(|other_at| taken(at, other_at)))
    }

    #[inline]
    fn published(&self) {
        let plain = !self.has(own::ACCOUNT | LISTENED) && self.extension().is_none();
        let quiet = if plain || self.begin() { QUIET } else { 0 };
        // Readers pass over entries without CONFIRMED, so nobody takes the relative timeout for
        // a point in time.
        let expires = time::now().add(self.pending_timeout());
        self.timeout_word()
            .store(expires.as_ticks(), Ordering::Relaxed);
        self.status_word().fetch_or(
            u64::from(Status::CONFIRMED.bits()) | quiet,
            Ordering::Release,
        );
    }
}
