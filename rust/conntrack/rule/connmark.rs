// SPDX-License-Identifier: GPL-2.0
//! The match `connmark` and the target `CONNMARK` (linux/netfilter/xt_connmark.h).

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{Refused, Rule};

/// The match `connmark`, revision 1.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connmark {
    mark: u32,
    mask: u32,
    inverted: u8,
}

impl Rule for Connmark {}

impl Connmark {
    /// Whether a connection's mark is what the rule asks for. Of a packet without a connection it
    /// never is, inverted or not.
    #[inline]
    #[must_use]
    pub fn matches(&self, mark: u32) -> bool {
        (mark & self.mask == self.mark) != (self.inverted != 0)
    }
}

/// What becomes of the marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The connection's is this now.
    Connection(u32),
    /// The packet's is this now.
    Packet(u32),
    /// Nothing.
    Nothing,
}

/// The target `CONNMARK`, revision 1.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Target1 {
    masks: Masks,
    mode: u8,
}

/// Revision 2: what is set, saved or restored is also shifted.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Target2 {
    masks: Masks,
    direction: u8,
    bits: u8,
    mode: u8,
}

/// Which bits are set or copied.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Masks {
    mark: u32,
    /// Of the connection's mark.
    connection: u32,
    /// Of the packet's mark.
    packet: u32,
}

/// `D_SHIFT_LEFT` and `D_SHIFT_RIGHT`.
const LEFT: u8 = 0;
const RIGHT: u8 = 1;

impl Masks {
    /// `XT_CONNMARK_SET`, `_SAVE` and `_RESTORE`; any other does nothing, as with stock.
    #[inline]
    fn action(
        &self,
        mode: u8,
        connection: u32,
        packet: u32,
        shift: impl FnOnce(u32) -> u32,
    ) -> Action {
        match mode {
            0 => Action::Connection(shift((connection & !self.connection) ^ self.mark)),
            1 => {
                let saved = shift(packet & self.packet);
                Action::Connection((connection & !self.connection) ^ saved)
            }
            2 => {
                let restored = shift(connection & self.connection);
                Action::Packet((packet & !self.packet) ^ restored)
            }
            _ => Action::Nothing,
        }
    }
}

/// A revision of the target.
pub trait Target: Rule {
    /// Its number.
    const NUMBER: u8;

    /// What becomes of the marks of a connection and of one of its packets.
    #[must_use]
    fn action(&self, connection: u32, packet: u32) -> Action;
}

impl Rule for Target1 {}

impl Target for Target1 {
    const NUMBER: u8 = 1;

    #[inline]
    fn action(&self, connection: u32, packet: u32) -> Action {
        self.masks
            .action(self.mode, connection, packet, |mark| mark)
    }
}

impl Rule for Target2 {
    fn check(&self) -> Result<(), Refused> {
        if self.direction <= RIGHT && u32::from(self.bits) < u32::BITS {
            Ok(())
        } else {
            Err(Refused::Malformed)
        }
    }
}

impl Target for Target2 {
    const NUMBER: u8 = 2;

    #[inline]
    fn action(&self, connection: u32, packet: u32) -> Action {
        let bits = u32::from(self.bits);
        self.masks
            .action(self.mode, connection, packet, |mark| match self.direction {
                LEFT => mark.wrapping_shl(bits),
                _ => mark.wrapping_shr(bits),
            })
    }
}
