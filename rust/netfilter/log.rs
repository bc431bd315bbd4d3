// SPDX-License-Identifier: GPL-2.0
//! Lines in the kernel log that a remote host can cause.

/// Whether a line may be written now: the kernel's own limit for network messages
/// (`net.core.message_cost`, `message_burst`).
pub fn limited() -> bool {
    // SAFETY: callable from any context.
    !unsafe { raw::ipct_net_ratelimit() }
}

/// Makes sure that there is a packet log, for [`crate::Context::log_invalid`]. May sleep.
pub fn load_log() {
    // SAFETY: process context, as the callers of this function promise.
    unsafe { raw::ipct_load_log() };
}
