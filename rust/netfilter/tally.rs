// SPDX-License-Identifier: GPL-2.0
//! Counts of connections that rules keep, which are right at any time: a connection leaves them
//! when it is over, or when its memory goes.
//!
//! Nobody walks over the connections of a count. Each namespace has a list of who is counted where,
//! found by the connection.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use conntrack::status::Status;
use kernel::{
    prelude::*,
    rbtree::{Entry, RBTree, RBTreeNodeReservation},
    sync::Arc,
};

use crate::{conn::Conn, lock::Guarded};

/// How many locks and trees there are; a power of two, more than CPUs that often meet.
const SHARDS: usize = 16;

/// A count of connections.
#[derive(Default)]
pub struct Tally {
    count: AtomicU32,
    /// Whether nobody asks any more.
    retired: AtomicBool,
}

impl Tally {
    /// How many are counted.
    #[inline]
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one that is no connection (yet).
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes that back.
    pub fn sub(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Nobody asks any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// A connection's address, and that of a count.
type Key = (usize, usize);

/// Counts, by that.
type Shard = RBTree<Key, Arc<Tally>>;

/// Who is counted where, of one namespace.
pub(crate) struct Tallies {
    shards: KVec<KBox<Guarded<Shard>>>,
}

/// A number that tells a thing from all others that live.
fn address<T>(of: &T) -> usize {
    core::ptr::from_ref(of) as usize
}

impl Tallies {
    /// An empty list. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let mut shards = KVec::with_capacity(SHARDS, GFP_KERNEL)?;
        for _ in 0..SHARDS {
            shards.push(Guarded::new(RBTree::new(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self { shards })
    }

    fn of(&self, conn: usize) -> &Guarded<Shard> {
        /// Bits of an address that connections have in common: they are of that size at least.
        const SAME: u32 = 8;
        &self.shards[(conn >> SAME) % SHARDS]
    }

    /// Whether a connection is counted in `tally`.
    fn has(&self, conn: &Conn, tally: &Tally) -> bool {
        let key = (address(conn), address(tally));
        self.of(key.0).with(|tree| tree.get(&key).is_some())
    }

    /// Counts a connection in `tally` unless it is counted there; callable from any context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn add(&self, conn: &Conn, tally: &Arc<Tally>) -> Result {
        let key = (address(conn), address(&**tally));
        let room = RBTreeNodeReservation::new(GFP_ATOMIC)?;
        self.of(key.0).with(|tree| {
            // What rules have left that are no more, so that these do not become many.
            while let Some(stale) = stale(tree, key.0) {
                drop(tree.remove_node(&stale));
            }
            if let Entry::Vacant(place) = tree.entry(key) {
                tally.add();
                place.insert(tally.clone(), room);
            }
        });
        Ok(())
    }

    /// Takes a connection out of all counts.
    pub(crate) fn forget(&self, conn: &Conn) {
        let at = address(conn);
        loop {
            let taken = self.of(at).with(|tree| {
                let cursor = tree.cursor_lower_bound_mut(&(at, 0))?;
                let (key, _) = cursor.current();
                (key.0 == at).then(|| cursor.remove_current().1)
            });
            let Some(node) = taken else { return };
            let (_, tally) = node.to_key_value();
            tally.sub();
        }
    }
}

/// A count in which a connection stands and which nobody asks for any more.
fn stale(tree: &Shard, conn: usize) -> Option<Key> {
    let mut from = 0;
    loop {
        let cursor = tree.cursor_lower_bound(&(conn, from))?;
        let (key, tally) = cursor.current();
        if key.0 != conn {
            return None;
        }
        if tally.retired.load(Ordering::Relaxed) {
            return Some(*key);
        }
        from = key.1.checked_add(1)?;
    }
}

impl Conn {
    /// Counts it in `tally` until it is over; `false` where there is no memory. Once counted it
    /// stays so, however often this is called.
    #[must_use]
    pub fn count_in(&self, tally: &Arc<Tally>) -> bool {
        let tallies = self.census().tallies();
        if self.is_tallied() && tallies.has(self, tally) {
            return true;
        }
        self.set_tallied();
        if tallies.add(self, tally).is_err() {
            return false;
        }
        // Both bits are in one word, and the list has a lock: whoever takes the connection out of
        // the table either sees that it is counted, after this, or has said so before.
        if self.status().contains(Status::DYING) {
            self.uncount();
        }
        true
    }

    /// Takes it out of all counts: it is over.
    #[inline]
    pub fn uncount(&self) {
        if self.is_tallied() {
            self.census().tallies().forget(self);
        }
    }
}
