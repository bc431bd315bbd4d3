// SPDX-License-Identifier: GPL-2.0
//! What rules of x_tables and of nf_tables have in common: where they are, and what they look at.

use core::{marker::PhantomData, ptr::NonNull};

use conntrack::tuple::Family;
use kernel::sync::rcu;

use crate::{
    namespace::{Net, Tracker},
    rcu::ReadSide,
    skb::Skb,
};

/// The namespace of a rule.
///
/// # Invariants
///
/// It lives for `'a`.
#[derive(Clone, Copy)]
pub struct Home<'a> {
    net: NonNull<raw::net>,
    _lives: PhantomData<&'a raw::net>,
}

impl Home<'_> {
    /// That of a pointer from the kernel; `None` where there is none.
    ///
    /// # Safety
    ///
    /// It must live for as long as the value.
    #[inline]
    pub(crate) unsafe fn new(net: *mut raw::net) -> Option<Self> {
        // INVARIANT: the caller's promise.
        Some(Self {
            net: NonNull::new(net)?,
            _lives: PhantomData,
        })
    }

    /// What `f` makes of it, under the RCU read lock; `None` where it is not tracked, or no more.
    pub fn with<T: Tracker, R>(&self, f: impl FnOnce(&Net<T>, ReadSide<'_>) -> R) -> Option<R> {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        // SAFETY: it lives (invariant).
        let net = unsafe { T::namespaces().get(self.net, read) }?;
        Some(f(net, read))
    }
}

/// A packet that a rule looks at.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    /// The packet.
    pub skb: &'a Skb,
    /// Proof that the RCU read lock is held.
    pub read: ReadSide<'a>,
    state: &'a raw::nf_hook_state,
}

impl<'a> Packet<'a> {
    /// A packet at a hook.
    ///
    /// # Safety
    ///
    /// `state` must be that of the hook, which is under the RCU read lock.
    #[inline]
    pub(crate) unsafe fn new(skb: &'a Skb, state: *const raw::nf_hook_state) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                skb,
                read: ReadSide::assume(),
                state: &*state,
            }
        }
    }

    /// The network protocol of the hook.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        Family::from_number(self.state.pf.into())
    }

    /// The namespace that it is in; `None` where that is not tracked, or no more.
    #[must_use]
    pub fn net<T: Tracker>(&self) -> Option<&'a Net<T>> {
        // SAFETY: the namespace of a packet lives, and the read lock is held.
        unsafe { T::namespaces().get(NonNull::new(self.state.net)?, self.read) }
    }
}
