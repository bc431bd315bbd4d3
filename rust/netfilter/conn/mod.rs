// SPDX-License-Identifier: GPL-2.0
//! A tracked connection, laid out so that the kernel's own readers of `skb->_nfct` are right.
//!
//! Code in the kernel that does not link to the stock tracker reads a connection as
//! `struct nf_conn` (icmp_ndo_send, nf_socket, the flow dissector, nfnetlink_queue ...). So a
//! connection begins with that structure up to its member `proto`; what follows is ours.

mod account;
mod begun;
mod end;
mod features;
mod new;
mod node;
mod number;
mod state;

use core::{
    cell::UnsafeCell,
    mem::{align_of, offset_of, size_of, ManuallyDrop, MaybeUninit},
    ptr::NonNull,
    sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering},
};

use conntrack::{
    ctinfo::CtInfo,
    status::Status,
    time::{Instant, Ticks},
    timeouts::Timeouts,
    tuple::{Direction, Tuple},
    zone::Zone,
};
use rcu_table::{Link, Node, Ref};

use self::{
    account::{Clock, Sums},
    features::own,
};
use crate::{
    extension::{Extension, Labels},
    helper::Session,
    namespace::{self, Census},
    news::TOLD,
    shifts::Shifts,
    time,
};

pub use self::{
    account::Account,
    begun::Begun,
    features::Features,
    new::{NewConn, Templates},
    state::{Change, StateGuard},
};
pub(crate) use self::{
    features::{LISTENED, QUIET},
    number::make_numbers_secret,
};

/// Bytes that the kernel may read as `struct nf_conn`.
const PREFIX: usize = offset_of!(raw::nf_conn, proto);

// The engine's tuple is the kernel's, and a chain link fits where the kernel has its list node.
const _: () = assert!(size_of::<Tuple>() == size_of::<raw::nf_conntrack_tuple>());
const _: () = assert!(align_of::<Tuple>() <= align_of::<raw::nf_conntrack_tuple>());
const _: () = assert!(size_of::<Link>() == size_of::<raw::hlist_nulls_node>());
const _: () = assert!(align_of::<Link>() <= align_of::<raw::hlist_nulls_node>());
const _: () = assert!(offset_of!(raw::nf_conn, ct_general) == 0);
const _: () = assert!(size_of::<raw::refcount_t>() == size_of::<AtomicI32>());
const _: () = assert!(size_of::<usize>() == size_of::<u64>(), "for 64 bits only");
const _: () = assert!(PREFIX % 8 == 0 && align_of::<raw::nf_conn>() == 8);
#[cfg(CONFIG_NF_CONNTRACK_ZONES)]
const _: () = assert!(size_of::<raw::nf_conntrack_zone>() == size_of::<Zone>());

/// A connection.
///
/// # Invariants
///
/// - The prefix is a valid `struct nf_conn` up to `proto`: count, lock, tuples, status, namespace,
///   zone. But `master`, which only code of the stock tracker reads, is two words of the state.
/// - The tuples, the zone, the extension and the features are not written after the connection was
///   made, or else while nobody else can come to it ([`Begun`]), and go with its memory: after the last
///   reference, and where readers could have met it a grace period later.
/// - `ext` is null, or an [`Extension`] that the connection owns.
/// - With `BEHIND` among its bits it is the begin of a [`Counted`]. Else, with an account among its
///   features, its state is no more than a word, and the account is where the rest of another would be.
/// - With `APART` among its bits it is the begin of an [`Apart`].
/// - The state is in four parts: in the tail, in the place of `master`, in the link's room, and in the
///   place of the kernel's second list node. It is there while there are references; it is read and written only under
///   the lock, by who has one, or before the connection is shared. Afterwards the tail belongs to
///   RCU.
/// - The namespace outlives the connection, for it waits until its census is zero; a template
///   belongs to none.
#[repr(C, align(8))]
pub struct Conn {
    prefix: UnsafeCell<MaybeUninit<[u64; PREFIX / 8]>>,
    tail: UnsafeCell<Tail>,
}

/// A connection with an account.
#[repr(C)]
pub(crate) struct Counted {
    conn: Conn,
    sums: Sums,
    clock: Clock,
}

/// A connection that is in the table by each of its tuples.
#[repr(C)]
pub(crate) struct Apart {
    counted: Counted,
    second: Link,
}

/// The end of a connection's memory.
#[repr(C)]
union Tail {
    state: [u32; 6],
    /// All of `Sums` but the last, which is in the place of `master`.
    sums: ManuallyDrop<[AtomicU64; 3]>,
    grace: raw::callback_head,
}

