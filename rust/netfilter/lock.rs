// SPDX-License-Identifier: GPL-2.0
//! Spin locks of the packet path. Hooks at OUTPUT run in process context with bottom halves on,
//! so each of these locks turns them off.

use core::cell::UnsafeCell;

/// A lock over one or more buckets of the table.
#[repr(transparent)]
pub struct BucketLock(UnsafeCell<raw::spinlock_t>);

// SAFETY: a spin lock is made to be used from several CPUs.
unsafe impl Send for BucketLock {}
// SAFETY: as above.
unsafe impl Sync for BucketLock {}

impl BucketLock {
    /// Makes the lock ready.
    ///
    /// # Safety
    ///
    /// `this` must point to writable memory for a lock that nobody uses yet, and which does not
    /// move afterwards.
    pub(crate) unsafe fn init(this: *mut Self) {
        // SAFETY: by the contract of this function; the type is transparent.
        unsafe { raw::ipct_bucket_lock_init(this.cast()) };
    }
}

// SAFETY: a kernel spin lock excludes all other holders; `lock_second` differs only in what
// lockdep is told, and in that bottom halves are off already.
unsafe impl rcu_table::RawLock for BucketLock {
    #[inline]
    fn lock(&self) {
        // SAFETY: the lock was initialised before the table was made.
        unsafe { raw::ipct_spin_lock_bh(self.0.get()) };
    }

    #[inline]
    fn lock_second(&self) {
        // SAFETY: as above; the caller holds a first lock, so bottom halves are off.
        unsafe { raw::ipct_spin_lock_nested(self.0.get()) };
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock by `lock`.
        unsafe { raw::ipct_spin_unlock_bh(self.0.get()) };
    }

    #[inline]
    unsafe fn unlock_second(&self) {
        // SAFETY: the caller holds the lock by `lock_second`.
        unsafe { raw::ipct_spin_unlock(self.0.get()) };
    }
}
