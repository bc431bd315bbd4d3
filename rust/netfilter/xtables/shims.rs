// SPDX-License-Identifier: GPL-2.0
//! The functions that x_tables calls.

use core::{
    ffi::CStr,
    marker::PhantomData,
    mem::{align_of, needs_drop, size_of},
    ptr::NonNull,
    slice,
};

use conntrack::{
    rule::{Answer, Refused, Rule},
    tuple::Family,
};
use kernel::{
    ffi::{c_int, c_uint, c_void},
    prelude::*,
};

use super::{refuse, Match, Part, Place, Target};
use crate::{
    rule::{Home, Packet},
    skb::Skb,
};

/// The functions for a match or a target.
pub(super) struct Shims<P>(PhantomData<P>);

/// On to the next rule (linux/netfilter/x_tables.h).
const CONTINUE: c_uint = c_uint::MAX;

impl<P: Part> Shims<P> {
    /// Whether something is kept for a rule.
    const KEEPS: bool = {
        let keeps = size_of::<P::Kept>() != 0;
        // Of what has no size nothing is kept that would have to be dropped; a pointer must be
        // where the C structure has it.
        assert!(keeps || !needs_drop::<P::Kept>());
        assert!(!keeps || size_of::<P::Rule>() % size_of::<*mut P::Kept>() == 0);
        assert!(align_of::<P::Rule>() <= align_of::<u64>());
        keeps
    };

    /// The size of a rule's part, and how much of it user space knows of, where that is less.
    pub(super) const SIZES: [c_uint; 2] = {
        let user = size_of::<P::Rule>() as c_uint;
        if Self::KEEPS {
            [user + size_of::<*mut P::Kept>() as c_uint, user]
        } else {
            [user, 0]
        }
    };

    /// A rule's part as x_tables keeps it.
    ///
    /// # Safety
    ///
    /// `info` must come from x_tables for this match or target, and stay valid for `'a`.
    #[inline]
    unsafe fn rule<'a>(info: *const c_void) -> Result<&'a P::Rule, Refused> {
        let bytes: &[u8] = if size_of::<P::Rule>() == 0 {
            &[] // There may be no pointer to it.
        } else {
            // SAFETY: x_tables has made sure of the size that was registered.
            unsafe { slice::from_raw_parts(info.cast(), size_of::<P::Rule>()) }
        };
        P::Rule::of(bytes)
    }

    /// The place of the pointer to what is kept for a rule.
    ///
    /// # Safety
    ///
    /// As of `rule`, and something must be kept for it.
    #[inline]
    unsafe fn place(info: *const c_void) -> *mut *mut P::Kept {
        // SAFETY: `SIZES` has room for it there.
        unsafe { info.cast_mut().byte_add(size_of::<P::Rule>()).cast() }
    }

    /// What is kept for a rule.
    ///
    /// # Safety
    ///
    /// As of `rule`; `check` has agreed to the rule, and `destroy` was not called yet.
    #[inline]
    unsafe fn kept<'a>(info: *const c_void) -> &'a P::Kept {
        if Self::KEEPS {
            // SAFETY: written by `check`, and not taken back yet.
            unsafe { &*Self::place(info).read() }
        } else {
            // SAFETY: of size zero; `check` has made one.
            unsafe { NonNull::dangling().as_ref() }
        }
    }

    /// A rule is being made.
    ///
    /// # Safety
    ///
    /// As of `rule`; the rule must be the caller's to write.
    unsafe fn check(info: *mut c_void, place: Option<Place<'_>>) -> c_int {
        // SAFETY: by the contract of this function.
        let checked = unsafe { Self::rule(info) }.and_then(|rule| {
            rule.check()?;
            let place = place.ok_or(Refused::NotSupported)?;
            // The room first: whatever `Part::check` has done is done to the end.
            let room = if Self::KEEPS {
                let room = KBox::<P::Kept>::new_uninit(GFP_KERNEL);
                Some(room.map_err(|_| Refused::NoMemory)?)
            } else {
                None
            };
            Ok((P::check(rule, &place)?, room))
        });
        match checked {
            Ok((kept, room)) => {
                if let Some(room) = room {
                    // SAFETY: there is room for the pointer, which `destroy` takes back.
                    unsafe { Self::place(info).write(KBox::into_raw(room.write(kept))) };
                }
                0
            }
            Err(why) => refuse(P::NAME, why).to_errno(),
        }
    }

