// SPDX-License-Identifier: GPL-2.0
//! What is counted of a connection, and when it began and ended, in namespaces that want to know: in
//! the place of a state that is no more than a word, else behind the connection.

use core::sync::atomic::{AtomicU64, Ordering};

use conntrack::{show::Counters, status::Status, tuple::Direction};

use super::{features::own, Conn, Counted as Behind};

/// The numbers of an account, wherever they are: packets and bytes, original and reply. (All zero is
/// nothing.)
pub(crate) type Sums = [AtomicU64; 4];

/// What is counted of a connection, by direction.
pub struct Account<'a>([Counted<'a>; 2]);

/// When something happened to a connection. (All zero is never.)
#[derive(Default)]
#[repr(C)]
pub(crate) struct Clock {
    /// When it began: nanoseconds since 1970, zero until it is known.
    start: AtomicU64,
    /// While it lives, when the event happened that is told next; then, when it ended.
    last: AtomicU64,
}

struct Counted<'a> {
    packets: &'a AtomicU64,
    bytes: &'a AtomicU64,
}

impl<'a> Account<'a> {
    /// Of these numbers.
    #[inline]
    pub(crate) fn of_sums([a, b, c, d]: [&'a AtomicU64; 4]) -> Self {
        let counted = |packets, bytes| Counted { packets, bytes };
        Self([counted(a, b), counted(c, d)])
    }

    /// Counts packets of so many bytes together.
    #[inline]
    pub fn add(&self, direction: Direction, packets: u64, bytes: u64) {
        let counted = self.of(direction);
        counted.packets.fetch_add(packets, Ordering::Relaxed);
        counted.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    #[inline]
    fn of(&self, direction: Direction) -> &Counted<'a> {
        let [original, reply] = &self.0;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// What was counted, original and reply.
    #[must_use]
    pub fn counters(self) -> [Counters; 2] {
        [Direction::Original, Direction::Reply].map(|at| Counters {
            packets: self.of(at).packets.load(Ordering::Relaxed),
            bytes: self.of(at).bytes.load(Ordering::Relaxed),
        })
    }

    /// The same, and begins anew.
    #[must_use]
    pub fn take_counters(self) -> [Counters; 2] {
        [Direction::Original, Direction::Reply].map(|at| Counters {
            packets: self.of(at).packets.swap(0, Ordering::Relaxed),
            bytes: self.of(at).bytes.swap(0, Ordering::Relaxed),
        })
    }
}

impl Clock {
    pub(crate) fn set_start(&self, now: u64) {
        self.start.store(now, Ordering::Relaxed);
    }

    pub(crate) fn set_last(&self, now: u64) {
        self.last.store(now, Ordering::Relaxed);
    }

    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Relaxed)
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

impl Conn {
    /// Itself, if its account is behind it.
    #[inline]
    fn behind(&self) -> Option<&Behind> {
        self.has(own::BEHIND).then(|| {
            // SAFETY: then this is the begin of a `conn::Counted` (invariant), all of which lives as long.
            unsafe { &*core::ptr::from_ref(self).cast::<Behind>() }
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
}