// Nothing is left empty behind what the kernel may read.
const _: () = assert!(size_of::<Conn>() == PREFIX + size_of::<[u32; 6]>());
const _: () = assert!(size_of::<raw::hlist_nulls_node>() == size_of::<[u32; 4]>());
const _: () = assert!(size_of::<raw::hlist_nulls_node>() == size_of::<Clock>());

/// What a connection's status word said at a moment.
#[derive(Clone, Copy)]
pub struct Glance(u64);

impl Glance {
    /// The status bits.
    #[inline]
    pub fn status(self) -> Status {
        // CAST: as in `Conn::status`.
        Status::from_bits(self.0 as u32)
    }

    /// Whether it is on its way into the table, and nobody listens to its events.
    #[inline]
    pub fn begins_unheard(self) -> bool {
        let heard = if TOLD { LISTENED } else { 0 };
        let others = Status::TEMPLATE | Status::CONFIRMED | Status::DYING;
        self.0 & (u64::from(others.bits()) | heard) == 0
    }

    /// Whether packets can find the connection in the table, and by one key.
    #[inline]
    pub fn is_usual(self) -> bool {
        let wanted = u64::from(Status::CONFIRMED.bits());
        let looked_at = wanted | u64::from(Status::DYING.bits()) | own::APART;
        self.0 & looked_at == wanted
    }

    /// Whether the connection has `bits` already, is in the table by one key, and a packet gives it
    /// another timeout, of those of its namespace, and changes nothing else of it.
    #[inline]
    pub fn stays(self, bits: Status) -> bool {
        let stops = Status::FIXED_TIMEOUT | Status::DYING;
        let wanted = bits | Status::CONFIRMED;
        let looked_at = u64::from((stops | wanted).bits()) | own::COUNTS | own::TIMED | own::APART;
        self.0 & looked_at == u64::from(wanted.bits())
    }
}

// SAFETY: what is shared is atomic, immutable or under the lock.
unsafe impl Send for Conn {}
// SAFETY: as above.
unsafe impl Sync for Conn {}

impl Conn {
    fn head(&self) -> *mut raw::nf_conn {
        self.prefix.get().cast()
    }

    fn count(&self) -> &AtomicI32 {
        // SAFETY: the count is the first field, only ever changed atomically.
        unsafe { &*(&raw mut (*self.head()).ct_general.use_).cast() }
    }

    pub(crate) fn status_word(&self) -> &AtomicU64 {
        // SAFETY: a field of the prefix, only ever changed atomically once shared.
        unsafe { &*(&raw mut (*self.head()).status).cast() }
    }

    pub(crate) fn timeout_word(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { &*(&raw mut (*self.head()).timeout).cast() }
    }

    /// The tuple of packets in `direction`.
    #[inline]
    pub fn tuple(&self, direction: Direction) -> &Tuple {
        // SAFETY: written when the connection was made, never after (invariant); same layout.
        unsafe { &*(&raw const (*self.head()).tuplehash[direction.index()].tuple).cast() }
    }

    /// The status bits.
    #[inline]
    pub fn status(&self) -> Status {
        // CAST: the kernel's bits are in the lower half.
        Status::from_bits(self.status_word().load(Ordering::Acquire) as u32)
    }

    /// The status word as it is now.
    #[inline]
    pub fn glance(&self) -> Glance {
        Glance(self.status_word().load(Ordering::Acquire))
    }

    /// Sets status bits; returns those that stood before.
    #[inline]
    pub fn set_status(&self, bits: Status) -> Status {
        let before = self.status();
        if before.contains(bits) {
            return before; // No write to a line that other CPUs read.
        }
        // CAST: as in `status`.
        Status::from_bits(
            self.status_word()
                .fetch_or(bits.bits().into(), Ordering::AcqRel) as u32,
        )
    }

    /// Takes status bits back.
    pub fn clear_status(&self, bits: Status) {
        let kept = !u64::from(bits.bits());
        self.status_word().fetch_and(kept, Ordering::AcqRel);
    }

    /// The firewall mark of the connection; `None` where the kernel has no marks.
    #[inline]
    pub fn mark(&self) -> Option<&AtomicU32> {
        #[cfg(CONFIG_NF_CONNTRACK_MARK)]
        // SAFETY: a word of the prefix that everybody reads and writes whole.
        return Some(unsafe { &*(&raw mut (*self.head()).mark).cast() });
        #[cfg(not(CONFIG_NF_CONNTRACK_MARK))]
        None
    }

