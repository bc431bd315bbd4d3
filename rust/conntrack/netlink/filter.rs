// SPDX-License-Identifier: GPL-2.0
//! Which connections a user wants listed, or ended.

use super::{
    attr::{Bound, Form, Manner, Policy, Rule},
    kind::{ct, filter},
    request::Request,
    tuple::{self, Parts},
    Error,
};
use crate::{
    status::Status,
    tuple::{protocol, Tuple},
    zone::Zone,
};

/// A number of which some bits are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Masked {
    value: u32,
    mask: u32,
}

impl Masked {
    const fn matches(self, number: u32) -> bool {
        number & self.mask == self.value
    }
}

/// A tuple of which some parts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    tuple: Tuple,
    parts: Parts,
}

/// Which connections are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The network protocol's number; zero for any.
    family: u8,
    mark: Masked,
    status: Masked,
    zone: Option<u16>,
    original: Option<Wanted>,
    reply: Option<Wanted>,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its tuples, original and reply.
    pub tuples: [&'a Tuple; 2],
    /// Its zone.
    pub zone: Zone,
    /// Its firewall mark; zero where this kernel has none.
    pub mark: u32,
    /// Its status bits.
    pub status: Status,
}

const FILTER: Policy<{ filter::ROOM }> = Policy(&[
    Rule::bounded(
        filter::ORIG_FLAGS,
        Form::U32,
        Bound::Bits(Parts::ALL.bits()),
    ),
    Rule::bounded(
        filter::REPLY_FLAGS,
        Form::U32,
        Bound::Bits(Parts::ALL.bits()),
    ),
]);

impl Filter {
    /// Reads the filter of a request; `family` is zero where that does not count. `None` where
    /// all connections are meant.
    ///
    /// # Errors
    ///
    /// What is missing or makes no sense.
    pub fn read(request: &Request<'_>, family: u8) -> Result<Option<Self>, Error> {
        let table = request.table();
        let any = [ct::MARK, ct::FILTER, ct::STATUS, ct::ZONE]
            .into_iter()
            .any(|kind| table.has(kind));
        if family == 0 && !any {
            return Ok(None);
        }
        if !request.support().marks && (table.has(ct::MARK) || table.has(ct::MARK_MASK)) {
            return Err(Error::NotSupported);
        }
        let mut this = Self {
            family,
            mark: masked(request, ct::MARK, ct::MARK_MASK)?.map_or(Masked::default(), |given| {
                Masked {
                    value: given.value,
                    mask: given.mask.unwrap_or(u32::MAX),
                }
            }),
            status: read_status(request)?,
            zone: None,
            original: None,
            reply: None,
        };
        if table.has(ct::ZONE) {
            this.zone = Some(request.zone()?.number());
        }
        let Some(filter) = table.get(ct::FILTER) else {
            return Ok(Some(this));
        };
        let flags = FILTER.read_nested(&filter, Manner::Strict)?;
        let parts = |kind| match flags.get(kind) {
            Some(bits) => bits.u32().map(Parts::from_bits),
            None => Ok(Parts::NONE),
        };
        this.original = this.read_tuple(request, ct::TUPLE_ORIG, parts(filter::ORIG_FLAGS)?)?;
        this.reply = this.read_tuple(request, ct::TUPLE_REPLY, parts(filter::REPLY_FLAGS)?)?;
        Ok(Some(this))
    }

    fn read_tuple(
        &mut self,
        request: &Request<'_>,
        kind: u16,
        parts: Parts,
    ) -> Result<Option<Wanted>, Error> {
        if parts.is_empty() {
            return Ok(None);
        }
        let attribute = request.table().need(kind)?;
        let sent = tuple::read(&attribute, self.family, parts)?;
        if sent.zone.is_some() {
            // That of a single direction is read, and not looked at.
            if !request.support().zones {
                return Err(Error::NotSupported);
            }
            if self.zone.is_some_and(|zone| zone != 0) {
                return Err(Error::Invalid);
            }
        }
        let tuple = sent.tuple;
        Ok(Some(Wanted { tuple, parts }))
    }

    /// Whether a connection is meant.
    #[must_use]
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        let [original, reply] = candidate.tuples;
        let family = original.family().number();
        let of = |wanted: &Option<Wanted>, tuple| {
            wanted.as_ref().is_none_or(|wanted| wanted.matches(tuple))
        };
        (self.family == 0 || family == self.family.into())
            && self.zone.is_none_or(|zone| zone == candidate.zone.number())
            && of(&self.original, original)
            && of(&self.reply, reply)
            && self.mark.matches(candidate.mark)
            && self.status.matches(candidate.status.bits())
    }
}

impl Wanted {
    /// Whether a tuple of the same network protocol is the wanted one in all that is looked at.
    fn matches(&self, tuple: &Tuple) -> bool {
        let wanted = &self.tuple;
        let same = |part, equal: bool| !self.parts.meets(part) || equal;
        let src_id = wanted.src_id() == tuple.src_id();
        let dst_id = wanted.dst_id() == tuple.dst_id();
        let ([wanted_kind, wanted_code], [kind, code]) = (wanted.dst_id(), tuple.dst_id());
        let (kind, code) = (wanted_kind == kind, wanted_code == code);
        same(Parts::SRC, wanted.src_words() == tuple.src_words())
            && same(Parts::DST, wanted.dst_words() == tuple.dst_words())
            && same(Parts::PROTOCOL, wanted.protocol() == tuple.protocol())
            && match tuple.protocol() {
                protocol::TCP | protocol::UDP => {
                    same(Parts::SRC_PORT, src_id) && same(Parts::DST_PORT, dst_id)
                }
                protocol::ICMP => {
                    same(Parts::ICMP_TYPE, kind)
                        && same(Parts::ICMP_CODE, code)
                        && same(Parts::ICMP_ID, src_id)
                }
                protocol::ICMPV6 => {
                    same(Parts::ICMPV6_TYPE, kind)
                        && same(Parts::ICMPV6_CODE, code)
                        && same(Parts::ICMPV6_ID, src_id)
                }
                _ => true,
            }
    }
}

/// A number as a user has sent it.
struct Given {
    value: u32,
    mask: Option<u32>,
}

/// A number with its mask, which may not come alone.
fn masked(request: &Request<'_>, kind: u16, mask: u16) -> Result<Option<Given>, Error> {
    let table = request.table();
    let mask = table.get(mask).map(|mask| mask.be32()).transpose()?;
    match table.get(kind) {
        Some(value) => Ok(Some(Given {
            value: value.be32()?,
            mask,
        })),
        None if mask.is_some() => Err(Error::Invalid),
        None => Ok(None),
    }
}

fn read_status(request: &Request<'_>) -> Result<Masked, Error> {
    let Some(given) = masked(request, ct::STATUS, ct::STATUS_MASK)? else {
        return Ok(Masked::default());
    };
    let mask = given.mask.unwrap_or(given.value);
    if mask == 0 {
        return Err(Error::Invalid); // It would match all or nothing.
    }
    Ok(Masked {
        value: given.value,
        mask,
    })
}
