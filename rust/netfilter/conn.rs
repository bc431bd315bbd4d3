// SPDX-License-Identifier: GPL-2.0
//! A tracked connection, laid out so that the kernel's own readers of `skb->_nfct` are right.
//!
//! Code in the kernel that does not link to the stock tracker reads a connection as
//! `struct nf_conn` (icmp_ndo_send, nf_socket, the flow dissector, nfnetlink_queue ...). So a
//! connection begins with that structure up to its member `proto`; what follows is ours.

use core::{
    cell::UnsafeCell,
    mem::{align_of, offset_of, size_of, ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering},
};

use conntrack::{
    ctinfo::CtInfo,
    proto::{self, Kept, Places, State, WORDS},
    setting::Value,
    status::Status,
    time::{Instant, Ticks},
    timeouts::Timeouts,
    tuple::{Direction, Family, HashWords, Tuple},
    zone::Zone,
};
use kernel::{prelude::*, sync::SetOnce};
use rcu_table::{Key, Link, Node, Ref};

use crate::{
    account::{Account, Clock, Sums},
    cache::Cache,
    count,
    extension::{Extension, Labels},
    helper::Session,
    namespace::{self, Census},
    news::TOLD,
    shifts::Shifts,
    siphash::HashKey,
    time,
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
///   made, and go with its memory: after the last reference, and where readers could have met it a
///   grace period later.
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

/// What the upper half of the kernel's status word has of ours; `news.rs` has the rest.
mod own {
    /// Where the bits of `Features` begin.
    pub(super) const FEATURES: u32 = 56;
    pub(super) const ACCOUNT: u64 = COUNTS | STAMPS;
    pub(super) const COUNTS: u64 = super::Features::COUNTS.word();
    pub(super) const STAMPS: u64 = super::Features::STAMPS.word();
    /// Rules count it (tally.rs), or did.
    pub(super) const TALLIED: u64 = 1 << 57;
    /// It is in the table by each of its tuples.
    pub(super) const APART: u64 = 1 << 58;
    /// It has an account, which is behind it.
    pub(super) const BEHIND: u64 = 1 << 59;
}

/// The bit of the status word that says whether somebody listens.
pub(crate) const LISTENED: u64 = Features::EVENTS.word();
/// It is in the table, no helper reads it, and nothing of it is to be told: its packets have
/// nothing to do at their last hook. The highest bit, which is tested soonest.
pub(crate) const QUIET: u64 = 1 << 63;

/// What a connection has beside what all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// Packets and bytes are counted.
    pub const COUNTS: Self = Self(1 << 4);
    /// It is known when it began and ended.
    pub const STAMPS: Self = Self(1 << 5);
    /// Somebody listens to its events.
    pub const EVENTS: Self = Self(1 << 6);

    /// Together with others, where it `has` these.
    #[must_use]
    pub const fn with(self, other: Self, has: bool) -> Self {
        Self(self.0 | if has { other.0 } else { 0 })
    }

    /// Whether there is an account.
    #[inline]
    pub(crate) const fn account(self) -> bool {
        self.0 & (Self::COUNTS.0 | Self::STAMPS.0) != 0
    }

    /// Its bits in the status word.
    #[inline]
    const fn word(self) -> u64 {
        (self.0 as u64) << own::FEATURES
    }
}

impl Value for Features {
    #[inline]
    fn from_number(number: u32) -> Self {
        // CAST: only what `number` has given comes back.
        Self(number as u8)
    }

    #[inline]
    fn number(self) -> u32 {
        self.0.into()
    }
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

/// Whether the eight bytes of the prefix from `at` on are written one by one when a connection is made.
const fn is_written(at: usize) -> bool {
    const HASH: usize = offset_of!(raw::nf_conn, tuplehash);
    const STATUS: usize = offset_of!(raw::nf_conn, status);
    let hash = at >= HASH && at < HASH + size_of::<[raw::nf_conntrack_tuple_hash; 2]>();
    hash || at == STATUS
}

/// What is done to the state of a connection. (Not a closure: the compiler keeps those apart.)
pub trait Change {
    /// What comes of it.
    type Result;

    /// Does it.
    fn change(self, state: Places<'_>) -> Self::Result;

    /// The same of a state that is no more than a word.
    fn change_word(self, word: &mut u32) -> Self::Result;
}

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

