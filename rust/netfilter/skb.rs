// SPDX-License-Identifier: GPL-2.0
//! Packets.

use core::{mem::MaybeUninit, ptr::NonNull, slice};

use conntrack::{
    ctinfo::CtInfo,
    packet::{Bytes, Checksum, Rest, HEADER_WINDOW},
    status::Status,
    tuple::{protocol, Family},
};
use kernel::types::Opaque;
use rcu_table::{Node, Ref};

use crate::conn::{Begun, Conn};

/// Low bits of `skb->_nfct` that hold ctinfo (NFCT_INFOMASK in linux/skbuff.h).
const INFO: usize = 7;

/// A packet that the caller may change.
#[repr(transparent)]
pub struct Skb(Opaque<raw::sk_buff>);

/// Room for the headers of a packet whose linear part does not hold them.
pub struct Window(MaybeUninit<[u8; HEADER_WINDOW]>);

impl Window {
    /// Empty room.
    #[inline]
    pub fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

/// What the tracker has said of a packet so far.
pub enum Attached<'a> {
    /// Nothing.
    None,
    /// That it is not to be tracked.
    Untracked,
    /// That a rule wants it tracked in a certain way (target CT).
    Template(&'a Conn),
    /// That it belongs to a connection.
    Conn(&'a Conn, CtInfo),
}

impl Rest for Skb {
    fn copy(&self, offset: usize, to: &mut [u8]) -> bool {
        let place = || {
            let at = self
                .network_offset()?
                .checked_add(offset.try_into().ok()?)?;
            Some((i32::try_from(at).ok()?, i32::try_from(to.len()).ok()?))
        };
        let Some((at, len)) = place() else {
            return false;
        };
        // SAFETY: a valid packet, and room for `len` bytes; it checks that the packet has them.
        unsafe { raw::skb_copy_bits(self.raw(), at, to.as_mut_ptr().cast(), len) == 0 }
    }
}

impl Skb {
    /// The packet behind a pointer from the kernel.
    ///
    /// # Safety
    ///
    /// `skb` must be valid, and ours alone to change, for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(skb: *mut raw::sk_buff) -> &'a mut Self {
        // SAFETY: the type is transparent; the rest is the caller's promise.
        unsafe { &mut *skb.cast() }
    }

    /// The packet behind a pointer from the kernel, only to be read.
    ///
    /// # Safety
    ///
    /// `skb` must be valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw_ref<'a>(skb: *const raw::sk_buff) -> &'a Self {
        // SAFETY: the type is transparent; the rest is the caller's promise.
        unsafe { &*skb.cast() }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut raw::sk_buff {
        self.0.get()
    }

    /// Where the network header begins, counted from the packet's data; `None` if behind its end.
    #[inline]
    fn network_offset(&self) -> Option<u32> {
        let skb = self.raw();
        // SAFETY: plain fields of a valid packet.
        let (head, data, network, len) = unsafe {
            (
                (*skb).head as usize,
                (*skb).data as usize,
                (*skb)
                    .__bindgen_anon_4
                    .__bindgen_anon_1
                    .as_ref()
                    .network_header,
                (*skb).len,
            )
        };
        let offset = head.checked_add(usize::from(network))?.checked_sub(data)?;
        u32::try_from(offset).ok().filter(|offset| *offset <= len)
    }

    /// The length from the network header on, in bytes.
    #[inline]
    fn network_len(&self) -> u32 {
        // SAFETY: a plain field of a valid packet.
        let len = unsafe { (*self.raw()).len };
        self.network_offset()
            .map_or(0, |offset| len.wrapping_sub(offset))
    }

    /// The packet from its network header on.
    #[inline]
    pub fn bytes<'a>(&'a self, window: &'a mut Window) -> Bytes<'a> {
        Bytes::new(self.headers(window), self.network_len(), self)
    }

    /// The packet from its network header on, of which only what is linear lies at hand; nothing where
    /// something lies before that header, which is never so at the hooks.
    #[inline(always)]
    pub fn linear(&self) -> Bytes<'_> {
        let skb = self.raw();
        // SAFETY: plain fields of a valid packet.
        let (head, data, network, len, nonlinear) = unsafe {
            (
                (*skb).head,
                (*skb).data,
                (*skb)
                    .__bindgen_anon_4
                    .__bindgen_anon_1
                    .as_ref()
                    .network_header,
                (*skb).len,
                (*skb).data_len,
            )
        };
        if head.wrapping_add(usize::from(network)) != data {
            return Bytes::of_part(&[], 0);
        }
        let linear = len.wrapping_sub(nonlinear) as usize;
        // SAFETY: the linear part is `len - data_len` bytes at `data`.
        let bytes = unsafe { slice::from_raw_parts(data, linear) };
        Bytes::of_part(bytes, len)
    }

