// SPDX-License-Identifier: GPL-2.0
//! The table of expected connections. A connection that comes takes its expectation out; the
//! others go by their time, with their master, or with their helper.
//!
//! Each stands in two chains: that of its destination, by which a new connection finds it, and
//! that of its master.

use core::{cell::Cell, sync::atomic::Ordering};

use conntrack::{
    event::Expected,
    helper::{Message, Pinhole, Policy},
    netlink::expectation::Flags,
    setting::Setting,
    status::Status,
    time::Ticks,
    tuple::{SourceMask, Tuple},
    zone::Zone,
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Expectation, Net, NewExpectation, ReadSide, Session, Table, HZ};
use rcu_table::{Insert, Key, Ref, Seen};

use crate::{
    counts::Event,
    events::{self, Cause},
    helpers,
    namespace::Namespace,
    shared::Shared,
};

/// What is expected, in all namespaces.
pub(crate) struct Expectations {
    table: Table<Expectation>,
    /// The most that a namespace may have.
    pub(crate) max: Setting<u32>,
}

/// Expectations for each bucket, as stock has it.
const BY_BUCKET: u32 = 4;
/// Buckets of connections for each bucket of expectations, as stock has it.
const SHARE: u32 = 256;
/// The most buckets: a bound on what a typing error can ask of memory.
const MOST: u32 = 1 << 20;
/// How often another may stand in the way of a new expectation.
const ROUNDS: usize = 4;

/// Why a connection cannot be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another expectation could be meant.
    InTheWay,
    /// The same is expected of the same connection, in another class.
    OtherClass,
    /// There are too many.
    TooMany,
    /// There is no memory.
    NoMemory,
}

impl Expectations {
    /// An empty table of `hashsize` buckets, or of as many as suit so many `buckets` of
    /// connections where it is zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for a size beyond reason.
    pub(crate) fn new(hashsize: u32, buckets: u32) -> Result<Self> {
        let size = match hashsize {
            0 => buckets.checked_div(SHARE).unwrap_or_default().max(1),
            1..=MOST => hashsize,
            _ => {
                pr_err!("expect_hashsize={} is more than {}\n", hashsize, MOST);
                return Err(EINVAL);
            }
        };
        Ok(Self {
            table: netfilter::new_table(size)?,
            max: Setting::new(size.saturating_mul(BY_BUCKET)),
        })
    }

    /// The chains, to be walked.
    pub(crate) fn table(&self) -> &Table<Expectation> {
        &self.table
    }

    /// Takes one out, once.
    pub(crate) fn remove(&self, expectation: &Expectation) -> Option<Ref<Expectation>> {
        self.end(expectation, Cause::NOBODY)
    }

    /// The same for somebody.
    pub(crate) fn end(&self, expectation: &Expectation, cause: Cause) -> Option<Ref<Expectation>> {
        if !expectation.begin_death() {
            return None;
        }
        let guard = rcu::read_lock();
        let taken = self.table.remove(expectation, &ReadSide::of(&guard))?;
        let census = expectation.master().census();
        census.expected().fetch_sub(1, Ordering::Relaxed);
        census.expected_no_more().fetch_add(1, Ordering::Relaxed);
        if taken.end_is_to_be_told() {
            events::expectation(&taken, Expected::Destroy, cause);
        }
        Some(taken)
    }

    /// Takes out all that a connection has announced.
    pub(crate) fn forget(&self, master: &Conn) {
        // Whoever puts one in from here on sees that the master is dying (`insert`).
        core::sync::atomic::fence(Ordering::SeqCst);
        if master.census().expected().load(Ordering::Relaxed) == 0 {
            return;
        }
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        let hash = master.id();
        while let Some((found, ())) = self.table.find(hash, &read, |expectation, key| {
            (key == Key::Second && is_of(expectation, master)).then_some(())
        }) {
            drop(self.remove(&found));
        }
    }

