// SPDX-License-Identifier: GPL-2.0
//! What users ask of connections.
//!
//! A request is read step by step, as far as it is needed: which error a user gets depends on
//! what is looked at first.

use super::{
    attr::{Bound, Form, Manner, Policy, Rule, Table},
    entry::Shift,
    kind::{ct, help, protoinfo, sctp, seqadj, tcp},
    tuple::{self, Parts},
    Error, Support,
};
use crate::{
    proto::{self, Change},
    status::Status,
    tuple::{protocol, Direction, Tuple},
    zone::{Directions, Zone},
};

/// The longest name of a helper, in bytes (NF_CT_HELPER_NAME_LEN with its end).
pub const NAME: u16 = 15;

/// The longest labels, in bytes (NF_CT_LABELS_MAX_SIZE).
const LABELS: u16 = 16;

/// What requests about connections must be like.
pub const POLICY: Policy<{ ct::ROOM }> = Policy(&[
    Rule::new(ct::TUPLE_ORIG, Form::Nested),
    Rule::new(ct::TUPLE_REPLY, Form::Nested),
    Rule::new(ct::STATUS, Form::U32),
    Rule::new(ct::PROTOINFO, Form::Nested),
    Rule::new(ct::HELP, Form::Nested),
    Rule::new(ct::NAT_SRC, Form::Nested),
    Rule::new(ct::TIMEOUT, Form::U32),
    Rule::new(ct::MARK, Form::U32),
    Rule::new(ct::ID, Form::U32),
    Rule::new(ct::NAT_DST, Form::Nested),
    Rule::new(ct::TUPLE_MASTER, Form::Nested),
    Rule::new(ct::SEQ_ADJ_ORIG, Form::Nested),
    Rule::new(ct::SEQ_ADJ_REPLY, Form::Nested),
    Rule::new(ct::ZONE, Form::U16),
    Rule::new(ct::MARK_MASK, Form::U32),
    Rule::new(ct::LABELS, Form::AtMost(LABELS)),
    Rule::new(ct::LABELS_MASK, Form::AtMost(LABELS)),
    Rule::new(ct::FILTER, Form::Nested),
    Rule::new(ct::STATUS_MASK, Form::U32),
    Rule::new(ct::TIMESTAMP_EVENT, Form::Refused),
]);

const HELP: Policy<{ help::ROOM }> = Policy(&[Rule::new(help::NAME, Form::Text(NAME))]);

const PROTOINFO: Policy<{ protoinfo::ROOM }> = Policy(&[
    Rule::new(protoinfo::TCP, Form::Nested),
    Rule::new(protoinfo::SCTP, Form::Nested),
]);

/// By how many bits a window may be shifted at most.
const MOST_SCALE: u16 = proto::tcp::MOST_SCALE as u16;

const TCP: Policy<{ tcp::ROOM }> = Policy(&[
    Rule::bounded(
        tcp::STATE,
        Form::U8,
        Bound::Most(proto::tcp::State::SynSent2 as u16),
    ),
    Rule::bounded(tcp::WSCALE_ORIGINAL, Form::U8, Bound::Most(MOST_SCALE)),
    Rule::bounded(tcp::WSCALE_REPLY, Form::U8, Bound::Most(MOST_SCALE)),
    Rule::new(tcp::FLAGS_ORIGINAL, Form::AtLeast(2)),
    Rule::new(tcp::FLAGS_REPLY, Form::AtLeast(2)),
]);

const SCTP: Policy<{ sctp::ROOM }> = Policy(&[
    Rule::bounded(
        sctp::STATE,
        Form::U8,
        Bound::Most(proto::sctp::State::HeartbeatSent as u16),
    ),
    Rule::new(sctp::VTAG_ORIGINAL, Form::U32),
    Rule::new(sctp::VTAG_REPLY, Form::U32),
]);

