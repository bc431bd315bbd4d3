// SPDX-License-Identifier: GPL-2.0
//! The slab caches of connections.

use core::{ffi::CStr, mem::align_of, mem::size_of, ptr::NonNull};
use kernel::{prelude::*, sync::rcu};

use crate::{
    conn::{Apart, Conn, Counted},
    spare::{Filler, Spares},
};

/// Memory for connections: caches of their own, never merged, so that `/proc/slabinfo` and the check
/// at their end show a leak. In the order in which it is taken down.
pub struct Cache {
    /// Memory ahead: for bare ones, and for those with an account behind them.
    ahead: Filler<2>,
    bare: Slab,
    /// For connections with an account behind them.
    counted: Slab,
    /// For those that are in the table twice.
    apart: Slab,
}

/// One of the kernel's caches.
struct Slab(NonNull<raw::kmem_cache>);

// SAFETY: the kernel's caches are used from any CPU.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Cache {
    /// Makes the caches. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let bare = Slab::new::<Conn>(c"ip_conntrack")?;
        let counted = Slab::new::<Counted>(c"ip_conntrack_counted")?;
        let apart = Slab::new::<Apart>(c"ip_conntrack_apart")?;
        Ok(Self {
            ahead: Filler::new([Spares::new(bare.0)?, Spares::new(counted.0)?])?,
            bare,
            counted,
            apart,
        })
    }

    /// Memory for one connection, with room for its account if that is `behind` it, and for both and a
    /// second link if it is in the table twice; callable from any context of packets.
    #[inline(always)]
    pub(crate) fn alloc(&self, behind: bool, apart: bool) -> Option<NonNull<Conn>> {
        let [bare, counted] = self.ahead.spares();
        if apart {
            return self.apart.alloc();
        }
        let taken = if behind { counted } else { bare }.take();
        if taken.due {
            self.ahead.wake();
        }
        match taken.object {
            Some(object) => Some(object.cast()),
            None => self.at_once(behind),
        }
    }

    /// Those of connections without and with an account behind them, and without a second link.
    pub(crate) fn slabs(&self) -> [NonNull<raw::kmem_cache>; 2] {
        [self.bare.0, self.counted.0]
    }

    /// None was to spare.
    #[cold]
    #[inline(never)]
    fn at_once(&self, behind: bool) -> Option<NonNull<Conn>> {
        if behind { &self.counted } else { &self.bare }.alloc()
    }
}

impl Slab {
    fn new<T>(name: &'static CStr) -> Result<Self> {
        // CAST: a connection is a few hundred bytes, its alignment eight.
        let (size, align) = (size_of::<T>() as u32, align_of::<T>() as u32);
        // SAFETY: the name is static; size and alignment are those of the type.
        let cache = unsafe { raw::ipct_cache_create(name.as_char_ptr(), size, align) };
        NonNull::new(cache).map(Self).ok_or(ENOMEM)
    }

    fn alloc(&self) -> Option<NonNull<Conn>> {
        // SAFETY: the cache lives as long as `self`.
        NonNull::new(unsafe { raw::ipct_cache_alloc_atomic(self.0.as_ptr()) }.cast())
    }
}

impl Drop for Slab {
    /// Waits for the connections that are still on their way back, then ends the cache. May sleep.
    fn drop(&mut self) {
        rcu::rcu_barrier();
        // SAFETY: nothing allocates any more: the owner is being dropped.
        unsafe { raw::kmem_cache_destroy(self.0.as_ptr()) };
    }
}
