// SPDX-License-Identifier: GPL-2.0
//! The match `state` (linux/netfilter/xt_state.h).

use zerocopy_derive::{FromBytes, Immutable, KnownLayout};

use super::{Rule, Seen};
use crate::ctinfo::CtInfo;

/// The bit of INVALID.
pub(super) const INVALID: u16 = 1;

/// The bit of a packet with a connection: the directions have one in common.
#[inline]
pub(super) fn of(ctinfo: CtInfo) -> u16 {
    match ctinfo {
        CtInfo::Established | CtInfo::EstablishedReply => 1 << 1,
        CtInfo::Related | CtInfo::RelatedReply => 1 << 2,
        CtInfo::New => 1 << 3,
        CtInfo::Untracked => 0,
    }
}

/// The match `state`, revision 0.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct State {
    states: u32,
}

impl Rule for State {}

impl State {
    /// The bit of UNTRACKED; another than in the match `conntrack`.
    const UNTRACKED: u32 = 1 << 6;

    /// The bit of what a packet is; nf_tables has the same (NF_CT_STATE_BIT and its like).
    #[inline]
    #[must_use]
    pub fn bit(seen: Seen<CtInfo>) -> u32 {
        match seen {
            Seen::Invalid => u32::from(INVALID),
            Seen::Untracked => Self::UNTRACKED,
            Seen::Flow(ctinfo) => u32::from(of(ctinfo)),
        }
    }

    /// Whether a packet is in one of the states.
    #[inline]
    #[must_use]
    pub fn matches(&self, seen: Seen<CtInfo>) -> bool {
        self.states & Self::bit(seen) != 0
    }
}
