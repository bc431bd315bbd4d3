// SPDX-License-Identifier: GPL-2.0
//! The tracker: what happens to a packet, in each namespace, and what users see of it.
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod beside;
#[cfg(ip_conntrack_static)]
mod built_in;
mod confirm;
pub mod control;
mod counts;
pub mod events;
mod evict;
mod expect;
mod expire;
mod growth;
mod help;
pub mod helpers;
mod kept;
mod list;
mod namespace;
pub mod policies;
mod quick;
mod related;
pub mod rules;
mod settings;
mod shared;
mod track;
mod wanted;

use kernel::prelude::*;
use netfilter::{CtHook, NfnlHook, OriginalDst, Periodic, Registration};

use crate::{
    expire::Reaper,
    namespace::{Namespace, NAMESPACES},
    shared::{Defaults, Shared},
};

module! {
    type: Module,
    name: "ip_conntrack",
    authors: ["The ip_conntrack developers"],
    description: "Connection tracking for IPv4 and IPv6",
    license: "GPL v2",
    params: {
        hashsize: u32 {
            default: 0,
            description: "Buckets of the table; 0: by the size of memory. Given, up to eight connections a bucket are tracked",
        },
        expect_hashsize: u32 {
            default: 0,
            description: "Buckets of the table of what is expected; 0: by hashsize. Up to four expectations a bucket",
        },
        acct: u8 {
            default: 0,
            description: "1: packets and bytes of connections are counted (nf_conntrack_acct of new namespaces)",
        },
        tstamp: u8 {
            default: 0,
            description: "1: it is known when connections begin and end (nf_conntrack_timestamp of new namespaces)",
        },
        enable_hooks: u8 {
            default: 1,
            description: "For who is used to it: tracking is always on",
        },
    },
}

/// What is switched on while the module is loaded, in the order in which it is switched off.
struct Module {
    #[cfg(ip_conntrack_static)]
    _helpers: built_in::BuiltIn,
    _namespaces: Registration<Namespace>,
    _reaper: Periodic<Reaper>,
    _kept: kept::Working,
    _growing: growth::Growing,
    _templates: NoTemplates,
    _beside: NfnlHook<Namespace>,
    _hook: CtHook<Namespace>,
    _shared: Shared,
    _option: OriginalDst,
}

/// Waits, when it is dropped, for the packets that carry a template: the hook gives them back.
struct NoTemplates(Shared);

impl Drop for NoTemplates {
    fn drop(&mut self) {
        self.0.templates().wait();
    }
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // First of all: this is what stock and we cannot both have.
        let option = OriginalDst::register::<Namespace>(module).inspect_err(|error| {
            if *error == EBUSY {
                pr_err!("another connection tracker is loaded (nf_conntrack?): unload it first\n");
            }
        })?;
        let shared = Shared::new(
            module_parameters::hashsize.value(),
            module_parameters::expect_hashsize.value(),
            Defaults {
                acct: module_parameters::acct.value() != 0,
                timestamp: module_parameters::tstamp.value() != 0,
            },
        )?;
        let hook = CtHook::install();
        let reaper = Periodic::start(Reaper::new(shared.clone()), expire::PERIOD)?;
        let kept = kept::start(shared.clone())?;
        let growing = growth::start(shared.clone())?;
        let namespaces = NAMESPACES.register(shared.clone())?;
        pr_info!(
            "{} buckets, at most {} connections in each namespace\n",
            shared.buckets(),
            shared.max()
        );
        let this = Self {
            #[cfg(ip_conntrack_static)]
            _helpers: built_in::BuiltIn::register(module)?,
            _namespaces: namespaces,
            _reaper: reaper,
            _kept: kept,
            _growing: growing,
            _templates: NoTemplates(shared.clone()),
            _beside: NfnlHook::install(),
            _hook: hook,
            _shared: shared,
            _option: option,
        };
        // By name: what netlink itself would ask modprobe for is an alias, which stock has too. It
        // waits for the end of this function; where it is not installed, there is no netlink.
        netfilter::nfnetlink::request(c"ip_conntrack_netlink");
        Ok(this)
    }
}
