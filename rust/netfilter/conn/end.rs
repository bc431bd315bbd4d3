// SPDX-License-Identifier: GPL-2.0
//! How a connection ends.

use core::{mem::offset_of, ptr::NonNull, sync::atomic::Ordering};

use conntrack::status::Status;
use kernel::prelude::*;
use rcu_table::Ref;

use super::{new::TEMPLATES, Conn};
use crate::{count, extension::Extension, time};

impl Conn {
    /// Marks it as dying; true for the one caller that has to take it out.
    pub fn begin_death(&self) -> bool {
        if self.set_status(Status::DYING).contains(Status::DYING) {
            return false;
        }
        if let Some(account) = self.clock() {
            // It has ended when its time was over, not when somebody saw that.
            let late = self.expires().passed(time::now()).unwrap_or_default();
            let late = time::nanoseconds(late);
            account.set_last(time::real_ns().saturating_sub(late));
        }
        true
    }

    /// Called at the last reference.
    ///
    /// # Safety
    ///
    /// `this` must point to a connection whose count has just become zero.
    pub(crate) unsafe fn destroy(this: NonNull<Self>) {
        // SAFETY: the last reference is gone: nobody else writes, though readers under RCU may
        // still look.
        let conn = unsafe { this.as_ref() };
        let status = conn.status();
        let template = status.contains(Status::TEMPLATE);
        let census = (!template).then(|| {
            // One that was never in the table was not taken out of it.
            conn.uncount();
            NonNull::from(conn.census())
        });
        // (A template is in no table: only packets and rules that count lead to it.)
        if status.contains(Status::CONFIRMED) && !template {
            if conn.extension().is_none() {
                // SAFETY: nobody has a reference, and this happens once.
                unsafe { Self::free_later(this) };
            } else {
                let grace: *mut raw::callback_head = conn.tail.get().cast();
                // SAFETY: nobody has a reference, so nobody reads the state, in whose place this is;
                // and this happens once.
                unsafe { raw::call_rcu(grace, Some(give_back)) };
            }
        } else {
            // SAFETY: never in the table, so no reader can have seen it.
            unsafe { free(this.as_ptr()) };
        }
        // Last: who waits for this goes on to wait for callbacks, and ends the cache.
        match census {
            // SAFETY: the namespace outlives the connection (invariant); this is the last use.
            Some(census) => unsafe { census.as_ref() }.leave(),
            None => drop(TEMPLATES.fetch_sub(1, Ordering::Release)),
        }
    }
}

/// Without RCU's callbacks.
impl Conn {
    /// Gives a reference up. If it was the last, the memory is the caller's, who frees it after a grace period.
    ///
    /// # Safety
    ///
    /// It must be no template, and have no extension; the cache must stay until it is freed.
    #[inline]
    pub(crate) unsafe fn put_for(conn: Ref<Self>) -> Option<NonNull<Self>> {
        let this = Ref::into_raw(conn);
        // SAFETY: the count that the reference had.
        let conn = unsafe { this.as_ref() };
        if !count::put(conn.count()) {
            return None;
        }
        conn.uncount();
        // Whoever waits for this does not wait for the memory, which the caller sees to.
        conn.census().leave();
        Some(this)
    }

    /// Frees one that has no extension after a grace period. (The kernel frees many such at once.)
    ///
    /// # Safety
    ///
    /// Nobody may have a reference, and it be done once.
    pub(crate) unsafe fn free_later(this: NonNull<Self>) {
        // SAFETY: nobody reads the state, in whose place the tail is; there is nothing to give back but the memory,
        // which begins with the connection.
        unsafe {
            let grace = this.as_ref().tail.get();
            raw::kvfree_call_rcu(grace.cast(), this.as_ptr().cast());
        }
    }
}

/// After the grace period.
///
/// # Safety
///
/// Called by RCU with the tail of a connection that nobody can reach.
unsafe extern "C" fn give_back(head: *mut raw::callback_head) {
    // SAFETY: `head` is the tail of a connection.
    unsafe { free(head.byte_sub(offset_of!(Conn, tail)).cast()) };
}

/// Gives back what a connection owns, and its memory.
///
/// # Safety
///
/// Nobody else can reach the connection any more.
unsafe fn free(conn: *mut Conn) {
    // SAFETY: the caller's promise; `kfree` takes objects of any cache.
    unsafe {
        let extension = NonNull::new((*(*conn).head()).ext.cast::<Extension>());
        raw::kfree(conn.cast());
        // Its master's last reference may be in there.
        drop(extension.map(|extension| KBox::from_raw(extension.as_ptr())));
    }
}
