// SPDX-License-Identifier: GPL-2.0
//! Expressions and objects of nf_tables.
//!
//! nf_tables is a module in most kernels, and the core links to the kernel proper alone. So what
//! calls it here is generic, and compiled into the modules that register something; an expression
//! itself only names the register that it wants (see `xtables`, where the same holds).

pub mod object;
mod register;
mod shims;
pub mod stateful;

use core::{ffi::CStr, marker::PhantomData, ptr};

use conntrack::{
    netlink::{
        attr::Attribute,
        write::{Writer, Written},
        Error,
    },
    rule::nftables::{Operand, Step},
};

use crate::{
    nfnetlink::Message,
    rcu::ReadSide,
    rule::{Home, Packet},
    skb::Skb,
};

pub use self::register::Registered;

/// An expression.
///
/// nf_tables copies it to where packets meet it: so it is `Copy`, and owns nothing.
pub trait Expression: Copy + Send + Sync + 'static {
    /// Its name in rules.
    const NAME: &'static CStr;
    /// What its attributes must be like.
    const FORM: Message;

    /// Looks at an expression that is being made. May sleep.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error>;

    /// It was made. May sleep.
    fn made(&self, _place: &Place<'_>) {}

    /// It goes. May sleep.
    fn gone(&self, _place: &Place<'_>) {}

    /// The register that it wants.
    fn operand(&self) -> Option<Operand> {
        None
    }

    /// Does what it does with a packet. Softirq or process context.
    fn eval(&self, register: Register<'_>, at: &mut AtHook<'_>) -> Step;

    /// Writes its attributes, but for the register.
    ///
    /// # Errors
    ///
    /// [`conntrack::netlink::write::NoRoom`].
    fn write(&self, _out: &mut Writer<'_>) -> Written {
        Ok(())
    }
}

/// Where an expression is.
pub struct Place<'a> {
    /// The family of its table (NFPROTO_*).
    pub family: u8,
    /// Its namespace.
    pub home: Home<'a>,
}

/// The attributes of an expression that is being made; the kernel has seen to their form.
pub struct Attributes<'a> {
    table: *const *const raw::nlattr,
    /// The highest number.
    most: u16,
    _message: PhantomData<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    /// # Safety
    ///
    /// `table` must have so many attributes and one more, null or as the kernel has read them, for as long as this
    /// lives.
    unsafe fn new(table: *const *const raw::nlattr, most: u16) -> Self {
        Self {
            table,
            most,
            _message: PhantomData,
        }
    }

    fn raw(&self, kind: u16) -> *const raw::nlattr {
        if kind > self.most {
            return ptr::null();
        }
        // SAFETY: of the table.
        unsafe { self.table.add(kind.into()).read() }
    }

    /// An attribute, if it is there.
    #[must_use]
    pub fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        // SAFETY: null, or an attribute of the message, which lies before its value and knows the length of both.
        unsafe {
            let attribute = self.raw(kind).as_ref()?;
            let head = size_of::<raw::nlattr>();
            let len = usize::from(attribute.nla_len).checked_sub(head)?;
            let value = ptr::from_ref(attribute).cast::<u8>().add(head);
            Some(Attribute::new(
                attribute.nla_type,
                core::slice::from_raw_parts(value, len),
            ))
        }
    }
}

/// The bytes of a register that an expression has named.
///
/// # Invariants
///
/// `at` leads to whole words with room for `len` bytes, which are not shared for `'a`, and have values if
/// `is_source`.
pub struct Register<'a> {
    at: *mut u32,
    len: usize,
    is_source: bool,
    _registers: PhantomData<&'a mut u32>,
}

/// Bytes of a word.
const WORD: usize = size_of::<u32>();

impl Register<'_> {
    /// Puts bytes there, and zeros behind them up to the end of their last word; what is too much is left out.
    #[inline]
    pub fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if N > self.len {
            return self.put_text(&bytes);
        }
        // SAFETY: there is room for them, and for whole words (invariant).
        unsafe {
            if N % WORD != 0 {
                self.at.add(N / WORD).write(0);
            }
            self.at.cast::<[u8; N]>().write_unaligned(bytes);
        }
    }

    /// Puts bytes there, and zeros behind them up to its end; what is too much is left out.
    #[cold]
    pub fn put_text(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(self.len);
        // SAFETY: there is room for them, and for whole words (invariant).
        unsafe {
            let room = self.len.next_multiple_of(WORD);
            self.at.cast::<u8>().write_bytes(0, room);
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.cast(), len);
        }
    }

    /// Its first bytes; zeros where it has fewer, or is none that is read.
    #[inline]
    #[must_use]
    pub fn get<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        if self.is_source && N <= self.len {
            // SAFETY: they have values (invariant).
            bytes = unsafe { self.at.cast::<[u8; N]>().read_unaligned() };
        }
        bytes
    }
}

/// A packet that an expression meets, and may change.
pub struct AtHook<'a> {
    /// The packet.
    pub skb: &'a mut Skb,
    /// Proof that the RCU read lock is held.
    pub read: ReadSide<'a>,
    state: *const raw::nf_hook_state,
}

impl AtHook<'_> {
    /// # Safety
    ///
    /// `packet` must come from nf_tables within a hook, as long as this lives.
    #[inline]
    unsafe fn new(packet: *const raw::nft_pktinfo) -> Self {
        // SAFETY: the caller's promise: the packet is that of the hook, and nobody else's.
        unsafe {
            Self {
                skb: Skb::from_raw((*packet).skb),
                read: ReadSide::assume(),
                state: (*packet).state,
            }
        }
    }

    /// The packet as other rules see it.
    #[inline]
    #[must_use]
    pub fn packet(&self) -> Packet<'_> {
        // SAFETY: from nf_tables, within a hook.
        unsafe { Packet::new(self.skb, self.state) }
    }
}
