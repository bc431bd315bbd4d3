// SPDX-License-Identifier: GPL-2.0
//! Memory of connections that have ended, many at once. Left to RCU's callbacks, all that has ended in a grace
//! period would be freed in one go, while packets wait; a worker that may sleep frees a few at a time.

use core::ptr::NonNull;

use kernel::{ffi::c_void, prelude::*};
use rcu_table::{Grace, Ref};

use crate::{cache::Cache, conn::Conn, rcu::GracePeriod, work};

/// So many are worth a wait; fewer are left to RCU.
const MANY: usize = 512;

/// So many that are left to RCU are worth one, too: more at once and packets would wait for long.
const OTHERS: usize = 2048;

/// So many are freed in one go.
const SLICE: usize = 32;

/// Connections that were taken out of the table by who may sleep, and have their memory freed when this is dropped,
/// or before. Dropping it may sleep.
pub struct Ended<'a> {
    cache: &'a Cache,
    /// Of those without and with an account behind them: nobody refers to them, though readers may still look.
    objects: [KVVec<NonNull<Conn>>; 2],
    /// How many were left to RCU.
    others: usize,
}

impl<'a> Ended<'a> {
    /// None yet; room for so many of a kind, if there is memory to spare: what finds none is left to RCU. May sleep.
    pub fn new(cache: &'a Cache, most: usize) -> Self {
        let flags = GFP_NOWAIT | __GFP_NOWARN;
        let room = || KVVec::with_capacity(most, flags).unwrap_or_default();
        let objects = [room(), room()];
        Self {
            cache,
            objects,
            others: 0,
        }
    }

    /// Whether it should give them back, or some may find no room, or RCU have too many.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        let half = |objects: &KVVec<_>| objects.len() > objects.capacity() >> 1;
        self.objects.iter().any(half) || self.others >= OTHERS
    }

    /// Takes over a reference to one that was taken out of the table; callable from any context.
    #[inline]
    pub fn take(&mut self, conn: Ref<Conn>) {
        let [bare, counted] = &mut self.objects;
        let objects = if conn.is_behind() { counted } else { bare };
        if conn.has_more() || objects.len() == objects.capacity() {
            self.others = self.others.saturating_add(1);
            return drop(conn);
        }
        // SAFETY: it has no more than its memory, which this frees before the cache goes (`'a`).
        if let Some(object) = unsafe { Conn::put_for(conn) } {
            // Not refused: there is room.
            let _ = objects.push_within_capacity(object);
        }
    }

    /// Waits until no reader looks at them any more, and frees them. May sleep.
    pub fn give_back(&mut self) {
        GracePeriod.wait();
        self.others = 0;
        for (objects, cache) in self.objects.iter_mut().zip(self.cache.slabs()) {
            for some in objects.chunks_mut(SLICE) {
                // SAFETY: pointers to objects of that cache, which nobody knows any more; a `NonNull` is a pointer.
                unsafe {
                    let first = some.as_mut_ptr().cast::<*mut c_void>();
                    raw::kmem_cache_free_bulk(cache.as_ptr(), some.len(), first);
                }
                work::breathe();
            }
            objects.clear();
        }
    }
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if self.objects.iter().any(|objects| objects.len() >= MANY) {
            return self.give_back();
        }
        for object in self.objects.iter().flat_map(|objects| objects.iter()) {
            // SAFETY: nobody refers to it, and it is freed once.
            unsafe { Conn::free_later(*object) };
        }
    }
}
