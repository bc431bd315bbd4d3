// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_conntrack` and `/proc/net/nf_conntrack`, and the lists of what is expected.

use conntrack::{
    show::{self, Buffer, Entry},
    tuple::{Direction, Family},
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Account, Conn, Expectation, Listing, Net, ReadSide, Table};
use rcu_table::{Node, Ref};

use crate::namespace::Namespace;

/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;

/// A place in a list. A bucket's entries are held together, so that what comes and goes while the
/// file is read makes none appear twice.
pub(crate) struct Place<E: Node> {
    /// The hash where the next bucket begins.
    next: Option<u32>,
    held: KVec<Ref<E>>,
    current: Option<Ref<E>>,
}

impl<E: Node> Default for Place<E> {
    fn default() -> Self {
        Self {
            next: Some(0),
            held: KVec::new(),
            current: None,
        }
    }
}

impl<E: Node> Place<E> {
    /// Goes on to the next entry that is to be shown; whether there is one.
    fn advance(&mut self, table: &Table<E>, shown: impl Fn(&E) -> bool) -> Result<bool> {
        loop {
            self.current = self.held.pop();
            if self.current.is_some() {
                return Ok(true);
            }
            let Some(from) = self.next else {
                return Ok(false);
            };
            let guard = rcu::read_lock();
            let read = ReadSide::of(&guard);
            let walk = table.walk(from, &read);
            self.next = walk.behind();
            for seen in walk {
                if shown(&seen) {
                    if let Some(entry) = seen.get() {
                        self.held.push(entry, GFP_ATOMIC)?;
                    }
                }
            }
        }
    }
}

/// The connections of a namespace: those of IPv4 in the seeds' form, or all in stock's.
pub(crate) struct Connections<const LONG: bool>;

impl<const LONG: bool> Listing for Connections<LONG> {
    type Tracker = Namespace;
    type Cursor = Place<Conn>;

    fn advance(net: &Net<Namespace>, place: &mut Place<Conn>) -> Result<bool> {
        let now = netfilter::now();
        place.advance(net.tracker().shared.table(), |conn| {
            conn.in_namespace(net.census())
                && conn.is_live()
                && (LONG || conn.tuple(Direction::Original).family() == Family::Ipv4)
                && !conn.expired(now)
        })
    }

    fn show(net: &Net<Namespace>, place: &Place<Conn>, out: &mut Buffer<'_>) {
        let Some(conn) = &place.current else { return };
        let config = &net.tracker().config;
        let timeouts = conn.timeouts().unwrap_or(&config.timeouts);
        let state = Conn::lock(conn).detail(timeouts, config.hz);
        let [mark, secmark] = conn.marks();
        let mut room = [0; 256];
        // This place holds one of them.
        let held = u32::from(!LONG);
        let entry = Entry {
            remaining: conn
                .expires()
                .remaining(netfilter::now())
                .unwrap_or_default()
                .as_secs(config.hz),
            state,
            original: conn.tuple(Direction::Original),
            reply: conn.tuple(Direction::Reply),
            status: conn.status(),
            mark: conn.mark().is_some().then_some(mark),
            // Of no mark stock says what the security module does (Smack: "?").
            context: (LONG || secmark != 0)
                .then(|| netfilter::context_of(secmark, &mut room))
                .flatten(),
            zone: Conn::HAS_ZONES.then(|| conn.zone()),
            age: conn
                .stamps()
                .map(|[start, _]| netfilter::real_ns().saturating_sub(start) / NANOS),
            counters: conn.counters().map(Account::counters),
            references: conn.references().saturating_sub(held),
        };
        // A line fits: the longest has two IPv6 tuples, a context and counters, some 800 bytes.
        let _ = if LONG {
            entry.write_long_line(out)
        } else {
            entry.write_line(out)
        };
    }
}

/// What connections of a namespace have announced: those of IPv4 in the seeds' form, or all in
/// stock's.
pub(crate) struct Expectations<const LONG: bool>;

impl<const LONG: bool> Listing for Expectations<LONG> {
    type Tracker = Namespace;
    type Cursor = Place<Expectation>;

    fn advance(net: &Net<Namespace>, place: &mut Place<Expectation>) -> Result<bool> {
        let now = netfilter::now();
        let table = net.tracker().shared.expectations().table();
        place.advance(table, |expectation| {
            expectation.master().in_namespace(net.census())
                && (LONG || expectation.what().tuple.family() == Family::Ipv4)
                && !expectation.expired(now)
        })
    }

    fn show(net: &Net<Namespace>, place: &Place<Expectation>, out: &mut Buffer<'_>) {
        let Some(expectation) = &place.current else {
            return;
        };
        let what = expectation.what();
        let helper = what.master.session().map(|session| session.helper());
        let line = show::Expected {
            remaining: expectation
                .expires()
                .remaining(netfilter::now())
                .unwrap_or_default()
                .as_secs(net.tracker().config.hz),
            tuple: &what.tuple,
            flags: what.flags,
            helper: helper.map(|helper| helper.name()).unwrap_or_default(),
        };
        // A line fits, as above.
        let _ = if LONG {
            line.write_long_line(out)
        } else {
            line.write_line(out)
        };
    }
}
