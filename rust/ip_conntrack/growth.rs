// SPDX-License-Identifier: GPL-2.0
//! The number of buckets follows that of connections: a worker changes it, and no packet waits.

use conntrack::time::Ticks;
use kernel::prelude::*;
use netfilter::{Connections, Filled, GracePeriod, Periodic, Slot, Worker, LOCKS};
use rcu_table::size;

use crate::shared::Shared;

/// The most buckets.
pub(crate) const MOST: u32 = 1 << 24;
/// How soon the worker comes; what was full then is seen to at once.
const SOON: Ticks = Ticks::new(1);

static WORKER: Slot<Periodic<Grower>> = Slot::new();

/// The worker is there while this lives. To drop it may sleep.
pub(crate) struct Growing {
    _place: Filled<Periodic<Grower>>,
}

struct Grower(Shared);

/// Makes the worker ready. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn start(shared: Shared) -> Result<Growing> {
    let _place = WORKER.fill(Periodic::asleep(Grower(shared))?)?;
    Ok(Growing { _place })
}

impl Worker for Grower {
    fn run(&self) -> Option<Ticks> {
        // Nobody is there to be told of an error, which is in the log.
        let _ = self.0.fit();
        None
    }
}

/// The most connections under one lock before somebody looks whether there are enough buckets.
pub(crate) fn limit(buckets: u32) -> u32 {
    size::limit(buckets, MOST, LOCKS)
}

/// Somebody shall look.
#[cold]
#[inline(never)]
pub(crate) fn look() {
    let guard = kernel::sync::rcu::read_lock();
    if let Some(worker) = WORKER.get(netfilter::ReadSide::of(&guard)) {
        worker.wake(SOON);
    }
}

/// As many buckets as suit the connections, and at least `least`; says how many there are. May sleep.
///
/// # Errors
///
/// `ENOMEM`: there are as many as there were, or were on the way.
pub(crate) fn fit(table: &Connections, least: u32) -> Result<u32> {
    loop {
        let buckets = netfilter::buckets(table);
        let wanted = size::next(buckets, table.entries(), [least, MOST]);
        if wanted == buckets {
            return Ok(buckets);
        }
        let heads = netfilter::new_heads(wanted).inspect_err(|_| {
            if !netfilter::limited() {
                pr_warn!("no memory for {} buckets, {} are left\n", wanted, buckets);
            }
        })?;
        if table
            .resize(heads, &GracePeriod, netfilter::breathe)
            .is_err()
        {
            return Ok(buckets); // Not reached: one does it at a time, in steps of two.
        }
    }
}
