// SPDX-License-Identifier: GPL-2.0
//! The target `CT` (linux/netfilter/xt_CT.h): what a connection is to be made like, or that there is
//! to be none.

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{text, Refused, Rule};
use crate::{
    event::Events,
    zone::{Directions, Zone},
};

/// What all revisions begin with.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Common {
    flags: u16,
    zone: u16,
    events: [u32; 2],
    helper: [u8; 16],
}

/// Revision 0. (The kernel keeps a pointer behind each revision.)
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Revision0 {
    common: Common,
    padding: [u8; 4],
}

/// Revision 1: timeout policies.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Revision1 {
    common: Common,
    timeouts: [u8; 32],
    padding: [u8; 4],
}

/// Revision 2: zones of one direction, or by mark.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Revision2 {
    common: Common,
    timeouts: [u8; 32],
    padding: [u8; 4],
}

/// Flags (XT_CT_*).
mod flag {
    pub(super) const NOTRACK: u16 = 1 << 0;
    /// It was written as `-j NOTRACK`.
    pub(super) const ALIAS: u16 = 1 << 1;
    pub(super) const ORIGINAL: u16 = 1 << 2;
    pub(super) const REPLY: u16 = 1 << 3;
    pub(super) const BY_MARK: u16 = 1 << 4;
    pub(super) const ALL: u16 = NOTRACK | ALIAS | ORIGINAL | REPLY | BY_MARK;
}

/// What a rule does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// They are not tracked.
    NoTrack,
    /// Their connections are made like this.
    Template(Template<'a>),
}

/// What connections are to be made like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template<'a> {
    /// The zone that they are in.
    pub zone: Zone,
    /// The only events that are told, of connections and of expectations; `None` for all.
    pub events: Option<[Events; 2]>,
    /// The helper that reads them.
    pub helper: Option<&'a [u8]>,
    /// The policy of their timeouts.
    pub timeouts: Option<&'a [u8]>,
}

/// A revision.
pub trait Revision: Rule {
    /// Its number.
    const NUMBER: u8;

    /// What the rule does to packets.
    ///
    /// # Errors
    ///
    /// Where a name is too long.
    fn action(&self) -> Result<Action<'_>, Refused>;
}

impl Common {
    fn check(&self, known: u16) -> Result<(), Refused> {
        if self.flags & !known == 0 {
            Ok(())
        } else {
            Err(Refused::Malformed)
        }
    }

    fn zone(&self) -> Zone {
        let directions = match self.flags & (flag::ORIGINAL | flag::REPLY) {
            flag::ORIGINAL => Directions::Original,
            flag::REPLY => Directions::Reply,
            _ => Directions::Both,
        };
        if self.flags & flag::BY_MARK == 0 {
            Zone::new(self.zone, directions)
        } else {
            Zone::by_mark(directions)
        }
    }

    fn action<'a>(&'a self, timeouts: &'a [u8]) -> Result<Action<'a>, Refused> {
        if self.flags & flag::NOTRACK != 0 {
            return Ok(Action::NoTrack);
        }
        let name = |bytes: &'a [u8]| match bytes.first() {
            None | Some(0) => Ok(None),
            Some(_) => text(bytes).map(Some),
        };
        Ok(Action::Template(Template {
            zone: self.zone(),
            events: (self.events != [0; 2]).then(|| self.events.map(Events::from_word)),
            helper: name(&self.helper)?,
            timeouts: name(timeouts)?,
        }))
    }
}

impl Rule for Revision0 {
    fn check(&self) -> Result<(), Refused> {
        self.common.check(flag::NOTRACK)
    }
}

impl Revision for Revision0 {
    const NUMBER: u8 = 0;

    fn action(&self) -> Result<Action<'_>, Refused> {
        self.common.action(&[])
    }
}

impl Rule for Revision1 {
    fn check(&self) -> Result<(), Refused> {
        self.common.check(flag::NOTRACK)
    }
}

impl Revision for Revision1 {
    const NUMBER: u8 = 1;

    fn action(&self) -> Result<Action<'_>, Refused> {
        self.common.action(&self.timeouts)
    }
}

impl Rule for Revision2 {
    fn check(&self) -> Result<(), Refused> {
        self.common.check(flag::ALL)
    }
}

impl Revision for Revision2 {
    const NUMBER: u8 = 2;

    fn action(&self) -> Result<Action<'_>, Refused> {
        self.common.action(&self.timeouts)
    }
}

/// The target `NOTRACK`, which has nothing to say.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NoTrack {}

impl Rule for NoTrack {}
