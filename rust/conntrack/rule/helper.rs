// SPDX-License-Identifier: GPL-2.0
//! The match `helper` (linux/netfilter/xt_helper.h).

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{text, Rule};

/// The match `helper`, revision 0.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Helper {
    inverted: u32,
    name: [u8; 29],
    /// Of the name, which ends here whatever it is.
    end: u8,
    padding: [u8; 2],
}

impl Rule for Helper {}

impl Helper {
    /// Whether a packet's connection was announced by this helper; by any, where no name is given.
    #[inline]
    #[must_use]
    pub fn matches(&self, announced_by: Option<&[u8]>) -> bool {
        let inverted = self.inverted != 0;
        let Some(helper) = announced_by else {
            return inverted;
        };
        let name = text(&self.name).unwrap_or(&self.name);
        // As stock has it, the rule's name may go on where the helper's ends ("ftp-2121").
        (name.is_empty() || name.starts_with(helper)) != inverted
    }
}
