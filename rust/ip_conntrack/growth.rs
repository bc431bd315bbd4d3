// SPDX-License-Identifier: GPL-2.0
//! The number of buckets follows that of connections: a worker changes it, and no packet waits.

use conntrack::time::Ticks;
use kernel::prelude::*;
use netfilter::{Connections, Filled, GracePeriod, Periodic, Slot, Worker, LOCKS};

use crate::shared::Shared;

/// There are more buckets at more connections than this for each, ...
const FULL: u32 = 1;
/// ... and fewer at fewer than one for so many: half of what there are just after there are more.
const SPARSE: u32 = 4;
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
        self.0.fit();
        None
    }
}

/// The most connections under one lock before somebody looks whether there are enough buckets.
pub(crate) fn limit(buckets: u32) -> u32 {
    if buckets >= MOST {
        return u32::MAX;
    }
    let by_lock = buckets.checked_div(LOCKS).unwrap_or_default();
    let usual = by_lock.saturating_mul(FULL);
    // By chance the fullest of a thousand locks has about four standard deviations more than that.
    let chance = usual.isqrt().saturating_add(1).saturating_mul(4);
    usual.saturating_add(chance)
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

/// As many buckets as suit the connections, and at least `least`; says how many there are. `None`:
/// there is no memory for more. May sleep.
pub(crate) fn fit(table: &Connections, least: u32) -> Option<u32> {
    loop {
        let buckets = netfilter::buckets(table);
        let entries = table.entries();
        let double = buckets.saturating_mul(2);
        let half = buckets.checked_div(2).unwrap_or_default();
        let few = entries < buckets.checked_div(SPARSE).unwrap_or_default();
        let wanted = if buckets < least || entries > buckets.saturating_mul(FULL) && double <= MOST
        {
            double
        } else if half >= least && few {
            half
        } else {
            return Some(buckets);
        };
        let heads = netfilter::new_heads(wanted).ok()?;
        if table
            .resize(heads, &GracePeriod, netfilter::breathe)
            .is_err()
        {
            return Some(buckets); // Somebody else is at it.
        }
    }
}
