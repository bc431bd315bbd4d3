// SPDX-License-Identifier: GPL-2.0
//! What iptables' rules ask of the tracker: the matches `conntrack` and `state`, the targets `CT`
//! and `NOTRACK`, read from the bytes that user space sends (linux/netfilter/xt_conntrack.h,
//! xt_state.h, xt_CT.h).

use zerocopy::{
    native_endian::{U16, U32},
    FromBytes, Immutable, KnownLayout, Unaligned,
};
use zerocopy_derive::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::{
    ctinfo::CtInfo,
    status::Status,
    tuple::{Direction, Family, Tuple},
};

/// Why a rule is refused when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The bytes are not of this revision.
    Malformed,
    /// It asks for what this tracker does not do (yet).
    NotSupported,
    /// It names a helper and no transport protocol.
    NoProtocol,
    /// It names a helper that is not there.
    NoHelper,
    /// There is no memory for it.
    NoMemory,
}

/// A packet's place in its connection, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// What the packet is to its connection.
    pub ctinfo: CtInfo,
    /// The connection's tuples, original and reply.
    pub tuples: [&'a Tuple; 2],
    /// The connection's status bits.
    pub status: Status,
    /// The time left, in seconds.
    pub remaining: u32,
    /// The name of the helper that has announced the connection.
    pub announced_by: Option<&'a [u8]>,
}

/// What rules see of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It has no connection: INVALID.
    Invalid,
    /// It is not tracked.
    Untracked,
    /// It has a connection.
    Flow(Flow<'a>),
}

/// States, one bit each.
mod state {
    use crate::ctinfo::CtInfo;

    pub(super) const INVALID: u16 = 1;
    pub(super) const SNAT: u16 = 1 << 6;
    pub(super) const DNAT: u16 = 1 << 7;

    /// The bit of a packet with a connection: the directions have one in common.
    pub(super) fn of(ctinfo: CtInfo) -> u16 {
        match ctinfo {
            CtInfo::Established | CtInfo::EstablishedReply => 1 << 1,
            CtInfo::Related | CtInfo::RelatedReply => 1 << 2,
            CtInfo::New => 1 << 3,
            CtInfo::Untracked => 0,
        }
    }
}

/// The match `state`, revision 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StateMatch {
    states: u32,
}

impl StateMatch {
    /// The size of what user space sends, in bytes.
    pub const SIZE: usize = size_of::<Self>();
    /// The bit of UNTRACKED; another than in the match `conntrack`.
    const UNTRACKED: u32 = 1 << 6;

    /// Reads the rule.
    ///
    /// # Errors
    ///
    /// Where the bytes are too few.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let (rule, _) = Self::read_from_prefix(bytes).map_err(|_| Refused::Malformed)?;
        Ok(rule)
    }

    /// Whether a packet is in one of the states.
    #[inline]
    #[must_use]
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        let bit = match seen {
            Seen::Invalid => u32::from(state::INVALID),
            Seen::Untracked => Self::UNTRACKED,
            Seen::Flow(flow) => u32::from(state::of(flow.ctinfo)),
        };
        self.states & bit != 0
    }
}

