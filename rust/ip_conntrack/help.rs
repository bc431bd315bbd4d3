// SPDX-License-Identifier: GPL-2.0
//! The last hook, for connections that a helper reads: it gets the payload, and what it wants is
//! done.

use conntrack::{
    ctinfo::CtInfo,
    helper::Message,
    packet::Packet,
    reason::Reason,
    time::Ticks,
    tuple::{protocol, Direction},
};
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
    let open = matches!(ctinfo, CtInfo::Established | CtInfo::EstablishedReply);
    if original.protocol() == protocol::TCP && !open {
        return Verdict::Accept;
    }
    if !skb.linearize() {
        return refuse(net, Reason::NoMemory);
    }
    let mut window = Window::new();
    let bytes = skb.bytes(&mut window);
    // An ICMP error about the connection comes here too: it is of another protocol.
    let payload = Packet::parse(original.family(), bytes)
        .ok()
        .filter(|packet| packet.protocol() == original.protocol())
        .and_then(|packet| packet.payload());
    let Some((payload, seq)) = payload.filter(|(payload, _)| !payload.is_empty()) else {
        return Verdict::Accept;
    };
    let message = Message {
        payload,
        direction: ctinfo.direction(),
        tuples: [original, conn.tuple(Direction::Reply)],
        seq,
        whole: session.is_whole(),
    };
    let done = session.read(&message, read, |wanted| {
        if let Some(seconds) = wanted.kept() {
            let now = netfilter::now();
            let least = Ticks::from_secs(seconds, HZ);
            if conn.expires().remaining(now).unwrap_or_default() < least {
                conn.refresh(now, least);
            }
        }
        wanted
            .pinholes()
            .all(|pinhole| expect::insert(net, &conn, &message, pinhole, read).is_ok())
    });
    if done {
        Verdict::Accept
    } else {
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
