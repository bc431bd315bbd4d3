// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_conntrack` and `/proc/net/nf_conntrack`, and the lists of what is expected.

use conntrack::{
    show::{self, Buffer, Entry},
    tuple::{Direction, Family},
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Expectation, Listing, Net, ReadSide};
use rcu_table::Ref;

use crate::namespace::Namespace;

/// The connections of a namespace: those of IPv4 in the seeds' form, or all in stock's.
pub(crate) struct Connections<const LONG: bool>;

/// A place in the list. A bucket's connections are held together, so that what comes and goes
/// while the file is read makes none appear twice.
#[derive(Default)]
pub(crate) struct Place {
    bucket: usize,
    held: KVec<Ref<Conn>>,
    current: Option<Ref<Conn>>,
}

impl Place {
    /// Holds the connections of the next bucket.
    fn fill(&mut self, net: &Net<Namespace>, all: bool) -> Result {
        let now = netfilter::now();
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        for seen in net.tracker().shared.table().bucket(self.bucket, &read) {
            let shown = seen.in_namespace(net.census())
                && (all || seen.tuple(Direction::Original).family() == Family::Ipv4)
                && !seen.expired(now);
            if shown {
                if let Some(conn) = seen.get() {
                    self.held.push(conn, GFP_ATOMIC)?;
                }
            }
        }
        self.bucket = self.bucket.saturating_add(1);
        Ok(())
    }
}

impl<const LONG: bool> Listing for Connections<LONG> {
    type Tracker = Namespace;
    type Cursor = Place;

    fn advance(net: &Net<Namespace>, place: &mut Place) -> Result<bool> {
        loop {
            place.current = place.held.pop();
            if place.current.is_some() {
                return Ok(true);
            }
            if place.bucket >= net.tracker().shared.buckets() {
                return Ok(false);
            }
            place.fill(net, LONG)?;
        }
    }

    fn show(net: &Net<Namespace>, place: &Place, out: &mut Buffer<'_>) {
        let Some(conn) = &place.current else { return };
        let config = &net.tracker().config;
        let state = Conn::lock(conn).detail(config);
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
            mark: conn.mark(),
            counters: None,
            references: conn.references().saturating_sub(held),
        };
        // A line fits: the longest has two IPv6 tuples, some 350 bytes.
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

/// A place in that list.
#[derive(Default)]
pub(crate) struct Expected {
    bucket: usize,
    held: KVec<Ref<Expectation>>,
    current: Option<Ref<Expectation>>,
}

impl Expected {
    /// Holds the expectations of the next bucket.
    fn fill(&mut self, net: &Net<Namespace>, all: bool) -> Result {
        let now = netfilter::now();
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        let table = net.tracker().shared.expectations().table();
        for seen in table.bucket(self.bucket, &read) {
            let shown = seen.master().in_namespace(net.census())
                && (all || seen.what().tuple.family() == Family::Ipv4)
                && !seen.expired(now);
            if shown {
                if let Some(expectation) = seen.get() {
                    self.held.push(expectation, GFP_ATOMIC)?;
                }
            }
        }
        self.bucket = self.bucket.saturating_add(1);
        Ok(())
    }
}

impl<const LONG: bool> Listing for Expectations<LONG> {
    type Tracker = Namespace;
    type Cursor = Expected;

    fn advance(net: &Net<Namespace>, place: &mut Expected) -> Result<bool> {
        loop {
            place.current = place.held.pop();
            if place.current.is_some() {
                return Ok(true);
            }
            if place.bucket >= net.tracker().shared.expectations().table().buckets() {
                return Ok(false);
            }
            place.fill(net, LONG)?;
        }
    }

    fn show(net: &Net<Namespace>, place: &Expected, out: &mut Buffer<'_>) {
        let Some(expectation) = &place.current else {
            return;
        };
        let what = expectation.what();
        let helper = what.master.session().map(|session| session.helper());
        let line = show::Expected {
            remaining: what
                .expires
                .remaining(netfilter::now())
                .unwrap_or_default()
                .as_secs(net.tracker().config.hz),
            tuple: &what.tuple,
            permanent: what.permanent,
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
