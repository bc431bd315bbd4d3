// SPDX-License-Identifier: GPL-2.0
//! Tuples as attributes.

use super::{
    attr::{Attribute, Form, Manner, Policy, Rule, Table},
    kind::{ip, proto, tuple},
    write::{Writer, Written},
    Error,
};
use crate::{
    tuple::{protocol, Family, Tuple},
    wire::{icmp, icmpv6},
};

/// Parts of a tuple (CTA_FILTER_F_ of the stock tracker).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(u32);

impl Parts {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The source address.
    pub const SRC: Self = Self(1 << 0);
    /// The destination address.
    pub const DST: Self = Self(1 << 1);
    /// The zone.
    pub const ZONE: Self = Self(1 << 2);
    /// The transport protocol.
    pub const PROTOCOL: Self = Self(1 << 3);
    /// The source port.
    pub const SRC_PORT: Self = Self(1 << 4);
    /// The destination port.
    pub const DST_PORT: Self = Self(1 << 5);
    /// ICMP's type.
    pub const ICMP_TYPE: Self = Self(1 << 6);
    /// ICMP's code.
    pub const ICMP_CODE: Self = Self(1 << 7);
    /// ICMP's identifier.
    pub const ICMP_ID: Self = Self(1 << 8);
    /// ICMPv6's type.
    pub const ICMPV6_TYPE: Self = Self(1 << 9);
    /// ICMPv6's code.
    pub const ICMPV6_CODE: Self = Self(1 << 10);
    /// ICMPv6's identifier.
    pub const ICMPV6_ID: Self = Self(1 << 11);
    /// All of them.
    pub const ALL: Self = Self((1 << 12) - 1);
    /// What is behind the transport protocol, of any of them.
    pub const PORTS: Self = Self(0xff0);

    /// A set from the user's bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The user's bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether any of `other` is in it.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a protocol's tuples have beside its number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Ports, or keys.
    Ports,
    Icmp,
    Icmpv6,
    Nothing,
}

impl Detail {
    fn of(number: u8) -> Self {
        match number {
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::GRE => Self::Ports,
            protocol::ICMP => Self::Icmp,
            protocol::ICMPV6 => Self::Icmpv6,
            _ => Self::Nothing,
        }
    }
}

/// Writes a tuple; `zone` where one counts in its direction only.
///
/// # Errors
///
/// [`super::write::NoRoom`].
pub fn write(out: &mut Writer<'_>, kind: u16, flow: &Tuple, zone: Option<u16>) -> Written {
    out.nest(kind, |out| {
        out.nest(tuple::IP, |out| write_addresses(out, flow))?;
        out.nest(tuple::PROTO, |out| write_ports(out, flow))?;
        match zone {
            Some(zone) => out.be16(tuple::ZONE, zone),
            None => Ok(()),
        }
    })
}

fn write_addresses(out: &mut Writer<'_>, flow: &Tuple) -> Written {
    let [src, dst] = [flow.src_words(), flow.dst_words()].map(|words| words.map(u32::to_ne_bytes));
    match flow.family() {
        Family::Ipv4 => {
            let ([src, ..], [dst, ..]) = (src, dst);
            out.put(ip::V4_SRC, &src)?;
            out.put(ip::V4_DST, &dst)
        }
        Family::Ipv6 => {
            out.put(ip::V6_SRC, src.as_flattened())?;
            out.put(ip::V6_DST, dst.as_flattened())
        }
    }
}

fn write_ports(out: &mut Writer<'_>, flow: &Tuple) -> Written {
    out.u8(proto::NUM, flow.protocol())?;
    let (src, dst) = (flow.src_id(), flow.dst_id());
    let [kind, code] = dst;
    match Detail::of(flow.protocol()) {
        Detail::Ports => {
            out.put(proto::SRC_PORT, &src)?;
            out.put(proto::DST_PORT, &dst)
        }
        Detail::Icmp => {
            out.put(proto::ICMP_ID, &src)?;
            out.u8(proto::ICMP_TYPE, kind)?;
            out.u8(proto::ICMP_CODE, code)
        }
        Detail::Icmpv6 => {
            out.put(proto::ICMPV6_ID, &src)?;
            out.u8(proto::ICMPV6_TYPE, kind)?;
            out.u8(proto::ICMPV6_CODE, code)
        }
        Detail::Nothing => Ok(()),
    }
}

const TUPLE: Policy<{ tuple::ROOM }> = Policy(&[
    Rule::new(tuple::IP, Form::Nested),
    Rule::new(tuple::PROTO, Form::Nested),
    Rule::new(tuple::ZONE, Form::U16),
]);

const IP: Policy<{ ip::ROOM }> = Policy(&[
    Rule::new(ip::V4_SRC, Form::U32),
    Rule::new(ip::V4_DST, Form::U32),
    Rule::new(ip::V6_SRC, Form::AtLeast(16)),
    Rule::new(ip::V6_DST, Form::AtLeast(16)),
]);

const PROTO: Policy<{ proto::ROOM }> = Policy(&[Rule::new(proto::NUM, Form::U8)]);

/// By what a protocol's tuples have beside its number.
const PORTS: Policy<{ proto::ROOM }> = Policy(&[
    Rule::new(proto::SRC_PORT, Form::U16),
    Rule::new(proto::DST_PORT, Form::U16),
]);
const ICMP: Policy<{ proto::ROOM }> = Policy(&[
    Rule::new(proto::ICMP_TYPE, Form::U8),
    Rule::new(proto::ICMP_CODE, Form::U8),
    Rule::new(proto::ICMP_ID, Form::U16),
]);
const ICMPV6: Policy<{ proto::ROOM }> = Policy(&[
    Rule::new(proto::ICMPV6_TYPE, Form::U8),
    Rule::new(proto::ICMPV6_CODE, Form::U8),
    Rule::new(proto::ICMPV6_ID, Form::U16),
]);