/// What the three revisions of the match `conntrack` begin with.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Common {
    /// Address and mask: original source and destination, reply source and destination.
    addresses: [[[U32; 4]; 2]; 4],
    expires_min: U32,
    expires_max: U32,
    l4proto: U16,
    /// In the order of the addresses.
    ports: [[u8; 2]; 4],
    wanted: U16,
    inverted: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Revision1 {
    common: Common,
    states: u8,
    status: u8,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Revision2 {
    common: Common,
    states: U16,
    status: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Revision3 {
    common: Common,
    states: U16,
    status: U16,
    /// The last of each range of ports, host order, as `common.ports` is here.
    ports_high: [U16; 4],
}

/// The match `conntrack`, revisions 1 to 3.
#[derive(Clone, Copy, Debug)]
pub struct ConntrackMatch {
    wanted: u16,
    inverted: u16,
    states: u16,
    status: u16,
    l4proto: u16,
    /// First and last port, host order.
    ports: [[u16; 2]; 4],
    /// Seconds.
    expires: [u32; 2],
    addresses: [[[u32; 4]; 2]; 4],
}

/// Bits of `wanted` and `inverted` (XT_CONNTRACK_*).
mod ask {
    pub(super) const STATE: u16 = 1 << 0;
    pub(super) const PROTO: u16 = 1 << 1;
    /// Original source; the others follow in the order of the addresses.
    pub(super) const ADDRESS: [u16; 4] = [1 << 2, 1 << 3, 1 << 4, 1 << 5];
    pub(super) const STATUS: u16 = 1 << 6;
    pub(super) const EXPIRES: u16 = 1 << 7;
    pub(super) const PORT: [u16; 4] = [1 << 8, 1 << 9, 1 << 10, 1 << 11];
    pub(super) const DIRECTION: u16 = 1 << 12;
    /// All that there are; the last says that it was written as `-m state`.
    pub(super) const ALL: u16 = (1 << 14) - 1;
}

impl ConntrackMatch {
    /// The size of what user space sends for a revision, in bytes: as the C structure, which is
    /// padded to the alignment of its words.
    #[must_use]
    pub const fn size(revision: u8) -> usize {
        match revision {
            1 => size_of::<Revision1>().next_multiple_of(4),
            2 => size_of::<Revision2>().next_multiple_of(4),
            _ => size_of::<Revision3>().next_multiple_of(4),
        }
    }

    /// Reads a rule of a revision.
    ///
    /// # Errors
    ///
    /// Where the bytes are too few, or ask for what is not known.
    #[inline]
    pub fn parse(revision: u8, bytes: &[u8]) -> Result<Self, Refused> {
        fn view<T: FromBytes + Immutable + KnownLayout + Unaligned>(
            bytes: &[u8],
        ) -> Result<&T, Refused> {
            let (rule, _) = T::ref_from_prefix(bytes).map_err(|_| Refused::Malformed)?;
            Ok(rule)
        }
        let rule = match revision {
            1 => {
                let rule: &Revision1 = view(bytes)?;
                Self::new(&rule.common, rule.states.into(), rule.status.into(), None)
            }
            2 => {
                let rule: &Revision2 = view(bytes)?;
                Self::new(&rule.common, rule.states.get(), rule.status.get(), None)
            }
            3 => {
                let rule: &Revision3 = view(bytes)?;
                let high = rule.ports_high.map(U16::get);
                Self::new(
                    &rule.common,
                    rule.states.get(),
                    rule.status.get(),
                    Some(high),
                )
            }
            _ => return Err(Refused::NotSupported),
        };
        if (rule.wanted | rule.inverted) & !ask::ALL != 0 {
            return Err(Refused::NotSupported);
        }
        Ok(rule)
    }

    /// `ports_high` where the ports are ranges, in host order then.
    fn new(common: &Common, states: u16, status: u16, ports_high: Option<[u16; 4]>) -> Self {
        let ports = match ports_high {
            None => common
                .ports
                .map(u16::from_be_bytes)
                .map(|port| [port, port]),
            Some([e, f, g, h]) => {
                let [a, b, c, d] = common.ports.map(u16::from_ne_bytes);
                [[a, e], [b, f], [c, g], [d, h]]
            }
        };
        Self {
            wanted: common.wanted.get(),
            inverted: common.inverted.get(),
            states,
            status,
            l4proto: common.l4proto.get(),
            ports,
            expires: [common.expires_min.get(), common.expires_max.get()],
            addresses: common
                .addresses
                .map(|rule| rule.map(|address| address.map(U32::get))),
        }
    }

    fn wants(&self, what: u16) -> bool {
        self.wanted & what != 0
    }

    /// Whether `found` is what the rule asks of `what`.
    fn agrees(&self, what: u16, found: bool) -> bool {
        !self.wants(what) || found != (self.inverted & what != 0)
    }

    /// Whether a packet is what the rule asks for.
    #[inline]
    #[must_use]
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        /// The bit of UNTRACKED; another than in the match `state`.
        const UNTRACKED: u16 = 1 << 8;
        let bits = match seen {
            Seen::Invalid => state::INVALID,
            Seen::Untracked => UNTRACKED,
            Seen::Flow(flow) => {
                let mut bits = state::of(flow.ctinfo);
                if flow.status.contains(Status::SRC_NAT) {
                    bits |= state::SNAT;
                }
                if flow.status.contains(Status::DST_NAT) {
                    bits |= state::DNAT;
                }
                bits
            }
        };
        if !self.agrees(ask::STATE, self.states & bits != 0) {
            return false;
        }
        match seen {
            Seen::Flow(flow) => self.flow_matches(flow),
            // Without a connection only its state can be asked for; the rest then counts for
            // nothing, as with stock.
            _ => self.wants(ask::STATE),
        }
    }

    fn flow_matches(&self, flow: &Flow<'_>) -> bool {
        let [original, _] = flow.tuples;
        let reply_wanted = self.inverted & ask::DIRECTION != 0;
        let reply = flow.ctinfo.direction() == Direction::Reply;
        let status = u32::from(self.status) & flow.status.bits() != 0;
        let [soonest, latest] = self.expires;
        let expires = soonest..=latest;
        (!self.wants(ask::DIRECTION) || reply == reply_wanted)
            && self.addresses_match(flow)
            && self.agrees(ask::PROTO, self.l4proto == u16::from(original.protocol()))
            && self.ports_match(flow)
            && self.agrees(ask::STATUS, status)
            && self.agrees(ask::EXPIRES, expires.contains(&flow.remaining))
    }

    fn addresses_match(&self, flow: &Flow<'_>) -> bool {
        let [original, reply] = flow.tuples;
        let found = [
            original.src_words(),
            original.dst_words(),
            reply.src_words(),
            reply.dst_words(),
        ];
        // Of an IPv4 rule user space fills the first word alone.
        let words = match original.family() {
            Family::Ipv4 => 1,
            Family::Ipv6 => 4,
        };
        let mut rules = ask::ADDRESS.iter().zip(&self.addresses).zip(found);
        rules.all(|((what, [address, mask]), found)| {
            let mut parts = address.iter().zip(mask).zip(found).take(words);
            self.agrees(
                *what,
                parts.all(|((want, mask), word)| (word ^ want) & mask == 0),
            )
        })
    }

    fn ports_match(&self, flow: &Flow<'_>) -> bool {
        let [original, reply] = flow.tuples;
        let found = [
            original.src_id(),
            original.dst_id(),
            reply.src_id(),
            reply.dst_id(),
        ];
        let mut rules = ask::PORT.iter().zip(self.ports).zip(found);
        rules.all(|((what, [first, last]), found)| {
            self.agrees(*what, (first..=last).contains(&u16::from_be_bytes(found)))
        })
    }
}

/// What all revisions of the target `CT` begin with.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CtTarget {
    flags: U16,
    zone: U16,
    ct_events: U32,
    exp_events: U32,
    helper: [u8; 16],
}

