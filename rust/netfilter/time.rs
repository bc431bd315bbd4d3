// SPDX-License-Identifier: GPL-2.0
//! The clock of the tracker: the low 32 bits of jiffies, as `struct nf_conn` counts.

use conntrack::time::{Instant, Ticks};

/// Ticks in a second.
pub const HZ: u32 = raw::IPCT_HZ;

/// The time now.
#[inline]
pub fn now() -> Instant {
    // SAFETY: `jiffies` is a word that the timer interrupt writes; a volatile read sees one value.
    let ticks = unsafe { (&raw const raw::jiffies).read_volatile() };
    // CAST: entries count in the low 32 bits, which wrap.
    Instant::from_ticks(ticks as u32)
}

/// Nanoseconds since 1970, as the machine's clock shows them.
pub fn real_ns() -> u64 {
    // SAFETY: callable from any context.
    unsafe { raw::ipct_real_ns() }
}

/// A span in nanoseconds.
pub fn nanoseconds(span: Ticks) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    u64::from(span.as_u32()).saturating_mul(SECOND / u64::from(HZ))
}

/// Whether anybody listens to events of connections; nfnetlink keeps the word.
#[inline]
pub fn has_listener() -> bool {
    // SAFETY: a byte that others write; a volatile read sees one value.
    unsafe { (&raw const raw::nf_ctnetlink_has_listener).read_volatile() != 0 }
}
