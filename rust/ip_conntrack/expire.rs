// SPDX-License-Identifier: GPL-2.0
//! The end of entries: by their time, or with their namespace.

use conntrack::time::Ticks;
use kernel::sync::rcu;
use netfilter::{Conn, Net, ReadSide, Worker, HZ};

use crate::{events::Cause, expect, namespace::Namespace, shared::Shared};

/// How often the table is looked through. Who looks an entry up sees by itself that its time is
/// over; this is for those that nobody looks up any more.
pub(crate) const PERIOD: Ticks = Ticks::from_secs(1, HZ);

/// How many buckets are looked through in one go.
const SLICE: usize = 256;

/// Takes out what has expired.
pub(crate) struct Reaper(Shared);

impl Reaper {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(shared)
    }
}

impl Worker for Reaper {
    fn run(&self) -> Option<Ticks> {
        sweep(&self.0, Cause::NOBODY, |conn| {
            conn.expired(netfilter::now())
        });
        expect::sweep(&self.0, Cause::NOBODY, |expectation| {
            expectation.expired(netfilter::now())
        });
        Some(PERIOD)
    }
}

/// Takes out all connections of a namespace, those that are kept included. May sleep.
pub(crate) fn flush(net: &Net<Namespace>) {
    let shared = &net.tracker().shared;
    if !net.census().is_empty() {
        sweep(shared, Cause::NOBODY, |conn| {
            let mine = conn.in_namespace(net.census());
            if mine && conn.kept().is_some() {
                shared.let_go(conn);
            }
            mine
        });
    }
}

/// Takes out the connections that `over` says are over. May sleep.
pub(crate) fn sweep(shared: &Shared, cause: Cause, over: impl Fn(&Conn) -> bool) {
    let buckets = shared.buckets();
    for start in (0..buckets).step_by(SLICE) {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        for bucket in start..start.saturating_add(SLICE).min(buckets) {
            for conn in shared.table().bucket(bucket, &read) {
                if over(&conn) {
                    if let Some(conn) = conn.get() {
                        shared.end(&conn, cause);
                    }
                }
            }
        }
        drop(guard);
        netfilter::breathe();
    }
}
