// SPDX-License-Identifier: GPL-2.0
//! Memory for tables.

use kernel::prelude::*;
use rcu_table::{Head, Node, Side, Storage};

use conntrack::{
    tuple::{Direction, Tuple},
    zone::Zone,
};

use crate::{
    conn::{self, Conn},
    lock::BucketLock,
    namespace::Census,
};

/// A table.
pub type Table<E> = rcu_table::Table<E, Store>;

/// The table of connections of all namespaces.
pub type Connections = Table<Conn>;

/// Locks for all buckets; more than CPUs, so that two rarely want the same.
const LOCKS: usize = 1024;

/// Chains and locks.
pub struct Store {
    heads: KVVec<Head>,
    locks: KVVec<BucketLock>,
}

// SAFETY: the vectors are filled by `new_table` and not changed after.
unsafe impl Storage for Store {
    type Lock = BucketLock;

    #[inline]
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    #[inline]
    fn locks(&self) -> &[BucketLock] {
        &self.locks
    }
}

/// An empty table. May sleep.
///
/// # Errors
///
/// `ENOMEM`; `EINVAL` for a table of no buckets.
pub fn new_table<E: Node>(buckets: u32) -> Result<Table<E>> {
    let buckets = usize::try_from(buckets)?;
    if buckets == 0 {
        return Err(EINVAL);
    }
    let mut heads = KVVec::with_capacity(buckets, GFP_KERNEL)?;
    for _ in 0..buckets {
        heads.push(Head::new(), GFP_KERNEL)?;
    }
    let count = LOCKS.min(buckets);
    let mut locks = KVVec::with_capacity(count, GFP_KERNEL)?;
    for place in locks.spare_capacity_mut().iter_mut().take(count) {
        // SAFETY: memory for a lock, in the place where it stays.
        unsafe { BucketLock::init(place.as_mut_ptr()) };
    }
    // SAFETY: so many were initialised just now, within the capacity.
    unsafe { locks.inc_len(count) };
    Ok(Table::new(Store { heads, locks }))
}

/// How many buckets suit this machine's memory, as stock computes it (its sysctl
/// nf_conntrack_buckets): an eighth of a bucket's size in 16 KiB, 65536 above 1 GiB and 262144
/// above 4 GiB.
pub fn default_buckets() -> u32 {
    const GIB: u64 = 1 << 30;
    // SAFETY: a counter that is read whole.
    let bytes = unsafe { raw::ipct_total_ram() };
    match bytes {
        b if b > 4 * GIB => 262_144,
        b if b > GIB => 65_536,
        b => u32::try_from(b / 16384 / 8).unwrap_or(65_536),
    }
}

/// Whether the connection, linked by `side`, is the one of `tuple` in a zone of a namespace.
#[inline]
pub fn same(conn: &Conn, side: Side, tuple: &Tuple, zone: Zone, census: &Census) -> bool {
    let at = conn::side(side);
    conn.tuple(at).matches(tuple)
        && (conn.zone() == zone || conn.zone().id(at) == zone.id(at))
        && conn.in_namespace(census)
        && conn.is_live()
}

/// The direction that packets have which found a connection by `side`.
#[inline]
pub fn direction(side: Side) -> Direction {
    conn::side(side)
}
