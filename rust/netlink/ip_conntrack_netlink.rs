// SPDX-License-Identifier: GPL-2.0
//! ctnetlink: what `conntrack` and other programs ask of connections and expectations.
#![forbid(unsafe_code)]

mod connections;
mod events;
mod page;
mod policies;

use ip_conntrack::events::{listen, Listening};
use kernel::prelude::*;
use netfilter::nfnetlink::Registration;

use crate::{connections::Connections, events::Teller, policies::Policies};

module! {
    type: Edge,
    name: "ip_conntrack_netlink",
    authors: ["The ip_conntrack developers"],
    description: "Lists and changes connections by netlink, and tells of them",
    license: "GPL v2",
}

pub(crate) struct Edge {
    _connections: Registration<Connections>,
    _policies: Registration<Policies>,
    _events: Listening,
}

impl kernel::Module for Edge {
    fn init(_: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _connections: Registration::new()?,
            _policies: Registration::new()?,
            _events: listen(&Teller)?,
        })
    }
}
