// SPDX-License-Identifier: GPL-2.0
//! What rules write on connections, and read from them: marks, security marks, labels.

use core::{
    ffi::CStr,
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering},
};

use conntrack::{
    event::Events,
    rule::{
        connlabel,
        connmark::{self, Action, Target as Revision},
        secmark, Answer, Refused,
    },
};
use netfilter::{
    xtables::{Match, Part, Place, Target},
    Conn, Home, Labels, Packet, Skb,
};

use super::conn;
use crate::namespace::Namespace;

/// A mark, zero where the kernel has none of this kind.
pub(super) fn read(mark: Option<&AtomicU32>) -> u32 {
    mark.map_or(0, |mark| mark.load(Ordering::Relaxed))
}

/// Changes a mark; whether it was another before.
pub(super) fn write(mark: Option<&AtomicU32>, value: u32) -> bool {
    mark.is_some_and(|mark| {
        let changes = mark.load(Ordering::Relaxed) != value;
        if changes {
            mark.store(value, Ordering::Relaxed);
        }
        changes
    })
}

/// The match `connmark`.
pub struct Connmark;

impl Part for Connmark {
    const NAME: &'static CStr = c"connmark";
    const REVISION: u8 = 1;
    type Rule = connmark::Connmark;
    type Kept = ();

    fn check(_: &Self::Rule, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl Match for Connmark {
    #[inline]
    fn matches(rule: &Self::Rule, (): &(), packet: &Packet<'_>) -> Answer {
        conn(packet.skb)
            .is_some_and(|conn| rule.matches(read(conn.mark())))
            .into()
    }
}

/// The target `CONNMARK`, of a revision.
pub struct ConnmarkTarget<R>(PhantomData<R>);

impl<R: Revision> Part for ConnmarkTarget<R> {
    const NAME: &'static CStr = c"CONNMARK";
    const REVISION: u8 = R::NUMBER;
    type Rule = R;
    type Kept = ();

    fn check(_: &R, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl<R: Revision> Target for ConnmarkTarget<R> {
    fn apply(rule: &R, (): &(), skb: &mut Skb) {
        let Some(conn) = conn(skb) else { return };
        match rule.action(read(conn.mark()), skb.mark()) {
            Action::Connection(mark) => {
                if write(conn.mark(), mark) {
                    conn.note(Events::MARK);
                }
            }
            Action::Packet(mark) => skb.set_mark(mark),
            Action::Nothing => {}
        }
    }
}

/// The target `CONNSECMARK`.
pub struct Connsecmark;

impl Part for Connsecmark {
    const NAME: &'static CStr = c"CONNSECMARK";
    const REVISION: u8 = 0;
    type Rule = secmark::Connsecmark;
    type Kept = ();

    fn check(_: &Self::Rule, place: &Place<'_>) -> Result<(), Refused> {
        if [c"mangle", c"security"].contains(&place.table) {
            Ok(())
        } else {
            Err(Refused::WrongTable)
        }
    }
}

impl Target for Connsecmark {
    fn apply(rule: &Self::Rule, (): &(), skb: &mut Skb) {
        let Some(conn) = conn(skb) else { return };
        let (ours, packets) = (read(conn.secmark()), skb.secmark());
        match rule.action(ours, packets) {
            secmark::Action::Save => {
                if write(conn.secmark(), packets) {
                    conn.note(Events::SECMARK);
                }
            }
            secmark::Action::Restore => skb.set_secmark(ours),
            secmark::Action::Nothing => {}
        }
    }
}

/// The match `connlabel`.
pub struct Connlabel;

impl Part for Connlabel {
    const NAME: &'static CStr = c"connlabel";
    const REVISION: u8 = 0;
    type Rule = connlabel::Connlabel;
    type Kept = ();

    /// From here on new connections can have labels.
    fn check(_: &Self::Rule, place: &Place<'_>) -> Result<(), Refused> {
        use_labels(&place.home);
        Ok(())
    }

    fn gone(place: &Place<'_>) {
        forget_labels(&place.home);
    }
}

/// From here on new connections of a namespace can have labels: one more rule is about them.
pub(super) fn use_labels(home: &Home<'_>) {
    home.with::<Namespace, _>(|net, _| net.tracker().labels_used.fetch_add(1, Ordering::Relaxed));
}

/// One rule fewer is about labels.
pub(super) fn forget_labels(home: &Home<'_>) {
    home.with::<Namespace, _>(|net, _| net.tracker().labels_used.fetch_sub(1, Ordering::Relaxed));
}

impl Match for Connlabel {
    fn matches(rule: &Self::Rule, (): &(), packet: &Packet<'_>) -> Answer {
        let conn = conn(packet.skb);
        let labels = conn.and_then(Conn::labels);
        let has = labels.map(|labels: &Labels| labels.has(rule.bit()));
        let set = || {
            if labels.is_some_and(|labels| labels.set(rule.bit())) {
                if let Some(conn) = conn {
                    conn.note(Events::LABEL);
                }
            }
        };
        rule.matches(has, set).into()
    }
}
