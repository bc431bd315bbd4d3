// SPDX-License-Identifier: GPL-2.0
//! Spin locks of the packet path. Hooks at OUTPUT run in process context with bottom halves on,
//! so each of these locks turns them off, unless they are off already.

use core::{cell::UnsafeCell, sync::atomic::AtomicU32};

use kernel::{alloc::Flags, prelude::*, types::NotThreadSafe};

/// A lock over some buckets of a table, and how many entries are in them.
pub struct BucketLock {
    lock: UnsafeCell<raw::spinlock_t>,
    entries: AtomicU32,
}

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
        // SAFETY: by the contract of this function.
        unsafe {
            (&raw mut (*this).entries).write(AtomicU32::new(0));
            raw::ipct_bucket_lock_init((&raw mut (*this).lock).cast());
        }
    }
}

// SAFETY: a kernel spin lock excludes all other holders; `lock_second` differs only in what
// lockdep is told, and in that bottom halves are off already.
unsafe impl rcu_table::Stripe for BucketLock {
    /// Whether bottom halves are to be switched on again.
    type Before = bool;

    #[inline]
    fn lock(&self) -> bool {
        // SAFETY: the lock was initialised before the table was made.
        unsafe { raw::ipct_spin_lock_packet(self.lock.get()) }
    }

    #[inline]
    fn lock_second(&self) {
        // SAFETY: as above; the caller holds a first lock, so bottom halves are off.
        unsafe { raw::ipct_spin_lock_nested(self.lock.get()) };
    }

    #[inline]
    unsafe fn unlock(&self, before: bool) {
        // SAFETY: the caller holds the lock by `lock`.
        unsafe { raw::ipct_spin_unlock_packet(self.lock.get(), before) };
    }

    #[inline]
    unsafe fn unlock_second(&self) {
        // SAFETY: the caller holds the lock by `lock_second`.
        unsafe { raw::ipct_spin_unlock(self.lock.get()) };
    }

    #[inline]
    fn entries(&self) -> &AtomicU32 {
        &self.entries
    }
}

/// While it lives no packet is looked at on this CPU but by its owner: for many locks in a row, which need
/// not see to that each.
pub struct BottomHalvesOff(NotThreadSafe);

impl BottomHalvesOff {
    /// From here on.
    #[inline]
    #[must_use]
    #[allow(clippy::new_without_default)] // Not a value.
    pub fn new() -> Self {
        // SAFETY: counted, and taken back by `drop` on the same CPU.
        unsafe { raw::ipct_bh_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for BottomHalvesOff {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: disabled by `new`.
        unsafe { raw::ipct_bh_enable() };
    }
}

/// A value that several CPUs use in turn. No guard is taken within another.
pub struct Guarded<T> {
    lock: UnsafeCell<raw::spinlock_t>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only under the lock.
unsafe impl<T: Send> Send for Guarded<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    /// A value of its own, in memory of its own; callable from any context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(value: T, flags: Flags) -> Result<KBox<Self>> {
        let room = KBox::<Self>::new_uninit(flags)?;
        let this = Self {
            lock: UnsafeCell::new(Default::default()),
            value: UnsafeCell::new(value),
        };
        let guarded = room.write(this);
        // SAFETY: in its box, where it stays, and not used yet.
        unsafe { raw::ipct_guard_init(guarded.lock.get()) };
        Ok(guarded)
    }

    /// What `f` makes of the value, alone with it.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: initialised by `new`.
        unsafe { raw::ipct_spin_lock_bh(self.lock.get()) };
        // SAFETY: the lock excludes all others.
        let result = f(unsafe { &mut *self.value.get() });
        // SAFETY: locked above.
        unsafe { raw::ipct_spin_unlock_bh(self.lock.get()) };
        result
    }
}
