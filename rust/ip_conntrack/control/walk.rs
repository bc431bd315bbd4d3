// SPDX-License-Identifier: GPL-2.0
//! Lists that go on from one system call to the next: a place in the table is kept, and nothing
//! else.

use core::{ops::ControlFlow, sync::atomic::Ordering};

use conntrack::{netlink::filter::Filter, tuple::Direction};
use kernel::sync::rcu;
use netfilter::{Conn, Expectation, Net, ReadSide, Table};
use rcu_table::{Node, Ref};

use super::{candidate, Namespace};

/// A place in a list.
///
/// Entries come in the order of their hashes and numbers, so that what has come and gone since the
/// last look, buckets included, neither hides one nor shows one twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before all of this hash.
    Before(u32),
    /// Behind the one of this hash and number, which was shown.
    Behind(u32, u64),
    End,
}

impl Default for Place {
    fn default() -> Self {
        Self::Before(0)
    }
}

impl Place {
    /// The hash of the bucket that is to be looked at next.
    fn hash(self) -> Option<u32> {
        match self {
            Self::Before(hash) | Self::Behind(hash, _) => Some(hash),
            Self::End => None,
        }
    }

    /// Whether an entry of this hash was shown; `number` tells its number.
    fn is_behind(self, hash: u32, number: impl FnOnce() -> u64) -> bool {
        matches!(self, Self::Behind(at, after) if hash == at && number() <= after)
    }
}

/// How many buckets are looked through before others may run.
const SLICE: usize = 256;

/// Shows the connections of a namespace that a filter means, from a place on, until `show` breaks
/// off; the one that it breaks off at was shown.
pub fn connections(
    net: &Net<Namespace>,
    cursor: &mut Cursor,
    filter: Option<&Filter>,
    show: &mut dyn FnMut(&Ref<Conn>) -> ControlFlow<()>,
) {
    let now = netfilter::now();
    let wanted = |conn: &Conn| {
        conn.in_namespace(net.census())
            && conn.is_live()
            && !conn.expired(now)
            && filter.is_none_or(|filter| filter.matches(&candidate(conn)))
    };
    walk(
        net.tracker().shared.table(),
        cursor,
        wanted,
        Conn::number,
        show,
    );
}

/// The same with those that are over, of which somebody is still to be told; of a network protocol,
/// where `family` is its number and not zero.
pub fn dying(
    net: &Net<Namespace>,
    cursor: &mut Cursor,
    family: u8,
    show: &mut dyn FnMut(&Ref<Conn>) -> ControlFlow<()>,
) {
    if net.census().kept().load(Ordering::Relaxed) == 0 {
        return;
    }
    let wanted = |conn: &Conn| {
        let number = conn.tuple(Direction::Original).family().number();
        conn.in_namespace(net.census())
            && conn.kept().is_some()
            && (family == 0 || number == family.into())
    };
    walk(
        net.tracker().shared.table(),
        cursor,
        wanted,
        Conn::number,
        show,
    );
}

/// Shows the expectations of a namespace from a place on: of a network protocol, where `family` is
/// its number and not zero; of the connection of a number, where there is one.
pub fn expectations(
    net: &Net<Namespace>,
    cursor: &mut Cursor,
    family: u8,
    master: Option<u64>,
    show: &mut dyn FnMut(&Ref<Expectation>) -> ControlFlow<()>,
) {
    let now = netfilter::now();
    let wanted = |expectation: &Expectation| {
        let number = expectation.what().tuple.family().number();
        expectation.master().in_namespace(net.census())
            && !expectation.is_over()
            && !expectation.expired(now)
            && (family == 0 || number == family.into())
            && master.is_none_or(|master| master == expectation.master().number())
    };
    walk(
        net.tracker().shared.expectations().table(),
        cursor,
        wanted,
        Expectation::number,
        show,
    );
}

/// Hash and number.
type Order = (u32, u64);

/// How many entries of a bucket are held at once.
const HELD: usize = 32;

/// The entries of a bucket with the lowest hashes and numbers, in their order.
struct Lowest<E: Node> {
    held: [Option<(Order, Ref<E>)>; HELD],
    /// Whether there were more.
    more: bool,
}

impl<E: Node> Lowest<E> {
    fn new() -> Self {
        Self {
            held: [const { None }; HELD],
            more: false,
        }
    }

    /// Takes an entry in; another that comes later may have to go.
    fn add(&mut self, order: Order, entry: Ref<E>) {
        let mut new = Some((order, entry));
        for place in &mut self.held {
            match (&*place, &new) {
                (_, None) => return,
                (Some((known, _)), Some((order, _))) if known <= order => {}
                _ => core::mem::swap(place, &mut new),
            }
        }
        self.more |= new.is_some();
    }
}

/// Shows the `wanted` entries of a table from a place on.
fn walk<E: Node>(
    table: &Table<E>,
    cursor: &mut Cursor,
    wanted: impl Fn(&E) -> bool,
    number: fn(&E) -> u64,
    show: &mut dyn FnMut(&Ref<E>) -> ControlFlow<()>,
) {
    let mut buckets: usize = 0;
    while let Some(from) = cursor.place.hash() {
        let mut lowest = Lowest::new();
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        let bucket = table.walk(from, &read);
        let next = bucket.behind();
        for seen in bucket {
            let hash = seen.link().hash();
            if wanted(&seen) && !cursor.place.is_behind(hash, || number(&seen)) {
                if let Some(entry) = seen.get() {
                    lowest.add((hash, number(&entry)), entry);
                }
            }
        }
        drop(guard);
        for ((hash, number), entry) in lowest.held.iter_mut().map_while(Option::take) {
            cursor.place = Place::Behind(hash, number);
            if show(&entry).is_break() {
                return;
            }
        }
        if !lowest.more {
            cursor.place = next.map_or(Place::End, Place::Before);
            buckets = buckets.saturating_add(1);
        }
        if lowest.more || buckets % SLICE == 0 {
            netfilter::breathe();
        }
    }
}
