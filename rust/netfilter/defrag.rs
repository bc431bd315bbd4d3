// SPDX-License-Identifier: GPL-2.0
//! Fragments are put together before anything else looks at packets, by the kernel's own functions.
//!
//! The hooks are ours: those of nf_defrag_ipv4 and nf_defrag_ipv6 take several times as long to see
//! that a packet is whole.

use core::{
    mem::transmute,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};

use conntrack::tuple::{protocol, Direction};
use kernel::{
    ffi::{c_int, c_uint, c_void},
    prelude::*,
};

use crate::{
    hook::PRE_ROUTING,
    skb::{Attached, Skb},
};

/// How the kernel puts fragments of IPv6 together: zero, `-EINPROGRESS` for what waits for the rest, or
/// what is wrong.
type Gather = unsafe extern "C" fn(*mut raw::net, *mut raw::sk_buff, u32) -> c_int;

/// A [`Gather`] while there is a [`Gatherer`].
static GATHER: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

const MODULE: &core::ffi::CStr = c"nf_defrag_ipv6";
const FUNCTION: &core::ffi::CStr = c"nf_ct_frag6_gather";

/// What puts fragments together, which is of a module for IPv6, is there while this lives. So this
/// module need not link to that one, which not every kernel has.
pub(crate) struct Gatherer(());

/// Whether that module is there, and has begun to work: it announces itself in the kernel proper.
fn is_announced() -> bool {
    // SAFETY: an RCU pointer of the kernel proper, read once and whole.
    !unsafe { (&raw const raw::nf_defrag_v6_hook).read_volatile() }.is_null()
}

impl Gatherer {
    /// Holds that module, and has it loaded before. May sleep, and runs modprobe: not under locks that
    /// loading a module takes.
    ///
    /// # Errors
    ///
    /// `ENOENT` where it is not there.
    pub(crate) fn hold() -> Result<Self> {
        if cfg!(CONFIG_IPV6) {
            if !is_announced() {
                // SAFETY: a plain call with a string that ends in NUL. Whether it helped is seen below.
                unsafe { raw::ipct_request_module(MODULE.as_char_ptr()) };
            }
            let mut function = null_mut();
            if is_announced() {
                // SAFETY: as above; what it gives is held until `drop`.
                function = unsafe { raw::__symbol_get(FUNCTION.as_char_ptr()) };
            }
            if function.is_null() {
                pr_err!("fragments cannot be put together: module nf_defrag_ipv6 is not there\n");
                return Err(ENOENT);
            }
            GATHER.store(function, Ordering::Release);
        }
        Ok(Self(()))
    }
}

impl Drop for Gatherer {
    /// After the last packet has left the hooks.
    fn drop(&mut self) {
        if !GATHER.swap(null_mut(), Ordering::AcqRel).is_null() {
            // SAFETY: got by `hold`.
            unsafe { raw::__symbol_put(FUNCTION.as_char_ptr()) };
        }
    }
}

/// A packet at the first of hooks: whole ones go on.
///
/// # Safety
///
/// Called by netfilter only, for IPv4 or the other family.
pub(crate) unsafe extern "C" fn hook<const V4: bool>(
    _: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: called by netfilter, with a packet whose network header was looked at before.
    let whole = unsafe {
        let skb = Skb::from_raw_ref(skb);
        if V4 {
            !skb.is_fragment()
        } else {
            // A fragment header may follow an extension header, but none of these.
            let next = skb.next_header();
            matches!(next, protocol::TCP | protocol::UDP | protocol::ICMPV6)
        }
    };
    if whole {
        return raw::NF_ACCEPT;
    }
    // SAFETY: as above.
    unsafe {
        if V4 {
            gather_v4(skb, &*state)
        } else {
            gather_v6(skb, &*state)
        }
    }
}

/// A fragment of an IPv4 packet.
///
/// # Safety
///
/// As for `hook`.
#[inline(never)]
unsafe fn gather_v4(skb: *mut raw::sk_buff, state: &raw::nf_hook_state) -> c_uint {
    let users = [
        raw::ip_defrag_users_IP_DEFRAG_CONNTRACK_IN,
        raw::ip_defrag_users_IP_DEFRAG_CONNTRACK_OUT,
        raw::ip_defrag_users_IP_DEFRAG_CONNTRACK_BRIDGE_IN,
    ];
    // SAFETY: as above. A packet that waits, or was dropped, is not ours any more.
    unsafe {
        if raw::ipct_keeps_fragments(skb) {
            return raw::NF_ACCEPT;
        }
        // As with stock: NAT needs to see whole packets once more.
        match user(Skb::from_raw_ref(skb), state, users, cfg!(CONFIG_NF_NAT)) {
            Some(user) if raw::ipct_gather(state.net, skb, user) => raw::NF_STOLEN,
            _ => raw::NF_ACCEPT,
        }
    }
}

/// An IPv6 packet that may be a fragment.
///
/// # Safety
///
/// As for `hook`.
#[inline(never)]
unsafe fn gather_v6(skb: *mut raw::sk_buff, state: &raw::nf_hook_state) -> c_uint {
    const IN_PROGRESS: c_int = -(raw::EINPROGRESS as c_int);
    let users = [
        raw::ip6_defrag_users_IP6_DEFRAG_CONNTRACK_IN,
        raw::ip6_defrag_users_IP6_DEFRAG_CONNTRACK_OUT,
        raw::ip6_defrag_users_IP6_DEFRAG_CONNTRACK_BRIDGE_IN,
    ];
    // SAFETY: as above.
    let user = user(unsafe { Skb::from_raw_ref(skb) }, state, users, false);
    let gather = GATHER.load(Ordering::Acquire);
    let (Some(user), false) = (user, gather.is_null()) else {
        return raw::NF_ACCEPT;
    };
    // SAFETY: the function of that name has this type, and its module is held while there are hooks.
    // What waits is not ours any more.
    match unsafe { transmute::<*mut c_void, Gather>(gather)(state.net, skb, user) } {
        0 => raw::NF_ACCEPT,
        IN_PROGRESS => raw::NF_STOLEN,
        _ => raw::NF_DROP,
    }
}

/// With which others a fragment is put together: those of its zone, at the same place of three (coming in,
/// going out, on a bridge). `None`: it stays what it is, for nobody tracks it or it was tracked before.
fn user(skb: &Skb, state: &raw::nf_hook_state, users: [u32; 3], again: bool) -> Option<u32> {
    let zone = match skb.attached() {
        Attached::None => 0,
        Attached::Untracked => return None,
        Attached::Template(conn) => conn.zone().id(Direction::Original),
        Attached::Conn(conn, ctinfo) if again => conn.zone().id(ctinfo.direction()),
        Attached::Conn(..) => return None,
    };
    let [within, out, bridge] = users;
    // SAFETY: a valid packet.
    let place = if unsafe { raw::ipct_on_bridge(skb.raw()) } {
        bridge
    } else if u32::from(state.hook) == PRE_ROUTING {
        within
    } else {
        out
    };
    Some(place.wrapping_add(zone.into()))
}
