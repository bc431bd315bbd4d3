// SPDX-License-Identifier: GPL-2.0
//! Matches and targets of x_tables.
//!
//! x_tables is a module in most kernels, and the core links to the kernel proper alone. So what
//! calls x_tables here is generic: it is compiled into the modules that register something.

use core::{ffi::CStr, marker::PhantomData, slice};

use conntrack::{
    rule::{Flow, Refused, Seen},
    tuple::{Direction, Family},
};
use kernel::{
    error::{code, to_result},
    ffi::{c_int, c_uint},
    prelude::*,
};

use crate::{
    skb::{Attached, Skb},
    time,
};

/// A match.
pub trait Match: 'static {
    /// Its name in rules.
    const NAME: &'static CStr;
    /// Its revision.
    const REVISION: u8;
    /// The size of its part of a rule, in bytes.
    const SIZE: usize;

    /// Looks at a rule that is being made.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn check(rule: &[u8]) -> Result<(), Refused>;

    /// Whether a packet is what the rule asks for. Softirq or process context.
    fn matches(rule: &[u8], seen: &Seen<'_>) -> bool;
}

/// A target that lets the packet go on to the next rule.
pub trait Target: 'static {
    /// Its name in rules.
    const NAME: &'static CStr;
    /// Its revision.
    const REVISION: u8;
    /// The table that it may be used in.
    const TABLE: &'static CStr;
    /// The size of its part of a rule, in bytes.
    const SIZE: usize;
    /// How much of that user space knows of.
    const USER_SIZE: usize;

    /// Looks at a rule that is being made.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn check(rule: &[u8]) -> Result<(), Refused>;

    /// Does it to a packet. Softirq or process context.
    fn apply(skb: &mut Skb);
}

/// What rules see of a packet.
#[inline]
fn see(skb: &Skb) -> Seen<'_> {
    match skb.attached() {
        Attached::None | Attached::Template => Seen::Invalid,
        Attached::Untracked => Seen::Untracked,
        Attached::Conn(conn, ctinfo) => Seen::Flow(Flow {
            ctinfo,
            tuples: [
                conn.tuple(Direction::Original),
                conn.tuple(Direction::Reply),
            ],
            status: conn.status(),
            remaining: conn
                .expires()
                .remaining(time::now())
                .unwrap_or_default()
                .as_secs(time::HZ),
        }),
    }
}

/// The error for a rule that was refused, with a line in the log that says why.
fn refuse(name: &CStr, why: Refused) -> Error {
    let name = name.to_str().unwrap_or("?");
    match why {
        Refused::Malformed => {
            pr_info!("{}: malformed rule\n", name);
            code::EINVAL
        }
        Refused::NotSupported => {
            pr_info!(
                "{}: the rule asks for what ip_conntrack does not do\n",
                name
            );
            code::EOPNOTSUPP
        }
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
    Entry(raw::xt_match {
        name: fixed(M::NAME),
        revision: M::REVISION,
        match_: Some(Shims::<M>::matches),
        checkentry: Some(Shims::<M>::check_match),
        me: module.as_ptr().cast(),
        matchsize: M::SIZE as c_uint,
        family: family.number(),
        ..blank_match()
    })
}

/// A target for rules of a family, to be registered.
pub fn target_of<T: Target>(module: &'static ThisModule, family: Family) -> Entry<raw::xt_target> {
    Entry(raw::xt_target {
        name: fixed(T::NAME),
        revision: T::REVISION,
        target: Some(Shims::<T>::apply),
        checkentry: Some(Shims::<T>::check_target),
        me: module.as_ptr().cast(),
        table: T::TABLE.as_char_ptr(),
        targetsize: T::SIZE as c_uint,
        usersize: T::USER_SIZE as c_uint,
        family: family.number(),
        ..blank_target()
    })
}

/// The functions that x_tables calls.
struct Shims<T>(PhantomData<T>);

impl<M: Match> Shims<M> {
    /// # Safety
    ///
    /// Called by x_tables only.
    unsafe extern "C" fn matches(
        skb: *const raw::sk_buff,
        param: *mut raw::xt_action_param,
    ) -> bool {
        // SAFETY: called by x_tables with a valid packet and a rule of the size registered.
        unsafe {
            let info = (*param).__bindgen_anon_2.matchinfo;
            let rule = slice::from_raw_parts(info.cast(), M::SIZE);
            M::matches(rule, &see(Skb::from_raw_ref(skb)))
        }
    }

    /// # Safety
    ///
    /// Called by x_tables only.
    unsafe extern "C" fn check_match(param: *const raw::xt_mtchk_param) -> c_int {
        // SAFETY: called by x_tables with a rule of the size registered.
        let rule = unsafe { slice::from_raw_parts((*param).matchinfo.cast(), M::SIZE) };
        match M::check(rule) {
            Ok(()) => 0,
            Err(why) => refuse(M::NAME, why).to_errno(),
        }
    }
}

impl<T: Target> Shims<T> {
    /// # Safety
    ///
    /// Called by x_tables only.
    unsafe extern "C" fn apply(skb: *mut raw::sk_buff, _: *const raw::xt_action_param) -> c_uint {
        /// On to the next rule (linux/netfilter/x_tables.h).
        const CONTINUE: c_uint = c_uint::MAX;
        // SAFETY: called by x_tables with a valid packet of its own.
        T::apply(unsafe { Skb::from_raw(skb) });
        CONTINUE
    }

    /// # Safety
    ///
    /// Called by x_tables only.
    unsafe extern "C" fn check_target(param: *const raw::xt_tgchk_param) -> c_int {
        // A target without a part of its own may have no pointer to it.
        let rule: &[u8] = if T::SIZE == 0 {
            &[]
        } else {
            // SAFETY: called by x_tables with a rule of the size registered.
            unsafe { slice::from_raw_parts((*param).targinfo.cast(), T::SIZE) }
        };
        match T::check(rule) {
            Ok(()) => 0,
            Err(why) => refuse(T::NAME, why).to_errno(),
        }
    }
}