    /// Whether the kernel knows already that the transport checksum is right, or need not be.
    #[inline]
    pub fn checksum_known(&self) -> bool {
        // SAFETY: a plain field of a valid packet.
        let summed = unsafe {
            (*self.raw())
                .__bindgen_anon_4
                .__bindgen_anon_1
                .as_ref()
                .ip_summed()
        };
        matches!(
            u32::from(summed),
            raw::CHECKSUM_UNNECESSARY | raw::CHECKSUM_PARTIAL
        )
    }

    /// A part of its network header, so many bytes from its begin on.
    ///
    /// # Safety
    ///
    /// They must lie at hand, as at the hooks the least header of the packet's family does.
    #[inline(always)]
    unsafe fn network<T>(&self, offset: usize) -> T {
        let skb = self.raw();
        // SAFETY: plain fields of a valid packet; and the caller's promise.
        unsafe {
            let headers = (*skb).__bindgen_anon_4.__bindgen_anon_1.as_ref();
            let begin = (*skb).head.wrapping_add(headers.network_header.into());
            begin.wrapping_add(offset).cast::<T>().read_unaligned()
        }
    }

    /// Whether it is a fragment of an IPv4 packet (RFC 791, 3.1: there is an offset, or more follow).
    ///
    /// # Safety
    ///
    /// It must be an IPv4 packet at a hook.
    #[inline(always)]
    pub(crate) unsafe fn is_fragment(&self) -> bool {
        const FRAGMENT: u16 = 0x3fff;
        // SAFETY: the caller's promise; any bytes are a number.
        let field = unsafe { self.network::<u16>(6) };
        field & FRAGMENT.to_be() != 0
    }

    /// What follows its IPv6 header.
    ///
    /// # Safety
    ///
    /// It must be an IPv6 packet at a hook.
    #[inline(always)]
    pub(crate) unsafe fn next_header(&self) -> u8 {
        // SAFETY: as above.
        unsafe { self.network::<u8>(6) }
    }

    /// As much of it as one slice can show, and at least [`HEADER_WINDOW`] bytes or all there are.
    #[inline]
    fn headers<'a>(&'a self, window: &'a mut Window) -> &'a [u8] {
        let skb = self.raw();
        let Some(offset) = self.network_offset() else {
            return &[];
        };
        // SAFETY: plain fields of a valid packet.
        let (len, nonlinear, data) = unsafe { ((*skb).len, (*skb).data_len, (*skb).data) };
        let linear = len.wrapping_sub(nonlinear).saturating_sub(offset) as usize;
        let wanted = (len.wrapping_sub(offset) as usize).min(HEADER_WINDOW);
        if linear >= wanted {
            // SAFETY: the linear part is `len - data_len` bytes at `data`, and `offset` of them
            // come before the network header.
            return unsafe { slice::from_raw_parts(data.add(offset as usize), linear) };
        }
        let room: *mut u8 = window.0.as_mut_ptr().cast();
        // SAFETY: `wanted` bytes fit the window; a packet of this length has them.
        let copied = unsafe { raw::skb_copy_bits(skb, offset as i32, room.cast(), wanted as i32) };
        if copied != 0 {
            return &[];
        }
        // SAFETY: just filled.
        unsafe { slice::from_raw_parts(room, wanted) }
    }

