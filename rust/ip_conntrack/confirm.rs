// SPDX-License-Identifier: GPL-2.0
//! INPUT and POSTROUTING: a packet that starts a connection has come through, so the connection
//! goes into the table.

use conntrack::{status::Status, tuple::Direction};
use netfilter::{Attached, Conn, Net, ReadSide, Skb, Verdict};
use rcu_table::{Insert, Ref};

use crate::namespace::Namespace;

/// How often an expired entry may stand in the way before the packet is given up.
const ROUNDS: usize = 4;

/// A packet at its last hook.
#[inline]
pub(crate) fn packet(net: &Net<Namespace>, skb: &mut Skb, _read: ReadSide<'_>) -> Verdict {
    let Attached::Conn(conn, ctinfo) = skb.attached() else {
        return Verdict::Accept;
    };
    let status = conn.status();
    // An ICMP error or a reset of our own goes the other way: it starts nothing.
    if status.contains(Status::CONFIRMED) || ctinfo.direction() == Direction::Reply {
        return Verdict::Accept;
    }
    match skb.conn() {
        Some((conn, _)) if !status.contains(Status::DYING) => insert(net, conn),
        _ => Verdict::Drop,
    }
}

fn insert(net: &Net<Namespace>, mut conn: Ref<Conn>) -> Verdict {
    let shared = &net.tracker().shared;
    let hashes = [Direction::Original, Direction::Reply]
        .map(|direction| shared.hash(net, conn.tuple(direction)));
    for _ in 0..ROUNDS {
        match shared.table().insert(conn, hashes) {
            Ok(()) => return Verdict::Accept,
            // A copy of the packet was quicker (bridges and multicast make copies).
            Err(Insert::Again(_)) => return Verdict::Accept,
            Err(Insert::Clash(clash)) => match clash.other {
                Some(other) if !other.expired(netfilter::now()) => return Verdict::Drop,
                Some(other) => {
                    shared.kill(&other);
                    conn = clash.entry;
                }
                None => conn = clash.entry,
            },
        }
    }
    Verdict::Drop
}
