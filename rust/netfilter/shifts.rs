// SPDX-License-Identifier: GPL-2.0
//! By how much sequence numbers of a connection are shifted, as a user has said. Nothing here shifts
//! them: it is kept for a firewall that does, and asks for it back.

use core::sync::atomic::{AtomicU32, Ordering};

use conntrack::{netlink::entry::Shift, tuple::Direction};

/// The shifts of both directions.
pub struct Shifts([[AtomicU32; 3]; 2]);

impl Shifts {
    /// Of original and reply.
    #[must_use]
    pub fn new(both: [Shift; 2]) -> Self {
        Self(both.map(|shift| words(shift).map(AtomicU32::new)))
    }

    fn of(&self, direction: Direction) -> &[AtomicU32; 3] {
        let [original, reply] = &self.0;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// Of original and reply.
    #[must_use]
    pub fn get(&self) -> [Shift; 2] {
        [Direction::Original, Direction::Reply].map(|direction| {
            let [position, before, after] = self.of(direction);
            Shift {
                position: position.load(Ordering::Relaxed),
                before: before.load(Ordering::Relaxed),
                after: after.load(Ordering::Relaxed),
            }
        })
    }

    /// Changes that of a direction.
    pub fn set(&self, direction: Direction, shift: Shift) {
        for (place, word) in self.of(direction).iter().zip(words(shift)) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

fn words(shift: Shift) -> [u32; 3] {
    [shift.position, shift.before, shift.after]
}