    /// Whether the packet's checksum is right, as far as the kernel cannot tell already.
    ///
    /// `hook` is the number of the netfilter hook that the packet is at.
    pub fn checksum_ok(&self, hook: u32, family: Family, checksum: Checksum) -> bool {
        let Some(offset) = self
            .network_offset()
            .and_then(|network| network.checked_add(u32::from(checksum.offset)))
        else {
            return false;
        };
        // SAFETY: a plain field of a valid packet.
        let len = unsafe { (*self.raw()).len };
        if offset > len {
            // The functions below stop the machine at this.
            return false;
        }
        if checksum.protocol == protocol::SCTP {
            // SAFETY: a valid packet; it notes in the packet that it was checked.
            return unsafe { raw::ipct_sctp_checksum_ok(self.raw(), offset) };
        }
        // SAFETY: as above.
        let sum = unsafe {
            raw::nf_checksum(self.raw(), hook, offset, checksum.protocol, family.number())
        };
        sum == 0
    }

    /// Makes the whole packet lie at hand; `false` where there is no memory.
    #[must_use]
    pub fn linearize(&mut self) -> bool {
        // SAFETY: the packet is ours to change.
        unsafe { raw::ipct_skb_linearize(self.raw()) }
    }

    /// Its firewall mark.
    pub fn mark(&self) -> u32 {
        // SAFETY: a valid packet. (The mark lies in unions whose number the configuration says.)
        unsafe { raw::ipct_skb_mark(self.raw()) }
    }

    /// Sets its firewall mark.
    pub fn set_mark(&mut self, mark: u32) {
        // SAFETY: a valid packet that is ours to change.
        unsafe { raw::ipct_skb_set_mark(self.raw(), mark) }
    }

    /// Its security mark; zero where the kernel has none.
    pub fn secmark(&self) -> u32 {
        // SAFETY: a valid packet.
        unsafe { raw::ipct_skb_secmark(self.raw()) }
    }

    /// Sets its security mark, where the kernel has one.
    pub fn set_secmark(&mut self, mark: u32) {
        // SAFETY: a valid packet that is ours to change.
        unsafe { raw::ipct_skb_set_secmark(self.raw(), mark) }
    }

    /// How long it is, in bytes from its network header on.
    #[inline]
    pub fn len(&self) -> u32 {
        // SAFETY: a plain field of a valid packet.
        unsafe { (*self.raw()).len }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A frame to a group of hosts goes on as one to this host.
    pub fn take_multicast_frame(&self) {
        // SAFETY: the packet is at a hook, where nobody else looks at it.
        unsafe {
            let headers = (*self.raw()).__bindgen_anon_4.__bindgen_anon_1.as_mut();
            // CAST: numbers of three bits.
            if headers.pkt_type() == raw::PACKET_MULTICAST as u8 {
                headers.set_pkt_type(raw::PACKET_HOST as u8);
            }
        }
    }

    /// What was said of the packet before.
    #[inline]
    pub fn attached(&self) -> Attached<'_> {
        match self.attached_any() {
            Some((conn, _)) if conn.status().contains(Status::TEMPLATE) => Attached::Template(conn),
            Some((conn, info)) => Attached::Conn(conn, info),
            // SAFETY: a plain field of a valid packet.
            None if unsafe { (*self.raw())._nfct } == usize::from(CtInfo::Untracked.bits()) => {
                Attached::Untracked
            }
            None => Attached::None,
        }
    }

    /// Its connection, or its template.
    #[inline]
    pub fn attached_any(&self) -> Option<(&Conn, CtInfo)> {
        // SAFETY: a plain field of a valid packet.
        let word = unsafe { (*self.raw())._nfct };
        let info = CtInfo::from_bits((word & INFO) as u8)?;
        let conn = NonNull::new((word & !INFO) as *mut Conn)?;
        // SAFETY: while this module is loaded every pointer there is one of its own, and the packet holds a
        // count.
        Some((unsafe { &*conn.as_ptr() }, info))
    }

