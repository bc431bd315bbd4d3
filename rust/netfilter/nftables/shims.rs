// SPDX-License-Identifier: GPL-2.0
//! The functions that nf_tables calls for an expression, and what they have in common with those for others.

use core::{
    marker::PhantomData,
    mem::{align_of, offset_of},
    ptr,
};

use conntrack::{
    netlink::{
        write::{Writer, Written},
        Error,
    },
    rule::nftables::{Operand, Step},
};
use kernel::{
    error::code,
    ffi::{c_int, c_uint},
    prelude::*,
};

use super::{AtHook, Attributes, Expression, Place, Register};
use crate::{nfnetlink::errno, rule::Home};

/// Where an expression is, behind the head of nf_tables.
pub(super) const AT: usize = offset_of!(raw::nft_expr, data);

/// The functions for an expression.
pub(super) struct Shims<E>(PhantomData<E>);

/// What nf_tables keeps of an expression, behind its own head.
#[repr(C)]
#[derive(Clone, Copy)]
struct Kept<E> {
    expression: E,
    /// The place of its register among all, in words.
    register: u8,
    /// Bytes of it that count.
    len: u8,
    is_source: bool,
}

/// Bytes that the attributes of an expression or an object may take.
const ROOM: usize = 256;

impl<E: Expression> Shims<E> {
    /// Bytes of an expression with its head (NFT_EXPR_SIZE).
    pub(super) const SIZE: c_uint = {
        assert!(align_of::<Kept<E>>() <= align_of::<raw::nft_expr>());
        (AT + size_of::<Kept<E>>()).next_multiple_of(align_of::<raw::nft_expr>()) as c_uint
    };