/// A tuple that a user has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The tuple; what was not asked for is zero.
    pub tuple: Tuple,
    /// The zone, where it says one that counts in its direction only.
    pub zone: Option<u16>,
}

/// Reads `parts` of a tuple of a network protocol.
///
/// # Errors
///
/// What is missing or makes no sense.
pub fn read(attribute: &Attribute<'_>, family: u8, parts: Parts) -> Result<Sent, Error> {
    let table = TUPLE.read_nested(attribute, Manner::Liberal)?;
    let family = Family::from_number(family.into()).ok_or(Error::NotSupported)?;
    let mut sent = Fields::default();
    if parts.meets(Parts(Parts::SRC.0 | Parts::DST.0)) {
        sent.read_addresses(&table.need(tuple::IP)?, family, parts)?;
    }
    if parts.meets(Parts::PROTOCOL) {
        sent.read_ports(&table.need(tuple::PROTO)?, parts)?;
    } else if parts.meets(Parts::PORTS) {
        return Err(Error::Invalid); // Ports of which protocol?
    }
    let zone = table.get(tuple::ZONE).filter(|_| parts.meets(Parts::ZONE));
    Ok(Sent {
        tuple: Tuple::new(
            family,
            sent.protocol,
            sent.src,
            sent.src_id,
            sent.dst,
            sent.dst_id,
        ),
        zone: zone.map(|zone| zone.be16()).transpose()?,
    })
}

/// What a tuple is made of.
#[derive(Default)]
struct Fields {
    src: [u32; 4],
    dst: [u32; 4],
    src_id: [u8; 2],
    dst_id: [u8; 2],
    protocol: u8,
}

impl Fields {
    fn read_addresses(
        &mut self,
        attribute: &Attribute<'_>,
        family: Family,
        parts: Parts,
    ) -> Result<(), Error> {
        let table = IP.read_nested(attribute, Manner::Liberal)?;
        let (src, dst) = match family {
            Family::Ipv4 => (ip::V4_SRC, ip::V4_DST),
            Family::Ipv6 => (ip::V6_SRC, ip::V6_DST),
        };
        let address = |kind| {
            let value = table.need(kind)?;
            match family {
                Family::Ipv4 => Ok([u32::from_ne_bytes(value.bytes()?), 0, 0, 0]),
                Family::Ipv6 => Ok(crate::tuple::words(value.bytes()?)),
            }
        };
        if parts.meets(Parts::SRC) {
            self.src = address(src)?;
        }
        if parts.meets(Parts::DST) {
            self.dst = address(dst)?;
        }
        Ok(())
    }

    fn read_ports(&mut self, attribute: &Attribute<'_>, parts: Parts) -> Result<(), Error> {
        let table = PROTO.read_nested(attribute, Manner::Liberal)?;
        self.protocol = table.need(proto::NUM)?.u8()?;
        let ports = Detail::of(self.protocol);
        let policy = match ports {
            Detail::Ports => PORTS,
            Detail::Icmp => ICMP,
            Detail::Icmpv6 => ICMPV6,
            Detail::Nothing => return Ok(()),
        };
        policy.read_nested(attribute, Manner::Liberal)?;
        match ports {
            Detail::Ports => {
                let sides = [
                    (Parts::SRC_PORT, proto::SRC_PORT, &mut self.src_id),
                    (Parts::DST_PORT, proto::DST_PORT, &mut self.dst_id),
                ];
                for (part, kind, to) in sides {
                    if parts.meets(part) {
                        *to = table.need(kind)?.bytes()?;
                    }
                }
                Ok(())
            }
            Detail::Icmp => self.read_message(&table, parts, &OF_ICMP),
            Detail::Icmpv6 => self.read_message(&table, parts, &OF_ICMPV6),
            Detail::Nothing => Ok(()),
        }
    }

    /// Type, code and identifier of an ICMP message.
    fn read_message(
        &mut self,
        table: &Table<'_, { proto::ROOM }>,
        parts: Parts,
        of: &Message,
    ) -> Result<(), Error> {
        let [kind, code] = &mut self.dst_id;
        if parts.meets(of.kind.0) {
            *kind = table.need(of.kind.1)?.u8()?;
            // Nothing else starts a connection.
            (of.answer)(*kind).ok_or(Error::Invalid)?;
        }
        if parts.meets(of.code.0) {
            *code = table.need(of.code.1)?.u8()?;
        }
        if parts.meets(of.id.0) {
            self.src_id = table.need(of.id.1)?.bytes()?;
        }
        Ok(())
    }
}

/// What tells messages of ICMP or ICMPv6 from each other: parts and attributes.
struct Message {
    kind: (Parts, u16),
    code: (Parts, u16),
    id: (Parts, u16),
    answer: fn(u8) -> Option<u8>,
}

const OF_ICMP: Message = Message {
    kind: (Parts::ICMP_TYPE, proto::ICMP_TYPE),
    code: (Parts::ICMP_CODE, proto::ICMP_CODE),
    id: (Parts::ICMP_ID, proto::ICMP_ID),
    answer: icmp::answer,
};

const OF_ICMPV6: Message = Message {
    kind: (Parts::ICMPV6_TYPE, proto::ICMPV6_TYPE),
    code: (Parts::ICMPV6_CODE, proto::ICMPV6_CODE),
    id: (Parts::ICMPV6_ID, proto::ICMPV6_ID),
    answer: icmpv6::answer,
};