    /// Whether nothing was said of it so far.
    #[inline]
    pub fn is_unmarked(&self) -> bool {
        // SAFETY: a plain field of a valid packet.
        unsafe { (*self.raw())._nfct == 0 }
    }

    /// Whether it has no connection, or one whose packets have nothing to do at their last hook.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        // SAFETY: a plain field of a valid packet.
        let word = unsafe { (*self.raw())._nfct };
        NonNull::new((word & !INFO) as *mut Conn).is_none_or(|conn| {
            // SAFETY: as in `attached_any`.
            unsafe { conn.as_ref() }.is_quiet()
        })
    }

    /// The connection of the packet, with a reference of one's own.
    #[inline]
    pub fn conn(&self) -> Option<(Ref<Conn>, CtInfo)> {
        let Attached::Conn(conn, info) = self.attached() else {
            return None;
        };
        Some((conn.hold()?, info))
    }

    /// The packet's connection, if it has just begun and no other packet has it.
    #[inline]
    pub fn begun(&mut self) -> Option<Begun<'_>> {
        match self.attached() {
            // SAFETY: the packet is ours alone for as long as it is borrowed.
            Attached::Conn(conn, _) => unsafe { Begun::of(conn) },
            _ => None,
        }
    }

    /// Takes the template that a rule has attached off the packet, to keep it.
    pub fn take_template(&mut self) -> Option<Ref<Conn>> {
        if !matches!(self.attached(), Attached::Template(_)) {
            return None;
        }
        // SAFETY: the packet is ours, and the count that it held goes to the caller.
        unsafe {
            let conn = NonNull::new(((*self.raw())._nfct & !INFO) as *mut Conn)?;
            (*self.raw())._nfct = 0;
            Some(Ref::from_raw(conn))
        }
    }

    /// Says that the packet belongs to a connection, in place of what was said before.
    #[inline]
    pub fn attach(&mut self, conn: Ref<Conn>, ctinfo: CtInfo) {
        self.replace(Conn::into_word(conn, ctinfo));
    }

    /// The same of a packet of which nothing was said before. (A count that it had all the same would
    /// be lost, and its connection stay: so what [`Self::attached`] has given stays good.)
    #[inline]
    pub fn attach_first(&self, conn: Ref<Conn>, ctinfo: CtInfo) {
        let skb = self.raw();
        // SAFETY: the packet is at a hook, where nobody else looks at it; see `replace`.
        unsafe {
            (*skb)._nfct = Conn::into_word(conn, ctinfo);
            (*skb)
                .__bindgen_anon_4
                .__bindgen_anon_1
                .as_mut()
                .set_slow_gro(1);
        }
    }

    /// Says that the packet is not tracked.
    #[inline]
    pub fn set_untracked(&mut self) {
        self.replace(usize::from(CtInfo::Untracked.bits()));
    }

    /// Takes back what was said before.
    #[inline]
    pub fn detach(&mut self) {
        self.replace(0);
    }

    #[inline]
    fn replace(&mut self, word: usize) {
        let skb = self.raw();
        // SAFETY: the packet is ours; what it held before was counted for it. `slow_gro` tells
        // the kernel to look at `_nfct` when it merges or recycles packets (skb_set_nfct).
        unsafe {
            let before = NonNull::new(((*skb)._nfct & !INFO) as *mut Conn);
            (*skb)._nfct = word;
            if word != 0 {
                (*skb)
                    .__bindgen_anon_4
                    .__bindgen_anon_1
                    .as_mut()
                    .set_slow_gro(1);
            }
            if let Some(conn) = before {
                Conn::put(conn);
            }
        }
    }

    /// The namespace of the device that the packet came by, for the few callers outside a hook.
    pub(crate) fn device_net(&self) -> Option<NonNull<raw::net>> {
        // SAFETY: a plain field of a valid packet; the kernel's `dev_net` of a device that the
        // packet holds.
        unsafe {
            let dev = (*self.raw())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev;
            if dev.is_null() {
                return None;
            }
            NonNull::new(raw::ipct_dev_net(dev))
        }
    }
}
