// SPDX-License-Identifier: GPL-2.0
//! bindgen's output, as a crate of its own; only the `netfilter` crate names it.
#![allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ptr_cast_constness,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
#![feature(cfi_encoding)] // the kernel's bindgen parameters emit it

mod generated {
    use pin_init::{MaybeZeroable, Zeroable};
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;
    // SAFETY: `__BindgenBitfieldUnit` is a newtype around `Storage`.
    unsafe impl<Storage: Zeroable> Zeroable for __BindgenBitfieldUnit<Storage> {}
    include!(concat!(
        env!("IP_CONNTRACK_OBJ"),
        "/rust/netfilter/bindings_generated.rs"
    ));
}
pub use generated::*;
