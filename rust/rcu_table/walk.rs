// SPDX-License-Identifier: GPL-2.0
//! Walks over all entries, bucket by bucket, in the order of their hashes.

use crate::{
    buckets::Head,
    entry::{unword, Key, Node, ReadSide, Seen},
    sync::Ordering,
    table::{Storage, Table},
};

/// A walk along a bucket.
pub struct Walk<'g, E: Node, S: Storage> {
    table: &'g Table<E, S>,
    /// The head of the chain that it is in; `None` at the end.
    head: Option<&'g Head>,
    at: usize,
    /// The hashes that are looked for in this chain.
    from: u32,
    end: u32,
    /// The hash of the last entry that it has come by.
    passed: Option<u32>,
    /// The last hash of the bucket.
    last: u32,
}

/// How many empty buckets are passed in one go.
const SKIPPED: usize = 256;

impl<E: Node, S: Storage> Table<E, S> {
    /// The entries of a bucket, by their first keys and in the order of their hashes: of that which
    /// the hash `from` belongs to, from there on.
    ///
    /// Each entry that is in the table all the while is met once by walks that go on where the one
    /// before ends, whatever comes and goes meanwhile, and also if the number of buckets changes.
    pub fn bucket<'g, G: ReadSide>(&'g self, from: u32, _read: &'g G) -> Walk<'g, E, S> {
        // SAFETY: a read side is open for as long as the walk is there.
        let spot = unsafe { self.buckets.spot(from) };
        let last = from | spot.rest;
        Walk {
            table: self,
            head: Some(spot.head),
            at: spot.first,
            from,
            end: last,
            passed: None,
            last,
        }
    }

    /// The same, or of the next bucket that is not empty.
    pub fn walk<'g, G: ReadSide>(&'g self, from: u32, read: &'g G) -> Walk<'g, E, S> {
        // SAFETY: a read side is open.
        self.bucket(unsafe { self.buckets.not_empty(from, SKIPPED) }, read)
    }
}

impl<E: Node, S: Storage> Walk<'_, E, S> {
    /// Where the bucket behind this one begins; `None` if this is the last.
    #[must_use]
    pub fn behind(&self) -> Option<u32> {
        self.last.checked_add(1)
    }

    /// The chain is at its end: goes on where the rest of the bucket is, if it was cut meanwhile.
    fn go_on(&mut self) -> Option<()> {
        let done = if self.head?.is_moved() {
            // All of one hash stay together: none of those is left.
            self.passed.max(self.from.checked_sub(1))
        } else {
            Some(self.end)
        };
        self.head = None;
        self.from = match done {
            Some(done) if done >= self.last => return None,
            Some(done) => done.checked_add(1)?,
            None => 0,
        };
        // SAFETY: the read side is still open.
        let spot = unsafe { self.table.buckets.spot(self.from) };
        self.head = Some(spot.head);
        self.at = spot.first;
        self.end = (self.from | spot.rest).min(self.last);
        Some(())
    }
}

impl<'g, E: Node, S: Storage> Iterator for Walk<'g, E, S> {
    type Item = Seen<'g, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some((entry, key)) = unword::<E>(self.at) {
                // SAFETY: reached through the table under the read side `'g`.
                let seen = unsafe { Seen::<'g, E>::new(entry) };
                let link = seen.link_of(key);
                let hash = link.hash();
                if hash > self.end {
                    break;
                }
                self.at = link.next(Ordering::Acquire);
                if hash >= self.from {
                    self.passed = Some(hash);
                    if key == Key::First {
                        return Some(seen);
                    }
                }
            }
            self.at = 0;
            self.go_on()?;
        }
    }
}
