// SPDX-License-Identifier: GPL-2.0
//! Work that comes back by itself, in process context.

use core::{cell::UnsafeCell, mem::offset_of, ptr::NonNull};

use conntrack::time::Ticks;
use kernel::prelude::*;

/// What is to be done again and again.
pub trait Worker: Send + Sync + 'static {
    /// Does a share of it; returns when to come back, if before it is woken. May sleep.
    fn run(&self) -> Option<Ticks>;
}

/// Runs a worker while it lives; dropping it waits for a run that is under way.
pub struct Periodic<W: Worker>(NonNull<Inner<W>>);

#[repr(C)]
struct Inner<W> {
    work: UnsafeCell<raw::delayed_work>,
    worker: W,
}

// SAFETY: the work belongs to the kernel's queues, which serialise its runs; the worker is Sync.
unsafe impl<W: Worker> Send for Periodic<W> {}
// SAFETY: as above.
unsafe impl<W: Worker> Sync for Periodic<W> {}

impl<W: Worker> Periodic<W> {
    /// Starts, with the first run after `delay`, or later on a CPU that is idle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn start(worker: W, delay: Ticks) -> Result<Self> {
        let this = Self::make(worker, true)?;
        this.wake(delay);
        Ok(this)
    }

    /// Does nothing until it is woken.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn asleep(worker: W) -> Result<Self> {
        Self::make(worker, false)
    }

    /// Has it run after `delay`, unless it will anyway; callable from any context.
    pub fn wake(&self, delay: Ticks) {
        // SAFETY: initialised by `make`, and cancelled before it goes.
        unsafe {
            raw::ipct_delayed_work_queue(self.0.as_ref().work.get(), delay.as_u32() as usize);
        }
    }

    /// `lazy`: an idle CPU is not woken for it.
    fn make(worker: W, lazy: bool) -> Result<Self> {
        let inner = KBox::leak(KBox::new(
            Inner {
                work: UnsafeCell::new(raw::delayed_work::default()),
                worker,
            },
            GFP_KERNEL,
        )?);
        // SAFETY: in a box that stays where it is until `drop` has cancelled the work.
        unsafe { raw::ipct_delayed_work_init(inner.work.get(), Some(run::<W>), lazy) };
        Ok(Self(NonNull::from(inner)))
    }
}

impl<W: Worker> Drop for Periodic<W> {
    fn drop(&mut self) {
        // SAFETY: leaked by `start`. Cancelling waits for a run under way and keeps it from
        // queueing itself again; then nobody else knows the box.
        unsafe {
            raw::cancel_delayed_work_sync(self.0.as_ref().work.get());
            drop(KBox::from_raw(self.0.as_ptr()));
        }
    }
}

/// # Safety
///
/// Called by the workqueue with the work of an `Inner<W>`.
unsafe extern "C" fn run<W: Worker>(work: *mut raw::work_struct) {
    const OFFSET: usize = offset_of!(raw::delayed_work, work);
    // SAFETY: `work` lies in a `delayed_work` that is the first field of an `Inner<W>`, which
    // lives until the work is cancelled.
    unsafe {
        let inner = &*work.byte_sub(OFFSET).cast::<Inner<W>>();
        if let Some(again) = inner.worker.run() {
            raw::ipct_delayed_work_queue(inner.work.get(), again.as_u32() as usize);
        }
    }
}

/// Lets others run; for long loops in process context.
pub fn breathe() {
    // SAFETY: process context, as all callers of this function document.
    unsafe { raw::ipct_cond_resched() };
}
