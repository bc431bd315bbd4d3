// SPDX-License-Identifier: GPL-2.0
//! Counts of connections that rules keep, which are right at any time: a connection leaves them
//! when it is over, or when its memory goes.
//!
//! A count knows its connections, and each namespace has a list of who is counted where, found by
//! the connection; so nobody walks over all of either.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use conntrack::{status::Status, time::Instant};
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::{Entry, RBTree, RBTreeNodeReservation},
    sync::Arc,
};
use rcu_table::{Node, Ref};

use crate::{conn::Conn, lock::Guarded};

/// How many locks and trees a namespace has; more than CPUs that often meet.
const SHARDS: usize = 16;

/// How many of a count's connections are looked at in one go.
const STEPS: usize = 16;

/// How many of them are given out that have expired.
const EXPIRED: usize = 4;

/// A count of connections.
pub struct Tally {
    count: AtomicU32,
    /// Whether nobody asks any more.
    retired: AtomicBool,
    members: KBox<Guarded<Members>>,
}

/// The connections of a count, by their addresses.
///
/// # Invariants
///
/// While the lock over it is held, all that stand in it have memory: a connection takes itself out
/// before that goes (`Conn::uncount`).
struct Members {
    tree: RBTree<usize, ()>,
    /// Where the next look begins.
    next: usize,
}

impl Tally {
    /// Of none; may sleep if `flags` let it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(flags: Flags) -> Result<Arc<Self>> {
        let members = Members {
            tree: RBTree::new(),
            next: 0,
        };
        let this = Self {
            count: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            members: Guarded::new(members, flags)?,
        };
        Ok(Arc::new(this, flags)?)
    }

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

    /// Some of the connections whose time is over, though they were not taken out yet. Where there
    /// are many, only some are looked at, others the next time.
    #[must_use]
    pub fn expired(&self, now: Instant) -> [Option<Ref<Conn>>; EXPIRED] {
        let mut found = [const { None }; EXPIRED];
        self.members.with(|members| {
            let mut places = found.iter_mut().peekable();
            for _ in 0..STEPS {
                // None is given back here, under the lock: it might be the last.
                if places.peek().is_none() {
                    break;
                }
                let Some(cursor) = members.tree.cursor_lower_bound(&members.next) else {
                    members.next = 0;
                    break;
                };
                let (address, ()) = cursor.current();
                members.next = address.wrapping_add(1);
                let Some(conn) = NonNull::new(*address as *mut Conn) else {
                    continue;
                };
                // SAFETY: it has memory, by the invariant of `Members`.
                if !unsafe { conn.as_ref() }.expired(now) || !unsafe { conn.as_ref() }.try_get() {
                    continue;
                }
                if let Some(place) = places.next() {
                    // SAFETY: the count that was just taken goes to the reference.
                    *place = Some(unsafe { Ref::from_raw(conn) });
                }
            }
        });
        found
    }

    fn has(&self, conn: usize) -> bool {
        self.members
            .with(|members| members.tree.get(&conn).is_some())
    }

    /// Counts a connection; whether it was not counted before.
    fn join(&self, conn: usize) -> Result<bool> {
        let room = RBTreeNodeReservation::new(GFP_ATOMIC)?;
        Ok(self.members.with(|members| {
            let Entry::Vacant(place) = members.tree.entry(conn) else {
                return false;
            };
            place.insert((), room);
            self.add();
            true
        }))
    }

    /// Counts it no more.
    fn leave(&self, conn: usize) {
        let node = self.members.with(|members| {
            let node = members.tree.remove_node(&conn);
            if node.is_some() {
                self.sub();
            }
            node
        });
        drop(node);
    }
}

/// A connection's address, and that of a count.
type Key = (usize, usize);

/// Some of those who are counted, and where.
type Shard = Guarded<RBTree<Key, Arc<Tally>>>;

/// Who is counted where, of one namespace.
pub(crate) struct Tallies {
    shards: KVec<KBox<Shard>>,
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

    fn of(&self, conn: usize) -> &Shard {
        /// Bits of an address that connections have in common: they are about of that size.
        const SAME: u32 = 8;
        &self.shards[(conn >> SAME) % SHARDS]
    }

    /// Notes that a connection is counted in `tally`; callable from any context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn note(&self, conn: usize, tally: &Arc<Tally>) -> Result {
        let room = RBTreeNodeReservation::new(GFP_ATOMIC)?;
        self.of(conn).with(|tree| {
            // What rules have left that are no more, so that these do not become many.
            while let Some(stale) = stale(tree, conn) {
                drop(tree.remove_node(&stale));
            }
            if let Entry::Vacant(place) = tree.entry((conn, address(&**tally))) {
                place.insert(tally.clone(), room);
            }
        });
        Ok(())
    }

    /// Takes a connection out of all counts.
    fn forget(&self, conn: usize) {
        loop {
            let taken = self.of(conn).with(|tree| {
                let cursor = tree.cursor_lower_bound_mut(&(conn, 0))?;
                let (key, _) = cursor.current();
                (key.0 == conn).then(|| cursor.remove_current().1)
            });
            let Some(node) = taken else { return };
            let (_, tally) = node.to_key_value();
            tally.leave(conn);
        }
    }
}

/// A count in which a connection stands and which nobody asks for any more.
fn stale(tree: &RBTree<Key, Arc<Tally>>, conn: usize) -> Option<Key> {
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
    pub fn count_in(this: &Ref<Self>, tally: &Arc<Tally>) -> bool {
        let at = address(&**this);
        if this.is_tallied() && tally.has(at) {
            return true;
        }
        this.set_tallied();
        let Ok(joined) = tally.join(at) else {
            return false;
        };
        if joined && this.census().tallies().note(at, tally).is_err() {
            tally.leave(at);
            return false;
        }
        // Both bits are in one word, and the lists have locks: whoever takes the connection out of
        // the table either sees that it is counted, after this, or has said so before.
        if this.status().contains(Status::DYING) {
            this.uncount();
        }
        true
    }

    /// Takes it out of all counts: it is over.
    #[inline]
    pub fn uncount(&self) {
        if self.is_tallied() {
            self.census().tallies().forget(address(self));
        }
    }
}