const SEQADJ: Policy<{ seqadj::ROOM }> = Policy(&[
    Rule::new(seqadj::CORRECTION_POS, Form::U32),
    Rule::new(seqadj::OFFSET_BEFORE, Form::U32),
    Rule::new(seqadj::OFFSET_AFTER, Form::U32),
]);

/// A request about connections.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    table: Table<'a, { ct::ROOM }>,
    family: u8,
    support: Support,
}

/// The connection that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its zone.
    pub zone: Zone,
    /// One of its tuples.
    pub tuple: Tuple,
}

/// The tuples that a request for a new connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuples {
    /// The zone that they are in.
    pub zone: Zone,
    /// That of the first packet.
    pub original: Option<Tuple>,
    /// That of answers.
    pub reply: Option<Tuple>,
}

/// A mark that some bits of another take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkChange {
    value: u32,
    keep: u32,
}

impl MarkChange {
    /// The mark after the change.
    #[must_use]
    pub const fn apply(self, mark: u32) -> u32 {
        (mark & self.keep) ^ self.value
    }
}

/// What becomes of labels, word by word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelChange([MarkChange; 4]);

impl LabelChange {
    /// What becomes of each word.
    #[must_use]
    pub const fn words(&self) -> &[MarkChange; 4] {
        &self.0
    }
}

impl<'a> Request<'a> {
    /// Reads the attributes of a message for a network protocol.
    ///
    /// # Errors
    ///
    /// The first attribute that is not as it must be.
    pub fn read(bytes: &'a [u8], family: u8, support: Support) -> Result<Self, Error> {
        Ok(Self {
            table: POLICY.read(bytes, Manner::Liberal)?,
            family,
            support,
        })
    }