    /// A rule goes.
    ///
    /// # Safety
    ///
    /// As of `kept`; nobody uses the rule any more.
    unsafe fn destroy(info: *mut c_void, place: Option<Place<'_>>) {
        if Self::KEEPS {
            // SAFETY: written by `check`.
            drop(unsafe { KBox::from_raw(Self::place(info).read()) });
        }
        if let Some(place) = place {
            P::gone(&place);
        }
    }
}

impl<M: Match> Shims<M> {
    /// # Safety
    ///
    /// Called by x_tables only.
    pub(super) unsafe extern "C" fn matches(
        skb: *const raw::sk_buff,
        param: *mut raw::xt_action_param,
    ) -> bool {
        // SAFETY: called by x_tables with a valid packet, within a hook and so under the RCU read
        // lock, and a rule that `check_match` has agreed to.
        let answer = unsafe {
            let info = (*param).__bindgen_anon_2.matchinfo;
            let packet = Packet::new(Skb::from_raw_ref(skb), (*param).state);
            match Self::rule(info) {
                Ok(rule) => M::matches(rule, Self::kept(info), &packet),
                Err(_) => Answer::No,
            }
        };
        if answer == Answer::Drop {
            // SAFETY: x_tables wants to be told so.
            unsafe { (*param).hotdrop = true };
        }
        answer == Answer::Yes
    }

    /// # Safety
    ///
    /// Called by x_tables only.
    pub(super) unsafe extern "C" fn check_match(param: *const raw::xt_mtchk_param) -> c_int {
        // SAFETY: called by x_tables.
        unsafe {
            let param = &*param;
            let place = place_of(param.net, param.family, param.table, -1);
            Self::check(param.matchinfo, place)
        }
    }

    /// # Safety
    ///
    /// Called by x_tables only, with a rule that `check_match` has agreed to.
    pub(super) unsafe extern "C" fn destroy_match(param: *const raw::xt_mtdtor_param) {
        // SAFETY: called by x_tables.
        unsafe {
            let param = &*param;
            let place = place_of(param.net, param.family, core::ptr::null(), -1);
            Self::destroy(param.matchinfo, place);
        }
    }
}

impl<T: Target> Shims<T> {
    /// # Safety
    ///
    /// Called by x_tables only.
    pub(super) unsafe extern "C" fn apply(
        skb: *mut raw::sk_buff,
        param: *const raw::xt_action_param,
    ) -> c_uint {
        // SAFETY: called by x_tables with a valid packet of its own, and a rule that
        // `check_target` has agreed to.
        unsafe {
            let info = (*param).__bindgen_anon_2.targinfo;
            if let Ok(rule) = Self::rule(info) {
                T::apply(rule, Self::kept(info), Skb::from_raw(skb));
            }
        }
        CONTINUE
    }

    /// # Safety
    ///
    /// Called by x_tables only.
    pub(super) unsafe extern "C" fn check_target(param: *const raw::xt_tgchk_param) -> c_int {
        // SAFETY: called by x_tables.
        unsafe {
            let place = place_of(
                (*param).net,
                (*param).family,
                (*param).table,
                protocol_of(param),
            );
            Self::check((*param).targinfo, place)
        }
    }

    /// # Safety
    ///
    /// Called by x_tables only, with a rule that `check_target` has agreed to.
    pub(super) unsafe extern "C" fn destroy_target(param: *const raw::xt_tgdtor_param) {
        // SAFETY: called by x_tables.
        unsafe {
            let param = &*param;
            let place = place_of(param.net, param.family, core::ptr::null(), -1);
            Self::destroy(param.targinfo, place);
        }
    }
}

// Not generic, so that they are compiled into the core.

/// Where a rule is, whose packets have a transport protocol if `protocol` is not negative.
///
/// # Safety
///
/// `net` must be a namespace that lives for `'a`; `table` null, or a text that does.
#[inline(never)]
unsafe fn place_of<'a>(
    net: *mut raw::net,
    family: u8,
    table: *const kernel::ffi::c_char,
    protocol: c_int,
) -> Option<Place<'a>> {
    let table = if table.is_null() {
        c""
    } else {
        // SAFETY: by the contract of this function.
        unsafe { CStr::from_char_ptr(table) }
    };
    Some(Place {
        family: Family::from_number(family.into())?,
        protocol: u8::try_from(protocol).ok(),
        table,
        // SAFETY: by the contract of this function.
        home: unsafe { Home::new(net) }?,
    })
}

/// The transport protocol that a rule names, or -1.
///
/// # Safety
///
/// `param` must come from x_tables.
#[inline(never)]
unsafe fn protocol_of(param: *const raw::xt_tgchk_param) -> c_int {
    // SAFETY: by the contract of this function.
    unsafe { raw::ipct_rule_protocol(param) }
}
