// SPDX-License-Identifier: GPL-2.0
//! GRE (RFC 2784, RFC 2637): no states, but a difference between one way and two.

use super::{Effect, Outcome};
use crate::{status::Status, timeouts::Config};

/// What a packet does.
pub(super) fn update(status: Status, config: &Config) -> Outcome {
    let timeouts = &config.timeouts;
    if status.contains(Status::SEEN_REPLY) {
        Outcome::Accept(Effect {
            timeout: Some(timeouts.gre_stream.get()),
            set: Status::ASSURED,
            remark: None,
        })
    } else {
        Effect::timeout(timeouts.gre.get())
    }
}
