// SPDX-License-Identifier: GPL-2.0
//! What modules register with nf_tables.

use core::{ffi::CStr, marker::PhantomData};

use kernel::{error::to_result, ffi::c_uint, prelude::*};

use super::{shims::Shims, Expression};
use crate::nfnetlink::{policy_of, Message};

/// An expression that is registered while this lives. With rules that use it the module cannot be
/// unloaded.
pub struct Registered<E: Expression> {
    _structures: Expressions,
    _expression: PhantomData<E>,
}

impl<E: Expression> Registered<E> {
    /// Registers it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let ops = raw::nft_expr_ops {
            eval: Some(Shims::<E>::eval),
            init: Some(Shims::<E>::init),
            destroy: Some(Shims::<E>::destroy),
            // (Of what has no attributes the kernel tells nothing.)
            dump: if E::FORM.most() == 0 {
                None
            } else {
                Some(Shims::<E>::dump)
            },
            size: Shims::<E>::SIZE,
            ..blank_ops()
        };
        Ok(Self {
            _structures: Expressions::new(module, E::NAME, &E::FORM, 0, ops)?,
            _expression: PhantomData,
        })
    }
}

/// The kernel's structures of an expression, registered.
pub(super) struct Expressions(KBox<Structures>);

/// Those that lead to each other.
struct Structures {
    kind: raw::nft_expr_type,
    ops: raw::nft_expr_ops,
    _policy: KVec<raw::nla_policy>,
}

// SAFETY: nf_tables touches them under its own lock, and nobody else does.
unsafe impl Send for Expressions {}
// SAFETY: as above.
unsafe impl Sync for Expressions {}

impl Expressions {
    // Both are inlined into the modules that register something: nothing in the core refers to nf_tables.

    /// Registers an expression, of which `ops` are the functions.
    #[inline]
    pub(super) fn new(
        module: &'static ThisModule,
        name: &'static CStr,
        form: &Message,
        flags: u8,
        ops: raw::nft_expr_ops,
    ) -> Result<Self> {
        let mut structures = structures(module, name, form, flags, ops)?;
        // SAFETY: all of it stays in its box until it is taken back.
        to_result(unsafe { raw::nft_register_expr(&raw mut structures.kind) })?;
        Ok(Self(structures))
    }
}

impl Drop for Expressions {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: registered by `new`.
        unsafe { raw::nft_unregister_expr(&raw mut self.0.kind) };
        // Who has found it in the list goes on to look at it under RCU, before taking the module.
        kernel::sync::rcu::synchronize_rcu();
    }
}

// Not generic, so that they are compiled into the core: the bindings export nothing.

#[inline(never)]
pub(super) fn blank_ops() -> raw::nft_expr_ops {
    Default::default()
}

#[inline(never)]
fn structures(
    module: &'static ThisModule,
    name: &'static CStr,
    form: &Message,
    flags: u8,
    ops: raw::nft_expr_ops,
) -> Result<KBox<Structures>> {
    let policy = policy_of(form)?;
    let mut this = KBox::new(
        Structures {
            kind: raw::nft_expr_type {
                name: name.as_char_ptr(),
                owner: module.as_ptr().cast(),
                policy: policy.as_ptr(),
                maxattr: c_uint::from(form.most()),
                flags,
                ..Default::default()
            },
            ops,
            _policy: policy,
        },
        GFP_KERNEL,
    )?;
    this.kind.ops = &raw const this.ops;
    this.ops.type_ = &raw const this.kind;
    Ok(this)
}
