// SPDX-License-Identifier: GPL-2.0
//! Room in a full table: the connection that is worth least gives way.

use conntrack::{status::Status, time::Ticks};
use netfilter::{Conn, Net, ReadSide};
use rcu_table::{Ref, Seen};

use crate::{counts::Event, namespace::Namespace};

/// How many buckets are compared with each other: the least worth in a few is found quickly, and
/// is as good as the least of all where entries are spread by a hash.
const NEAR: usize = 8;

/// How many connections are looked at before the table counts as full: one in a hundred that may
/// go is found among so many but for one time in ten thousand.
const FAR: usize = 1024;

/// How many buckets, where each may have some empty ones before it.
const FAR_BUCKETS: usize = 1 << 10;

/// What a connection is worth, least first; among equals the one that ends first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Unanswered(Ticks),
    Answered(Ticks),
    Closing(Ticks),
}

/// What a connection is worth; `None` where it stays.
fn worth(net: &Net<Namespace>, conn: &Seen<'_, Conn>) -> Option<Worth> {
    let status = conn.status();
    if !conn.in_namespace(net.census())
        || status.contains(Status::DYING)
        || !status.contains(Status::CONFIRMED)
    {
        return None;
    }
    let left = conn
        .expires()
        .remaining(netfilter::now())
        .unwrap_or_default();
    if status.contains(Status::ASSURED) {
        return Conn::lock(&conn.get()?)
            .is_closing()
            .then_some(Worth::Closing(left));
    }
    Some(if status.contains(Status::SEEN_REPLY) {
        Worth::Answered(left)
    } else {
        Worth::Unanswered(left)
    })
}

/// Makes room for a connection of this hash in a namespace that is full; whether it could.
#[cold]
pub(crate) fn make_room(net: &Net<Namespace>, hash: u32, read: ReadSide<'_>) -> bool {
    let tracker = net.tracker();
    let table = tracker.shared.table();
    let now = netfilter::now();
    // Who finds nothing among many has looked long: within the same tick others need not.
    let look_far = tracker.exhausted.get() != now.as_ticks();
    let range = if look_far { FAR_BUCKETS } else { NEAR };
    let mut next = hash;
    let mut looked_at: usize = 0;
    for _ in (0..range).step_by(NEAR) {
        let mut least: Option<(Worth, Ref<Conn>)> = None;
        for _ in 0..NEAR {
            let walk = table.walk(next, &read);
            next = walk.behind().unwrap_or(0);
            for seen in walk {
                looked_at = looked_at.saturating_add(1);
                let Some(worth) = worth(net, &seen) else {
                    continue;
                };
                if least.as_ref().is_none_or(|(known, _)| worth < *known) {
                    least = seen.get().map(|conn| (worth, conn)).or(least);
                }
            }
        }
        if let Some((_, conn)) = least {
            tracker.shared.kill(&conn);
            tracker.counts.event(Event::EarlyDrop);
            return true;
        }
        if looked_at >= FAR {
            break;
        }
    }
    if look_far {
        tracker.exhausted.set(now.as_ticks());
    }
    false
}
