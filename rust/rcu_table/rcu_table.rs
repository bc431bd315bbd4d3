// SPDX-License-Identifier: GPL-2.0
//! An RCU-protected hash table of connections.
//!
//! Each entry stands in the chain of its key; some have a second key, and stand in two. Readers
//! take no lock; writers lock the chains they change. Chains are singly linked and sorted by hash.
//! A link to an entry is one word: the entry's address, with the key that it is linked by in bit 0.
//!
//! # Why readers are safe
//!
//! - An entry is linked with a release store, after everything in it was written; readers follow
//!   links with acquire loads. So nobody sees half an entry.
//! - An entry that is taken out keeps its own `next`, so a reader that stands on it walks on. It
//!   is never put in again ([`Link`] goes from fresh to linked to removed and no further), so
//!   its `next` leads to the rest of the same chain, and a walk ends.
//! - Its memory goes back only after a grace period ([`Node::put`]), so a reader that stands on
//!   it, under a [`ReadSide`], stands on an entry.
//! - No entry goes from one chain to another: when the number of buckets changes, chains are cut in
//!   two or put one behind the other (`resize.rs`). A reader that comes to the end of a chain that
//!   was cut under its feet sees that, and looks again.
//! - A reader gets a counted reference only by [`Seen::get`], which fails at a count of zero.
//!
//! The crate needs `core` alone, and is generic over the entry, the lock and how memory is given
//! back, so that its tests run on the host: `cargo test`, and every interleaving of small cases
//! under loom with `RUSTFLAGS="--cfg loom" cargo test --release --test loom`.
#![cfg_attr(not(any(test, MODULE, loom)), no_std)]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod buckets;
mod due;
mod entry;
mod resize;
pub mod size;
mod sync;
mod table;
mod walk;

pub use buckets::{Chains, Head};
pub use due::{Ahead, Due, Look, Looked, Moment};
pub use entry::{Grace, Key, Link, Node, ReadSide, Ref, Seen};
pub use table::{Clash, Done, Insert, Sought, Storage, Stripe, Table};
pub use walk::Walk;
