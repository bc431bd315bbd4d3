// SPDX-License-Identifier: GPL-2.0
//! What iptables' rules can ask for, for the modules that x_tables loads by name.
//!
//! A packet that carries a rule's wish (target CT) and has not met the tracker yet is to them as
//! any other that has not: it has no connection.

mod connlimit;
mod ct;
mod marks;
pub mod nftables;
mod states;
mod traffic;

use netfilter::{Attached, Conn, Skb};

pub use self::{
    connlimit::Connlimit,
    ct::{Ct, NoTrack},
    marks::{Connlabel, Connmark, ConnmarkTarget, Connsecmark},
    states::{Conntrack, Helper, State},
    traffic::{Cluster, Connbytes},
};

/// The connection of a packet, if it has one.
#[inline]
fn conn(skb: &Skb) -> Option<&Conn> {
    match skb.attached() {
        Attached::Conn(conn, _) => Some(conn),
        Attached::None | Attached::Template(_) | Attached::Untracked => None,
    }
}

/// A packet is not to be tracked. What was seen before (loopback), or has met another rule, is left as it is.
fn set_untracked(skb: &mut Skb) {
    if matches!(skb.attached(), Attached::None) {
        skb.set_untracked();
    }
}

/// A module that registers something while it is loaded: of type `$registered`, made by `$new` of the module.
#[macro_export]
macro_rules! edge_module {
    ($name:tt, $description:tt, $registered:ty, $new:expr) => {
        use kernel::prelude::*;

        module! {
            type: Edge,
            name: $name,
            authors: ["The ip_conntrack developers"],
            description: $description,
            license: "GPL v2",
        }

        struct Edge {
            _registered: $registered,
        }

        impl kernel::Module for Edge {
            fn init(module: &'static ThisModule) -> Result<Self> {
                Ok(Self {
                    _registered: ($new)(module)?,
                })
            }
        }
    };
}

/// A module that x_tables asks for by name, with what it registers.
///
/// Not by an alias: of an alias with two owners modprobe loads both, and the other owner is stock.
#[macro_export]
macro_rules! xtables_module {
    ($name:tt, $description:tt, $family:ident, $kind:ident, $of:ident, [$($what:ty),+]) => {
        $crate::edge_module!(
            $name,
            $description,
            netfilter::xtables::Registered<
                netfilter::xtables::$kind,
                { [$(stringify!($what)),+].len() },
            >,
            |module| {
                let family = conntrack::tuple::Family::$family;
                netfilter::xtables::Registered::new([
                    $(netfilter::xtables::$of::<$what>(module, family)),+
                ])
            }
        );
    };
}

/// A module that nf_tables asks for by name ("nft-expr-ct", "nft-obj-3"), with what it registers; by no alias, either.
#[macro_export]
macro_rules! nftables_module {
    ($name:tt, $description:tt, $registered:ty) => {
        $crate::edge_module!($name, $description, $registered, <$registered>::new);
    };
}
