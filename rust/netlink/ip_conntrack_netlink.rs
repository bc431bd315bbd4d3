// SPDX-License-Identifier: GPL-2.0
//! ctnetlink: what `conntrack` and other programs ask of connections and expectations.
#![forbid(unsafe_code)]

mod connections;
mod cpus;
mod events;
mod expectations;
mod page;
mod policies;

use conntrack::netlink::write::flag;
use ip_conntrack::{
    control::Namespace,
    events::{listen, Cause, Listening},
};
use kernel::prelude::*;
use netfilter::nfnetlink::{Registration, Request};

use crate::{
    connections::Connections, events::Teller, expectations::Expectations, policies::Policies,
};

module! {
    type: Edge,
    name: "ip_conntrack_netlink",
    authors: ["The ip_conntrack developers"],
    description: "Lists and changes connections by netlink, and tells of them",
    license: "GPL v2",
}

pub(crate) struct Edge {
    _connections: Registration<Connections>,
    _expectations: Registration<Expectations>,
    _policies: Registration<Policies>,
    _events: Listening,
}

impl kernel::Module for Edge {
    fn init(_: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _connections: Registration::new()?,
            _expectations: Registration::new()?,
            _policies: Registration::new()?,
            _events: listen(&Teller)?,
        })
    }
}

/// Who ends or changes something.
fn cause(asked: &Request<'_, Namespace>) -> Cause {
    let sender = asked.sender();
    Cause {
        port: sender.port,
        echo: asked.has(flag::ECHO),
    }
}
