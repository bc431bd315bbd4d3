// SPDX-License-Identifier: GPL-2.0
//! What modules register with x_tables.

use core::ffi::CStr;

use conntrack::tuple::Family;
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint},
    prelude::*,
};

use super::{shims::Shims, Match, Target};

/// Matches or targets that are registered while this lives. With rules that use them the module
/// cannot be unloaded.
pub struct Registered<K: Kind, const N: usize> {
    list: KBox<[K::Raw; N]>,
}

/// Matches, or targets.
pub trait Kind: 'static {
    /// The kernel's structure.
    type Raw: Send + Sync;
    #[doc(hidden)]
    fn put(list: *mut Self::Raw, count: c_uint) -> c_int;
    #[doc(hidden)]
    fn take(list: *mut Self::Raw, count: c_uint);
}

/// A row of the kernel's structures, as x_tables wants it.
#[repr(transparent)]
pub struct Entry<R>(R);

// SAFETY: x_tables touches them under its own lock, and nobody else does.
unsafe impl<R> Send for Entry<R> {}
// SAFETY: as above.
unsafe impl<R> Sync for Entry<R> {}

/// Matches.
pub struct Matches;
/// Targets.
pub struct Targets;

// The two `Kind`s have bodies of one generic function each, so that nothing here refers to
// x_tables before an edge module uses it.
impl Kind for Matches {
    type Raw = Entry<raw::xt_match>;

    #[inline]
    fn put(list: *mut Self::Raw, count: c_uint) -> c_int {
        // SAFETY: the list stays in its box until `take`.
        unsafe { raw::xt_register_matches(list.cast(), count) }
    }

    #[inline]
    fn take(list: *mut Self::Raw, count: c_uint) {
        // SAFETY: registered by `put`.
        unsafe { raw::xt_unregister_matches(list.cast(), count) }
    }
}

impl Kind for Targets {
    type Raw = Entry<raw::xt_target>;

    #[inline]
    fn put(list: *mut Self::Raw, count: c_uint) -> c_int {
        // SAFETY: the list stays in its box until `take`.
        unsafe { raw::xt_register_targets(list.cast(), count) }
    }

    #[inline]
    fn take(list: *mut Self::Raw, count: c_uint) {
        // SAFETY: registered by `put`.
        unsafe { raw::xt_unregister_targets(list.cast(), count) }
    }
}

impl<K: Kind, const N: usize> Registered<K, N> {
    /// Registers all or none. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(list: [K::Raw; N]) -> Result<Self> {
        let mut list = KBox::new(list, GFP_KERNEL)?;
        to_result(K::put(list.as_mut_ptr(), N as c_uint))?;
        Ok(Self { list })
    }
}

impl<K: Kind, const N: usize> Drop for Registered<K, N> {
    fn drop(&mut self) {
        K::take(self.list.as_mut_ptr(), N as c_uint);
    }
}

/// A name in the room that x_tables has for it.
fn fixed<const N: usize>(name: &CStr) -> [kernel::ffi::c_char; N] {
    let mut room = [0; N];
    for (to, from) in room.iter_mut().zip(name.to_bytes()) {
        // CAST: the kernel's characters are bytes.
        *to = *from as kernel::ffi::c_char;
    }
    room
}

// Not generic, so that they are compiled into the core: the bindings export nothing.

#[inline(never)]
fn blank_match() -> raw::xt_match {
    Default::default()
}

#[inline(never)]
fn blank_target() -> raw::xt_target {
    Default::default()
}

/// A match for rules of a family, to be registered.
pub fn match_of<M: Match>(module: &'static ThisModule, family: Family) -> Entry<raw::xt_match> {
    let [size, user_size] = Shims::<M>::SIZES;
    Entry(raw::xt_match {
        name: fixed(M::NAME),
        revision: M::REVISION,
        match_: Some(Shims::<M>::matches),
        checkentry: Some(Shims::<M>::check_match),
        destroy: Some(Shims::<M>::destroy_match),
        me: module.as_ptr().cast(),
        matchsize: size,
        usersize: user_size,
        family: family.number(),
        ..blank_match()
    })
}

/// A target for rules of a family, to be registered.
pub fn target_of<T: Target>(module: &'static ThisModule, family: Family) -> Entry<raw::xt_target> {
    let [size, user_size] = Shims::<T>::SIZES;
    Entry(raw::xt_target {
        name: fixed(T::NAME),
        revision: T::REVISION,
        target: Some(Shims::<T>::apply),
        checkentry: Some(Shims::<T>::check_target),
        destroy: Some(Shims::<T>::destroy_target),
        me: module.as_ptr().cast(),
        table: T::TABLE.map_or(core::ptr::null(), |table| table.as_char_ptr()),
        targetsize: size,
        usersize: user_size,
        family: family.number(),
        ..blank_target()
    })
}
