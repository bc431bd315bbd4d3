// SPDX-License-Identifier: GPL-2.0
//! Memory for tables.

use core::{mem::size_of, ptr::NonNull};

use kernel::{prelude::*, sync::rcu};
use rcu_table::{Chains, Due, Head, Key, Node, Sought, Storage};

use conntrack::{
    tuple::{Direction, Tuple},
    zone::Zone,
};

use crate::{conn::Conn, lock::BucketLock, namespace::Census, rcu::ReadSide};

/// A table.
pub type Table<E> = rcu_table::Table<E, Store>;

/// The table of connections of all namespaces.
pub type Connections = Table<Conn>;

/// The most locks of a table; more than CPUs, so that two rarely want the same.
pub const LOCKS: u32 = 1024;

/// Locks of a table.
pub struct Store(KVVec<BucketLock>);

/// Chains of a table.
pub struct Heads {
    heads: KVVec<Head>,
    dues: KVVec<Due>,
}

impl Chains for Heads {
    #[inline]
    fn heads(&self) -> &[Head] {
        &self.heads
    }

    #[inline]
    fn dues(&self) -> &[Due] {
        &self.dues
    }
}

// SAFETY: the vectors are filled by `new_table` and `new_heads`, and not changed after.
unsafe impl Storage for Store {
    type Heads = Heads;
    type Stripe = BucketLock;

    #[inline]
    fn stripes(&self) -> &[BucketLock] {
        &self.0
    }
}

/// An empty table of at least so many buckets, and with that many locks or [`LOCKS`] of them. May
/// sleep.
///
/// # Errors
///
/// `ENOMEM`; `EINVAL` for a size beyond reason.
pub fn new_table<E: Node>(buckets: u32) -> Result<Table<E>> {
    let buckets = buckets.checked_next_power_of_two().ok_or(EINVAL)?;
    let count = buckets.min(LOCKS) as usize;
    let mut locks = KVVec::with_capacity(count, GFP_KERNEL)?;
    for place in locks.spare_capacity_mut().iter_mut().take(count) {
        // SAFETY: memory for a lock, in the place where it stays.
        unsafe { BucketLock::init(place.as_mut_ptr()) };
    }
    // SAFETY: so many were initialised just now, within the capacity.
    unsafe { locks.inc_len(count) };
    Table::new(new_heads(buckets)?, Store(locks)).ok_or(EINVAL)
}

/// So many empty chains. May sleep. Nobody is killed for their memory: a table that grows with its connections
/// can do without.
///
/// # Errors
///
/// `ENOMEM`.
pub fn new_heads(buckets: u32) -> Result<Heads> {
    let count = buckets as usize;
    // SAFETY: all zero is an empty chain, and a moment.
    let (heads, dues) = unsafe { (zeroed(count)?, zeroed(count)?) };
    Ok(Heads { heads, dues })
}

/// So many, all zero.
///
/// # Safety
///
/// That must be a value of `T`.
unsafe fn zeroed<T>(count: usize) -> Result<KVVec<T>> {
    // SAFETY: a plain allocation.
    let memory = unsafe { raw::ipct_zeroed(count, size_of::<T>()) };
    let memory = NonNull::new(memory.cast::<T>()).ok_or(ENOMEM)?;
    // SAFETY: memory of `KVVec`'s allocator, for so many, and the caller's promise.
    Ok(unsafe { KVVec::from_raw_parts(memory.as_ptr(), count, count) })
}

/// How many buckets a table has.
pub fn buckets<E: Node>(table: &Table<E>) -> u32 {
    let guard = rcu::read_lock();
    // CAST: `new_heads` makes no more.
    table.buckets(&ReadSide::of(&guard)) as u32
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

/// Packets of a tuple, in a zone of a namespace. Of a connection they find their direction in it.
pub struct Packets<'a> {
    /// Their tuple.
    pub tuple: &'a Tuple,
    /// Their zone.
    pub zone: Zone,
    /// The count of their namespace.
    pub census: &'a Census,
}

impl Packets<'_> {
    /// Whether a connection is of their namespace, and of their zone in a direction.
    #[inline(always)]
    fn are_with(&self, conn: &Conn, at: Direction) -> bool {
        (conn.zone() == self.zone || conn.zone().id(at) == self.zone.id(at))
            && conn.in_namespace(self.census)
    }
}

impl Sought<Conn> for Packets<'_> {
    type Found = Direction;

    #[inline(always)]
    fn is(&self, conn: &Conn, key: Key) -> Option<Direction> {
        let is = |at| conn.tuple(at).is(&self.tuple.with_direction(at));
        let at = if key == Key::First && is(Direction::Original) {
            Direction::Original
        } else if conn.is_met_in_reply(key) && is(Direction::Reply) {
            Direction::Reply
        } else {
            return None;
        };
        (self.are_with(conn, at) && conn.is_live()).then_some(at)
    }
}

/// The same, for a first look: of whatever connection has their hash, live or not. `Glance::stays` and
/// `Glance::is_usual` tell what it is.
pub struct FirstLook<'a>(pub Packets<'a>);

impl Sought<Conn> for FirstLook<'_> {
    /// `None`: it has their hash, but not their tuples and zone, or one of its tuples is not the inverse of the
    /// other. That is rare, and [`Packets`] have to be asked.
    type Found = Option<Direction>;

    #[inline(always)]
    fn is(&self, conn: &Conn, _: Key) -> Option<Option<Direction>> {
        let both = [Direction::Original, Direction::Reply].map(|at| conn.tuple(at));
        // (No closures: the compiler keeps them apart.)
        match self.0.tuple.direction_in(both) {
            Some(at) if self.0.are_with(conn, at) => Some(Some(at)),
            _ => Some(None),
        }
    }
}
