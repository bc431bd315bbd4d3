// SPDX-License-Identifier: GPL-2.0
//! Counters that each CPU has for itself.

use core::ptr::NonNull;

use kernel::{ffi::c_void, prelude::*};

/// A row of counters for each CPU.
pub struct PerCpu {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: each CPU changes its own row in one step; who adds them up may be a step behind.
unsafe impl Send for PerCpu {}
// SAFETY: as above.
unsafe impl Sync for PerCpu {}

impl PerCpu {
    /// `len` counters for each CPU, all zero. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        // SAFETY: a plain allocation.
        let base = NonNull::new(unsafe { raw::ipct_counters_alloc(len) }).ok_or(ENOMEM)?;
        Ok(Self { base, len })
    }

    /// Adds one to a counter of this CPU; callable from any context.
    #[inline]
    pub fn count(&self, counter: usize) {
        if counter < self.len {
            // SAFETY: a counter of the row.
            unsafe { raw::ipct_counter_increment(self.base.as_ptr(), counter) };
        }
    }

    /// What a CPU has counted.
    pub fn of(&self, cpu: Cpu, counter: usize) -> u64 {
        if counter < self.len {
            // SAFETY: a counter of the row of a possible CPU.
            unsafe { raw::ipct_counter_read(self.base.as_ptr(), cpu.0, counter) }
        } else {
            0
        }
    }

    /// What all have counted.
    pub fn sum(&self, counter: usize) -> u64 {
        cpus().fold(0, |sum: u64, cpu| sum.wrapping_add(self.of(cpu, counter)))
    }
}

impl Drop for PerCpu {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`.
        unsafe { raw::ipct_counters_free(self.base.as_ptr()) };
    }
}

/// A CPU that there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cpu(u32);

impl Cpu {
    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// All of them.
pub fn cpus() -> impl Iterator<Item = Cpu> {
    core::iter::successors(next(None), |cpu| next(Some(*cpu)))
}

/// The one after `cpu`, or the first.
pub fn next(cpu: Option<Cpu>) -> Option<Cpu> {
    let from = cpu.map_or(0, |Cpu(number)| number.wrapping_add(1));
    // SAFETY: only reads a mask that does not change.
    let number = unsafe { raw::ipct_possible_cpu(from) };
    u32::try_from(number).ok().map(Cpu)
}
