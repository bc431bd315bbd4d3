// SPDX-License-Identifier: GPL-2.0
//! Memory of connections that have ended, many at once. Left to RCU's callbacks, all that has ended in a grace
//! period would be freed in one go, while packets wait; a worker that may sleep frees a few at a time.

use core::ptr::NonNull;

use kernel::{ffi::c_void, prelude::*};
use rcu_table::{Grace, Ref};

use crate::{cache::Cache, conn::Conn, rcu::GracePeriod, work};

/// So many are freed after a grace period of their own; fewer are left to RCU.
const MANY: usize = 64;

/// So many are freed in one go.
const SLICE: usize = 32;

/// Connections that were taken out of the table by who may sleep, and have their memory freed when this is dropped,
/// or before. Dropping it may sleep.
pub struct Ended<'a> {
    cache: &'a Cache,
    /// Of those without and with an account behind them: nobody refers to them, though readers may still look.
    objects: [KVec<NonNull<Conn>>; 2],
}

impl<'a> Ended<'a> {
    /// None yet; room for so many, if there is memory for that. May sleep.
    pub fn new(cache: &'a Cache, most: usize) -> Self {
        let room = || KVec::with_capacity(most, GFP_KERNEL).unwrap_or_default();
        let objects = [room(), room()];
        Self { cache, objects }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.iter().map(|objects| objects.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over a reference to one that was taken out of the table; callable from any context.
    #[inline]
    pub fn take(&mut self, conn: Ref<Conn>) {
        let [bare, counted] = &mut self.objects;
        let objects = if conn.is_behind() { counted } else { bare };
        if conn.has_more() || objects.len() == objects.capacity() {
            return drop(conn);
        }
        // SAFETY: it has no more than its memory, which this frees.
        if let Some(object) = unsafe { Conn::put_for(conn) } {
            // Not refused: there is room.
            let _ = objects.push_within_capacity(object);
        }
    }

    /// Waits until no reader looks at them any more, and frees them. May sleep.
    pub fn give_back(&mut self) {
        GracePeriod.wait();
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
        if self.len() >= MANY {
            return self.give_back();
        }
        for object in self.objects.iter().flat_map(|objects| objects.iter()) {
            // SAFETY: nobody refers to it, and it is freed once.
            unsafe { Conn::free_later(*object) };
        }
    }
}
