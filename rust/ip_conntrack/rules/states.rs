// SPDX-License-Identifier: GPL-2.0
//! The matches `conntrack`, `state` and `helper`: what a packet is to its connection, and where
//! that comes from.

use core::{ffi::CStr, marker::PhantomData};

use conntrack::{
    ctinfo::CtInfo,
    rule::{
        conntrack::{Flow, Revision},
        helper, state, Answer, Refused, Seen,
    },
    status::Status,
    time::Ticks,
    tuple::Direction,
};
use netfilter::{
    xtables::{Match, Part, Place},
    Attached, Conn, Packet, Skb, HZ,
};

use super::conn;

/// What rules see of a packet, with what `flow` makes of its connection.
#[inline]
fn see<'a, F>(skb: &'a Skb, flow: impl FnOnce(&'a Conn, CtInfo) -> F) -> Seen<F> {
    match skb.attached() {
        Attached::None | Attached::Template(_) => Seen::Invalid,
        Attached::Untracked => Seen::Untracked,
        Attached::Conn(conn, ctinfo) => Seen::Flow(flow(conn, ctinfo)),
    }
}

/// The match `conntrack`, of a revision.
pub struct Conntrack<R>(PhantomData<R>);

impl<R: Revision> Part for Conntrack<R> {
    const NAME: &'static CStr = c"conntrack";
    const REVISION: u8 = R::NUMBER;
    type Rule = R;
    type Kept = ();

    fn check(_: &R, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl<R: Revision> Match for Conntrack<R> {
    #[inline]
    fn matches(rule: &R, (): &(), packet: &Packet<'_>) -> Answer {
        let seen = see(packet.skb, |conn, ctinfo| Flow {
            ctinfo,
            tuples: [Direction::Original, Direction::Reply].map(|at| conn.tuple(at)),
            status: conn.status(),
        });
        rule.matches(seen, || {
            conn(packet.skb).map_or(0, |conn| left(conn).as_secs(HZ))
        })
        .into()
    }
}

/// The time that a connection has left; none before it is confirmed, for then it has not begun.
pub(super) fn left(conn: &Conn) -> Ticks {
    if !conn.status().contains(Status::CONFIRMED) {
        return Ticks::default();
    }
    let left = conn.expires().remaining(netfilter::now());
    left.unwrap_or_default()
}

/// The match `state`.
pub struct State;

impl Part for State {
    const NAME: &'static CStr = c"state";
    const REVISION: u8 = 0;
    type Rule = state::State;
    type Kept = ();

    fn check(_: &Self::Rule, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl Match for State {
    #[inline]
    fn matches(rule: &Self::Rule, (): &(), packet: &Packet<'_>) -> Answer {
        rule.matches(see(packet.skb, |_, ctinfo| ctinfo)).into()
    }
}

/// The match `helper`.
pub struct Helper;

impl Part for Helper {
    const NAME: &'static CStr = c"helper";
    const REVISION: u8 = 0;
    type Rule = helper::Helper;
    type Kept = ();

    fn check(_: &Self::Rule, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl Match for Helper {
    fn matches(rule: &Self::Rule, (): &(), packet: &Packet<'_>) -> Answer {
        rule.matches(conn(packet.skb).and_then(announced_by)).into()
    }
}

/// The name of the helper that has announced a connection.
pub(super) fn announced_by(conn: &Conn) -> Option<&[u8]> {
    let helper = conn.master()?.session()?.helper();
    helper.is_alive().then(|| helper.name())
}
