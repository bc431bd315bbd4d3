// SPDX-License-Identifier: GPL-2.0
//! What iptables' rules can ask for, for the modules that x_tables loads by name.

use core::ffi::CStr;

use conntrack::{
    ctinfo::CtInfo,
    rule::{self, ConntrackMatch, CtAction, HelperMatch, Refused, Seen, StateMatch},
};
use netfilter::{
    xtables::{Match, Place, Target},
    Attached, Conn, ModuleRef, Skb,
};
use rcu_table::Ref;

use crate::{helpers, namespace::NAMESPACES};

/// The match `conntrack`.
pub struct Conntrack<const REVISION: u8>;

impl<const REVISION: u8> Match for Conntrack<REVISION> {
    const NAME: &'static CStr = c"conntrack";
    const REVISION: u8 = REVISION;
    const SIZE: usize = ConntrackMatch::size(REVISION);

    fn check(rule: &[u8]) -> Result<(), Refused> {
        ConntrackMatch::parse(REVISION, rule).map(drop)
    }

    #[inline]
    fn matches(rule: &[u8], seen: &Seen<'_>) -> bool {
        ConntrackMatch::parse(REVISION, rule).is_ok_and(|rule| rule.matches(seen))
    }
}

/// The match `state`.
pub struct State;

impl Match for State {
    const NAME: &'static CStr = c"state";
    const REVISION: u8 = 0;
    const SIZE: usize = StateMatch::SIZE;

    fn check(rule: &[u8]) -> Result<(), Refused> {
        StateMatch::parse(rule).map(drop)
    }

    #[inline]
    fn matches(rule: &[u8], seen: &Seen<'_>) -> bool {
        StateMatch::parse(rule).is_ok_and(|rule| rule.matches(seen))
    }
}

/// The match `helper`.
pub struct Helper;

impl Match for Helper {
    const NAME: &'static CStr = c"helper";
    const REVISION: u8 = 0;
    const SIZE: usize = HelperMatch::SIZE;

    fn check(rule: &[u8]) -> Result<(), Refused> {
        HelperMatch::parse(rule).map(drop)
    }

    #[inline]
    fn matches(rule: &[u8], seen: &Seen<'_>) -> bool {
        HelperMatch::parse(rule).is_ok_and(|rule| rule.matches(seen))
    }
}

/// Leaves a packet untracked that was not tracked before.
fn untrack(skb: &mut Skb) {
    if matches!(skb.attached(), Attached::None) {
        skb.set_untracked();
    }
}

/// The target `CT`: keeps packets from being tracked, or says which helper reads them.
pub struct Ct<const REVISION: u8>;

/// What is kept for a rule of it.
pub enum CtRule {
    /// Packets are not tracked.
    NoTrack,
    /// Connections are made after a template; the helper's module stays as long as the rule.
    Template(Ref<Conn>, ModuleRef),
    /// Nothing.
    Nothing,
}

impl<const REVISION: u8> Target for Ct<REVISION> {
    const NAME: &'static CStr = c"CT";
    const REVISION: u8 = REVISION;
    const TABLE: &'static CStr = c"raw";
    const SIZE: usize = rule::ct_target_size(REVISION)[1];
    const USER_SIZE: usize = rule::ct_target_size(REVISION)[0];
    type Kept = CtRule;

    fn check(rule: &[u8], place: &Place) -> Result<CtRule, Refused> {
        match rule::ct_target(REVISION, rule)? {
            CtAction::NoTrack => Ok(CtRule::NoTrack),
            CtAction::Nothing => Ok(CtRule::Nothing),
            CtAction::Helper(name) => {
                let protocol = place.protocol.ok_or(Refused::NoProtocol)?;
                let shared = NAMESPACES.shared().ok_or(Refused::NoHelper)?;
                let (helper, module) =
                    helpers::for_rule(&shared, name, protocol).ok_or(Refused::NoHelper)?;
                let template = helpers::template(&shared, &helper).ok_or(Refused::NoMemory)?;
                Ok(CtRule::Template(template, module))
            }
        }
    }

    fn apply(kept: Option<&CtRule>, skb: &mut Skb) {
        match kept {
            Some(CtRule::NoTrack) => untrack(skb),
            Some(CtRule::Template(template, _)) => {
                if matches!(skb.attached(), Attached::None) {
                    skb.attach(template.clone(), CtInfo::New);
                }
            }
            Some(CtRule::Nothing) | None => {}
        }
    }
}

/// The target `NOTRACK`.
pub struct NoTrack;

impl Target for NoTrack {
    const NAME: &'static CStr = c"NOTRACK";
    const REVISION: u8 = 0;
    const TABLE: &'static CStr = c"raw";
    const SIZE: usize = 0;
    const USER_SIZE: usize = 0;
    type Kept = ();

    fn check(_: &[u8], _: &Place) -> Result<(), Refused> {
        Ok(())
    }

    fn apply(_: Option<&()>, skb: &mut Skb) {
        untrack(skb);
    }
}

/// A module that x_tables asks for by name, with what it registers.
///
/// Not by an alias: of an alias with two owners modprobe loads both, and the other owner is stock.
#[macro_export]
macro_rules! xtables_module {
    ($name:tt, $description:tt, $family:ident, $kind:ident, $of:ident, [$($what:ty),+]) => {
        use kernel::prelude::*;

        module! {
            type: Edge,
            name: $name,
            authors: ["The ip_conntrack developers"],
            description: $description,
            license: "GPL v2",
        }

        struct Edge {
            _registered: netfilter::xtables::Registered<
                netfilter::xtables::$kind,
                { [$(stringify!($what)),+].len() },
            >,
        }

        impl kernel::Module for Edge {
            fn init(module: &'static ThisModule) -> Result<Self> {
                let family = conntrack::tuple::Family::$family;
                Ok(Self {
                    _registered: netfilter::xtables::Registered::new([
                        $(netfilter::xtables::$of::<$what>(module, family)),+
                    ])?,
                })
            }
        }
    };
}