    fn place(expression: *const raw::nft_expr) -> *mut Kept<E> {
        expression.cast_mut().wrapping_byte_add(AT).cast()
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` has made.
    pub(super) unsafe extern "C" fn eval(
        expression: *const raw::nft_expr,
        registers: *mut raw::nft_regs,
        packet: *const raw::nft_pktinfo,
    ) {
        // SAFETY: called by nf_tables within a hook, with a packet of its own.
        unsafe {
            let kept = &*Self::place(expression);
            // INVARIANT: nf_tables has agreed to the register, and has seen to it that what is read was written.
            let register = Register {
                at: registers.cast::<u32>().add(kept.register.into()),
                len: kept.len.into(),
                is_source: kept.is_source,
                _registers: PhantomData,
            };
            let step = kept.expression.eval(register, &mut AtHook::new(packet));
            set_verdict(registers, step);
        }
    }

    /// # Safety
    ///
    /// Called by nf_tables only.
    pub(super) unsafe extern "C" fn init(
        context: *const raw::nft_ctx,
        expression: *const raw::nft_expr,
        table: *const *const raw::nlattr,
    ) -> c_int {
        let mut register = 0;
        // SAFETY: called by nf_tables, with as many attributes as were registered.
        let made = unsafe {
            make(context, table, E::FORM.most(), |attributes, place| {
                let made = E::new(attributes, place)?;
                let attribute = made.operand().map(|operand| attributes.raw(operand.kind));
                if attribute.is_some_and(|attribute| attribute.is_null()) {
                    return Err(Error::Invalid);
                }
                Ok((made, attribute.unwrap_or(ptr::null())))
            })
        };
        let (made, attribute) = match made {
            Ok(made) => made,
            Err(error) => return error,
        };
        let operand = made.operand().unwrap_or(NO_OPERAND);
        if !attribute.is_null() {
            // SAFETY: as nf_tables has given them.
            let found = unsafe { register_of(context, attribute, operand, &mut register) };
            if found < 0 {
                return found;
            }
        }
        let kept = Kept {
            expression: made,
            register,
            len: operand.len,
            is_source: operand.is_source,
        };
        // SAFETY: nf_tables has made room for as much as was registered, and nobody else looks yet; and as above.
        unsafe {
            Self::place(expression).write(kept);
            if let Some(place) = place_of(context) {
                made.made(&place);
            }
        }
        0
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` has made.
    pub(super) unsafe extern "C" fn destroy(
        context: *const raw::nft_ctx,
        expression: *const raw::nft_expr,
    ) {
        // SAFETY: called by nf_tables.
        let (place, kept) = unsafe { (place_of(context), &*Self::place(expression)) };
        if let Some(place) = place {
            kept.expression.gone(&place);
        }
    }

    /// # Safety
    ///
    /// Called by nf_tables only, with an expression that `init` has made.
    pub(super) unsafe extern "C" fn dump(
        skb: *mut raw::sk_buff,
        expression: *const raw::nft_expr,
        _reset: bool,
    ) -> c_int {
        // SAFETY: called by nf_tables, with a message that is being made.
        unsafe {
            let kept = &*Self::place(expression);
            if let Some(Operand { kind, .. }) = kept.expression.operand() {
                let written = raw::nft_dump_register(skb, kind.into(), kept.register.into());
                if written < 0 {
                    return written;
                }
            }
            tell(skb, |out| kept.expression.write(out))
        }
    }
}

const NO_OPERAND: Operand = Operand {
    kind: 0,
    len: 0,
    is_source: false,
};

/// Finds the register that an attribute names; negative if it may not be.
///
/// # Safety
///
/// `context` must come from nf_tables for an expression that is being made, and `attribute` be one of that.
#[inline]
unsafe fn register_of(
    context: *const raw::nft_ctx,
    attribute: *const raw::nlattr,
    operand: Operand,
    register: &mut u8,
) -> c_int {
    // SAFETY: by the contract of this function.
    unsafe {
        if operand.is_source {
            raw::nft_parse_register_load(context, attribute, register, operand.len.into())
        } else {
            raw::nft_parse_register_store(
                context,
                attribute,
                register,
                ptr::null(),
                raw::nft_data_types_NFT_DATA_VALUE,
                operand.len.into(),
            )
        }
    }
}

/// Says how the rule goes on.
///
/// # Safety
///
/// `registers` must come from nf_tables for an expression that is being evaluated.
#[inline]
pub(super) unsafe fn set_verdict(registers: *mut raw::nft_regs, step: Step) {
    let code = match step {
        Step::On => return,
        Step::Break => raw::nft_verdicts_NFT_BREAK,
        // CAST: zero.
        Step::Drop => raw::NF_DROP as i32,
    };
    // SAFETY: the verdict is the first word; the rest is the caller's promise.
    unsafe { registers.cast::<i32>().write(code) };
}

/// What `new` makes of attributes; or the error for nf_tables.
///
/// # Safety
///
/// All must come from nf_tables for an expression or an object that is being made, whose attributes have numbers up to
/// `most`.
pub(super) unsafe fn make<T>(
    context: *const raw::nft_ctx,
    table: *const *const raw::nlattr,
    most: u16,
    new: impl FnOnce(&Attributes<'_>, &Place<'_>) -> Result<T, Error>,
) -> Result<T, c_int> {
    // SAFETY: by the contract of this function.
    let (place, attributes) = unsafe { (place_of(context), Attributes::new(table, most)) };
    let place = place.ok_or(code::EINVAL.to_errno())?;
    new(&attributes, &place).map_err(errno)
}

/// Has attributes written into a message; negative if there is no room.
///
/// # Safety
///
/// `skb` must be a message that is the caller's.
pub(super) unsafe fn tell(
    skb: *mut raw::sk_buff,
    write: impl FnOnce(&mut Writer<'_>) -> Written,
) -> c_int {
    let mut room = [0; ROOM];
    let mut out = Writer::new(&mut room);
    // SAFETY: by the contract of this function.
    if write(&mut out).is_ok() && unsafe { append(skb, out.as_bytes()) } {
        0
    } else {
        code::EMSGSIZE.to_errno()
    }
}

// Not generic, so that they are compiled into the core.

/// Where an expression or an object is.
///
/// # Safety
///
/// `context` must be valid, and its namespace live, for `'a`.
#[inline(never)]
unsafe fn place_of<'a>(context: *const raw::nft_ctx) -> Option<Place<'a>> {
    // SAFETY: by the contract of this function.
    unsafe {
        Some(Place {
            family: (*context).family,
            home: Home::new((*context).net)?,
        })
    }
}

/// Appends attributes to a message; whether there was room.
///
/// # Safety
///
/// `skb` must be a message that is the caller's.
#[inline(never)]
unsafe fn append(skb: *mut raw::sk_buff, bytes: &[u8]) -> bool {
    // SAFETY: by the contract of this function.
    unsafe { raw::ipct_skb_append(skb, bytes.as_ptr().cast(), bytes.len()) }
}
