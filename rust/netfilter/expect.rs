// SPDX-License-Identifier: GPL-2.0
//! Connections that are expected.

use core::{
    cell::UnsafeCell,
    mem::{offset_of, ManuallyDrop},
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU8, Ordering},
};

use conntrack::{
    netlink::expectation::Flags,
    time::Instant,
    tuple::{SourceMask, Tuple},
    zone::Zone,
};
use kernel::prelude::*;
use rcu_table::{Key, Link, Node, Ref};

use crate::{conn::Conn, count, namespace::Census};

/// What an expectation is made of.
pub struct NewExpectation {
    /// The connection that has announced it.
    pub master: Ref<Conn>,
    /// The expected tuple.
    pub tuple: Tuple,
    /// Which bits of its source are looked at.
    pub mask: SourceMask,
    /// The class of its policy.
    pub class: u8,
    /// What kind it is.
    pub flags: Flags,
    /// Whether the helper of the master reads the expected connection too.
    pub helped: bool,
    /// When it ends.
    pub expires: Instant,
}

/// An expected connection.
///
/// # Invariants
///
/// - All but the links, the count, `over`, `story` and `expires` is not changed after it was made.
/// - `master` is dropped a grace period after the last reference.
#[repr(C, align(8))]
pub struct Expectation {
    links: [Link; 2],
    count: AtomicI32,
    over: AtomicBool,
    story: AtomicU8,
    /// As ticks.
    expires: AtomicU32,
    what: ManuallyDrop<NewExpectation>,
    grace: UnsafeCell<raw::callback_head>,
}

/// What users were told of an expectation: begin and end in this order, though an end may come
/// before the begin is told.
mod story {
    pub(super) const UNTOLD: u8 = 0;
    pub(super) const BEGUN: u8 = 1;
    pub(super) const OVER: u8 = 2;
}

// SAFETY: what is shared is atomic or immutable.
unsafe impl Send for Expectation {}
// SAFETY: as above.
unsafe impl Sync for Expectation {}

impl Expectation {
    /// Makes one that only the caller knows; callable from any context. The hashes are those of its
    /// target and of its master.
    ///
    /// `None` where there is no memory.
    #[must_use]
    pub fn new(what: NewExpectation, hashes: [u32; 2]) -> Option<Ref<Self>> {
        // The room first: without it `what`, and the master's count in it, is dropped.
        let room = KBox::<Self>::new_uninit(GFP_ATOMIC).ok()?;
        let this = room.write(Self {
            links: hashes.map(Link::new),
            count: AtomicI32::new(1),
            over: AtomicBool::new(false),
            story: AtomicU8::new(story::UNTOLD),
            expires: AtomicU32::new(what.expires.as_ticks()),
            what: ManuallyDrop::new(what),
            grace: UnsafeCell::new(Default::default()),
        });
        let this = NonNull::from(KBox::leak(this));
        // SAFETY: with a count of one, which the reference takes over.
        Some(unsafe { Ref::from_raw(this) })
    }

    /// The connection that has announced it.
    #[must_use]
    pub fn master(&self) -> &Ref<Conn> {
        &self.what.master
    }

    /// What it is made of.
    #[must_use]
    pub fn what(&self) -> &NewExpectation {
        &self.what
    }

    /// A number that tells it from others and says nothing of its address.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.what.master.number_of(core::ptr::from_ref(self) as u64)
    }

    /// The same, as users see it.
    #[must_use]
    pub fn id(&self) -> u32 {
        // CAST: a part of a hash is a hash.
        self.number() as u32
    }

    /// When it ends.
    #[must_use]
    pub fn expires(&self) -> Instant {
        Instant::from_ticks(self.expires.load(Ordering::Relaxed))
    }

    /// Changes that.
    pub fn set_expires(&self, expires: Instant) {
        self.expires.store(expires.as_ticks(), Ordering::Relaxed);
    }

    /// Whether it is for a connection of this tuple in a zone of a namespace.
    #[must_use]
    pub fn expects(&self, tuple: &Tuple, zone: Zone, census: &Census) -> bool {
        self.aims_at(tuple)
            && self.what.master.zone().number() == zone.number()
            && self.what.mask.same(&self.what.tuple, tuple)
            && self.what.master.in_namespace(census)
    }

    /// Whether it is for connections to the destination of `tuple`.
    fn aims_at(&self, tuple: &Tuple) -> bool {
        self.what.tuple.dst() == tuple.dst()
            && self.what.tuple.dst_id() == tuple.dst_id()
            && self.what.tuple.protocol() == tuple.protocol()
    }

    /// Whether its time is over.
    #[must_use]
    pub fn expired(&self, now: Instant) -> bool {
        self.expires().remaining(now).is_none()
    }

    /// Marks it as over; true for the one caller that has to take it out.
    #[must_use]
    pub fn begin_death(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    /// Whether it is on its way out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Its begin was told; true where the caller has to tell its end, too, for that has come
    /// meanwhile.
    #[must_use]
    pub fn begin_is_told(&self) -> bool {
        self.story.swap(story::BEGUN, Ordering::AcqRel) == story::OVER
    }

    /// It has ended; true where the caller has to tell that, for its begin was told.
    #[must_use]
    pub fn end_is_to_be_told(&self) -> bool {
        self.story.swap(story::OVER, Ordering::AcqRel) == story::BEGUN
    }
}

/// After the grace period.
///
/// # Safety
///
/// Called by RCU with the `grace` field of an expectation that nobody can reach.
unsafe extern "C" fn give_back(head: *mut raw::callback_head) {
    // SAFETY: `head` is the `grace` field of an expectation, made from a box.
    unsafe {
        let mut this = KBox::from_raw(
            head.byte_sub(offset_of!(Expectation, grace))
                .cast::<Expectation>(),
        );
        ManuallyDrop::drop(&mut this.what);
    }
}

// SAFETY: the count is exact; memory goes back only after a grace period.
unsafe impl Node for Expectation {
    fn link(&self) -> &Link {
        let [target, _] = &self.links;
        target
    }

    fn second(&self) -> Option<&Link> {
        let [_, master] = &self.links;
        Some(master)
    }

    fn try_get(&self) -> bool {
        count::try_get(&self.count)
    }

    unsafe fn put(this: NonNull<Self>) {
        // SAFETY: the caller owns a count, so the object is alive.
        if count::put(unsafe { &this.as_ref().count }) {
            // SAFETY: the last reference; `grace` is used for nothing else, and this happens once.
            unsafe { raw::call_rcu(this.as_ref().grace.get(), Some(give_back)) };
        }
    }

    /// Two that one connection could be for.
    fn conflicts(&self, key: Key, other: &Self, other_key: Key) -> bool {
        key == Key::First
            && other_key == Key::First
            && self.aims_at(&other.what.tuple)
            && self
                .what
                .mask
                .and(&other.what.mask)
                .same(&self.what.tuple, &other.what.tuple)
            && self.what.master.same_namespace(&other.what.master)
            && self.what.master.zone().number() == other.what.master.zone().number()
    }

    fn published(&self) {}
}
