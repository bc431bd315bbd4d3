// SPDX-License-Identifier: GPL-2.0
//! What all namespaces have in common: the table of connections, its key, the memory.

use conntrack::{
    setting::Setting,
    time::{Instant, Ticks},
    tuple::{Direction, HashWords, Tuple},
    zone::Zone,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{rcu, Arc, Mutex},
};
use netfilter::{Cache, Conn, Connections, FirstLook, HashKey, Net, Packets, ReadSide, Templates};
use rcu_table::{Insert, Ref, Seen};

use crate::{
    events::{self, Cause},
    expect::Expectations,
    expire::{self, Due},
    growth,
    helpers::Helpers,
    kept::Kept,
    namespace::Namespace,
};

/// A handle on what all namespaces share.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

/// In the order in which it is taken down: the cache last, after the last connection.
struct Inner {
    table: Connections,
    expectations: Expectations,
    helpers: Helpers,
    templates: Templates,
    key: HashKey,
    max: Setting<u32>,
    /// The fewest buckets, as the user has it.
    least: Setting<u32>,
    due: Due,
    /// Who changes the number of buckets.
    fitting: Pin<KBox<Mutex<()>>>,
    /// How many connections under one lock are many.
    limit: Setting<u32>,
    kept: Kept,
    defaults: Defaults,
    cache: Cache,
}

/// What a new namespace starts with.
#[derive(Clone, Copy)]
pub(crate) struct Defaults {
    /// Whether connections are counted.
    pub(crate) acct: bool,
    /// Whether it is known when they begin and end.
    pub(crate) timestamp: bool,
}

/// Connections for each bucket where the user gives the number of buckets, as stock has it.
const BY_BUCKET: u32 = 8;
/// The fewest buckets.
const FEWEST: u32 = 1024;

/// A number of buckets that there can be, at least so many if there can: a power of two.
fn rounded(buckets: u32) -> u32 {
    let buckets = buckets.clamp(FEWEST, growth::MOST);
    buckets.checked_next_power_of_two().unwrap_or(growth::MOST)
}

/// A connection that packets meet, and what `FirstLook` says of their direction in it.
type Met<'a> = (Seen<'a, Conn>, Option<Direction>);

impl Shared {
    /// An empty table of `hashsize` buckets, or of a size that suits the memory where it is zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for a size beyond reason.
    pub(crate) fn new(hashsize: u32, expect_hashsize: u32, defaults: Defaults) -> Result<Self> {
        let (buckets, max) = match hashsize {
            0 => {
                let buckets = netfilter::default_buckets().max(FEWEST);
                (buckets, buckets)
            }
            1..=growth::MOST => (hashsize, hashsize.saturating_mul(BY_BUCKET)),
            _ => {
                pr_err!("hashsize={} is more than {}\n", hashsize, growth::MOST);
                return Err(EINVAL);
            }
        };
        let buckets = rounded(buckets);
        let table = netfilter::new_table(buckets)?;
        let inner = Inner {
            due: Due::new(&table),
            table,
            expectations: Expectations::new(expect_hashsize, buckets)?,
            helpers: Helpers::new()?,
            templates: Templates::none(),
            key: HashKey::random(),
            max: Setting::new(max),
            least: Setting::new(buckets),
            fitting: KBox::pin_init(new_mutex!(()), GFP_KERNEL)?,
            limit: Setting::new(growth::limit(buckets)),
            kept: Kept::default(),
            defaults,
            cache: Cache::new()?,
        };
        Ok(Self(Arc::new(inner, GFP_KERNEL)?))
    }

    pub(crate) fn table(&self) -> &Connections {
        &self.0.table
    }

    pub(crate) fn expectations(&self) -> &Expectations {
        &self.0.expectations
    }

    pub(crate) fn helpers(&self) -> &Helpers {
        &self.0.helpers
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.0.templates
    }

