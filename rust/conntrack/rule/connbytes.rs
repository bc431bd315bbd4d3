// SPDX-License-Identifier: GPL-2.0
//! The match `connbytes` (linux/netfilter/xt_connbytes.h).

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{Refused, Rule};
use crate::show::Counters;

/// The match `connbytes`, revision 0.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connbytes {
    from: u64,
    to: u64,
    what: u8,
    direction: u8,
    padding: [u8; 6],
}

/// What is asked for: packets, bytes, bytes a packet.
const PACKETS: u8 = 0;
const BYTES: u8 = 1;
const AVERAGE: u8 = 2;
/// In which direction: original, reply, both.
const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;
const BOTH: u8 = 2;

impl Rule for Connbytes {
    fn check(&self) -> Result<(), Refused> {
        if self.what <= AVERAGE && self.direction <= BOTH {
            Ok(())
        } else {
            Err(Refused::Malformed)
        }
    }
}

impl Connbytes {
    /// Whether a connection's counters, original and reply, are what the rule asks for. Of a
    /// packet without a connection, or with one that is not counted, they never are.
    #[must_use]
    pub fn matches(&self, [original, reply]: [Counters; 2]) -> bool {
        let Counters { packets, bytes } = match self.direction {
            ORIGINAL => original,
            REPLY => reply,
            _ => Counters {
                packets: original.packets.wrapping_add(reply.packets),
                bytes: original.bytes.wrapping_add(reply.bytes),
            },
        };
        let found = match self.what {
            PACKETS => packets,
            BYTES => bytes,
            _ => bytes.checked_div(packets).unwrap_or(0),
        };
        if self.from <= self.to {
            (self.from..=self.to).contains(&found)
        } else {
            // Inverted: user space has put the ends of the range the other way round.
            !(self.to..=self.from).contains(&found)
        }
    }
}
