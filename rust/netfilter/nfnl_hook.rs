// SPDX-License-Identifier: GPL-2.0
//! `nfnl_ct_hook`: what programs behind NFQUEUE and NFLOG are told of a packet's connection, and
//! what they say of it with a verdict.

use core::{
    marker::PhantomData,
    mem::{size_of, ManuallyDrop},
    ptr::{null_mut, NonNull},
    slice,
    sync::atomic::{AtomicPtr, Ordering},
};

use conntrack::{
    netlink::{
        write::{NoRoom, Writer, Written},
        Error as Refused,
    },
    status::Status,
};
use kernel::{
    error::code,
    ffi::{c_int, c_uint},
    sync::rcu,
};
use rcu_table::Ref;

use crate::{
    conn::Conn,
    ct_hook,
    namespace::{Net, Tracker},
    nfnetlink::errno,
};

/// A tracker that tells of connections beside their packets. RCU read lock held, softirq or process
/// context, and a lock of the queue's or the log's may be held.
pub trait Beside: Tracker {
    /// Bytes that [`Self::tell`] needs at most.
    fn room(conn: &Conn) -> usize;

    /// Writes what is told of a connection.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    fn tell(conn: &Ref<Conn>, out: &mut Writer<'_>) -> Written;

    /// Does to a connection what a program says in `attributes`.
    ///
    /// # Errors
    ///
    /// What cannot be done; what comes before it was done.
    fn change(net: &Net<Self>, conn: &Ref<Conn>, attributes: &[u8]) -> Result<(), Refused>;

    /// Expects another connection, as a program says in `attributes`; `sender` is the number of
    /// its socket, and not zero where it wants to hear of that, too.
    ///
    /// # Errors
    ///
    /// Why not.
    fn expect(
        net: &Net<Self>,
        conn: &Ref<Conn>,
        attributes: &[u8],
        sender: [u32; 2],
    ) -> Result<(), Refused>;
}

/// The slot in the kernel, as an atomic pointer.
fn slot() -> &'static AtomicPtr<raw::nfnl_ct_hook> {
    // SAFETY: a pointer of the kernel proper, read and written whole by everybody.
    unsafe { &*(&raw mut raw::nfnl_ct_hook).cast() }
}

/// NFQUEUE and NFLOG call `T` while this lives. To drop it sleeps for a grace period.
pub struct NfnlHook<T: Beside>(PhantomData<fn(T)>);

impl<T: Beside> NfnlHook<T> {
    const TABLE: &'static raw::nfnl_ct_hook = &raw::nfnl_ct_hook {
        build_size: Some(build_size::<T>),
        build: Some(build::<T>),
        parse: Some(parse::<T>),
        attach_expect: Some(attach_expect::<T>),
        seq_adjust: Some(seq_adjust),
    };

    /// Puts the table in its place. The caller has made sure that no other tracker is loaded.
    pub fn install() -> Self {
        slot().store(
            core::ptr::from_ref(Self::TABLE).cast_mut(),
            Ordering::Release,
        );
        Self(PhantomData)
    }
}

impl<T: Beside> Drop for NfnlHook<T> {
    fn drop(&mut self) {
        slot().store(null_mut(), Ordering::Release);
        rcu::synchronize_rcu();
    }
}

/// Header of an attribute, in bytes.
const HEADER: usize = size_of::<raw::nlattr>();

/// The connection of a packet, whose count stays with the packet; `None` for a template, which is
/// none.
///
/// # Safety
///
/// `conn` must be one of ours that somebody holds while the result is used.
unsafe fn held(conn: *const raw::nf_conn) -> Option<ManuallyDrop<Ref<Conn>>> {
    let conn = NonNull::new(conn.cast_mut())?.cast::<Conn>();
    // SAFETY: by the contract of this function; the count is not given back.
    let held = ManuallyDrop::new(unsafe { Ref::from_raw(conn) });
    (!held.status().contains(Status::TEMPLATE)).then_some(held)
}

/// How much room `build` needs.
///
/// # Safety
///
/// Called by the kernel with a connection that a packet holds.
unsafe extern "C" fn build_size<T: Beside>(conn: *const raw::nf_conn) -> usize {
    // SAFETY: by the contract of this function.
    let conn = unsafe { held(conn) };
    // Those of the connection in one attribute, and one of four bytes.
    conn.map_or(0, |conn| T::room(&conn).saturating_add(3 * HEADER))
}