    pub(crate) fn defaults(&self) -> Defaults {
        self.0.defaults
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    pub(crate) fn buckets(&self) -> u32 {
        netfilter::buckets(self.table())
    }

    /// Has at least so many buckets from now on, and as many as suit the connections. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: all is as before.
    pub(crate) fn set_buckets(&self, least: u32) -> Result {
        let before = self.0.least.get();
        self.0.least.set(rounded(least));
        self.fit().inspect_err(|_| self.0.least.set(before))
    }

    /// Has as many buckets as suit the connections. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: chains are longer than they should be. The next sweep tries again, no packet.
    pub(crate) fn fit(&self) -> Result {
        let _alone = self.0.fitting.lock();
        let before = self.buckets();
        let buckets = growth::fit(self.table(), self.0.least.get());
        if self.buckets() != before {
            // They are asked anew when they are due.
            self.due().at_once();
        }
        let limit = buckets
            .as_ref()
            .map_or(u32::MAX, |buckets| growth::limit(*buckets));
        self.0.limit.set(limit);
        buckets.map(|_| ())
    }

    /// The most connections that any namespace may have.
    pub(crate) fn max(&self) -> u32 {
        self.0.max.get()
    }

    /// Changes that.
    pub(crate) fn set_max(&self, max: u32) {
        self.0.max.set(max);
    }

    /// The hash of a tuple in a namespace; `zone` is the number of its zone in this direction.
    #[inline(always)]
    pub(crate) fn hash(&self, net: &Net<Namespace>, zone: u16, tuple: &Tuple) -> u32 {
        self.hash_words(zone, tuple) ^ net.hash_mix()
    }

    /// The hashes of a connection's tuples: that of both, or that of the second apart.
    pub(crate) fn hashes(
        &self,
        net: &Net<Namespace>,
        zone: Zone,
        [original, reply]: [&Tuple; 2],
    ) -> (u32, Option<u32>) {
        let hash = self.hash(net, zone.id(Direction::Original), original);
        let other = self.hash(net, zone.id(Direction::Reply), reply);
        // Of one that is in the table by one hash one tuple is the inverse of the other: `meet` relies on that.
        let alike = other == hash && original.invert().is_some_and(|inverse| inverse.is(reply));
        (hash, (!alike).then_some(other))
    }

    /// The hash of a tuple where the namespace does not count.
    #[inline(always)]
    pub(crate) fn hash_words(&self, zone: u16, tuple: &Tuple) -> u32 {
        let key = &self.0.key;
        match tuple.hash_words(zone) {
            HashWords::Ipv4(words) => key.two(words),
            HashWords::Ipv6(words) => key.five(words),
        }
    }

    /// The connection that packets with `tuple` in `zone` belong to, and their direction in it.
    pub(crate) fn find(
        &self,
        net: &Net<Namespace>,
        zone: Zone,
        tuple: &Tuple,
        read: ReadSide<'_>,
    ) -> Option<(Ref<Conn>, Direction)> {
        let hash = self.hash(net, zone.id(Direction::Original), tuple);
        self.find_hashed(net, zone, tuple, hash, read)
    }

    /// The same, where the hash in the original direction is known.
    #[inline(always)]
    pub(crate) fn find_hashed(
        &self,
        net: &Net<Namespace>,
        zone: Zone,
        tuple: &Tuple,
        hash: u32,
        read: ReadSide<'_>,
    ) -> Option<(Ref<Conn>, Direction)> {
        let found = self.find_by(net, zone, tuple, hash, read);
        let reply = zone.id(Direction::Reply);
        if found.is_some() || reply == zone.id(Direction::Original) {
            return found;
        }
        // The zone counts in one direction only: an answer is in another.
        self.find_by(net, zone, tuple, self.hash(net, reply, tuple), read)
    }

    /// The hash of packets that no rule has put into a zone, and the first connection that they meet, live
    /// or not, with their direction in it: the caller looks at the rest.
    #[inline(always)]
    pub(crate) fn meet<'a>(
        &'a self,
        net: &Net<Namespace>,
        tuple: &Tuple,
        read: &'a ReadSide<'_>,
    ) -> (u32, Option<Met<'a>>) {
        let (zone, census) = (Zone::DEFAULT, net.census());
        let hash = self.hash(net, zone.id(Direction::Original), tuple);
        let packets = Packets {
            tuple,
            zone,
            census,
        };
        (hash, self.table().seek(hash, read, FirstLook(packets)))
    }