    /// The security mark; `None` where the kernel has none.
    #[inline]
    pub fn secmark(&self) -> Option<&AtomicU32> {
        #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
        // SAFETY: a word of the prefix that everybody reads and writes whole.
        return Some(unsafe { &*(&raw mut (*self.head()).secmark).cast() });
        #[cfg(not(CONFIG_NF_CONNTRACK_SECMARK))]
        None
    }

    /// Both marks, zero where there are none.
    pub fn marks(&self) -> [u32; 2] {
        [self.mark(), self.secmark()]
            .map(|mark| mark.map_or(0, |mark| mark.load(Ordering::Relaxed)))
    }

    /// The zone; of a template the one that it wishes for.
    #[inline]
    pub fn zone(&self) -> Zone {
        #[cfg(CONFIG_NF_CONNTRACK_ZONES)]
        // SAFETY: written when the connection was made, never after (invariant); same layout.
        return unsafe { (&raw const (*self.head()).zone).cast::<Zone>().read() };
        #[cfg(not(CONFIG_NF_CONNTRACK_ZONES))]
        Zone::DEFAULT
    }

    /// Whether the kernel has marks of connections.
    pub const HAS_MARKS: bool = cfg!(CONFIG_NF_CONNTRACK_MARK);

    /// Whether the kernel has security marks of connections.
    pub const HAS_SECMARKS: bool = cfg!(CONFIG_NF_CONNTRACK_SECMARK);

    /// Whether the kernel has zones.
    pub const HAS_ZONES: bool = cfg!(CONFIG_NF_CONNTRACK_ZONES);

    /// What few connections have.
    #[inline]
    pub fn extension(&self) -> Option<&Extension> {
        // SAFETY: null, or owned for as long as this has memory (invariant).
        unsafe { (*self.head()).ext.cast::<Extension>().as_ref() }
    }

    /// Where the extension hangs.
    fn extension_place(&self) -> *mut *mut Extension {
        // SAFETY: a field of the prefix.
        unsafe { (&raw mut (*self.head()).ext).cast() }
    }

    /// By how much its sequence numbers are shifted, if a user has said so.
    pub fn shifts(&self) -> Option<&Shifts> {
        self.extension()?.extras().shifts.as_deref()
    }

    /// The labels, if it can have any.
    pub fn labels(&self) -> Option<&Labels> {
        self.extension()?.labels()
    }

    /// How long it lives after a packet, if otherwise than its namespace says.
    #[inline]
    pub fn timeouts(&self) -> Option<&Timeouts> {
        if !self.has(own::TIMED) {
            return None;
        }
        self.extension()?.extras().timeouts.as_ref()?.timeouts()
    }

    /// Whether somebody listens to its events.
    #[inline]
    pub fn is_listened(&self) -> bool {
        TOLD && self.has(LISTENED)
    }

