// SPDX-License-Identifier: GPL-2.0
//! ICMP errors: related to the connection of the packet that they quote.

use conntrack::{
    ctinfo::CtInfo,
    reason::Reason,
    tuple::{Direction, Tuple},
    zone::Zone,
};
use netfilter::Context;

use crate::{namespace::Namespace, track::Decision};

/// An error about a packet to which an answer would have the tuple `answer`.
pub(crate) fn error(context: &Context<'_, Namespace>, zone: Zone, answer: &Tuple) -> Decision {
    let net = context.net;
    let shared = &net.tracker().shared;
    match shared.find(net, zone, answer, context.read) {
        Some((conn, Direction::Original)) => Decision::Tracked(conn, CtInfo::Related),
        Some((conn, Direction::Reply)) => Decision::Tracked(conn, CtInfo::RelatedReply),
        None => Decision::Invalid(Reason::QuoteUnknown),
    }
}
