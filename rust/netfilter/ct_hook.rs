// SPDX-License-Identifier: GPL-2.0
//! `nf_ct_hook`: what the kernel proper calls of the tracker that is loaded.

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use conntrack::{
    ctinfo::CtInfo,
    tuple::{Direction, Tuple},
};
use kernel::{ffi::c_int, sync::rcu};

use rcu_table::Ref;

use crate::{
    conn::{self, Conn},
    hook::Verdict,
    namespace::Tracker,
    rcu::ReadSide,
    skb::{Attached, Skb},
};

/// The slot in the kernel, as an atomic pointer.
fn slot() -> &'static AtomicPtr<raw::nf_ct_hook> {
    // SAFETY: a pointer of the kernel proper, read and written whole by everybody.
    unsafe { &*(&raw mut raw::nf_ct_hook).cast() }
}

/// The kernel calls `T` while this lives. To drop it sleeps for a grace period.
pub struct CtHook<T: Tracker>(PhantomData<fn(T)>);

impl<T: Tracker> CtHook<T> {
    /// All seven members: the kernel checks the slot for null, but none of the members.
    const TABLE: &'static raw::nf_ct_hook = &raw::nf_ct_hook {
        update: Some(update),
        destroy: Some(destroy),
        get_tuple_skb: Some(get_tuple_skb::<T>),
        attach: Some(attach),
        set_closing: Some(set_closing::<T>),
        confirm: Some(confirm::<T>),
        get_id: Some(get_id),
    };

    /// Puts the table in its place. The caller has made sure that no other tracker is loaded.
    pub fn install() -> Self {
        conn::make_numbers_secret();
        slot().store(
            core::ptr::from_ref(Self::TABLE).cast_mut(),
            Ordering::Release,
        );
        Self(PhantomData)
    }
}

impl<T: Tracker> Drop for CtHook<T> {
    fn drop(&mut self) {
        slot().store(null_mut(), Ordering::Release);
        rcu::synchronize_rcu();
    }
}

/// What `f` makes of the namespace of a connection, under the read lock.
///
/// # Safety
///
/// `net` must be a living namespace.
pub(crate) unsafe fn in_net<T: Tracker, R>(
    net: *mut raw::net,
    f: impl FnOnce(&crate::namespace::Net<T>, ReadSide<'_>) -> R,
) -> Option<R> {
    let guard = rcu::read_lock();
    let read = ReadSide::of(&guard);
    // SAFETY: by the contract of this function.
    let net = unsafe { T::namespaces().get(NonNull::new(net)?, read) }?;
    Some(f(net, read))
}

/// A packet comes back from NFQUEUE.
///
/// # Safety
///
/// Called by the kernel with a valid packet.
unsafe extern "C" fn update(_net: *mut raw::net, _skb: *mut raw::sk_buff) -> c_int {
    // Nothing is to be done: helpers in user space, which this call serves, are assigned by
    // rules that this tracker refuses.
    Verdict::Accept.number() as c_int
}

/// The last reference to a connection is gone.
///
/// # Safety
///
/// Called by the kernel at a count of zero.
unsafe extern "C" fn destroy(conn: *mut raw::nf_conntrack) {
    if let Some(conn) = NonNull::new(conn.cast::<Conn>()) {
        // SAFETY: while this hook is in place every connection is one of ours.
        unsafe { Conn::destroy(conn) };
    }
}

/// The tuple of a packet, for shapers that look behind address translation.
///
/// # Safety
///
/// Called by the kernel with a valid packet and room for a tuple.
unsafe extern "C" fn get_tuple_skb<T: Tracker>(
    room: *mut raw::nf_conntrack_tuple,
    skb: *const raw::sk_buff,
) -> bool {
    // SAFETY: valid for this call.
    let skb = unsafe { Skb::from_raw_ref(skb) };
    let tuple = match skb.attached() {
        Attached::Conn(conn, info) => Some(*conn.tuple(info.direction())),
        _ => skb.device_net().and_then(|net| {
            // SAFETY: the device of a packet in flight holds its namespace.
            unsafe { in_net::<T, _>(net.as_ptr(), |net, read| T::answer(net, skb, read)) }.flatten()
        }),
    };
    let Some(tuple) = tuple else { return false };
    // SAFETY: the engine's tuple has the kernel's layout (conn/mod.rs).
    unsafe { room.cast::<Tuple>().write(tuple) };
    true
}

/// A packet that the kernel makes in answer to another: it is related to that one's connection.
///
/// # Safety
///
/// Called by the kernel with two valid packets, the first its own.
unsafe extern "C" fn attach(answer: *mut raw::sk_buff, skb: *const raw::sk_buff) {
    // SAFETY: valid for this call.
    let (answer, skb) = unsafe { (Skb::from_raw(answer), Skb::from_raw_ref(skb)) };
    if let Some((conn, info)) = skb.conn() {
        let info = match info.direction() {
            Direction::Original => CtInfo::RelatedReply,
            Direction::Reply => CtInfo::Related,
        };
        answer.attach(conn, info);
    }
}

/// This host has reset a connection (REJECT --reject-with tcp-reset, and the like).
///
/// # Safety
///
/// Called by the kernel with a connection that it holds.
unsafe extern "C" fn set_closing<T: Tracker>(conn: *mut raw::nf_conntrack) {
    // SAFETY: held by the caller, and one of ours; its namespace lives as long.
    unsafe {
        let net = net_of(conn.cast());
        // The caller's count stays with it.
        let held = ManuallyDrop::new(Ref::from_raw(NonNull::new_unchecked(conn).cast::<Conn>()));
        in_net::<T, _>(net, |net, _| T::set_closing(net, &held));
    }
}

/// A packet is leaving a bridge that would not come by our own hook.
///
/// # Safety
///
/// Called by the kernel with a valid packet of its own.
unsafe extern "C" fn confirm<T: Tracker>(skb: *mut raw::sk_buff) -> c_int {
    // SAFETY: valid for this call.
    let skb = unsafe { Skb::from_raw(skb) };
    let net = match skb.attached() {
        // SAFETY: held by the packet.
        Attached::Conn(conn, _) => unsafe { net_of(core::ptr::from_ref(conn).cast()) },
        _ => return Verdict::Accept.number() as c_int,
    };
    // SAFETY: a connection's namespace lives as long as the connection.
    let verdict = unsafe { in_net::<T, _>(net, |net, read| T::confirm(net, skb, read)) };
    verdict.unwrap_or(Verdict::Accept).number() as c_int
}

/// A number for a connection.
///
/// # Safety
///
/// Called by the kernel with a connection that it holds.
unsafe extern "C" fn get_id(conn: *const raw::nf_conntrack) -> u32 {
    // SAFETY: held by the caller, and one of ours.
    unsafe { &*conn.cast::<Conn>() }.id()
}

/// The namespace of a connection.
///
/// # Safety
///
/// `conn` must be a connection of ours that somebody holds.
pub(crate) unsafe fn net_of(conn: *const raw::nf_conn) -> *mut raw::net {
    #[cfg(CONFIG_NET_NS)]
    // SAFETY: within the prefix, and not written after the connection was made.
    return unsafe { (&raw const (*conn).ct_net.net).read() };
    #[cfg(not(CONFIG_NET_NS))]
    {
        let _ = conn;
        &raw mut raw::init_net
    }
}
