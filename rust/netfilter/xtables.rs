// SPDX-License-Identifier: GPL-2.0
//! Matches and targets of x_tables.
//!
//! x_tables is a module in most kernels, and the core links to the kernel proper alone. So what
//! calls x_tables here is generic: it is compiled into the modules that register something.

use core::{ffi::CStr, marker::PhantomData, mem::size_of, slice};

use conntrack::{
    rule::{Flow, Refused, Seen},
    tuple::{Direction, Family},
};
use kernel::{
    error::{code, to_result},
    ffi::{c_int, c_uint, c_void},
    prelude::*,
};

use crate::{
    conn::Conn,
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
    /// The size of its part of a rule, in bytes: what user space knows of, and behind that room
    /// for a pointer, if it is not zero.
    const SIZE: usize;
    /// How much of that user space knows of.
    const USER_SIZE: usize;
    /// What is kept for each rule.
    type Kept: Send + Sync + 'static;

    /// Looks at a rule that is being made, and makes what is kept for it. May sleep.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn check(rule: &[u8], place: &Place) -> Result<Self::Kept, Refused>;

    /// Does it to a packet; with nothing kept where the target has no room for it. Softirq or
    /// process context.
    fn apply(kept: Option<&Self::Kept>, skb: &mut Skb);
}

/// Where a rule is that is being made.
#[derive(Clone, Copy)]
pub struct Place {
    /// The network protocol of its table.
    pub family: Family,
    /// The transport protocol that its packets have, if the rule names one.
    pub protocol: Option<u8>,
}

/// What rules see of a packet.
#[inline]
fn see(skb: &Skb) -> Seen<'_> {
    match skb.attached() {
        Attached::None | Attached::Template => Seen::Invalid,
        Attached::Untracked => Seen::Untracked,
        Attached::Conn(conn, ctinfo) => Seen::Flow(Flow {
            ctinfo,
            announced_by: announced_by(conn),
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

/// The name of the helper that has announced a connection.
#[inline]
fn announced_by(conn: &Conn) -> Option<&[u8]> {
    let helper = conn.master()?.session()?.helper();
    helper.is_alive().then(|| helper.name())
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
        Refused::NoProtocol => {
            pr_info!("{}: a helper needs a transport protocol (-p)\n", name);
            code::ENOENT
        }
        Refused::NoHelper => {
            pr_info!("{}: no such helper for this protocol\n", name);
            code::ENOENT
        }
        Refused::NoMemory => code::ENOMEM,
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
        destroy: Some(Shims::<T>::destroy_target),
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
    /// Whether a rule has room for what is kept.
    const KEEPS: bool = {
        let room = T::SIZE.saturating_sub(T::USER_SIZE);
        assert!(room == 0 || room == size_of::<*mut T::Kept>() && T::USER_SIZE % room == 0);
        room != 0
    };

    /// The place of the pointer to what is kept for a rule.
    fn place(rule: *const c_void) -> Option<*mut *mut T::Kept> {
        Self::KEEPS.then(|| rule.cast_mut().wrapping_byte_add(T::USER_SIZE).cast())
    }

    /// # Safety
    ///
    /// Called by x_tables only.
    unsafe extern "C" fn apply(
        skb: *mut raw::sk_buff,
        param: *const raw::xt_action_param,
    ) -> c_uint {
        /// On to the next rule (linux/netfilter/x_tables.h).
        const CONTINUE: c_uint = c_uint::MAX;
        // SAFETY: called by x_tables with a valid packet of its own, and a rule that
        // `check_target` has agreed to.
        unsafe {
            let rule = (*param).__bindgen_anon_2.targinfo;
            let kept = Self::place(rule).and_then(|place| place.read().as_ref());
            T::apply(kept, Skb::from_raw(skb));
        }
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
        // SAFETY: called by x_tables.
        let kept = unsafe { place_of(param) }
            .ok_or(Refused::NotSupported)
            .and_then(|place| T::check(rule, &place));
        match kept {
            Ok(kept) => {
                // SAFETY: the rule is the caller's to write.
                unsafe { Self::keep((*param).targinfo, kept) }
            }
            Err(why) => refuse(T::NAME, why).to_errno(),
        }
    }

    /// Puts what is kept into a rule.
    ///
    /// # Safety
    ///
    /// `rule` must be the part of a rule that belongs to this target.
    unsafe fn keep(rule: *mut c_void, kept: T::Kept) -> c_int {
        let Some(place) = Self::place(rule) else {
            return 0;
        };
        let Ok(kept) = KBox::new(kept, GFP_KERNEL) else {
            return code::ENOMEM.to_errno();
        };
        // SAFETY: there is room for the pointer, which `destroy_target` takes back.
        unsafe { place.write(KBox::into_raw(kept)) };
        0
    }

    /// # Safety
    ///
    /// Called by x_tables only, with a rule that `check_target` has agreed to.
    unsafe extern "C" fn destroy_target(param: *const raw::xt_tgdtor_param) {
        // SAFETY: written by `keep`, and nobody uses the rule any more.
        unsafe {
            if let Some(place) = Self::place((*param).targinfo) {
                drop(KBox::from_raw(place.read()));
            }
        }
    }
}

/// Where a rule is. Not generic, as above.
///
/// # Safety
///
/// `param` must come from x_tables.
#[inline(never)]
unsafe fn place_of(param: *const raw::xt_tgchk_param) -> Option<Place> {
    // SAFETY: by the contract of this function.
    let (family, protocol) = unsafe {
        (
            Family::from_number((*param).family.into())?,
            raw::ipct_rule_protocol(param),
        )
    };
    Some(Place {
        family,
        protocol: u8::try_from(protocol).ok(),
    })
}
