// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_conntrack` and `/proc/net/nf_conntrack`, and the lists of what is expected.

use conntrack::{
    show::{Buffer, Entry},
    tuple::{Direction, Family},
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Listing, Net, ReadSide};
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
        let state = conn.lock().detail(config);
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

/// What connections have announced: nothing yet, for there are no helpers.
pub(crate) struct Expectations;

impl Listing for Expectations {
    type Tracker = Namespace;
    type Cursor = ();

    fn advance(_: &Net<Namespace>, (): &mut ()) -> Result<bool> {
        Ok(false)
    }

    fn show(_: &Net<Namespace>, (): &(), _: &mut Buffer<'_>) {}
}