    /// Whether there is an account behind it.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.has(own::BEHIND)
    }

    /// Whether there is more to give back at its end than its own memory, or that is of another kind.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        let template = self.status().contains(Status::TEMPLATE);
        template || self.has(own::APART) || self.extension().is_some()
    }

    /// Whether its end concerns nobody: nobody hears of it, no rule counts it, and nothing hangs on it.
    #[inline]
    pub fn ends_alone(&self) -> bool {
        !self.has(LISTENED | own::TALLIED | own::APART) && self.extension().is_none()
    }

    /// It begins, and has more than all have; whether it is quiet all the same.
    #[cold]
    #[inline(never)]
    fn begin(&self) -> bool {
        if let Some(account) = self.clock() {
            account.set_start(time::real_ns());
        }
        !self.is_listened() && self.session().is_none()
    }

    /// Whether somebody listens to its events, or rules count it.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.has(own::TALLIED | if TOLD { LISTENED } else { 0 })
    }

    /// Whether it has any of these bits in the status word.
    #[inline]
    fn has(&self, bits: u64) -> bool {
        self.status_word().load(Ordering::Relaxed) & bits != 0
    }

    /// A reference of one's own; `None` where it is just being destroyed.
    #[inline]
    pub fn hold(&self) -> Option<Ref<Self>> {
        if !self.try_get() {
            return None;
        }
        // SAFETY: a connection is nowhere but in memory that its count keeps, and there is one more.
        Some(unsafe { Ref::from_raw(NonNull::from(self)) })
    }

    /// How many references there are.
    pub fn references(&self) -> u32 {
        self.count().load(Ordering::Relaxed).unsigned_abs()
    }

    /// When the connection expires; means something only once it is confirmed.
    #[inline]
    pub fn expires(&self) -> Instant {
        Instant::from_ticks(self.timeout_word().load(Ordering::Relaxed))
    }

    /// How long it lives from its confirmation on; means something only before that.
    #[inline]
    pub fn pending_timeout(&self) -> Ticks {
        Ticks::of_u32(self.timeout_word().load(Ordering::Relaxed))
    }

    /// Gives it another `timeout` from `now` on, or from its confirmation on; whether it is over earlier now than it
    /// was before.
    #[inline(always)]
    pub fn refresh(&self, now: Instant, timeout: Ticks) -> bool {
        let status = self.status();
        if status.meets(Status::FIXED_TIMEOUT | Status::DYING) {
            return false;
        }
        let confirmed = status.contains(Status::CONFIRMED);
        let value = if confirmed {
            now.add(timeout).as_ticks()
        } else {
            timeout.as_u32()
        };
        let before = self.timeout_word().load(Ordering::Relaxed);
        if before != value {
            self.timeout_word().store(value, Ordering::Relaxed);
        }
        confirmed && Instant::from_ticks(before).after(Instant::from_ticks(value))
    }

    /// The same of one that [`Glance::stays`], and of which [`Self::expires`] has given `before`.
    #[inline]
    pub fn restart(&self, before: Instant, now: Instant, timeout: Ticks) {
        let value = now.add(timeout);
        if before != value {
            self.timeout_word()
                .store(value.as_ticks(), Ordering::Relaxed);
        }
    }

    /// Whether the time of one that is in the table is over.
    #[inline]
    pub fn is_over(&self, now: Instant) -> bool {
        self.expires().remaining(now).is_none()
    }

    /// Whether it was put into the table, and what it says is settled.
    #[inline]
    pub fn is_confirmed(&self) -> bool {
        self.status().contains(Status::CONFIRMED)
    }

    /// Whether its time is over.
    #[inline]
    pub fn expired(&self, now: Instant) -> bool {
        self.is_confirmed() && self.is_over(now)
    }

    /// Whether rules count it, or did.
    #[inline]
    pub fn is_tallied(&self) -> bool {
        self.has(own::TALLIED)
    }

    /// A rule is about to count it.
    pub(crate) fn set_tallied(&self) {
        if !self.is_tallied() {
            self.status_word().fetch_or(own::TALLIED, Ordering::Relaxed);
        }
    }

    /// Whether it belongs to the namespace that `census` counts.
    #[inline]
    pub fn in_namespace(&self, census: &Census) -> bool {
        core::ptr::eq(self.net(), census.net())
    }

    /// Whether packets can find it in the table.
    #[inline]
    pub fn is_live(&self) -> bool {
        let both = Status::CONFIRMED | Status::DYING;
        self.status().bits() & both.bits() == Status::CONFIRMED.bits()
    }

    /// The connection that has announced it.
    #[inline]
    pub fn master(&self) -> Option<&Self> {
        self.extension()?.extras().master.as_deref()
    }

    /// What a helper keeps of it.
    #[inline]
    pub fn session(&self) -> Option<&Session> {
        self.extension()?.extras().session.as_deref()
    }

    /// Its namespace; of a template the first one.
    #[inline]
    pub(crate) fn net(&self) -> *const raw::net {
        #[cfg(CONFIG_NET_NS)]
        // SAFETY: written when the connection was made, never after (invariant).
        return unsafe {
            (&raw const (*self.head()).ct_net)
                .cast::<*const raw::net>()
                .read()
        };
        #[cfg(not(CONFIG_NET_NS))]
        return &raw const raw::init_net;
    }

    /// The count of its namespace; not for templates.
    pub fn census(&self) -> &Census {
        // SAFETY: the namespace outlives the connection (invariant).
        unsafe { namespace::census_of(self.net()) }
    }

    /// Whether both are in the same namespace.
    pub fn same_namespace(&self, other: &Self) -> bool {
        core::ptr::eq(self.net(), other.net())
    }

    /// The word in `skb->_nfct` for a packet of this connection.
    pub(crate) fn into_word(this: Ref<Self>, ctinfo: CtInfo) -> usize {
        // CAST: entries are aligned to eight bytes, the low three bits carry ctinfo.
        Ref::into_raw(this).as_ptr() as usize | usize::from(ctinfo.bits())
    }
}
