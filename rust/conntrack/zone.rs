// SPDX-License-Identifier: GPL-2.0
//! Zones: numbers that tell flows of equal tuples apart, for networks whose addresses overlap.

use zerocopy::transmute;
use zerocopy_derive::{Immutable, IntoBytes};

use crate::tuple::Direction;

/// A zone, in the layout of `struct nf_conntrack_zone`.
///
/// A zone counts in one direction or in both; where it does not count, a flow is in zone 0.
#[derive(Clone, Copy, Debug, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub struct Zone {
    id: u16,
    flags: u8,
    directions: u8,
}

impl PartialEq for Zone {
    /// As one word: it is asked for each packet.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let word = |zone: &Self| -> u32 { transmute!(*zone) };
        word(self) == word(other)
    }
}

/// The directions in which a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Directions {
    /// That of the first packet.
    Original = 1,
    /// That of the answers.
    Reply = 2,
    /// Both.
    Both = 3,
}

/// The number is the packet's mark (NF_CT_FLAG_MARK).
const BY_MARK: u8 = 1;

impl Default for Zone {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Zone {
    /// That of all flows of which no rule says otherwise.
    pub const DEFAULT: Self = Self::new(0, Directions::Both);

    /// A zone by its number.
    #[must_use]
    pub const fn new(id: u16, directions: Directions) -> Self {
        Self {
            id,
            flags: 0,
            directions: directions as u8,
        }
    }

    /// What a rule wishes: the zone whose number is the mark of each packet.
    #[must_use]
    pub const fn by_mark(directions: Directions) -> Self {
        Self {
            id: 0,
            flags: BY_MARK,
            directions: directions as u8,
        }
    }

    /// Whether its number is that of each packet's mark.
    #[inline]
    #[must_use]
    pub const fn is_by_mark(self) -> bool {
        self.flags & BY_MARK != 0
    }

    /// The zone of a packet with `mark`, where a rule wishes this one.
    #[inline]
    #[must_use]
    pub const fn of_mark(self, mark: u32) -> Self {
        if self.is_by_mark() {
            Self {
                // CAST: zones have the lower half of a mark, as with stock.
                id: mark as u16,
                flags: 0,
                directions: self.directions,
            }
        } else {
            self
        }
    }

    /// Its number, wherever it counts.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        self.id
    }

    /// Its number for packets in `direction`.
    #[inline]
    #[must_use]
    pub const fn id(self, direction: Direction) -> u16 {
        let counts = match direction {
            Direction::Original => self.directions & Directions::Original as u8,
            Direction::Reply => self.directions & Directions::Reply as u8,
        };
        if counts == 0 {
            0
        } else {
            self.id
        }
    }

    /// The directions in which it counts.
    #[inline]
    #[must_use]
    pub const fn directions(self) -> Directions {
        match self.directions {
            1 => Directions::Original,
            2 => Directions::Reply,
            _ => Directions::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The kernel's own layout; the glue asserts it against bindgen as well.
    const _: () = assert!(size_of::<Zone>() == 4);

    #[test]
    fn a_zone_counts_in_its_directions() {
        let ids = |zone: Zone| [Direction::Original, Direction::Reply].map(|at| zone.id(at));
        assert_eq!(ids(Zone::DEFAULT), [0, 0]);
        assert_eq!(ids(Zone::new(7, Directions::Both)), [7, 7]);
        assert_eq!(ids(Zone::new(7, Directions::Original)), [7, 0]);
        assert_eq!(ids(Zone::new(7, Directions::Reply)), [0, 7]);
        assert_eq!(
            Zone::new(7, Directions::Reply).directions(),
            Directions::Reply
        );
    }

    #[test]
    fn a_mark_says_the_number() {
        let wish = Zone::by_mark(Directions::Original);
        assert!(wish.is_by_mark());
        assert_eq!(wish.of_mark(0x1_0005), Zone::new(5, Directions::Original));
        assert_eq!(Zone::DEFAULT.of_mark(5), Zone::DEFAULT);
    }
}
