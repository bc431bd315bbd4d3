// SPDX-License-Identifier: GPL-2.0
//! The last hook, for connections that a helper reads: it gets the payload, and what it wants is
//! done.

use conntrack::{
    ctinfo::CtInfo,
    helper::Message,
    packet::{self, Packet, Transport},
    reason::Reason,
    time::Ticks,
    tuple::Direction,
};
use kernel::prelude::*;
use netfilter::{Net, ReadSide, Skb, Verdict, Window, HZ};

use crate::{counts::Event, expect, namespace::Namespace};

/// A packet of a connection that a helper reads, after its confirmation.
#[cold]
pub(crate) fn packet(net: &Net<Namespace>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict {
    let Some((conn, ctinfo)) = skb.conn() else {
        return Verdict::Accept;
    };
    let Some(session) = conn.session() else {
        return Verdict::Accept;
    };
    let original = conn.tuple(Direction::Original);
    let protocol = {
        let mut window = Window::new();
        packet::protocol_of(original.family(), skb.bytes(&mut window))
    };
    // An ICMP error about the connection comes here too.
    if !session.helper().is_alive() || protocol != Some(original.protocol()) {
        return Verdict::Accept;
    }
    if !skb.linearize() {
        return refuse(net, Reason::NoMemory);
    }
    let mut window = Window::new();
    let bytes = skb.bytes(&mut window);
    let Ok(packet) = Packet::parse(original.family(), bytes) else {
        return Verdict::Accept;
    };
    if let Transport::Tcp(segment) = packet.transport() {
        if segment.is_syn() {
            session.begin(ctinfo.direction(), segment.seq.add(1), read);
        }
        if !matches!(ctinfo, CtInfo::Established | CtInfo::EstablishedReply) {
            return Verdict::Accept;
        }
    }
    let Some((payload, seq)) = packet.payload().filter(|(payload, _)| !payload.is_empty()) else {
        return Verdict::Accept;
    };
    let message = Message {
        payload,
        direction: ctinfo.direction(),
        tuples: [original, conn.tuple(Direction::Reply)],
        seq,
        begin: None,
    };
    let done = session.read(message, read, |wanted| {
        if let Some(seconds) = wanted.kept() {
            let now = netfilter::now();
            let least = Ticks::from_secs(seconds, HZ);
            if conn.expires().remaining(now).unwrap_or_default() < least {
                conn.refresh(now, least);
            }
        }
        wanted
            .pinholes()
            .all(|pinhole| expect::insert(net, &conn, &message, pinhole, read))
    });
    if done {
        Verdict::Accept
    } else {
        if !netfilter::limited() {
            pr_warn!("what a connection announces cannot be expected (nf_conntrack_expect_max?)\n");
        }
        // It will be sent once more.
        refuse(net, Reason::NotExpected)
    }
}

fn refuse(net: &Net<Namespace>, reason: Reason) -> Verdict {
    let counts = &net.tracker().counts;
    counts.event(Event::Drop);
    counts.reason(reason);
    Verdict::Drop
}
