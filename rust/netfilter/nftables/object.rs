// SPDX-License-Identifier: GPL-2.0
//! Objects of nf_tables, which rules refer to by name.

use core::{
    marker::PhantomData,
    mem::{align_of, offset_of},
};

use conntrack::{
    netlink::{
        write::{Writer, Written},
        Error,
    },
    rule::nftables::Step,
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint},
    prelude::*,
};

use super::{
    shims::{make, set_verdict, tell},
    AtHook, Attributes, Place,
};
use crate::nfnetlink::{policy_of, Message};

/// An object.
pub trait Object: Sized + Send + Sync + 'static {
    /// The number of its kind (NFT_OBJECT_*).
    const NUMBER: u32;
    /// What its attributes must be like.
    const FORM: Message;

    /// Makes one. May sleep.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error>;

    /// Does what it does with the packet of a rule that refers to it. Softirq or process context.
    fn eval(&self, at: &mut AtHook<'_>) -> Step;

    /// Writes its attributes.
    ///
    /// # Errors
    ///
    /// [`conntrack::netlink::write::NoRoom`].
    fn write(&self, out: &mut Writer<'_>) -> Written;
}

/// A kind of object that is registered while this lives. With objects of it the module cannot be
/// unloaded.
pub struct Registered<O: Object> {
    kind: KBox<Structures>,
    _object: PhantomData<O>,
}

/// The kernel's structures, which lead to each other.
struct Structures {
    kind: raw::nft_object_type,
    ops: raw::nft_object_ops,
    _policy: KVec<raw::nla_policy>,
}

// SAFETY: nf_tables touches them under its own lock, and nobody else does.
unsafe impl<O: Object> Send for Registered<O> {}
// SAFETY: as above.
unsafe impl<O: Object> Sync for Registered<O> {}

impl<O: Object> Registered<O> {
    /// Registers it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let policy = policy_of(&O::FORM)?;
        let mut kind = KBox::new(
            Structures {
                kind: raw::nft_object_type {
                    type_: O::NUMBER,
                    owner: module.as_ptr().cast(),
                    policy: policy.as_ptr(),
                    maxattr: c_uint::from(O::FORM.most()),
                    ..blank_kind()
                },
                ops: raw::nft_object_ops {
                    eval: Some(Shims::<O>::eval),
                    init: Some(Shims::<O>::init),
                    destroy: Some(Shims::<O>::destroy),
                    dump: Some(Shims::<O>::dump),
                    size: Shims::<O>::SIZE,
                    ..blank_ops()
                },
                _policy: policy,
            },
            GFP_KERNEL,
        )?;
        kind.kind.ops = &raw const kind.ops;
        kind.ops.type_ = &raw const kind.kind;
        // SAFETY: all of it stays in its box until it is taken back.
        to_result(unsafe { raw::nft_register_obj(&raw mut kind.kind) })?;
        Ok(Self {
            kind,
            _object: PhantomData,
        })
    }
}

impl<O: Object> Drop for Registered<O> {
    fn drop(&mut self) {
        // SAFETY: registered by `new`.
        unsafe { raw::nft_unregister_obj(&raw mut self.kind.kind) };
        // Who has found it in the list goes on to look at it under RCU, before taking the module.
        kernel::sync::rcu::synchronize_rcu();
    }
}

/// The functions for a kind of object.
struct Shims<O>(PhantomData<O>);

impl<O: Object> Shims<O> {
    /// Bytes of an object, without the head of nf_tables.
    const SIZE: c_uint = {
        assert!(align_of::<O>() <= align_of::<u64>());
        size_of::<O>() as c_uint
    };

    fn place(object: *mut raw::nft_object) -> *mut O {
        object
            .wrapping_byte_add(offset_of!(raw::nft_object, data))
            .cast()
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an object that `init` has made.
    unsafe extern "C" fn eval(
        object: *mut raw::nft_object,
        registers: *mut raw::nft_regs,
        packet: *const raw::nft_pktinfo,
    ) {
        // SAFETY: called by nf_tables within a hook, with a packet of its own.
        unsafe {
            let step = (*Self::place(object)).eval(&mut AtHook::new(packet));
            set_verdict(registers, step);
        }
    }

    /// # Safety
    ///
    /// Called by nf_tables only.
    unsafe extern "C" fn init(
        context: *const raw::nft_ctx,
        table: *const *const raw::nlattr,
        object: *mut raw::nft_object,
    ) -> c_int {
        // SAFETY: called by nf_tables, with as many attributes as were registered; it has made room for as much as was
        // registered, and nobody else looks yet.
        unsafe {
            match make(context, table, O::FORM.most(), O::new) {
                Ok(made) => Self::place(object).write(made),
                Err(error) => return error,
            }
        }
        0
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an object that `init` has made, and that no rule refers to any more.
    unsafe extern "C" fn destroy(_: *const raw::nft_ctx, object: *mut raw::nft_object) {
        // SAFETY: called by nf_tables, a grace period after the last rule that referred to it.
        unsafe { Self::place(object).drop_in_place() };
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an object that `init` has made.
    unsafe extern "C" fn dump(
        skb: *mut raw::sk_buff,
        object: *mut raw::nft_object,
        _reset: bool,
    ) -> c_int {
        // SAFETY: called by nf_tables, with a message that is being made.
        unsafe { tell(skb, |out| (*Self::place(object)).write(out)) }
    }
}

// Not generic, so that they are compiled into the core: the bindings export nothing.

#[inline(never)]
fn blank_kind() -> raw::nft_object_type {
    Default::default()
}

#[inline(never)]
fn blank_ops() -> raw::nft_object_ops {
    Default::default()
}
