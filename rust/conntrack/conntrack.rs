// SPDX-License-Identifier: GPL-2.0
//! The engine of connection tracking: packets in, verdicts and states out.
//!
//! Nothing here reads a clock, a configuration or a packet buffer of the kernel: time, limits and
//! bytes are arguments, so what the host's tests run is what the module runs.
#![cfg_attr(not(any(test, MODULE)), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
#![allow(unreachable_pub)] // The users of a module's library crate are other crates.

pub mod ctinfo;
pub mod event;
pub mod helper;
pub mod netlink;
pub mod packet;
pub mod proto;
pub mod reason;
pub mod rule;
pub mod seq;
pub mod setting;
pub mod show;
pub mod siphash;
pub mod status;
pub mod time;
pub mod timeouts;
pub mod tuple;
mod wire;
pub mod zone;
