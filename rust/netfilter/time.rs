// SPDX-License-Identifier: GPL-2.0
//! The clock of the tracker: the low 32 bits of jiffies, as `struct nf_conn` counts.

use conntrack::time::Instant;

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