    /// Whether the connection has `bits` already, and a packet gives it another timeout and changes
    /// nothing else of it.
    #[inline]
    pub fn stays(self, bits: Status) -> bool {
        let stops = Status::FIXED_TIMEOUT | Status::DYING;
        let wanted = bits | Status::CONFIRMED;
        let looked_at = u64::from((stops | wanted).bits()) | own::COUNTS;
        self.0 & looked_at == u64::from(wanted.bits())
    }
}

/// The secret behind the numbers of connections; made at the first load.
static ID_KEY: SetOnce<HashKey> = SetOnce::new();

/// Makes the secret, if there is none.
pub(crate) fn make_numbers_secret() {
    ID_KEY.populate(HashKey::random());
}

// SAFETY: what is shared is atomic, immutable or under the lock.
unsafe impl Send for Conn {}
// SAFETY: as above.
unsafe impl Sync for Conn {}

/// What a new connection is made of.
pub struct NewConn<'a> {
    /// The tuple of its first packet.
    pub original: &'a Tuple,
    /// The tuple that an answer will have.
    pub reply: &'a Tuple,
    /// The hash of both, or that of the second apart, where its zone is another or no answer would
    /// have it.
    pub hashes: (u32, Option<u32>),
    /// The protocol's state after the first packet.
    pub state: &'a Kept,
    /// How long it lives, from its confirmation on.
    pub timeout: Ticks,
    /// Bits that it starts with.
    pub status: Status,
    /// The zone that its tuples are in.
    pub zone: Zone,
    /// The firewall mark and the security mark.
    pub marks: [u32; 2],
    /// What few have.
    pub extension: Option<KBox<Extension>>,
    /// What else it has.
    pub features: Features,
}

/// What rules wish for connections: each a connection that is none, to go with a packet from the
/// rule to the tracker. They belong to no namespace: a rule may go after its namespace's tracker.
pub struct Templates(());

/// How many templates there are.
static TEMPLATES: AtomicU32 = AtomicU32::new(0);

impl Templates {
    /// No templates yet.
    pub fn none() -> Self {
        Self(())
    }

    /// A template of connections in `zone` that have what `extension` has.
    pub fn make(
        &self,
        cache: &Cache,
        zone: Zone,
        extension: Option<KBox<Extension>>,
    ) -> Option<Ref<Conn>> {
        let nothing = Tuple::new(Family::Ipv4, 0, [0; 4], [0; 2], [0; 4], [0; 2]);
        let new = NewConn {
            original: &nothing,
            reply: &nothing,
            hashes: (0, None),
            state: &[0; WORDS],
            timeout: Ticks::default(),
            // Not on its way into the table: NFQUEUE drops what is, if others hold it too.
            status: Status::TEMPLATE | Status::CONFIRMED,
            zone,
            marks: [0; 2],
            extension,
            features: Features::default(),
        };
        Conn::new(cache, None, new)
    }

    /// Waits for the packets and rules that have one. May sleep.
    pub fn wait(&self) {
        namespace::wait_for(&TEMPLATES);
    }
}

impl Drop for Templates {
    fn drop(&mut self) {
        self.wait(); // Each has memory of the cache.
    }
}

