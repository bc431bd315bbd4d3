// SPDX-License-Identifier: GPL-2.0
//! The match `connlabel` (linux/netfilter/xt_connlabel.h), which can also set a label.

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{Refused, Rule};

/// The match `connlabel`, revision 0.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connlabel {
    bit: u16,
    options: u16,
}

const INVERTED: u16 = 1;
const SET: u16 = 2;

/// How many labels a connection can have (XT_CONNLABEL_MAXBIT).
const LABELS: u16 = 128;

impl Rule for Connlabel {
    fn check(&self) -> Result<(), Refused> {
        if self.options & !(INVERTED | SET) != 0 {
            return Err(Refused::Malformed);
        }
        if self.bit < LABELS {
            Ok(())
        } else {
            Err(Refused::NoSuchLabel)
        }
    }
}

impl Connlabel {
    /// The label's number, below 128.
    #[inline]
    #[must_use]
    pub fn bit(&self) -> u16 {
        self.bit
    }

    /// Whether a packet is what the rule asks for: `has` tells whether its connection has the
    /// label, and is `None` where it cannot have any. `set` gives it the label.
    #[inline]
    #[must_use]
    pub fn matches(&self, has: Option<bool>, set: impl FnOnce()) -> bool {
        let inverted = self.options & INVERTED != 0;
        let has = match has {
            None => return inverted,
            Some(false) if self.options & SET != 0 => {
                set();
                true
            }
            Some(has) => has,
        };
        has != inverted
    }
}
