// SPDX-License-Identifier: GPL-2.0
//! SO_ORIGINAL_DST: where a connection was first sent, asked of an accepted socket.
//!
//! The registration is also the lock between this tracker and the stock one: both need the same
//! option of the same protocol, and the second to come gets `EBUSY` before it has touched
//! anything else.

use core::{
    cell::UnsafeCell,
    mem::{offset_of, size_of, MaybeUninit},
    ptr::NonNull,
};

use conntrack::tuple::{Direction, Family, Tuple};
use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_void},
    prelude::*,
    sync::rcu,
};

use crate::{
    namespace::{PerNet, Tracker},
    rcu::ReadSide,
};

/// The option's number, the same in IP6T_SO_ORIGINAL_DST (linux/in6.h).
const OPTION: c_int = raw::SO_ORIGINAL_DST as c_int;

/// Answers SO_ORIGINAL_DST for IPv4 and IPv6 sockets while it lives.
pub struct OriginalDst(KBox<[UnsafeCell<raw::nf_sockopt_ops>; 2]>);

// SAFETY: the two structures are touched by the kernel alone, under its own lock.
unsafe impl Send for OriginalDst {}
// SAFETY: as above.
unsafe impl Sync for OriginalDst {}

impl OriginalDst {
    /// Takes the option. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` where another tracker has it.
    pub fn register<T: Tracker>(module: &'static ThisModule) -> Result<Self> {
        let ops = |family: Family| {
            UnsafeCell::new(raw::nf_sockopt_ops {
                pf: family.number() as u8,
                get_optmin: OPTION,
                get_optmax: OPTION.wrapping_add(1),
                get: Some(match family {
                    Family::Ipv4 => get_v4::<T>,
                    Family::Ipv6 => get_v6::<T>,
                }),
                owner: module.as_ptr().cast(),
                ..Default::default()
            })
        };
        let both = KBox::new([ops(Family::Ipv4), ops(Family::Ipv6)], GFP_KERNEL)?;
        let [v4, v6] = &*both;
        // SAFETY: in a box, so they stay where they are until `drop` takes them back.
        unsafe {
            to_result(raw::nf_register_sockopt(v4.get()))?;
            if let Err(error) = to_result(raw::nf_register_sockopt(v6.get())) {
                raw::nf_unregister_sockopt(v4.get());
                return Err(error);
            }
        }
        Ok(Self(both))
    }
}

impl Drop for OriginalDst {
    fn drop(&mut self) {
        for ops in &*self.0 {
            // SAFETY: registered by `register`.
            unsafe { raw::nf_unregister_sockopt(ops.get()) };
        }
    }
}

/// The ends of a socket.
///
/// # Safety
///
/// `sock` must be a valid socket of this family that the caller does not hold locked.
unsafe fn ends(sock: *mut raw::sock, family: Family) -> raw::ipct_socket {
    let mut ends = MaybeUninit::<raw::ipct_socket>::uninit();
    // SAFETY: by the contract of this function; the helper fills the structure whole.
    unsafe {
        raw::ipct_socket_ends(sock, c_int::from(family.number() as u8), ends.as_mut_ptr());
        ends.assume_init()
    }
}

/// The original destination of the connection between two ends: address and port.
///
/// # Safety
///
/// `ends.net` must be a living namespace.
unsafe fn destination<T: Tracker>(
    ends: &raw::ipct_socket,
    family: Family,
) -> Result<([u32; 4], [u8; 2])> {
    let sent = Tuple::new(
        family,
        ends.protocol,
        ends.local,
        ends.local_port.to_ne_bytes(),
        ends.remote,
        ends.remote_port.to_ne_bytes(),
    );
    let guard = rcu::read_lock();
    let read = ReadSide::of(&guard);
    let registry: &'static PerNet<T> = T::namespaces();
    // SAFETY: a socket holds its namespace; the read lock is held.
    let net = unsafe { registry.get(NonNull::new(ends.net).ok_or(ENOENT)?, read) }.ok_or(ENOENT)?;
    let conn = T::find(net, &sent, read).ok_or(ENOENT)?;
    let original = conn.tuple(Direction::Original);
    Ok((original.dst_words(), original.dst_id()))
}

/// Copies an answer to the user.
///
/// # Safety
///
/// `T` must have no padding, and `user` come from a system call.
unsafe fn give<T>(user: *mut c_void, answer: &T) -> Result<c_int> {
    // SAFETY: the kernel checks the user's address; `answer` has as many bytes as said, all set.
    let left =
        unsafe { raw::ipct_copy_to_user(user, core::ptr::from_ref(answer).cast(), size_of::<T>()) };
    if left == 0 {
        Ok(0)
    } else {
        Err(EFAULT)
    }
}

/// Refuses what stock refuses: other protocols, and room that is too small.
///
/// # Safety
///
/// `len` must be valid.
unsafe fn check(ends: &raw::ipct_socket, len: *const c_int, needed: usize) -> Result {
    /// Transport protocols that the option knows (linux/in.h).
    const KNOWN: [u8; 2] = [6, 132];
    if !KNOWN.contains(&ends.protocol) {
        return Err(ENOPROTOOPT);
    }
    // SAFETY: by the contract of this function.
    match usize::try_from(unsafe { *len }) {
        Ok(room) if room >= needed => Ok(()),
        _ => Err(EINVAL),
    }
}

/// # Safety
///
/// Called by getsockopt only.
unsafe extern "C" fn get_v4<T: Tracker>(
    sock: *mut raw::sock,
    _: c_int,
    user: *mut c_void,
    len: *mut c_int,
) -> c_int {
    // SAFETY: called by getsockopt with a valid socket and length.
    from_result(|| unsafe {
        let ends = ends(sock, Family::Ipv4);
        check(&ends, len, size_of::<raw::sockaddr_in>())?;
        let ([address, ..], port) = destination::<T>(&ends, Family::Ipv4)?;
        let answer = raw::sockaddr_in {
            sin_family: Family::Ipv4.number(),
            sin_port: u16::from_ne_bytes(port),
            sin_addr: raw::in_addr { s_addr: address },
            ..Default::default()
        };
        give(user, &answer)
    })
}

/// # Safety
///
/// Called by getsockopt only.
unsafe extern "C" fn get_v6<T: Tracker>(
    sock: *mut raw::sock,
    _: c_int,
    user: *mut c_void,
    len: *mut c_int,
) -> c_int {
    // SAFETY: called by getsockopt with a valid socket and length.
    from_result(|| unsafe {
        let ends = ends(sock, Family::Ipv6);
        check(&ends, len, size_of::<raw::sockaddr_in6>())?;
        let (address, port) = destination::<T>(&ends, Family::Ipv6)?;
        let answer = raw::sockaddr_in6 {
            sin6_family: Family::Ipv6.number(),
            sin6_port: u16::from_ne_bytes(port),
            sin6_flowinfo: ends.flowinfo,
            sin6_addr: raw::in6_addr {
                in6_u: raw::in6_addr__bindgen_ty_1 { u6_addr32: address },
            },
            sin6_scope_id: raw::ipct_scope_id(address.as_ptr(), ends.device),
        };
        give(user, &answer)
    })
}

// `give` copies whole structures: no byte of them may be padding.
const _: () = assert!(offset_of!(raw::sockaddr_in, __pad) + 8 == size_of::<raw::sockaddr_in>());
const _: () = assert!(size_of::<raw::sockaddr_in6>() == 2 + 2 + 4 + 16 + 4);
