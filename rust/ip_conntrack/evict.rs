// SPDX-License-Identifier: GPL-2.0
//! Room in a full table: the connection that is worth least gives way, and among equals one of whoever
//! has most.

use core::cmp::Reverse;

use conntrack::{
    status::Status,
    time::Ticks,
    tuple::{Direction, Family},
};
use netfilter::{Conn, Net, ReadSide};
use rcu_table::Seen;

use crate::{counts::Event, namespace::Namespace};

/// How many connections are compared with each other, and a few more where they share a bucket: the
/// least worth among a few is found quickly, and is as good as the least of all where entries are
/// spread by a hash.
const NEAR: usize = 8;
const SAMPLE: usize = 16;

/// In how many buckets that are not empty fewer than so many are good enough.
const ENOUGH: usize = 32;

/// How many connections are looked at before the table counts as full: one in a hundred that may
/// go is found among so many but for one time in ten thousand.
const FAR: usize = 1024;

/// In how many buckets, where each may have some empty ones before it.
const FAR_BUCKETS: usize = 1 << 10;

/// What a connection is worth, least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Its time is over.
    Nothing,
    Unanswered,
    Answered,
    Closing,
}

/// A connection that may go.
struct Candidate<'g> {
    worth: Worth,
    left: Ticks,
    conn: Seen<'g, Conn>,
}

impl<'g> Candidate<'g> {
    /// `None` where it stays.
    fn new(net: &Net<Namespace>, conn: Seen<'g, Conn>) -> Option<Self> {
        let status = conn.status();
        if !conn.in_namespace(net.census()) || !conn.is_live() {
            return None;
        }
        let left = conn.expires().remaining(netfilter::now());
        let worth = if left.is_none() {
            Worth::Nothing
        } else if status.contains(Status::ASSURED) {
            let closing = Conn::lock(&conn.get()?).is_closing();
            closing.then_some(Worth::Closing)?
        } else if status.contains(Status::SEEN_REPLY) {
            Worth::Answered
        } else {
            Worth::Unanswered
        };
        Some(Self {
            worth,
            left: left.unwrap_or_default(),
            conn,
        })
    }

    /// Who has begun it: an address of IPv4, or a network of IPv6 as one host may have it all.
    fn source(&self) -> [u32; 2] {
        let tuple = self.conn.tuple(Direction::Original);
        let [first, second, ..] = tuple.src_words();
        match tuple.family() {
            Family::Ipv4 => [first, 0],
            Family::Ipv6 => [first, second],
        }
    }
}

/// The one that gives way: of those that are worth least one of whoever has most of them, and of these
/// the one that ends first.
fn least<'a, 'g>(sample: &'a [Option<Candidate<'g>>]) -> Option<&'a Candidate<'g>> {
    let all = || sample.iter().flatten();
    all().min_by_key(|one| {
        let same =
            |other: &&Candidate<'_>| other.worth == one.worth && other.source() == one.source();
        (one.worth, Reverse(all().filter(same).count()), one.left)
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
    let range = if look_far { FAR_BUCKETS } else { ENOUGH };
    let mut sample = [const { None }; SAMPLE];
    let mut places = sample.iter_mut();
    let mut next = hash;
    let (mut looked_at, mut found): (usize, usize) = (0, 0);
    for buckets in 1..=range {
        let walk = table.walk(next, &read);
        next = walk.behind().unwrap_or(0);
        for seen in walk {
            looked_at = looked_at.saturating_add(1);
            if let Some(candidate) = Candidate::new(net, seen) {
                if let Some(place) = places.next() {
                    *place = Some(candidate);
                    found = found.saturating_add(1);
                }
            }
        }
        let enough = found >= NEAR || (found > 0 && buckets >= ENOUGH);
        if enough || looked_at >= FAR {
            break;
        }
    }
    if let Some(conn) = least(&sample).and_then(|one| one.conn.get()) {
        tracker.shared.kill(&conn);
        tracker.counts.event(Event::EarlyDrop);
        return true;
    }
    if look_far {
        tracker.exhausted.set(now.as_ticks());
    }
    false
}
