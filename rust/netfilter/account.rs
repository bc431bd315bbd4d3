// SPDX-License-Identifier: GPL-2.0
//! What is counted of a connection, and when it began and ended, in namespaces that want to know: in
//! the place of a state that is no more than a word, else behind the connection.

use core::sync::atomic::{AtomicU64, Ordering};

use conntrack::{show::Counters, tuple::Direction};

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
