// SPDX-License-Identifier: GPL-2.0
//! The end of entries: by their time, or with their namespace.

use core::cell::Cell;

use conntrack::{
    setting::Setting,
    time::{Instant, Ticks},
};
use kernel::sync::rcu;
use netfilter::{BottomHalvesOff, Conn, GracePeriod, Net, ReadSide, Worker, HZ};
use rcu_table::Grace;

use crate::{events::Cause, expect, namespace::Namespace, shared::Shared};

/// How often somebody asks whether the table is to be looked through. Who looks an entry up sees by
/// itself that its time is over; this is for those that nobody looks up any more.
pub(crate) const PERIOD: Ticks = Ticks::from_secs(1, HZ);
/// It is looked through again when the next entry is over, and not later than so: a packet of an open
/// connection says nothing when its time is shorter than before.
const LATEST: Ticks = Ticks::from_secs(30, HZ);

/// How many buckets are looked through in one go, while no packet comes to this CPU.
const SLICE: usize = 32;

/// How many are looked through in a period, beside those in which many connections have expired.
const SHARE: usize = 1 << 16;

/// How many buckets are looked through together. What ends is freed after a grace period, all of it together:
/// of too many at once packets would have to wait for that.
const TOGETHER: usize = 1 << 11;

/// Of so many connections that it meets one is expired: that is many.
const MANY: u32 = 16;

/// When the table is to be looked through again.
pub(crate) struct Due(Setting<Instant>);

impl Due {
    /// Now.
    pub(crate) fn new() -> Self {
        Self(Setting::new(netfilter::now()))
    }

    /// An entry will be over a `timeout` from `now` on. (One that lies further ahead than the next look counts for
    /// nothing; seen from a time that is past it might even lie behind.)
    #[inline]
    pub(crate) fn by(&self, now: Instant, timeout: Ticks) {
        let time = now.add(timeout);
        if timeout < LATEST && self.0.get().after(time) {
            self.0.set(time);
        }
    }
}

/// Takes out what has expired, share by share where the table is large.
pub(crate) struct Reaper {
    shared: Shared,
    /// Where the next share begins.
    at: Setting<u32>,
    /// When the first is over of those that this look through has met.
    first: Setting<Instant>,
}

impl Reaper {
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared,
            at: Setting::new(0),
            first: Setting::new(netfilter::now().add(LATEST)),
        }
    }

    /// Looks through some buckets; whether many had expired there. `None` at the end of the table.
    fn some(&self, now: Instant) -> Option<bool> {
        let (met, ended) = (Cell::new(0_u32), Cell::new(0_u32));
        let next = walk(
            &self.shared,
            self.at.get(),
            TOGETHER,
            Cause::NOBODY,
            |conn| {
                met.set(met.get().saturating_add(1));
                let over = conn.expired(now);
                ended.set(ended.get().saturating_add(over.into()));
                let soon = |left| left < LATEST && self.first.get().after(conn.expires());
                if conn.expires().remaining(now).is_some_and(soon) {
                    self.first.set(conn.expires());
                }
                over
            },
        );
        self.at.set(next.unwrap_or(0));
        if next.is_none() {
            self.shared.due().0.set(self.first.get());
            self.first.set(now.add(LATEST));
        }
        next.map(|_| ended.get() > met.get().checked_div(MANY).unwrap_or_default())
    }
}

impl Worker for Reaper {
    fn run(&self) -> Option<Ticks> {
        expect::sweep(&self.shared, Cause::NOBODY, |expectation| {
            expectation.expired(netfilter::now())
        });
        let now = netfilter::now();
        if self.shared.due().0.get().after(now) {
            return Some(PERIOD);
        }
        // Nobody is there to be told of an error, which is in the log.
        let _ = self.shared.fit();
        let mut left = SHARE;
        while left > 0 {
            match self.some(netfilter::now()) {
                Some(true) => GracePeriod.wait(),
                Some(false) => left = left.saturating_sub(TOGETHER),
                None => break,
            }
        }
        Some(PERIOD)
    }
}

/// Takes out all connections of a namespace, those that are kept included, and all that they have announced. May
/// sleep.
pub(crate) fn flush(net: &Net<Namespace>) {
    let shared = &net.tracker().shared;
    if !net.census().is_empty() {
        // One that was dropped on its way into the table is in it by no more than what it has announced.
        expect::sweep(shared, Cause::NOBODY, |expectation| {
            expectation.master().in_namespace(net.census())
        });
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
    walk(shared, 0, usize::MAX, cause, over);
}

/// The same from a hash on, in so many buckets; says where the next one begins.
fn walk(
    shared: &Shared,
    from: u32,
    buckets: usize,
    cause: Cause,
    over: impl Fn(&Conn) -> bool,
) -> Option<u32> {
    let mut from = Some(from);
    let mut left = buckets;
    while left > 0 {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        // Once, instead of with the lock of each.
        let still = BottomHalvesOff::new();
        for _ in 0..SLICE.min(left) {
            let walk = shared.table().walk(from?, &read);
            from = walk.behind();
            for conn in walk {
                if over(&conn) {
                    shared.end_met(&conn, cause, &read);
                }
            }
        }
        left = left.saturating_sub(SLICE);
        drop((still, guard));
        netfilter::breathe();
    }
    from
}