impl Conn {
    /// Makes a connection that only the caller knows; callable from any context.
    ///
    /// `None` where there is no memory. A template has no census.
    #[inline(always)]
    pub(crate) fn new(
        cache: &Cache,
        census: Option<&Census>,
        new: NewConn<'_>,
    ) -> Option<Ref<Self>> {
        let (first, second) = new.hashes;
        let behind = new.features.account() && proto::is_large(new.original.protocol());
        let this = cache.alloc(behind, second.is_some())?;
        let bits = if second.is_some() { own::APART } else { 0 };
        let bits = if behind { bits | own::BEHIND } else { bits };
        let conn = this.as_ptr();
        let head = conn.cast::<raw::nf_conn>();
        // SAFETY: the memory is of the size and alignment of `Conn`, with an account behind it of
        // `Counted`, and only ours; each field written lies within the prefix or is a field of
        // either.
        unsafe {
            // What is not written below is zero. (Volatile: or else the compiler calls memset, which
            // takes three times as long.)
            for at in 0..PREFIX / size_of::<u64>() {
                if !is_written(at * size_of::<u64>()) {
                    conn.cast::<u64>().add(at).write_volatile(0);
                }
            }
            if behind {
                (&raw mut (*conn.cast::<Counted>()).sums).write(Sums::default());
                (&raw mut (*conn.cast::<Counted>()).clock).write(Clock::default());
            }
            (&raw mut (*head).ct_general.use_).cast::<i32>().write(1);
            raw::ipct_spin_lock_init((&raw mut (*head).lock).cast());
            (&raw mut (*head).timeout).write(new.timeout.as_u32());
            (&raw mut (*head).status)
                .cast::<u64>()
                .write(u64::from(new.status.bits()) | new.features.word() | bits);
            #[cfg(CONFIG_NF_CONNTRACK_ZONES)]
            (&raw mut (*head).zone).cast::<Zone>().write(new.zone);
            let [_mark, _secmark] = new.marks;
            #[cfg(CONFIG_NF_CONNTRACK_MARK)]
            (&raw mut (*head).mark).write(_mark);
            #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
            (&raw mut (*head).secmark).write(_secmark);
            (&raw mut (*head).ext).write(
                new.extension
                    .map_or(null_mut(), |extension| KBox::into_raw(extension).cast()),
            );
            #[cfg(CONFIG_NET_NS)]
            (&raw mut (*head).ct_net)
                .cast::<*const raw::net>()
                .write(census.map_or(&raw const raw::init_net, Census::net));
            if let Some(second) = second {
                (&raw mut (*conn.cast::<Apart>()).second).write(Link::new(second));
            }
            (&raw mut (*head).tuplehash[0].hnnode)
                .cast::<Link>()
                .write(Link::new(first));
            for (at, tuple) in [
                (Direction::Original, new.original),
                (Direction::Reply, new.reply),
            ] {
                let hash = &raw mut (*head).tuplehash[at.index()];
                (&raw mut (*hash).tuple)
                    .cast::<Tuple>()
                    .write(tuple.with_direction(at));
            }
            (*conn).places().set(new.state);
        }
        match census {
            Some(census) => census.enter(),
            None => drop(TEMPLATES.fetch_add(1, Ordering::Relaxed)),
        }
        // SAFETY: fully made, with a count of one, which the reference takes over.
        Some(unsafe { Ref::from_raw(this) })
    }

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

    /// Whether the kernel has zones.
    pub const HAS_ZONES: bool = cfg!(CONFIG_NF_CONNTRACK_ZONES);

    /// What few connections have.
    #[inline]
    pub fn extension(&self) -> Option<&Extension> {
        // SAFETY: null, or owned for as long as this has memory (invariant).
        unsafe { (*self.head()).ext.cast::<Extension>().as_ref() }
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
        self.extension()?.extras().timeouts.as_ref()?.timeouts()
    }

    /// Whether somebody listens to its events.
    #[inline]
    pub fn is_listened(&self) -> bool {
        TOLD && self.has(LISTENED)
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

    /// Itself, if its account is behind it.
    #[inline]
    fn behind(&self) -> Option<&Counted> {
        self.has(own::BEHIND).then(|| {
            // SAFETY: then this is the begin of a `Counted` (invariant), all of which lives as long.
            unsafe { &*core::ptr::from_ref(self).cast::<Counted>() }
        })
    }

    /// Packets and bytes, where they are counted; only for who has a reference, as the state.
    #[inline]
    pub fn counters(&self) -> Option<Account<'_>> {
        if !self.has(own::COUNTS) {
            return None;
        }
        let sums = match self.behind() {
            Some(counted) => counted.sums.each_ref(),
            // SAFETY: there (invariant), all of it atomic, and all zero at first; of the size and
            // alignment of a pointer.
            None => unsafe {
                let [a, b, c] = &*(*self.tail.get()).sums;
                [a, b, c, &*(&raw const (*self.head()).master).cast()]
            },
        };
        Some(Account::of_sums(sums))
    }

    /// When things happen, where that is known.
    pub(crate) fn clock(&self) -> Option<&Clock> {
        if !self.has(own::STAMPS) {
            return None;
        }
        match self.behind() {
            Some(counted) => Some(&counted.clock),
            // SAFETY: as above; of the size and alignment of that node.
            None => Some(unsafe { &*(&raw const (*self.head()).tuplehash[1].hnnode).cast() }),
        }
    }