    /// How many of a class a master has, beside the one that a new one of this `tuple` takes the
    /// place of, and the one of them that ends first.
    fn of_class<'g>(
        &'g self,
        hash: u32,
        master: &Conn,
        (class, tuple): (u8, &Tuple),
        read: &'g ReadSide<'_>,
    ) -> (u32, Option<Seen<'g, Expectation>>) {
        let count = Cell::new(0_u32);
        let least = Cell::new(None::<(Option<Ticks>, *const Expectation)>);
        let now = netfilter::now();
        // To the end of the chain: whatever comes later in it was put in earlier.
        self.table.find(hash, read, |expectation, key| {
            if key == Key::Second
                && is_of(expectation, master)
                && expectation.what().class == class
                && expectation.what().tuple != *tuple
            {
                count.set(count.get().saturating_add(1));
                let left = expectation.expires().remaining(now);
                if least.get().is_none_or(|(least, _)| left <= least) {
                    least.set(Some((left, core::ptr::from_ref(expectation))));
                }
            }
            None::<()>
        });
        let oldest = self.table.find(hash, read, |expectation, _| {
            let (_, oldest) = least.get()?;
            core::ptr::eq(oldest, expectation).then_some(())
        });
        (count.get(), oldest.map(|(oldest, ())| oldest))
    }
}

fn is_of(expectation: &Expectation, master: &Conn) -> bool {
    core::ptr::eq(&**expectation.master(), master) && !expectation.is_over()
}

/// The key of an expectation's chain: a tuple without its source, in a zone.
fn target(net: &Net<Namespace>, zone: Zone, tuple: &Tuple) -> u32 {
    let shared = &net.tracker().shared;
    shared.hash(net, zone.number(), &tuple.without_source())
}

/// Whether a namespace expects anything.
#[inline]
pub(crate) fn any(net: &Net<Namespace>) -> bool {
    helpers::KNOWN && net.census().expected().load(Ordering::Relaxed) != 0
}

/// The expectation that a new connection meets.
pub(crate) fn meet(
    net: &Net<Namespace>,
    zone: Zone,
    tuple: &Tuple,
    read: ReadSide<'_>,
) -> Option<Ref<Expectation>> {
    if !any(net) {
        return None;
    }
    let expectations = net.tracker().shared.expectations();
    let now = netfilter::now();
    let (found, ()) =
        expectations
            .table
            .find(target(net, zone, tuple), &read, |expectation, key| {
                let wanted = key == Key::First
                    && expectation.expects(tuple, zone, net.census())
                    && !expectation.what().flags.contains(Flags::INACTIVE)
                    && !expectation.is_over()
                    && !expectation.expired(now)
                    // Whose announcement has not come through yet nobody can have followed it.
                    && expectation.master().is_live();
                wanted.then_some(())
            })?;
    found.get()
}

/// Takes out an expectation that a new connection has met, unless it is permanent. `false`: another packet has
/// it already.
pub(crate) fn take(net: &Net<Namespace>, expectation: &Expectation) -> bool {
    let tracker = net.tracker();
    let stays = expectation.what().flags.contains(Flags::PERMANENT);
    // Of two packets only one gets it.
    let taken = stays || tracker.shared.expectations().remove(expectation).is_some();
    if taken {
        tracker.counts.event(Event::ExpectNew);
    }
    taken
}

/// Expects a connection that `master` has announced in `message`; whether that can be.
pub(crate) fn insert(
    net: &Net<Namespace>,
    master: &Ref<Conn>,
    message: &Message<'_>,
    pinhole: &Pinhole,
    read: ReadSide<'_>,
) -> bool {
    let helper = master.session().map(Session::helper);
    let Some(policy) = helper.and_then(|helper| helper.policy(pinhole.class)) else {
        return false;
    };
    let tuple = pinhole.tuple(message);
    let new = NewExpectation {
        master: master.clone(),
        tuple,
        mask: if pinhole.is_for_anyone() {
            SourceMask::ANYONE
        } else {
            SourceMask::host(tuple.family())
        },
        class: pinhole.class,
        flags: if pinhole.permanent {
            Flags::PERMANENT
        } else {
            Flags::default()
        },
        helped: pinhole.helped,
        expires: netfilter::now(),
    };
    put_as_helper(net, new, policy, read).is_ok()
}

/// The same of an expectation that was made already.
pub(crate) fn put_as_helper(
    net: &Net<Namespace>,
    new: NewExpectation,
    policy: Policy,
    read: ReadSide<'_>,
) -> Result<(), Refused> {
    put(net, new, policy, gives_way, Cause::NOBODY, read)
}

/// Whether the first gives way to the second.
type GivesWay = fn(&Expectation, &Expectation) -> Result<(), Refused>;

