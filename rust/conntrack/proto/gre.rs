// SPDX-License-Identifier: GPL-2.0
//! GRE (RFC 2784, RFC 2637): no states, but a difference between one way and two.

use super::{Effect, Outcome};
use crate::{status::Status, timeouts::Timeouts};

/// What a packet does.
pub(super) fn update(status: Status, timeouts: &Timeouts) -> Outcome {
    if status.contains(Status::SEEN_REPLY) {
        Outcome::Accept(Effect {
            timeout: Some(timeouts.gre_stream.get()),
            set: Status::ASSURED,
            ..Effect::default()
        })
    } else {
        Effect::timeout(timeouts.gre.get())
    }
}