    /// When it was confirmed, in nanoseconds since 1970, and when it left the table (zero before);
    /// where that is known.
    pub fn stamps(&self) -> Option<[u64; 2]> {
        let account = self.clock()?;
        let over = self.status().contains(Status::DYING);
        Some([account.start(), if over { account.last() } else { 0 }])
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
        Ticks::new(self.timeout_word().load(Ordering::Relaxed))
    }

    /// Gives it another `timeout` from `now` on, or from its confirmation on.
    #[inline]
    pub fn refresh(&self, now: Instant, timeout: Ticks) {
        let status = self.status();
        if status.meets(Status::FIXED_TIMEOUT | Status::DYING) {
            return;
        }
        let value = if status.contains(Status::CONFIRMED) {
            now.add(timeout).as_ticks()
        } else {
            timeout.as_u32()
        };
        if self.timeout_word().load(Ordering::Relaxed) != value {
            self.timeout_word().store(value, Ordering::Relaxed);
        }
    }

    /// The same of one that [`Glance::stays`].
    #[inline]
    pub fn restart(&self, now: Instant, timeout: Ticks) {
        let value = now.add(timeout).as_ticks();
        if self.timeout_word().load(Ordering::Relaxed) != value {
            self.timeout_word().store(value, Ordering::Relaxed);
        }
    }

    /// Whether its time is over.
    #[inline]
    pub fn expired(&self, now: Instant) -> bool {
        self.status().contains(Status::CONFIRMED) && self.expires().remaining(now).is_none()
    }