/// The size of what user space sends for a revision of the target `CT`, in bytes, without the
/// pointer that the kernel keeps behind it, and with it.
#[must_use]
pub const fn ct_target_size(revision: u8) -> [usize; 2] {
    match revision {
        0 => [32, 40],
        _ => [64, 72],
    }
}

/// What a rule of the target `CT` does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtAction<'a> {
    /// They are not tracked.
    NoTrack,
    /// The helper of this name reads their connections.
    Helper(&'a [u8]),
    /// Nothing.
    Nothing,
}

/// Reads a rule of the target `CT`: `--notrack` or `--helper`.
///
/// # Errors
///
/// Where the bytes are too few, or ask for more.
pub fn ct_target(revision: u8, bytes: &[u8]) -> Result<CtAction<'_>, Refused> {
    /// XT_CT_NOTRACK, and that it was written as `-j NOTRACK`.
    const NOTRACK: u16 = 1 << 0;
    const ALIAS: u16 = 1 << 1;
    let (rule, rest) = CtTarget::ref_from_prefix(bytes).map_err(|_| Refused::Malformed)?;
    let [size, _] = ct_target_size(revision);
    let timeout = rest
        .get(..size.saturating_sub(size_of::<CtTarget>()))
        .ok_or(Refused::Malformed)?;
    let known = rule.flags.get() & !(NOTRACK | ALIAS) == 0
        && rule.zone.get() == 0
        && rule.ct_events.get() == 0
        && rule.exp_events.get() == 0
        && (revision == 0 || timeout.first() == Some(&0));
    if !known {
        return Err(Refused::NotSupported);
    }
    if rule.flags.get() & NOTRACK != 0 {
        return Ok(CtAction::NoTrack);
    }
    let name = text(&rule.helper)?;
    Ok(if name.is_empty() {
        CtAction::Nothing
    } else {
        CtAction::Helper(name)
    })
}

/// A text that ends with its first zero, which must be there.
fn text(bytes: &[u8]) -> Result<&[u8], Refused> {
    let end = bytes.iter().position(|byte| *byte == 0);
    end.and_then(|end| bytes.get(..end))
        .ok_or(Refused::Malformed)
}

/// The match `helper` (linux/netfilter/xt_helper.h).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HelperMatch {
    inverted: U32,
    name: [u8; 30],
    padding: [u8; 2],
}

impl HelperMatch {
    /// The size of what user space sends, in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads the rule.
    ///
    /// # Errors
    ///
    /// Where the bytes are too few, or the name has no end.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<&Self, Refused> {
        let (rule, _) = Self::ref_from_prefix(bytes).map_err(|_| Refused::Malformed)?;
        text(&rule.name).map(|_| rule)
    }

    /// Whether a packet's connection was announced by this helper; by any, where no name is given.
    #[inline]
    #[must_use]
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        let inverted = self.inverted.get() != 0;
        let Seen::Flow(Flow {
            announced_by: Some(helper),
            ..
        }) = seen
        else {
            return inverted;
        };
        let name = text(&self.name).unwrap_or_default();
        // As stock has it, the rule's name may go on where the helper's ends ("ftp-2121").
        (name.is_empty() || name.starts_with(helper)) != inverted
    }
}