/// Tells of a connection at the end of a message.
///
/// # Safety
///
/// Called by the kernel with a message of its own and a connection that a packet holds.
unsafe extern "C" fn build<T: Beside>(
    skb: *mut raw::sk_buff,
    conn: *mut raw::nf_conn,
    ctinfo: c_uint,
    kind: u16,
    info_kind: u16,
) -> c_int {
    // SAFETY: by the contract of this function.
    let Some(conn) = (unsafe { held(conn) }) else {
        return 0; // A packet without a connection has no such attributes.
    };
    let told = append(skb, &mut |out| {
        out.nest(kind, |out| T::tell(&conn, out))?;
        out.be32(info_kind, ctinfo)
    });
    match told {
        Ok(()) => 0,
        Err(NoRoom) => code::ENOSPC.to_errno(),
    }
}

/// Writes at the end of a message, all or nothing.
fn append(skb: *mut raw::sk_buff, write: &mut dyn FnMut(&mut Writer<'_>) -> Written) -> Written {
    let mut len = 0;
    // SAFETY: the message of the caller's caller, which is its own to change: so much room lies
    // behind it, set to zero, and nobody else reads or writes there.
    let room = unsafe {
        let begin = raw::ipct_message_room(skb, &raw mut len).cast::<u8>();
        slice::from_raw_parts_mut(begin, len)
    };
    let mut out = Writer::new(room);
    write(&mut out)?;
    let used = out.as_bytes().len();
    // SAFETY: no more than there is.
    unsafe { raw::ipct_message_end(skb, used) };
    Ok(())
}

/// The value of an attribute.
///
/// # Safety
///
/// `attribute` must be one that netlink has checked, and live as long as the result is used.
unsafe fn value<'a>(attribute: *const raw::nlattr) -> &'a [u8] {
    // SAFETY: the length counts the header, and so many bytes are there.
    unsafe {
        let len = usize::from((*attribute).nla_len).saturating_sub(HEADER);
        slice::from_raw_parts(attribute.cast::<u8>().add(HEADER), len)
    }
}

/// What `f` does to a connection, as an error number.
///
/// # Safety
///
/// `conn` must be one of ours that a packet holds, `attribute` one that netlink has checked.
unsafe fn with<T: Beside>(
    attribute: *const raw::nlattr,
    conn: *mut raw::nf_conn,
    f: impl FnOnce(&Net<T>, &Ref<Conn>, &[u8]) -> Result<(), Refused>,
) -> c_int {
    // SAFETY: by the contract of this function.
    let (held, attributes) = unsafe { (held(conn), value(attribute)) };
    let Some(held) = held else {
        // What a rule has made is the rule's.
        return code::EINVAL.to_errno();
    };
    // SAFETY: a connection's namespace lives as long as the connection.
    let done = unsafe {
        ct_hook::in_net::<T, _>(ct_hook::net_of(conn), |net, _| f(net, &held, attributes))
    };
    match done {
        Some(Ok(())) => 0,
        Some(Err(refused)) => errno(refused),
        None => code::ENOENT.to_errno(), // The namespace is going.
    }
}

/// A program says something of a packet's connection with its verdict.
///
/// # Safety
///
/// Called by the kernel with an attribute that it has checked, and a connection that a packet holds.
unsafe extern "C" fn parse<T: Beside>(
    attribute: *const raw::nlattr,
    conn: *mut raw::nf_conn,
) -> c_int {
    // SAFETY: by the contract of this function.
    unsafe { with::<T>(attribute, conn, T::change) }
}

/// A program announces another connection with its verdict.
///
/// # Safety
///
/// As for `parse`.
unsafe extern "C" fn attach_expect<T: Beside>(
    attribute: *const raw::nlattr,
    conn: *mut raw::nf_conn,
    port: u32,
    report: u32,
) -> c_int {
    let sender = [port, report];
    // SAFETY: by the contract of this function.
    unsafe {
        with::<T>(attribute, conn, |net, conn, attributes| {
            T::expect(net, conn, attributes, sender)
        })
    }
}

/// A program has changed the length of a packet. Where no addresses are translated nobody shifts
/// sequence numbers either.
///
/// # Safety
///
/// Called by the kernel only.
unsafe extern "C" fn seq_adjust(
    _skb: *mut raw::sk_buff,
    _conn: *mut raw::nf_conn,
    _ctinfo: c_uint,
    _by: i32,
) {
}