    /// Locks the protocol's state: only for who has a reference, for it goes with the last.
    #[inline]
    pub fn lock(this: &Ref<Self>) -> StateGuard<'_> {
        // SAFETY: the lock was initialised with the connection.
        unsafe { raw::ipct_spin_lock_bh((&raw mut (*this.head()).lock).cast()) };
        // SAFETY: the lock is held, and the reference keeps the state what it is.
        let kept = unsafe { this.state() };
        // INVARIANT: locked, and the reference lives as long as the guard.
        StateGuard {
            conn: this,
            state: State::kept(this.tuple(Direction::Original), kept),
            changed: false,
        }
    }

    /// Whether answers are those of the connection that was met by `key`.
    #[inline]
    pub(crate) fn is_met_in_reply(&self, key: Key) -> bool {
        key == Key::Second || !self.has(own::APART)
    }

    /// The directions of packets that meet it by `key`.
    fn directions_of(&self, key: Key) -> impl Iterator<Item = Direction> {
        let original = (key == Key::First).then_some(Direction::Original);
        let reply = self.is_met_in_reply(key).then_some(Direction::Reply);
        [original, reply].into_iter().flatten()
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

    /// Where the words of the protocol's state are.
    ///
    /// # Safety
    ///
    /// While the result is used nobody else may have the state, and somebody must have a reference.
    #[inline(always)]
    unsafe fn places(&self) -> Places<'_> {
        // SAFETY: the caller's promise; the parts do not overlap, and hold words from the beginning.
        unsafe {
            Places {
                first: &mut (*self.tail.get()).state,
                next: &mut *(&raw mut (*self.head()).master).cast(),
                middle: &mut *self.link().room.as_ptr(),
                last: &mut *(&raw mut (*self.head()).tuplehash[1].hnnode).cast(),
            }
        }
    }

    /// The words of the protocol's state.
    ///
    /// # Safety
    ///
    /// As for `places`.
    unsafe fn state(&self) -> Kept {
        if !proto::is_large(self.tuple(Direction::Original).protocol()) {
            return proto::of_word(self.link().room.load(Ordering::Relaxed));
        }
        // SAFETY: the caller's promise.
        unsafe { self.places() }.get()
    }

    /// Changes them.
    ///
    /// # Safety
    ///
    /// As for `places`.
    unsafe fn set_state(&self, kept: &Kept) {
        if !proto::is_large(self.tuple(Direction::Original).protocol()) {
            self.link()
                .room
                .store(proto::word_of(kept), Ordering::Relaxed);
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.places() }.set(kept);
    }

    /// Has `change` look at the words of the protocol's state and change them; under the lock, unless
    /// the state is of a protocol that has no more than the middle word and does not care who is
    /// first (UDP and those without states).
    #[inline(always)]
    pub fn with_state<C: Change>(this: &Ref<Self>, locked: bool, change: C) -> C::Result {
        if locked {
            // SAFETY: a field of the prefix.
            let lock = unsafe { (&raw mut (*this.head()).lock).cast() };
            // SAFETY: the lock was initialised with the connection; while it is held nobody else
            // has the state, which the reference keeps what it is.
            unsafe {
                let on = raw::ipct_spin_lock_packet(lock);
                let result = change.change(this.places());
                raw::ipct_spin_unlock_packet(lock, on);
                result
            }
        } else {
            let room = &this.link().room;
            let before = room.load(Ordering::Relaxed);
            let mut word = before;
            let result = change.change_word(&mut word);
            if word != before {
                room.store(word, Ordering::Relaxed);
            }
            result
        }
    }

    /// Whether it belongs to the namespace that `census` counts.
    #[inline]
    pub fn in_namespace(&self, census: &Census) -> bool {
        core::ptr::eq(self.net(), census.net())
    }

    /// Marks it as dying; true for the one caller that has to take it out.
    pub fn begin_death(&self) -> bool {
        if self.set_status(Status::DYING).contains(Status::DYING) {
            return false;
        }
        if let Some(account) = self.clock() {
            // It has ended when its time was over, not when somebody saw that.
            let late = self.expires().passed(time::now()).unwrap_or_default();
            let late = time::nanoseconds(late);
            account.set_last(time::real_ns().saturating_sub(late));
        }
        true
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

    /// A number that tells it from others and says nothing of its address.
    pub fn number(&self) -> u64 {
        let Some(key) = ID_KEY.as_ref() else {
            return 0; // Not reached: there is a key before there are connections.
        };
        // Not the address alone: another connection may come to have it.
        let address = core::ptr::from_ref(self) as u64;
        let fold = |hash, word: &u64| key.secret(hash, *word);
        match self.tuple(Direction::Original).hash_words(0) {
            HashWords::Ipv4(words) => words.iter().fold(address, fold),
            HashWords::Ipv6(words) => words.iter().fold(address, fold),
        }
    }

    /// The same, as users see it.
    pub fn id(&self) -> u32 {
        // CAST: a part of a hash is a hash.
        self.number() as u32
    }

    /// A number that tells what stands at an `address` from others of this connection.
    pub(crate) fn number_of(&self, address: u64) -> u64 {
        ID_KEY
            .as_ref()
            .map_or(0, |key| key.secret(address, self.number()))
    }

    /// The word in `skb->_nfct` for a packet of this connection.
    pub(crate) fn into_word(this: Ref<Self>, ctinfo: CtInfo) -> usize {
        // CAST: entries are aligned to eight bytes, the low three bits carry ctinfo.
        Ref::into_raw(this).as_ptr() as usize | usize::from(ctinfo.bits())
    }

    /// Called at the last reference.
    ///
    /// # Safety
    ///
    /// `this` must point to a connection whose count has just become zero.
    pub(crate) unsafe fn destroy(this: NonNull<Self>) {
        // SAFETY: the last reference is gone: nobody else writes, though readers under RCU may
        // still look.
        let conn = unsafe { this.as_ref() };
        let status = conn.status();
        let template = status.contains(Status::TEMPLATE);
        let census = (!template).then(|| {
            // One that was never in the table was not taken out of it.
            conn.uncount();
            NonNull::from(conn.census())
        });
        if status.contains(Status::CONFIRMED) {
            let grace: *mut raw::callback_head = conn.tail.get().cast();
            if conn.extension().is_none() {
                // SAFETY: as below; and there is nothing to give back but the memory, which begins with
                // the connection. (The kernel frees many such at once, so this is cheaper.)
                unsafe { raw::kvfree_call_rcu(grace.cast(), this.as_ptr().cast()) };
            } else {
                // SAFETY: nobody has a reference, so nobody reads the state, in whose place this is;
                // and this happens once.
                unsafe { raw::call_rcu(grace, Some(give_back)) };
            }
        } else {
            // SAFETY: never in the table, so no reader can have seen it.
            unsafe { free(this.as_ptr()) };
        }
        // Last: who waits for this goes on to wait for callbacks, and ends the cache.
        match census {
            // SAFETY: the namespace outlives the connection (invariant); this is the last use.
            Some(census) => unsafe { census.as_ref() }.leave(),
            None => drop(TEMPLATES.fetch_sub(1, Ordering::Release)),
        }
    }
}

