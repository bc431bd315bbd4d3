// SPDX-License-Identifier: GPL-2.0
//! The atomics: those of `core`, or loom's, which try every interleaving.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
