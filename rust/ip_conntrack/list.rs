// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_conntrack` and `/proc/net/ip_conntrack_expect`.

use conntrack::{
    show::{Buffer, Entry},
    tuple::{Direction, Family},
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Listing, Net, ReadSide};
use rcu_table::Ref;

use crate::namespace::Namespace;

/// The IPv4 connections of a namespace.
pub(crate) struct Connections;

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
    fn fill(&mut self, net: &Net<Namespace>) -> Result {
        let now = netfilter::now();
        let guard = rcu::read_lock();
        let read = ReadSide::of(&guard);
        for seen in net.tracker().shared.table().bucket(self.bucket, &read) {
            let shown = seen.in_namespace(net.census())
                && seen.tuple(Direction::Original).family() == Family::Ipv4
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

impl Listing for Connections {
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
            place.fill(net)?;
        }
    }

    fn show(net: &Net<Namespace>, place: &Place, out: &mut Buffer<'_>) {
        let Some(conn) = &place.current else { return };
        let state = conn.lock().name();
        let entry = Entry {
            remaining: conn
                .expires()
                .remaining(netfilter::now())
                .unwrap_or_default()
                .as_secs(net.tracker().config.hz),
            state,
            original: conn.tuple(Direction::Original),
            reply: conn.tuple(Direction::Reply),
            status: conn.status(),
            mark: conn.mark(),
            counters: None,
            // This place holds one of them.
            references: conn.references().saturating_sub(1),
        };
        // A line fits: the longest has two IPv4 tuples, some 250 bytes.
        let _ = entry.write_line(out);
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
