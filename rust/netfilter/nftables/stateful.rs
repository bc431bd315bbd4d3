// SPDX-License-Identifier: GPL-2.0
//! Expressions of nf_tables that remember something from packet to packet, in a rule or in each element of a set.

use core::{ffi::CStr, marker::PhantomData};

use conntrack::{
    netlink::{
        write::{Writer, Written},
        Error,
    },
    rule::nftables::Step,
};
use kernel::{
    alloc::{flags::GFP_KERNEL_ACCOUNT, Flags},
    ffi::{c_int, c_uint},
    prelude::*,
};

use super::{
    register::{blank_ops, Expressions},
    shims::{make, set_verdict, tell, AT},
    AtHook, Attributes, Place,
};
use crate::{nfnetlink::Message, rule::Home};

/// An expression that remembers something.
///
/// It is dropped wherever nf_tables drops it, also in softirq context.
pub trait Stateful: Sized + Send + Sync + 'static {
    /// Its name in rules.
    const NAME: &'static CStr;
    /// What its attributes must be like.
    const FORM: Message;

    /// Makes one. May sleep.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error>;

    /// The same anew, for an element of a set. May be in a packet's way, as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn again(&self, flags: Flags) -> Result<Self>;

    /// Does what it does with a packet. Softirq or process context.
    fn eval(&self, at: &mut AtHook<'_>) -> Step;

    /// Whether there is nothing to remember, so that its element may go. Under the RCU read lock.
    fn is_idle(&self, home: &Home<'_>) -> bool;

    /// Writes its attributes.
    ///
    /// # Errors
    ///
    /// [`conntrack::netlink::write::NoRoom`].
    fn write(&self, out: &mut Writer<'_>) -> Written;
}

/// An expression that is registered while this lives. With rules that use it the module cannot be
/// unloaded.
pub struct Registered<S: Stateful> {
    _structures: Expressions,
    _expression: PhantomData<S>,
}

impl<S: Stateful> Registered<S> {
    /// Registers it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let ops = raw::nft_expr_ops {
            eval: Some(Shims::<S>::eval),
            init: Some(Shims::<S>::init),
            destroy: Some(Shims::<S>::destroy),
            clone: Some(Shims::<S>::clone),
            destroy_clone: Some(Shims::<S>::destroy),
            gc: Some(Shims::<S>::is_idle),
            dump: Some(Shims::<S>::dump),
            // What is kept is elsewhere: nf_tables copies an expression to where packets meet it.
            size: (AT + size_of::<*mut S>()) as c_uint,
            ..blank_ops()
        };
        // CAST: two bits.
        let flags = (raw::NFT_EXPR_STATEFUL | raw::NFT_EXPR_GC) as u8;
        Ok(Self {
            _structures: Expressions::new(module, S::NAME, &S::FORM, flags, ops)?,
            _expression: PhantomData,
        })
    }
}

/// The functions for such an expression.
struct Shims<S>(PhantomData<S>);

impl<S: Stateful> Shims<S> {
    /// The place of the pointer to what is kept.
    fn place(expression: *const raw::nft_expr) -> *mut *mut S {
        expression.cast_mut().wrapping_byte_add(AT).cast()
    }

    /// What is kept.
    ///
    /// # Safety
    ///
    /// `expression` must be one that `init` or `clone` has made, and live for `'a`.
    unsafe fn kept<'a>(expression: *const raw::nft_expr) -> &'a S {
        // SAFETY: written when it was made.
        unsafe { &*Self::place(expression).read() }
    }

    /// Keeps one.
    ///
    /// # Safety
    ///
    /// `expression` must be the caller's alone, with room for the pointer.
    unsafe fn keep(expression: *const raw::nft_expr, one: S, flags: Flags) -> Result {
        let one = KBox::new(one, flags)?;
        // SAFETY: the caller's promise.
        unsafe { Self::place(expression).write(KBox::into_raw(one)) };
        Ok(())
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` or `clone` has made.
    unsafe extern "C" fn eval(
        expression: *const raw::nft_expr,
        registers: *mut raw::nft_regs,
        packet: *const raw::nft_pktinfo,
    ) {
        // SAFETY: called by nf_tables within a hook, with a packet of its own.
        unsafe {
            let step = Self::kept(expression).eval(&mut AtHook::new(packet));
            set_verdict(registers, step);
        }
    }

    /// # Safety
    ///
    /// Called by nf_tables only.
    unsafe extern "C" fn init(
        context: *const raw::nft_ctx,
        expression: *const raw::nft_expr,
        table: *const *const raw::nlattr,
    ) -> c_int {
        // SAFETY: called by nf_tables, with as many attributes as were registered; it has made room for as much as was
        // registered, and nobody else looks yet.
        unsafe {
            let made = make(context, table, S::FORM.most(), S::new);
            let kept = made.and_then(|made| {
                Self::keep(expression, made, GFP_KERNEL_ACCOUNT).map_err(|error| error.to_errno())
            });
            kept.map_or_else(|error| error, |()| 0)
        }
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` has made.
    unsafe extern "C" fn clone(
        to: *mut raw::nft_expr,
        from: *const raw::nft_expr,
        flags: raw::gfp_t,
    ) -> c_int {
        // It is asked for with one of two.
        let may_sleep = flags & raw::IPCT_GFP_ATOMIC != raw::IPCT_GFP_ATOMIC;
        let flags = if may_sleep {
            GFP_KERNEL_ACCOUNT
        } else {
            GFP_ATOMIC
        };
        // SAFETY: called by nf_tables, with room for another.
        let made = unsafe {
            let again = Self::kept(from).again(flags);
            again.and_then(|again| Self::keep(to, again, flags))
        };
        made.map_or_else(|error| error.to_errno(), |()| 0)
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` or `clone` has made, and nobody uses any more.
    unsafe extern "C" fn destroy(_: *const raw::nft_ctx, expression: *const raw::nft_expr) {
        // SAFETY: written when it was made; this is the last use.
        drop(unsafe { KBox::from_raw(Self::place(expression).read()) });
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `clone` has made.
    unsafe extern "C" fn is_idle(net: *mut raw::net, expression: *const raw::nft_expr) -> bool {
        // SAFETY: called by nf_tables, with a namespace that lives.
        unsafe { Home::new(net).is_some_and(|home| Self::kept(expression).is_idle(&home)) }
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` or `clone` has made.
    unsafe extern "C" fn dump(
        skb: *mut raw::sk_buff,
        expression: *const raw::nft_expr,
        _reset: bool,
    ) -> c_int {
        // SAFETY: called by nf_tables, with a message that is being made.
        unsafe { tell(skb, |out| Self::kept(expression).write(out)) }
    }
}
