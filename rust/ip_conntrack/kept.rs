// SPDX-License-Identifier: GPL-2.0
//! Connections that are over while somebody who wants to miss nothing could not be told. They stay
//! in the table, where packets do not find them, and count for their namespace; a worker tells of
//! them as soon as there is room.

use core::sync::atomic::{AtomicU32, Ordering};

use conntrack::{setting::Setting, time::Ticks};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Filled, Periodic, ReadSide, Slot, Worker, HZ};
use rcu_table::Ref;

use crate::{
    events::{self, Cause},
    shared::Shared,
};

/// How soon it is tried again.
const SOON: Ticks = Ticks::new(HZ / 100);
/// The same after a look through the whole table.
const LATER: Ticks = Ticks::new(HZ / 10);
/// How many buckets are looked through in one go.
const SLICE: u32 = 64;

/// How many there are, in all namespaces.
#[derive(Default)]
pub(crate) struct Kept(AtomicU32);

static WORKER: Slot<Periodic<Retry>> = Slot::new();

/// The worker is there while this lives. To drop it may sleep.
pub(crate) struct Working {
    _place: Filled<Periodic<Retry>>,
}

/// Makes the worker ready. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn start(shared: Shared) -> Result<Working> {
    let worker = Periodic::asleep(Retry {
        shared,
        at: Setting::new(0),
    })?;
    let _place = WORKER.fill(worker)?;
    Ok(Working { _place })
}

impl Kept {
    /// Keeps a connection that `cause` has ended.
    #[cold]
    pub(crate) fn keep(&self, conn: &Conn, cause: Cause) {
        // Before it is marked: who finds the mark may let it go, and then counts down.
        self.0.fetch_add(1, Ordering::Relaxed);
        conn.census().kept().fetch_add(1, Ordering::Relaxed);
        conn.keep(cause.port);
        let guard = rcu::read_lock();
        if let Some(worker) = WORKER.get(ReadSide::of(&guard)) {
            worker.wake(SOON);
        }
    }

    /// Keeps a connection no more; whether the caller has to take it out.
    pub(crate) fn let_go(&self, conn: &Conn) -> bool {
        if !conn.let_go() {
            return false;
        }
        conn.census().kept().fetch_sub(1, Ordering::Relaxed);
        self.0.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn len(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells of those that are kept.
struct Retry {
    shared: Shared,
    /// The hash where it begins the next time.
    at: Setting<u32>,
}

impl Worker for Retry {
    fn run(&self) -> Option<Ticks> {
        let mut congested = None;
        let buckets = self.shared.buckets();
        for step in 0..buckets {
            if self.shared.kept().len() == 0 {
                return None;
            }
            let next = self.bucket(self.at.get(), &mut congested);
            if self.nothing_else(congested.as_ref()) {
                return Some(SOON); // And begins where it was.
            }
            self.at.set(next.unwrap_or(0));
            if step % SLICE == 0 {
                netfilter::breathe();
            }
        }
        Some(if congested.is_some() { LATER } else { SOON })
    }
}

impl Retry {
    /// Tells of those in a bucket, but for the namespace of `congested`, which is left alone for
    /// this time; says where the next one begins.
    fn bucket(&self, from: u32, congested: &mut Option<Ref<Conn>>) -> Option<u32> {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        let walk = self.shared.table().walk(from, &read);
        let next = walk.behind();
        for seen in walk {
            let Some(port) = seen.kept() else { continue };
            let skip = congested
                .as_ref()
                .is_some_and(|other| seen.same_namespace(other));
            let Some(conn) = seen.get().filter(|_| !skip) else {
                continue;
            };
            let cause = Cause { port, echo: false };
            match events::over(&conn, cause) {
                Ok(()) => self.shared.let_go(&conn),
                Err(events::Congested) => *congested = Some(conn),
            }
        }
        next
    }

    /// Whether all that are kept are of a namespace that cannot be told.
    fn nothing_else(&self, congested: Option<&Ref<Conn>>) -> bool {
        congested.is_some_and(|conn| {
            conn.census().kept().load(Ordering::Relaxed) >= self.shared.kept().len()
        })
    }
}
