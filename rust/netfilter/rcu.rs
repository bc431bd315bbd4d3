// SPDX-License-Identifier: GPL-2.0
//! Evidence of an RCU read-side critical section.

use core::marker::PhantomData;
use kernel::{sync::rcu, types::NotThreadSafe};

/// Proof that the RCU read lock is held for `'a` on this CPU or task.
///
/// # Invariants
///
/// While a value of this type exists, a read-side critical section is open.
#[derive(Clone, Copy)]
pub struct ReadSide<'a> {
    _lock: PhantomData<&'a rcu::Guard>,
    _not_send: NotThreadSafe,
}

impl<'a> ReadSide<'a> {
    /// Evidence borrowed from a lock that the caller holds.
    pub fn of(_guard: &'a rcu::Guard) -> Self {
        // INVARIANT: the guard holds the lock for as long as it is borrowed.
        Self {
            _lock: PhantomData,
            _not_send: NotThreadSafe,
        }
    }

    /// Evidence in a callback that the kernel calls with the lock held.
    ///
    /// # Safety
    ///
    /// The RCU read lock must be held for the whole of `'a`.
    pub(crate) unsafe fn assume() -> Self {
        // INVARIANT: the caller's promise.
        Self {
            _lock: PhantomData,
            _not_send: NotThreadSafe,
        }
    }
}

// SAFETY: by the type's invariant the read side is open while a value exists, and entries are
// given back only through `call_rcu` (conn/end.rs), or by who has waited for them (ended.rs).
unsafe impl rcu_table::ReadSide for ReadSide<'_> {}

/// Waits for readers. May sleep.
pub struct GracePeriod;

// SAFETY: what the kernel's function promises.
unsafe impl rcu_table::Grace for GracePeriod {
    fn wait(&self) {
        rcu::synchronize_rcu();
    }
}
