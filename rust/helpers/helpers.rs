// SPDX-License-Identifier: GPL-2.0
//! What the helpers' modules read, as one crate for the host's tests; each module holds its own
//! file alone.
#![cfg_attr(not(test), no_std)]
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

pub mod amanda;
pub mod ftp;
pub mod irc;
pub mod talk;
pub mod tftp;