    /// Its attributes.
    #[must_use]
    pub fn table(&self) -> &Table<'a, { ct::ROOM }> {
        &self.table
    }

    /// The network protocol's number.
    #[must_use]
    pub fn family(&self) -> u8 {
        self.family
    }

    pub(super) fn support(&self) -> Support {
        self.support
    }

    /// The zone, where it counts both ways.
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] where this kernel has no zones.
    pub fn zone(&self) -> Result<Zone, Error> {
        match self.table.get(ct::ZONE) {
            Some(_) if !self.support.zones => Err(Error::NotSupported),
            Some(number) => Ok(Zone::new(number.be16()?, Directions::Both)),
            None => Ok(Zone::DEFAULT),
        }
    }

    /// A tuple and the zone that it is in: `zone`, or one that counts in its direction only.
    fn tuple_in(&self, kind: u16, zone: &mut Zone) -> Result<Option<Tuple>, Error> {
        let Some(attribute) = self.table.get(kind) else {
            return Ok(None);
        };
        let sent = tuple::read(&attribute, self.family, Parts::ALL)?;
        let (direction, directions) = if kind == ct::TUPLE_REPLY {
            (Direction::Reply, Directions::Reply)
        } else {
            (Direction::Original, Directions::Original)
        };
        if let Some(number) = sent.zone {
            if zone.number() != 0 {
                return Err(Error::Invalid);
            }
            if !self.support.zones {
                return Err(Error::NotSupported);
            }
            *zone = Zone::new(number, directions);
        }
        Ok(Some(sent.tuple.with_direction(direction)))
    }

    /// The one connection that the request is about: by its original tuple, or else by its reply
    /// tuple. `None` where it has neither.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn key(&self) -> Result<Option<Key>, Error> {
        let mut zone = self.zone()?;
        let kind = if self.table.has(ct::TUPLE_ORIG) {
            ct::TUPLE_ORIG
        } else {
            ct::TUPLE_REPLY
        };
        let tuple = self.tuple_in(kind, &mut zone)?;
        Ok(tuple.map(|tuple| Key { zone, tuple }))
    }

    /// Both tuples, as far as they are there.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn tuples(&self) -> Result<Tuples, Error> {
        let mut zone = self.zone()?;
        let original = self.tuple_in(ct::TUPLE_ORIG, &mut zone)?;
        let reply = self.tuple_in(ct::TUPLE_REPLY, &mut zone)?;
        Ok(Tuples {
            zone,
            original,
            reply,
        })
    }

    /// Whether it says which connections it is about by a filter.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.table.has(ct::FILTER)
    }

    /// The connection's number, as it was told.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is none.
    pub fn id(&self) -> Result<Option<u32>, Error> {
        self.number_with(ct::ID, |id| id.u32())
    }

    fn number_with(
        &self,
        kind: u16,
        read: impl FnOnce(super::attr::Attribute<'a>) -> Result<u32, Error>,
    ) -> Result<Option<u32>, Error> {
        self.table.get(kind).map(read).transpose()
    }

    /// How long it shall live, in seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is no number.
    pub fn timeout(&self) -> Result<Option<u32>, Error> {
        self.number_with(ct::TIMEOUT, |seconds| seconds.be32())
    }

    /// The status bits that it shall have.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where they are no number.
    pub fn status(&self) -> Result<Option<Status>, Error> {
        let bits = self.number_with(ct::STATUS, |bits| bits.be32())?;
        Ok(bits.map(Status::from_bits))
    }

    /// Whether addresses shall be translated.
    #[must_use]
    pub fn has_nat(&self) -> bool {
        self.table.has(ct::NAT_SRC) || self.table.has(ct::NAT_DST)
    }

    /// Whether it says who has announced it.
    #[must_use]
    pub fn has_master(&self) -> bool {
        self.table.has(ct::TUPLE_MASTER)
    }

    /// The original tuple of the connection that has announced it.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn master(&self) -> Result<Option<Tuple>, Error> {
        let Some(attribute) = self.table.get(ct::TUPLE_MASTER) else {
            return Ok(None);
        };
        let sent = tuple::read(&attribute, self.family, Parts::ALL)?;
        match sent.zone {
            Some(_) => Err(Error::Invalid),
            None => Ok(Some(sent.tuple)),
        }
    }

    /// The name of the helper that shall read it.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn helper(&self) -> Result<Option<&'a [u8]>, Error> {
        let Some(attribute) = self.table.get(ct::HELP) else {
            return Ok(None);
        };
        let table = HELP.read_nested(&attribute, Manner::Liberal)?;
        Ok(Some(table.need(help::NAME)?.text()))
    }

    /// What becomes of the mark.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is no number.
    pub fn mark(&self) -> Result<Option<MarkChange>, Error> {
        let Some(value) = self.number_with(ct::MARK, |mark| mark.be32())? else {
            return Ok(None);
        };
        let mask = self.number_with(ct::MARK_MASK, |mask| mask.be32())?;
        Ok(Some(MarkChange {
            value,
            keep: mask.map_or(0, |mask| !mask),
        }))
    }

    /// What becomes of the labels.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn labels(&self) -> Result<Option<LabelChange>, Error> {
        let Some(values) = self.table.get(ct::LABELS) else {
            return Ok(None);
        };
        if !self.support.labels {
            return Err(Error::NotSupported);
        }
        let values = values.value();
        let mask = self.table.get(ct::LABELS_MASK).map(|mask| mask.value());
        let fits = |mask: &[u8]| !mask.is_empty() && mask.len() == values.len();
        if values.len().checked_rem(size_of::<u32>()) != Some(0) || !mask.is_none_or(fits) {
            return Err(Error::Invalid);
        }
        // What is not said is cleared.
        let mut changes = [MarkChange { value: 0, keep: 0 }; 4];
        for (change, value) in changes.iter_mut().zip(words(values)) {
            change.value = value;
        }
        for (change, mask) in changes.iter_mut().zip(words(mask.unwrap_or_default())) {
            change.keep = !mask;
        }
        Ok(Some(LabelChange(changes)))
    }

    /// By how much sequence numbers of a direction are shifted.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn shift(&self, direction: Direction) -> Result<Option<Shift>, Error> {
        let kind = match direction {
            Direction::Original => ct::SEQ_ADJ_ORIG,
            Direction::Reply => ct::SEQ_ADJ_REPLY,
        };
        let Some(attribute) = self.table.get(kind) else {
            return Ok(None);
        };
        let table = SEQADJ.read_nested(&attribute, Manner::Liberal)?;
        Ok(Some(Shift {
            position: table.need(seqadj::CORRECTION_POS)?.be32()?,
            before: table.need(seqadj::OFFSET_BEFORE)?.be32()?,
            after: table.need(seqadj::OFFSET_AFTER)?.be32()?,
        }))
    }

    /// What becomes of the state of a connection of this transport protocol.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn state(&self, number: u8) -> Result<Option<Change>, Error> {
        let Some(attribute) = self.table.get(ct::PROTOINFO) else {
            return Ok(None);
        };
        let table = PROTOINFO.read_nested(&attribute, Manner::Liberal)?;
        let of = match number {
            protocol::TCP => table.get(protoinfo::TCP),
            protocol::SCTP => table.get(protoinfo::SCTP),
            _ => None,
        };
        match (number, of) {
            (protocol::TCP, Some(info)) => {
                let table = TCP.read_nested(&info, Manner::Liberal)?;
                read_tcp(&table).map(Change::Tcp).map(Some)
            }
            (protocol::SCTP, Some(info)) => {
                let table = SCTP.read_nested(&info, Manner::Liberal)?;
                read_sctp(&table).map(Change::Sctp).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Whole words of four bytes, in host order.
fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let words = bytes.chunks_exact(size_of::<u32>());
    words.filter_map(|word| word.first_chunk().copied().map(u32::from_ne_bytes))
}

fn read_tcp(table: &Table<'_, { tcp::ROOM }>) -> Result<proto::tcp::Change, Error> {
    let state = match table.get(tcp::STATE) {
        Some(number) => Some(proto::tcp::State::from_number(number.u8()?).ok_or(Error::Range)?),
        None => None,
    };
    let flags = |kind| match table.get(kind) {
        Some(flags) => {
            let [value, mask] = flags.bytes()?;
            Ok(Some(proto::tcp::FlagChange { value, mask }))
        }
        None => Ok(None),
    };
    let scales = match (
        table.get(tcp::WSCALE_ORIGINAL),
        table.get(tcp::WSCALE_REPLY),
    ) {
        (Some(original), Some(reply)) => Some([original.u8()?, reply.u8()?]),
        _ => None,
    };
    Ok(proto::tcp::Change {
        state,
        flags: [flags(tcp::FLAGS_ORIGINAL)?, flags(tcp::FLAGS_REPLY)?],
        scales,
    })
}

fn read_sctp(table: &Table<'_, { sctp::ROOM }>) -> Result<proto::sctp::Change, Error> {
    let state = table.need(sctp::STATE)?.u8()?;
    Ok(proto::sctp::Change {
        state: proto::sctp::State::from_number(state).ok_or(Error::Range)?,
        tags: [
            table.need(sctp::VTAG_ORIGINAL)?.be32()?,
            table.need(sctp::VTAG_REPLY)?.be32()?,
        ],
    })
}

/// The status bits that are to be set so that a connection has those that a user wants.
///
/// # Errors
///
/// [`Error::Busy`] where some would have to go that stay, or to come that users do not set.
pub fn status_to_set(now: Status, wanted: Status) -> Result<Status, Error> {
    let differ = now.bits() ^ wanted.bits();
    let fixed = Status::EXPECTED | Status::CONFIRMED | Status::DYING;
    let only_set = Status::SEEN_REPLY | Status::ASSURED;
    if differ & fixed.bits() != 0 || differ & only_set.bits() & !wanted.bits() != 0 {
        return Err(Error::Busy);
    }
    Ok(wanted.changeable())
}
