// SPDX-License-Identifier: GPL-2.0
//! The slab cache of connections.

use core::{mem::align_of, mem::size_of, ptr::NonNull};
use kernel::{prelude::*, sync::rcu};

use crate::conn::Conn;

/// Memory for connections: its own cache, never merged, so that `/proc/slabinfo` and the check at
/// its end show a leak.
pub struct Cache(NonNull<raw::kmem_cache>);

// SAFETY: the kernel's caches are used from any CPU.
unsafe impl Send for Cache {}
// SAFETY: as above.
unsafe impl Sync for Cache {}

impl Cache {
    /// Makes the cache. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        // CAST: a connection is a few hundred bytes, its alignment eight.
        let (size, align) = (size_of::<Conn>() as u32, align_of::<Conn>() as u32);
        // SAFETY: the name is static; size and alignment are those of the type.
        let cache = unsafe { raw::ipct_cache_create(c"ip_conntrack".as_char_ptr(), size, align) };
        NonNull::new(cache).map(Self).ok_or(ENOMEM)
    }

    /// Zeroed memory for one connection; callable from any context.
    pub(crate) fn alloc(&self) -> Option<NonNull<Conn>> {
        // SAFETY: the cache lives as long as `self`.
        NonNull::new(unsafe { raw::ipct_cache_alloc_atomic(self.0.as_ptr()) }.cast())
    }
}

impl Drop for Cache {
    /// Waits for the connections that are still on their way back, then ends the cache. May sleep.
    fn drop(&mut self) {
        rcu::rcu_barrier();
        // SAFETY: nothing allocates any more: the owner is being dropped.
        unsafe { raw::kmem_cache_destroy(self.0.as_ptr()) };
    }
}
