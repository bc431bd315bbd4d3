// SPDX-License-Identifier: GPL-2.0
//! The end of entries: by their time, or with their namespace.

use core::sync::atomic::{fence, AtomicU32, Ordering};

use conntrack::{
    setting::Setting,
    time::{Instant, Ticks},
};
use kernel::sync::rcu;
use netfilter::{BottomHalvesOff, Conn, Connections, Ended, Net, ReadSide, Worker, HZ};
use rcu_table::{Ahead, Insert, Look, Looked, Moment, Node, Ref, Seen};

use crate::{events::Cause, expect, namespace::Namespace, shared::Shared};

/// How often somebody asks whether a bucket is to be looked through. Who looks an entry up sees by itself that
/// its time is over; this is for those that nobody looks up any more.
pub(crate) const PERIOD: Ticks = Ticks::from_secs(1, HZ);

/// The unit of the moments at which buckets are looked through, 1 to 2 seconds: so many bits of ticks.
const UNIT: u32 = HZ.next_power_of_two().ilog2();

/// A time that becomes shorter than before, but not shorter than so, is left to the next look, two or three minutes on.
/// (As those of TCP that is closing: a look of its own would cost more than to have it a while longer.)
pub(crate) const SOON: Ticks = Ticks::from_secs(30, HZ);

/// Of how many buckets somebody asks when they are to be looked through in one go, and how many are looked
/// through, while no packet comes to this CPU.
const ASKED: usize = 1024;
const SLICE: usize = 32;

/// Of how many before what has ended there may be freed, and how often that in a period: a million buckets.
const TOGETHER: usize = 1 << 15;
const SHARE: usize = 1 << 5;

/// Room for so many that have ended: for those that end by their time, and where a user ends them, all at once maybe.
/// When half of it is taken they are freed.
const ROOM: usize = 1 << 12;
const MUCH_ROOM: usize = 1 << 15;

/// The unit in which the first bucket is to be looked through.
pub(crate) struct Due(AtomicU32);

impl Due {
    /// Of an empty table, which it gets ready.
    pub(crate) fn new(table: &Connections) -> Self {
        let now = unit(netfilter::now());
        let guard = rcu::read_lock();
        table.look_after(Moment::new(now), &ReadSide::of(&guard));
        Self(AtomicU32::new(now.wrapping_add(Moment::FARTHEST.into())))
    }

    /// In that unit, or earlier. (Of two who say so at once the earlier counts: what comes later than it was said is
    /// two minutes late.)
    #[inline]
    fn by(&self, unit: u32) {
        // Who begins to look sees the bucket that was marked before this, or this sees that it has begun.
        fence(Ordering::SeqCst);
        if ahead_of(self.0.load(Ordering::Relaxed), unit) {
            self.sooner(unit);
        }
    }

    #[cold]
    #[inline(never)]
    fn sooner(&self, unit: u32) {
        let sooner = |due| ahead_of(due, unit).then_some(unit);
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sooner);
    }

    /// Somebody begins to look, and will say when that is to be again; by then at the latest.
    fn begin(&self, unit: u32) {
        self.0.store(unit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Now.
    pub(crate) fn at_once(&self) {
        self.by(unit(netfilter::now()));
    }

    fn is_now(&self) -> bool {
        let due = self.0.load(Ordering::Relaxed);
        !ahead_of(due, unit(netfilter::now()))
    }
}

/// Whether a unit comes after another.
#[inline]
const fn ahead_of(unit: u32, other: u32) -> bool {
    // They go round like the ticks that they are made of.
    (unit.wrapping_sub(other).wrapping_shl(UNIT) as i32) > 0
}

/// The unit that a time is in, so many since the clock began.
#[inline]
const fn unit(time: Instant) -> u32 {
    time.as_ticks() >> UNIT
}

/// When a bucket with a connection whose time is over `left` from `now` on is to be looked through: in the unit
/// after that.
#[inline]
fn ahead(now: Instant, left: Ticks) -> Ahead {
    const LAST: Ticks = Ticks::new(((Moment::FARTHEST - 1) as u32) << UNIT);
    let first = unit(now);
    let over = unit(now.add(if left < LAST { left } else { LAST }));
    Ahead {
        now: Moment::new(first),
        // CAST: at most `FARTHEST`.
        units: over.wrapping_sub(first).wrapping_add(1) as u8,
    }
}

/// The unit that lies so many after that of `now`.
#[inline]
fn after(now: Instant, units: u8) -> u32 {
    unit(now).wrapping_add(units.into())
}

/// A connection that is over after `timeout` is put into the table.
#[inline(always)]
pub(crate) fn insert(
    shared: &Shared,
    conn: Ref<Conn>,
    timeout: Ticks,
    read: &ReadSide<'_>,
) -> Result<u32, Insert<Conn>> {
    let now = netfilter::now();
    let by = ahead(now, timeout);
    let done = shared.table().insert_by(conn, by, read)?;
    if done.sooner {
        shared.due().by(after(now, by.units));
    }
    Ok(done.entries)
}

/// The time of a connection is over after a `timeout` from `now` on, which is earlier than before.
#[inline(never)]
pub(crate) fn sooner(shared: &Shared, conn: &Conn, now: Instant, timeout: Ticks) {
    let guard = rcu::read_lock();
    let by = ahead(now, timeout);
    let hash = conn.link().hash();
    if shared.table().look_by(hash, by, &ReadSide::of(&guard)) {
        shared.due().by(after(now, by.units));
    }
}

/// Takes out what has expired, share by share where the table is large.
pub(crate) struct Reaper {
    shared: Shared,
    /// Where the next share begins.
    at: Setting<u32>,
}

impl Reaper {
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared,
            at: Setting::new(0),
        }
    }

    /// Asks so many buckets whether they are due, from where it was on, and looks through those. `None` at the end of
    /// the table.
    fn some(&self, ended: &mut Ended<'_>) -> Option<()> {
        let mut left = TOGETHER;
        while left > 0 && !ended.is_half_full() {
            let looked = self.slice(self.at.get(), ended);
            self.at.set(looked.behind.unwrap_or(0));
            left = left.saturating_sub(looked.asked);
            netfilter::breathe();
            looked.behind?;
        }
        Some(())
    }

    /// The same of few.
    fn slice(&self, from: u32, ended: &mut Ended<'_>) -> Looked {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        // Once, instead of with the lock of each.
        let _still = BottomHalvesOff::new();
        let (now, shared) = (netfilter::now(), &self.shared);
        let mut look = Clock {
            shared,
            now,
            read: &read,
            ended,
        };
        let moment = Moment::new(unit(now));
        let table = shared.table();
        let looked = table.look_through(from, [ASKED, SLICE], moment, &read, &mut look);
        shared.due().by(after(now, looked.soonest));
        looked
    }
}

