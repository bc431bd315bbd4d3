// SPDX-License-Identifier: GPL-2.0
//! Netfilter hooks.

use core::ptr::NonNull;

use conntrack::tuple::{Family, Tuple};
use kernel::ffi::{c_int, c_uint, c_void};

use crate::{
    namespace::{Net, Tracker},
    rcu::ReadSide,
    skb::Skb,
};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It ends here.
    Drop,
}

impl Verdict {
    #[inline]
    pub(crate) fn number(self) -> c_uint {
        match self {
            Self::Accept => raw::NF_ACCEPT,
            Self::Drop => raw::NF_DROP,
        }
    }
}

/// A packet at a hook.
pub struct Context<'a, T: Tracker> {
    /// The packet.
    pub skb: &'a mut Skb,
    /// The namespace that it is in.
    pub net: &'a Net<T>,
    /// Proof that the RCU read lock is held.
    pub read: ReadSide<'a>,
    state: &'a raw::nf_hook_state,
}

impl<T: Tracker> Context<'_, T> {
    /// The same, for a function that is not to be compiled into this one: so this one need not be
    /// in memory.
    #[inline(always)]
    pub fn again(&mut self) -> Context<'_, T> {
        Context {
            skb: self.skb,
            net: self.net,
            read: self.read,
            state: self.state,
        }
    }

    /// Its network protocol.
    #[inline]
    pub fn family(&self) -> Family {
        // CAST: numbers of a byte.
        if self.state.pf == raw::NFPROTO_IPV4 as u8 {
            Family::Ipv4
        } else {
            Family::Ipv6 // There are hooks for no other (`table`).
        }
    }

    /// The number of the hook.
    #[inline]
    pub fn hook(&self) -> u32 {
        self.state.hook.into()
    }

    /// Whether this is PREROUTING, where checksums are verified.
    #[inline]
    pub fn at_prerouting(&self) -> bool {
        self.hook() == PRE_ROUTING
    }

    /// Whether this is OUTPUT, where packets of this host begin.
    #[inline]
    pub fn at_output(&self) -> bool {
        self.hook() == LOCAL_OUT
    }

    /// Says in the namespace's packet log why the packet is invalid.
    pub fn log_invalid(&self, protocol: u8, reason: &str) {
        // CAST: a reason is a few words; the family's number a byte.
        let (len, family) = (reason.len() as c_int, self.family().number() as u8);
        let net = self.net.census().net().cast_mut();
        // SAFETY: the namespace is alive while a packet is in its hook; `len` bytes of text.
        unsafe {
            raw::ipct_log_invalid(
                net,
                family,
                self.skb.raw(),
                protocol,
                reason.as_ptr().cast(),
                len,
            )
        };
    }

    /// Whether anybody wants to know of packets that belong to no connection.
    pub fn traced(&self) -> bool {
        // SAFETY: callable from any context.
        unsafe { raw::ipct_trace_wanted() }
    }

    /// Tells them of this one: `tuple` is what could be read of it.
    pub fn trace(&self, tuple: &Tuple, reason: &str, verdict: Verdict) {
        let refused = raw::ipct_refused {
            net: self.net.census().net(),
            reason: reason.as_ptr().cast(),
            // CAST: a reason is a few words; the numbers of families and hooks are bytes.
            reason_len: reason.len() as c_int,
            src: tuple.src_words(),
            dst: tuple.dst_words(),
            src_id: u16::from_ne_bytes(tuple.src_id()),
            dst_id: u16::from_ne_bytes(tuple.dst_id()),
            family: self.family().number() as u8,
            protocol: tuple.protocol(),
            hook: self.hook() as u8,
            dropped: verdict == Verdict::Drop,
        };
        // SAFETY: the namespace is alive while a packet is in its hook; the text has that length.
        unsafe { raw::ipct_trace_invalid(&refused) };
    }

    /// Whether the packet is on its way to a VRF device, and will come by once more.
    fn to_vrf_master(&self) -> bool {
        // SAFETY: null, or the device that the kernel names for this packet.
        self.hook() == POST_ROUTING && unsafe { raw::ipct_is_vrf_master(self.state.out) }
    }
}

const PRE_ROUTING: u32 = raw::nf_inet_hooks_NF_INET_PRE_ROUTING;
const LOCAL_IN: u32 = raw::nf_inet_hooks_NF_INET_LOCAL_IN;
const LOCAL_OUT: u32 = raw::nf_inet_hooks_NF_INET_LOCAL_OUT;
const POST_ROUTING: u32 = raw::nf_inet_hooks_NF_INET_POST_ROUTING;

/// How many hooks a namespace has.
pub(crate) const COUNT: usize = 8;

/// The table of hooks of a namespace: tracking first, confirmation last, in both families.
/// The priorities are those of `nf_ip_hook_priorities`, the same numbers for IPv6.
pub(crate) fn table<T: Tracker>(net: NonNull<Net<T>>) -> [raw::nf_hook_ops; COUNT] {
    let op = |pf: c_uint, hooknum: c_uint, track: bool| raw::nf_hook_ops {
        hook: Some(if track {
            track_hook::<T>
        } else {
            confirm_hook::<T>
        }),
        priv_: net.as_ptr().cast::<c_void>(),
        // CAST: the kernel numbers a dozen protocols.
        pf: pf as u8,
        hooknum,
        priority: if track {
            raw::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK
        } else {
            raw::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK_CONFIRM
        } as c_int,
        ..Default::default()
    };
    let [v4, v6] = [raw::NFPROTO_IPV4 as c_uint, raw::NFPROTO_IPV6 as c_uint];
    [
        op(v4, PRE_ROUTING, true),
        op(v4, LOCAL_OUT, true),
        op(v4, POST_ROUTING, false),
        op(v4, LOCAL_IN, false),
        op(v6, PRE_ROUTING, true),
        op(v6, LOCAL_OUT, true),
        op(v6, POST_ROUTING, false),
        op(v6, LOCAL_IN, false),
    ]
}

/// The context of a call of the kernel.
///
/// # Safety
///
/// As a netfilter hook is called, with `private` from [`table`], and the namespace alive.
#[inline]
unsafe fn context<'a, T: Tracker>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> Context<'a, T> {
    // SAFETY: netfilter passes a valid state and packet, under the RCU read lock; the namespace
    // takes its hooks back, and waits for readers, before it goes.
    unsafe {
        Context {
            skb: Skb::from_raw(skb),
            net: &*private.cast::<Net<T>>(),
            read: ReadSide::assume(),
            state: &*state,
        }
    }
}

/// # Safety
///
/// Called by netfilter only.
unsafe extern "C" fn track_hook<T: Tracker>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: called by netfilter.
    T::track(&mut unsafe { context::<T>(private, skb, state) }).number()
}

/// # Safety
///
/// Called by netfilter only.
unsafe extern "C" fn confirm_hook<T: Tracker>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: called by netfilter.
    let context = unsafe { context::<T>(private, skb, state) };
    if context.skb.is_quiet() {
        return Verdict::Accept.number();
    }
    // A packet on its way to a VRF device comes by once more, for the real one.
    if context.to_vrf_master() {
        return Verdict::Accept.number();
    }
    T::confirm(context.net, context.skb, context.read).number()
}
