// SPDX-License-Identifier: GPL-2.0
//! The targets `CT` and `NOTRACK`: what connections are made like, or that there are none.

use core::{ffi::CStr, marker::PhantomData};

use conntrack::{
    ctinfo::CtInfo,
    rule::{
        self,
        ct::{Action, Revision, Template},
        Refused,
    },
    zone::Zone,
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{
    xtables::{Part, Place, Target},
    Attached, Conn, Extension, Extras, ModuleRef, ReadSide, Session, Share, Skb,
};
use rcu_table::Ref;

use super::set_untracked;
use crate::{
    helpers,
    namespace::{Namespace, NAMESPACES},
    policies,
};

/// The target `CT`, of a revision.
pub struct Ct<R>(PhantomData<R>);

/// What is kept for a rule of it.
pub enum Kept {
    /// Packets are not tracked.
    NoTrack,
    /// Connections are made after a template; the helper's module stays as long as the rule.
    Template(Ref<Conn>, Option<ModuleRef>),
}

impl<R: Revision> Part for Ct<R> {
    const NAME: &'static CStr = c"CT";
    const REVISION: u8 = R::NUMBER;
    type Rule = R;
    type Kept = Kept;

    fn check(rule: &R, place: &Place<'_>) -> Result<Kept, Refused> {
        match rule.action()? {
            Action::NoTrack => Ok(Kept::NoTrack),
            Action::Template(wish) => template(&wish, place),
        }
    }
}

impl<R: Revision> Target for Ct<R> {
    const TABLE: Option<&'static CStr> = Some(c"raw");

    fn apply(_: &R, kept: &Kept, skb: &mut Skb) {
        // What was seen before (loopback), or has met another rule, is left as it is.
        if !matches!(skb.attached(), Attached::None) {
            return;
        }
        match kept {
            Kept::NoTrack => skb.set_untracked(),
            Kept::Template(template, _) => skb.attach(template.clone(), CtInfo::New),
        }
    }
}

/// A template of what a rule wishes. May sleep.
fn template(wish: &Template<'_>, place: &Place<'_>) -> Result<Kept, Refused> {
    if wish.zone != Zone::DEFAULT && !Conn::HAS_ZONES {
        return Err(Refused::NotSupported);
    }
    let shared = NAMESPACES.shared().ok_or(Refused::NotSupported)?;
    let mut extras = Extras {
        masks: wish.events,
        ..Extras::default()
    };
    let mut module = None;
    if let Some(name) = wish.helper {
        let protocol = place.protocol.ok_or(Refused::NoProtocol)?;
        let (helper, held) = helpers::for_rule(&shared, name, protocol).ok_or(Refused::NoHelper)?;
        let guard = rcu::read_lock();
        let session = Session::new(&helper, ReadSide::of(&guard));
        let session = session.map_err(|_| Refused::NoMemory)?;
        extras.session = Some(session.ok_or(Refused::NoHelper)?);
        module = Some(held);
    }
    if let Some(name) = wish.timeouts {
        extras.timeouts = Some(timeouts(name, place)?);
    }
    let extension = Extension::new(extras).map_err(|_| Refused::NoMemory)?;
    let template = shared
        .templates()
        .make(shared.cache(), wish.zone, extension)
        .ok_or(Refused::NoMemory)?;
    Ok(Kept::Template(template, module))
}

/// The timeout policy of a name, for the protocols of a rule's packets.
fn timeouts(name: &[u8], place: &Place<'_>) -> Result<Share, Refused> {
    let protocol = place.protocol.ok_or(Refused::NoProtocolOfTimeouts)?;
    place
        .home
        .with::<Namespace, _>(|net, _| policies::for_rule(net, name, place.family, protocol))
        .unwrap_or(Err(Refused::NoTimeouts))
}

/// The target `NOTRACK`.
pub struct NoTrack;

impl Part for NoTrack {
    const NAME: &'static CStr = c"NOTRACK";
    const REVISION: u8 = 0;
    type Rule = rule::ct::NoTrack;
    type Kept = ();

    fn check(_: &Self::Rule, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl Target for NoTrack {
    const TABLE: Option<&'static CStr> = Some(c"raw");

    fn apply(_: &Self::Rule, (): &(), skb: &mut Skb) {
        set_untracked(skb);
    }
}