/// Ends connections by their time.
struct Clock<'a, 'b> {
    shared: &'a Shared,
    now: Instant,
    read: &'a ReadSide<'a>,
    ended: &'a mut Ended<'b>,
}

impl Look<Conn> for Clock<'_, '_> {
    #[inline(always)]
    fn look(&mut self, conn: &Seen<'_, Conn>) -> Option<u8> {
        if !conn.is_confirmed() {
            return None; // It is being put in: what it says of its time is not settled.
        }
        if let Some(left) = conn.expires().remaining(self.now) {
            return Some(ahead(self.now, left).units);
        }
        if conn.ends_alone() {
            return None;
        }
        if let Some(conn) = self.shared.end_met(conn, Cause::NOBODY, self.read) {
            self.ended.take(conn);
        }
        Some(Moment::FARTHEST)
    }

    #[inline(always)]
    fn end(&mut self, conn: &Conn) -> Option<u8> {
        match conn.expires().remaining(self.now) {
            Some(left) => Some(ahead(self.now, left).units),
            None if conn.ends_alone() && conn.begin_death() => {
                conn.uncount(); // A rule may just have counted it.
                None
            }
            None => Some(Moment::FARTHEST), // Another ends it.
        }
    }

    #[inline(always)]
    fn ended(&mut self, conn: Ref<Conn>) {
        self.ended.take(conn);
    }
}

impl Worker for Reaper {
    fn run(&self) -> Option<Ticks> {
        expect::sweep(&self.shared, Cause::NOBODY, |expectation| {
            expectation.expired(netfilter::now())
        });
        let due = self.shared.due();
        if self.at.get() == 0 {
            if !due.is_now() {
                return Some(PERIOD);
            }
            // Whatever comes meanwhile, and whatever is met, makes it earlier.
            due.begin(after(netfilter::now(), Moment::FARTHEST));
        }
        // Nobody is there to be told of an error, which is in the log.
        let _ = self.shared.fit();
        let mut ended = Ended::new(self.shared.cache(), ROOM);
        let mut left = SHARE;
        while left > 0 && self.some(&mut ended).is_some() {
            if ended.is_half_full() {
                ended.give_back();
            } else {
                left = left.saturating_sub(1);
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
    let mut from = Some(0);
    let mut ended = Ended::new(shared.cache(), MUCH_ROOM);
    while from.is_some() {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        let still = BottomHalvesOff::new();
        for _ in 0..SLICE {
            let Some(first) = from else { break };
            let walk = shared.table().walk(first, &read);
            from = walk.behind();
            for conn in walk {
                let end = over(&conn).then(|| shared.end_met(&conn, cause, &read));
                if let Some(conn) = end.flatten() {
                    ended.take(conn);
                }
            }
        }
        drop((still, guard));
        if ended.is_half_full() {
            ended.give_back();
        }
        netfilter::breathe();
    }
}
