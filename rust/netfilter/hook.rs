// SPDX-License-Identifier: GPL-2.0
//! Netfilter hooks.

use core::ptr::NonNull;

use conntrack::tuple::{Family, Tuple};
use kernel::ffi::{c_int, c_uint, c_void};

use crate::{
    defrag,
    namespace::{Net, Tracker},
    rcu::ReadSide,
    skb::Skb,
};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// It ends here.
    Drop = raw::NF_DROP,
    /// It goes on.
    Accept = raw::NF_ACCEPT,
}

impl Verdict {
    #[inline]
    pub(crate) fn number(self) -> c_uint {
        self as c_uint
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
    /// Its network protocol.
    pub family: Family,
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
            family: self.family,
            state: self.state,
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
        let (len, family) = (reason.len() as c_int, self.family.number() as u8);
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
            family: self.family.number() as u8,
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

pub(crate) const PRE_ROUTING: u32 = raw::nf_inet_hooks_NF_INET_PRE_ROUTING;
const LOCAL_IN: u32 = raw::nf_inet_hooks_NF_INET_LOCAL_IN;
const LOCAL_OUT: u32 = raw::nf_inet_hooks_NF_INET_LOCAL_OUT;
const POST_ROUTING: u32 = raw::nf_inet_hooks_NF_INET_POST_ROUTING;

const GATHER: raw::nf_ip_hook_priorities = raw::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK_DEFRAG;
const TRACK: raw::nf_ip_hook_priorities = raw::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK;
const CONFIRM: raw::nf_ip_hook_priorities = raw::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK_CONFIRM;

/// What a hook is for.
enum Task {
    Gather,
    Track,
    Confirm,
}

/// The hooks of a namespace, in both families: those that put fragments together, which come first and go
/// last, and those that track and confirm. The priorities are those of `nf_ip_hook_priorities`, the same
/// numbers for IPv6.
pub(crate) fn tables<T: Tracker>(
    net: NonNull<Net<T>>,
) -> ([raw::nf_hook_ops; 4], [raw::nf_hook_ops; 8]) {
    let op = |v4: bool, hooknum: c_uint, task: Task| {
        let (hook, priority): (raw::nf_hookfn, _) = match (task, v4) {
            (Task::Gather, true) => (Some(defrag::hook::<true>), GATHER),
            (Task::Gather, false) => (Some(defrag::hook::<false>), GATHER),
            (Task::Track, true) => (Some(track_hook::<T, true>), TRACK),
            (Task::Track, false) => (Some(track_hook::<T, false>), TRACK),
            (Task::Confirm, true) => (Some(confirm_hook::<T, true>), CONFIRM),
            (Task::Confirm, false) => (Some(confirm_hook::<T, false>), CONFIRM),
        };
        let pf = if v4 {
            raw::NFPROTO_IPV4
        } else {
            raw::NFPROTO_IPV6
        };
        raw::nf_hook_ops {
            hook,
            priv_: net.as_ptr().cast::<c_void>(),
            // CAST: the kernel numbers a dozen protocols; priorities are small numbers.
            pf: pf as u8,
            hooknum,
            priority: priority as c_int,
            ..Default::default()
        }
    };
    let gather = [
        op(true, PRE_ROUTING, Task::Gather),
        op(true, LOCAL_OUT, Task::Gather),
        op(false, PRE_ROUTING, Task::Gather),
        op(false, LOCAL_OUT, Task::Gather),
    ];
    let track = [
        op(true, PRE_ROUTING, Task::Track),
        op(true, LOCAL_OUT, Task::Track),
        op(true, POST_ROUTING, Task::Confirm),
        op(true, LOCAL_IN, Task::Confirm),
        op(false, PRE_ROUTING, Task::Track),
        op(false, LOCAL_OUT, Task::Track),
        op(false, POST_ROUTING, Task::Confirm),
        op(false, LOCAL_IN, Task::Confirm),
    ];
    (gather, track)
}

/// The context of a call of the kernel.
///
/// # Safety
///
/// As a netfilter hook of the family (IPv4 or the other) is called, with `private` from [`table`], and the
/// namespace alive.
#[inline]
unsafe fn context<'a, T: Tracker, const V4: bool>(
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
            family: if V4 { Family::Ipv4 } else { Family::Ipv6 },
            state: &*state,
        }
    }
}

/// # Safety
///
/// Called by netfilter only, for the family.
unsafe extern "C" fn track_hook<T: Tracker, const V4: bool>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: called by netfilter.
    T::track(&mut unsafe { context::<T, V4>(private, skb, state) }).number()
}

/// # Safety
///
/// As for `track_hook`.
unsafe extern "C" fn confirm_hook<T: Tracker, const V4: bool>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: called by netfilter.
    if unsafe { Skb::from_raw_ref(skb) }.is_quiet() {
        return Verdict::Accept.number();
    }
    // SAFETY: as above.
    unsafe { confirm::<T, V4>(private, skb, state) }
}

/// A packet at its last hook, where there may be something to do. (Apart, so that most packets need no
/// room on the stack.)
///
/// # Safety
///
/// As for `track_hook`.
#[inline(never)]
unsafe fn confirm<T: Tracker, const V4: bool>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: called by netfilter.
    let context = unsafe { context::<T, V4>(private, skb, state) };
    // A packet on its way to a VRF device comes by once more, for the real one.
    if context.to_vrf_master() {
        return Verdict::Accept.number();
    }
    T::confirm(context.net, context.skb, context.read).number()
}
