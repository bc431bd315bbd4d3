// SPDX-License-Identifier: GPL-2.0
//! The match `connbytes`: how much a connection has carried; and the match `cluster`: which of
//! several firewalls it belongs to.

use core::ffi::CStr;

use conntrack::{
    packet,
    rule::{cluster, connbytes, Answer, Refused},
    tuple::{Direction, Family},
};
use kernel::prelude::*;
use netfilter::{
    xtables::{self, Match, Part, Place},
    Account, Conn, Net, Packet, Window,
};

use super::conn;
use crate::namespace::Namespace;

/// New connections of a namespace are counted from here on, for a rule that means nothing otherwise.
pub(super) fn count_from_now_on(net: &Net<Namespace>) {
    let wanted = &net.tracker().wanted;
    if !wanted.acct() {
        if !netfilter::limited() {
            pr_warn!(
                "a rule asks how much connections carry: nf_conntrack_acct is 1 from here on\n"
            );
        }
        wanted.set_acct(true);
    }
}

/// The match `connbytes`.
pub struct Connbytes;

impl Part for Connbytes {
    const NAME: &'static CStr = c"connbytes";
    const REVISION: u8 = 0;
    type Rule = connbytes::Connbytes;
    type Kept = ();

    /// It means nothing unless connections are counted, so from here on new ones are.
    fn check(_: &Self::Rule, place: &Place<'_>) -> Result<(), Refused> {
        place
            .home
            .with::<Namespace, _>(|net, _| count_from_now_on(net));
        Ok(())
    }
}

impl Match for Connbytes {
    fn matches(rule: &Self::Rule, (): &(), packet: &Packet<'_>) -> Answer {
        conn(packet.skb)
            .and_then(Conn::counters)
            .map(Account::counters)
            .is_some_and(|counters| rule.matches(counters))
            .into()
    }
}

/// The match `cluster`.
pub struct Cluster;

impl Part for Cluster {
    const NAME: &'static CStr = c"cluster";
    const REVISION: u8 = 0;
    type Rule = cluster::Cluster;
    type Kept = ();

    fn check(_: &Self::Rule, _: &Place<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl Match for Cluster {
    fn matches(rule: &Self::Rule, (): &(), packet: &Packet<'_>) -> Answer {
        if !is_to_a_group(packet).unwrap_or(true) {
            // All firewalls get all frames, for these are sent to a group of hosts; the stack
            // takes only what is sent to this one.
            packet.skb.take_multicast_frame();
        }
        let Some(conn) = conn(packet.skb) else {
            return Answer::No;
        };
        let first = conn.master().unwrap_or(conn);
        let source = first.tuple(Direction::Original).src();
        rule.matches(&source, xtables::jhash).into()
    }
}

/// Whether a packet is addressed to a group of hosts.
fn is_to_a_group(packet: &Packet<'_>) -> Option<bool> {
    let family = packet.family()?;
    let mut window = Window::new();
    let [_, [first, ..]] = packet::addresses_of(family, packet.skb.bytes(&mut window))?;
    let [byte, ..] = first.to_ne_bytes();
    Some(match family {
        Family::Ipv4 => byte >> 4 == 0xe,
        Family::Ipv6 => byte == 0xff,
    })
}
