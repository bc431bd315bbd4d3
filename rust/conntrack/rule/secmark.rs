// SPDX-License-Identifier: GPL-2.0
//! The target `CONNSECMARK` (linux/netfilter/xt_CONNSECMARK.h): carries security marks from packets
//! to their connection, and back.

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{Refused, Rule};

/// The target `CONNSECMARK`, revision 0.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connsecmark {
    mode: u8,
}

const SAVE: u8 = 1;
const RESTORE: u8 = 2;

/// What becomes of the security marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The connection gets that of the packet.
    Save,
    /// The packet gets that of the connection.
    Restore,
    /// Nothing.
    Nothing,
}

impl Rule for Connsecmark {
    fn check(&self) -> Result<(), Refused> {
        match self.mode {
            SAVE | RESTORE => Ok(()),
            _ => Err(Refused::Malformed),
        }
    }
}

impl Connsecmark {
    /// What becomes of the marks of a connection and of one of its packets, zero where they have
    /// none: no mark takes the place of another.
    #[inline]
    #[must_use]
    pub fn action(&self, connection: u32, packet: u32) -> Action {
        match self.mode {
            SAVE if packet != 0 && connection == 0 => Action::Save,
            RESTORE if packet == 0 && connection != 0 => Action::Restore,
            _ => Action::Nothing,
        }
    }
}