/// After the grace period.
///
/// # Safety
///
/// Called by RCU with the tail of a connection that nobody can reach.
unsafe extern "C" fn give_back(head: *mut raw::callback_head) {
    // SAFETY: `head` is the tail of a connection.
    unsafe { free(head.byte_sub(offset_of!(Conn, tail)).cast()) };
}

/// Gives back what a connection owns, and its memory.
///
/// # Safety
///
/// Nobody else can reach the connection any more.
unsafe fn free(conn: *mut Conn) {
    // SAFETY: the caller's promise; `kfree` takes objects of any cache.
    unsafe {
        let extension = NonNull::new((*(*conn).head()).ext.cast::<Extension>());
        raw::kfree(conn.cast());
        // Its master's last reference may be in there.
        drop(extension.map(|extension| KBox::from_raw(extension.as_ptr())));
    }
}

// SAFETY: the links lie in the space of the kernel's list nodes; the count is exact; memory goes
// back only after a grace period; `published` runs once, under the bucket locks.
unsafe impl Node for Conn {
    #[inline]
    fn link(&self) -> &Link {
        // SAFETY: written as a `Link` when the connection was made; same size and alignment.
        unsafe { &*(&raw const (*self.head()).tuplehash[0].hnnode).cast() }
    }

    #[inline]
    fn second(&self) -> Option<&Link> {
        self.has(own::APART).then(|| {
            // SAFETY: one with two links is the begin of an `Apart` (invariant), all of which lives as
            // long.
            unsafe { &(*core::ptr::from_ref(self).cast::<Apart>()).second }
        })
    }

    #[inline(always)]
    fn expect(this: NonNull<Self>) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, whatever the address.
        unsafe {
            core::arch::asm!(
                "prefetcht0 [{at} + 64]",
                "prefetcht0 [{at} + 128]",
                at = in(reg) this.as_ptr(),
                options(nostack, preserves_flags, readonly)
            );
        }
    }

    #[inline]
    fn try_get(&self) -> bool {
        count::try_get(self.count())
    }

    #[inline]
    unsafe fn put(this: NonNull<Self>) {
        // SAFETY: the caller owns a count, so the object is alive.
        if count::put(unsafe { this.as_ref().count() }) {
            // SAFETY: that was the last count.
            unsafe { Self::destroy(this) };
        }
    }

    fn conflicts(&self, key: Key, other: &Self, other_key: Key) -> bool {
        // As stock has it, both zones are asked for the direction of the one that is there.
        let taken = |at, other_at| {
            self.tuple(at).matches(other.tuple(other_at))
                && self.zone().id(other_at) == other.zone().id(other_at)
        };
        let mut mine = self.directions_of(key);
        self.same_namespace(other)
            // One that is over may stay until that is told (`news.rs`).
            && !other.status().contains(Status::DYING)
            && mine.any(|at| other.directions_of(other_key).any(|other_at| taken(at, other_at)))
    }

    #[inline]
    fn published(&self) {
        let plain = !self.has(own::ACCOUNT | LISTENED) && self.extension().is_none();
        let quiet = if plain || self.begin() { QUIET } else { 0 };
        // Readers pass over entries without CONFIRMED, so nobody takes the relative timeout for
        // a point in time.
        let expires = time::now().add(self.pending_timeout());
        self.timeout_word()
            .store(expires.as_ticks(), Ordering::Relaxed);
        self.status_word().fetch_or(
            u64::from(Status::CONFIRMED.bits()) | quiet,
            Ordering::Release,
        );
    }
}

/// Exclusive access to the protocol's state of a connection.
///
/// # Invariants
///
/// The connection's lock is held, and somebody has a reference.
pub struct StateGuard<'a> {
    conn: &'a Conn,
    state: State,
    changed: bool,
}

impl Deref for StateGuard<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for StateGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        self.changed = true;
        &mut self.state
    }
}

impl Drop for StateGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.changed {
            // SAFETY: the lock is held, so nobody else reads or writes it.
            unsafe { self.conn.set_state(&self.state.keep()) };
        }
        // SAFETY: locked by `Conn::lock`.
        unsafe { raw::ipct_spin_unlock_bh((&raw mut (*self.conn.head()).lock).cast()) };
    }
}
