// SPDX-License-Identifier: GPL-2.0
//! The protocol's state of a connection: where it is, and who may change it.

use core::{
    ops::{Deref, DerefMut},
    sync::atomic::Ordering,
};

use conntrack::{
    proto::{self, Kept, Places, State},
    tuple::Direction,
};
use rcu_table::{Node, Ref};

use super::Conn;

/// What is done to the state of a connection. (Not a closure: the compiler keeps those apart.)
pub trait Change {
    /// What comes of it.
    type Result;

    /// Does it.
    fn change(self, state: Places<'_>) -> Self::Result;

    /// The same of a state that is no more than a word.
    fn change_word(self, word: &mut u32) -> Self::Result;
}

impl Conn {
    /// Locks the protocol's state: only for who has a reference, for it goes with the last.
    #[inline]
    pub fn lock(this: &Ref<Self>) -> StateGuard<'_> {
        // SAFETY: the lock was initialised with the connection.
        unsafe { raw::ipct_spin_lock_bh((&raw mut (*this.head()).lock).cast()) };
        // SAFETY: the lock is held, and the reference keeps the state what it is.
        let kept = unsafe { this.state() };
        // INVARIANT: locked, and the reference lives as long as the guard.
        StateGuard {
            conn: this,
            state: State::kept(this.tuple(Direction::Original), kept),
            changed: false,
        }
    }

    /// Where the words of the protocol's state are.
    ///
    /// # Safety
    ///
    /// While the result is used nobody else may have the state, and somebody must have a reference.
    #[inline(always)]
    pub(super) unsafe fn places(&self) -> Places<'_> {
        // SAFETY: the caller's promise; the parts do not overlap, and hold words from the beginning.
        unsafe {
            Places {
                first: &mut (*self.tail.get()).state,
                next: &mut *(&raw mut (*self.head()).master).cast(),
                middle: &mut *self.link().room.as_ptr(),
                last: &mut *(&raw mut (*self.head()).tuplehash[1].hnnode).cast(),
            }
        }
    }

    /// The words of the protocol's state.
    ///
    /// # Safety
    ///
    /// As for `places`.
    unsafe fn state(&self) -> Kept {
        if !proto::is_large(self.tuple(Direction::Original).protocol()) {
            return proto::of_word(self.link().room.load(Ordering::Relaxed));
        }
        // SAFETY: the caller's promise.
        unsafe { self.places() }.get()
    }

    /// Changes them.
    ///
    /// # Safety
    ///
    /// As for `places`.
    unsafe fn set_state(&self, kept: &Kept) {
        if !proto::is_large(self.tuple(Direction::Original).protocol()) {
            self.link()
                .room
                .store(proto::word_of(kept), Ordering::Relaxed);
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.places() }.set(kept);
    }

    /// Has `change` look at the words of the protocol's state and change them; under the lock, unless
    /// the state is of a protocol that has no more than the middle word and does not care who is
    /// first (UDP and those without states).
    #[inline(always)]
    pub fn with_state<C: Change>(this: &Ref<Self>, locked: bool, change: C) -> C::Result {
        if locked {
            // SAFETY: a field of the prefix.
            let lock = unsafe { (&raw mut (*this.head()).lock).cast() };
            // SAFETY: the lock was initialised with the connection; while it is held nobody else
            // has the state, which the reference keeps what it is.
            unsafe {
                let on = raw::ipct_spin_lock_packet(lock);
                let result = change.change(this.places());
                raw::ipct_spin_unlock_packet(lock, on);
                result
            }
        } else {
            let room = &this.link().room;
            let before = room.load(Ordering::Relaxed);
            let mut word = before;
            let result = change.change_word(&mut word);
            if word != before {
                room.store(word, Ordering::Relaxed);
            }
            result
        }
    }
}

/// Exclusive access to the protocol's state of a connection.
///
/// # Invariants
///
/// The connection's lock is held, and somebody has a reference.
pub struct StateGuard<'a> {
    conn: &'a Conn,
    state: State,
    changed: bool,
}

impl Deref for StateGuard<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for StateGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        self.changed = true;
        &mut self.state
    }
}

impl Drop for StateGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.changed {
            // SAFETY: the lock is held, so nobody else reads or writes it.
            unsafe { self.conn.set_state(&self.state.keep()) };
        }
        // SAFETY: locked by `Conn::lock`.
        unsafe { raw::ipct_spin_unlock_bh((&raw mut (*self.conn.head()).lock).cast()) };
    }
}