    #[inline(always)]
    fn find_by(
        &self,
        net: &Net<Namespace>,
        zone: Zone,
        tuple: &Tuple,
        hash: u32,
        read: ReadSide<'_>,
    ) -> Option<(Ref<Conn>, Direction)> {
        let packets = Packets {
            tuple,
            zone,
            census: net.census(),
        };
        let (seen, direction) = self.table().seek(hash, &read, packets)?;
        let conn = seen.get()?;
        if conn.is_over(netfilter::now()) {
            self.expired(conn);
            return None;
        }
        Some((conn, direction))
    }

    /// A connection was met whose time is over.
    #[cold]
    #[inline(never)]
    fn expired(&self, conn: Ref<Conn>) {
        self.kill(&conn);
    }

    /// Puts a connection into the table.
    ///
    /// # Errors
    ///
    /// It comes back where one of its tuples is taken, or where it was put in before.
    #[inline(always)]
    pub(crate) fn insert(&self, conn: Ref<Conn>, read: ReadSide<'_>) -> Result<(), Insert<Conn>> {
        let timeout = conn.pending_timeout();
        if expire::insert(self, conn, timeout, &read)? > self.0.limit.get() {
            growth::look();
        }
        Ok(())
    }

    /// Gives a connection another `timeout` from `now` on, or from its confirmation on.
    #[inline(always)]
    pub(crate) fn refresh(&self, conn: &Conn, now: Instant, timeout: Ticks) {
        if conn.refresh(now, timeout) && timeout < expire::SOON {
            expire::sooner(self, conn, now, timeout);
        }
    }

    pub(crate) fn due(&self) -> &Due {
        &self.0.due
    }

    fn take_out(&self, conn: &Conn) {
        let guard = rcu::read_lock();
        drop(self.table().remove(conn, &ReadSide::of(&guard)));
    }

    /// Takes a connection out of the table, once.
    pub(crate) fn kill(&self, conn: &Ref<Conn>) {
        self.end(conn, Cause::NOBODY);
    }

    /// The same for somebody. Who listens is told before, so that nobody hears first of another
    /// connection in its place; where one cannot be told who wants to, it is kept.
    pub(crate) fn end(&self, conn: &Ref<Conn>, cause: Cause) {
        if !conn.begin_death() {
            return;
        }
        conn.uncount();
        if events::over(conn, cause).is_err() {
            self.kept().keep(conn, cause);
        } else {
            self.take_out(conn);
        }
        if conn.session().is_some() {
            self.expectations().forget(conn);
        }
    }

    /// The same of one that a walk has met; a reference that is to be given up. Where nobody hears of it and nobody
    /// has read it, which is so of nearly all, that is the table's own.
    #[inline]
    pub(crate) fn end_met(
        &self,
        conn: &Seen<'_, Conn>,
        cause: Cause,
        read: &ReadSide<'_>,
    ) -> Option<Ref<Conn>> {
        if conn.is_listened() || conn.session().is_some() {
            let conn = conn.get()?;
            self.end(&conn, cause);
            Some(conn)
        } else if conn.begin_death() {
            conn.uncount();
            self.table().remove(conn, read)
        } else {
            None
        }
    }

    /// Takes one out that was kept.
    pub(crate) fn let_go(&self, conn: &Conn) {
        if self.kept().let_go(conn) {
            self.take_out(conn);
        }
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.0.kept
    }
}