/// Expects a connection for as long as the policy of its class says. One that is in the way has to
/// go if it `gives_way`.
pub(crate) fn put(
    net: &Net<Namespace>,
    mut new: NewExpectation,
    policy: Policy,
    gives_way: GivesWay,
    cause: Cause,
    read: ReadSide<'_>,
) -> Result<(), Refused> {
    let master = new.master.clone();
    let tracker = net.tracker();
    let expectations = tracker.shared.expectations();
    make_room(net, &master, (new.class, &new.tuple), policy, read)?;
    new.expires = netfilter::now().add(Ticks::from_secs(policy.seconds, HZ));
    let hashes = [target(net, master.zone(), &new.tuple), master.id()];
    let mut new = Expectation::new(new, hashes).ok_or(Refused::NoMemory)?;
    let count = net.census().expected();
    // Before it can be found, so that nobody who should find it passes by.
    count.fetch_add(1, Ordering::Relaxed);
    let mut refused = Refused::InTheWay;
    for _ in 0..ROUNDS {
        let handle = new.clone();
        match expectations.table.insert(new, &read) {
            Ok(_) => {
                tracker.counts.event(Event::ExpectCreate);
                announce(&handle, cause);
                // Whoever takes the master out from here on sees this one (`forget`).
                core::sync::atomic::fence(Ordering::SeqCst);
                if master.status().contains(Status::DYING) {
                    drop(expectations.remove(&handle));
                }
                return Ok(());
            }
            Err(Insert::Again(_)) => break,
            Err(Insert::Clash(clash)) => {
                new = clash.entry;
                let Some(other) = clash.other else {
                    continue;
                };
                match gives_way(&other, &new) {
                    Ok(()) => drop(expectations.remove(&other)),
                    Err(why) => {
                        refused = why;
                        break;
                    }
                }
            }
        }
    }
    count.fetch_sub(1, Ordering::Relaxed);
    Err(refused)
}

/// The expectation of a tuple in a zone, if it is still waiting.
pub(crate) fn find(
    net: &Net<Namespace>,
    zone: Zone,
    tuple: &Tuple,
    read: ReadSide<'_>,
) -> Option<Ref<Expectation>> {
    let now = netfilter::now();
    let expectations = net.tracker().shared.expectations();
    let hash = target(net, zone, tuple);
    let (found, ()) = expectations.table.find(hash, &read, |expectation, key| {
        let wanted = key == Key::First
            && expectation.expects(tuple, zone, net.census())
            && !expectation.is_over()
            && !expectation.expired(now);
        wanted.then_some(())
    })?;
    found.get()
}

/// Tells that an expectation is new, and what has become of it meanwhile.
pub(crate) fn announce(new: &Ref<Expectation>, cause: Cause) {
    events::expectation(new, Expected::New, cause);
    if new.begin_is_told() {
        events::expectation(new, Expected::Destroy, Cause::NOBODY);
    }
}

/// Whether an expectation gives way to a new one of the same target: one that says the same, also
/// of another connection (talk announces a call twice, over two of them), or that is over.
fn gives_way(old: &Expectation, new: &Expectation) -> Result<(), Refused> {
    let helper = |of: &Expectation| {
        let session = of.master().session();
        session.map(|session| core::ptr::from_ref(&**session.helper()))
    };
    let same = old.what().tuple == new.what().tuple
        && old.what().mask == new.what().mask
        && helper(old) == helper(new);
    if same || old.expired(netfilter::now()) || old.is_over() {
        Ok(())
    } else {
        Err(Refused::InTheWay)
    }
}

/// Keeps within the limits of a class and of the namespace.
fn make_room(
    net: &Net<Namespace>,
    master: &Conn,
    new: (u8, &Tuple),
    policy: Policy,
    read: ReadSide<'_>,
) -> Result<(), Refused> {
    let tracker = net.tracker();
    let expectations = tracker.shared.expectations();
    let hash = master.id();
    let (count, oldest) = expectations.of_class(hash, master, new, &read);
    if let Some(oldest) = oldest.filter(|_| count >= policy.most) {
        drop(expectations.remove(&oldest));
    }
    if net.census().expected().load(Ordering::Relaxed) >= expectations.max.get() {
        return Err(Refused::TooMany);
    }
    Ok(())
}

/// Takes out the expectations that `over` says are over. May sleep.
pub(crate) fn sweep(shared: &Shared, cause: Cause, over: impl Fn(&Expectation) -> bool) {
    let table = &shared.expectations().table;
    let mut from = (table.entries() != 0).then_some(0);
    while let Some(at) = from {
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        let walk = table.walk(at, &read);
        from = walk.behind();
        for expectation in walk {
            if over(&expectation) {
                drop(shared.expectations().end(&expectation, cause));
            }
        }
        drop(guard);
        netfilter::breathe();
    }
}
