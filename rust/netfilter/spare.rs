// SPDX-License-Identifier: GPL-2.0
//! Memory that a thread has taken before packets need it. The allocator is quick as a rule, but now and
//! then it fetches pages in bulk, for hundreds of times what a packet takes otherwise.

use core::{cell::UnsafeCell, mem::offset_of, ptr::null_mut, ptr::NonNull};

use kernel::{
    ffi::{c_uint, c_void},
    prelude::*,
};

use crate::percpu;

/// How many each CPU has, once it has needed one. Those that it has taken are replaced when they are
/// `IPCT_SPARES_ROUND`, so that there are always some.
const MOST: c_uint = 512;

/// How many are fetched together.
const TOGETHER: usize = 64;

/// Spare memory of a cache.
pub(crate) struct Spares {
    rows: NonNull<c_void>,
    cache: NonNull<raw::kmem_cache>,
}

// SAFETY: each CPU takes from its own, which the helpers see to; caches are used from any CPU.
unsafe impl Send for Spares {}
// SAFETY: as above.
unsafe impl Sync for Spares {}

/// Memory for one object, if there is any to spare.
pub(crate) struct Taken {
    /// It.
    pub(crate) object: Option<NonNull<c_void>>,
    /// More should be fetched.
    pub(crate) due: bool,
}

impl Spares {
    /// None yet. The cache outlives it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(cache: NonNull<raw::kmem_cache>) -> Result<Self> {
        // SAFETY: a plain allocation.
        let rows = NonNull::new(unsafe { raw::ipct_spares_new() }).ok_or(ENOMEM)?;
        Ok(Self { rows, cache })
    }

    /// Takes one of this CPU's; callable from any context of packets.
    #[inline(always)]
    pub(crate) fn take(&self) -> Taken {
        // SAFETY: made by `new`.
        let word = unsafe { raw::ipct_spare_take(self.rows.as_ptr()) };
        let object = core::ptr::without_provenance_mut::<c_void>(word as usize & !1);
        Taken {
            object: NonNull::new(object),
            due: word & 1 != 0,
        }
    }

    /// Gives every CPU what it lacks, as far as there is memory free. For one thread alone.
    fn fill(&self) {
        for cpu in percpu::cpus() {
            // SAFETY: made by `new`, and one thread at a time.
            let lacking =
                unsafe { raw::ipct_spares_lacking(self.rows.as_ptr(), cpu.number(), MOST) };
            let mut left = lacking as usize;
            while left > 0 {
                let mut some = [null_mut(); TOGETHER];
                // CAST: at most TOGETHER.
                let count = TOGETHER.min(left) as c_uint;
                // SAFETY: there is room for so many, and they are of the cache.
                let got = unsafe {
                    let got =
                        raw::ipct_cache_alloc_many(self.cache.as_ptr(), count, some.as_mut_ptr());
                    raw::ipct_spares_give(self.rows.as_ptr(), cpu.number(), some.as_mut_ptr(), got);
                    got
                };
                if got == 0 {
                    return; // Packets ask the allocator themselves, and then for this again.
                }
                left = left.saturating_sub(got as usize);
            }
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        // SAFETY: made by `new`; nobody takes or gives any more, for the owner is being dropped.
        unsafe { raw::ipct_spares_free(self.rows.as_ptr(), self.cache.as_ptr()) };
    }
}

/// The thread that fetches memory ahead.
pub(crate) struct Filler<const N: usize>(NonNull<Inner<N>>);

#[repr(C)]
struct Inner<const N: usize> {
    work: UnsafeCell<raw::kthread_work>,
    worker: NonNull<raw::kthread_worker>,
    spares: [Spares; N],
}

// SAFETY: the work belongs to its thread, all else is Send and Sync.
unsafe impl<const N: usize> Send for Filler<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for Filler<N> {}

impl<const N: usize> Filler<N> {
    /// A thread that sees to some spares. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(spares: [Spares; N]) -> Result<Self> {
        let room = KBox::new_uninit(GFP_KERNEL)?;
        // SAFETY: the name is static.
        let worker = unsafe { raw::ipct_worker_new(c"ip_conntrack".as_char_ptr()) };
        let inner = room.write(Inner {
            work: UnsafeCell::new(raw::kthread_work::default()),
            worker: NonNull::new(worker).ok_or(ENOMEM)?,
            spares,
        });
        let inner = KBox::leak(inner);
        // SAFETY: in a box that stays where it is until `drop` has ended the thread.
        unsafe { raw::ipct_work_init(inner.work.get(), Some(run::<N>)) };
        Ok(Self(NonNull::from(inner)))
    }

    /// The spares of a number.
    #[inline(always)]
    pub(crate) fn spares(&self) -> &[Spares; N] {
        // SAFETY: in its box until `drop`.
        unsafe { &self.0.as_ref().spares }
    }

    /// Has the thread look, soon; callable from any context.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&self) {
        // SAFETY: made ready by `new`, and the thread lives until `drop`.
        unsafe {
            let inner = self.0.as_ref();
            raw::kthread_queue_work(inner.worker.as_ptr(), inner.work.get());
        }
    }
}

impl<const N: usize> Drop for Filler<N> {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`. Ending the thread waits for what it does; nobody wakes it any
        // more, for the owner is being dropped. Then nobody else knows the box.
        unsafe {
            raw::kthread_destroy_worker(self.0.as_ref().worker.as_ptr());
            drop(KBox::from_raw(self.0.as_ptr()));
        }
    }
}

/// # Safety
///
/// Called by the thread with the work of an `Inner<N>`.
unsafe extern "C" fn run<const N: usize>(work: *mut raw::kthread_work) {
    const { assert!(offset_of!(Inner<1>, work) == 0) };
    // SAFETY: `work` is the first field of an `Inner<N>`, which lives until the thread has ended.
    let inner = unsafe { &*work.cast::<Inner<N>>() };
    for spares in &inner.spares {
        spares.fill();
    }
}
