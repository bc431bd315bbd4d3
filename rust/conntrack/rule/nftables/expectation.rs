// SPDX-License-Identifier: GPL-2.0
//! The object `ct expectation`: a connection that the server of a rule's connection opens to its client.

use super::family;
use crate::{
    helper::Policy as Limits,
    netlink::{
        attr::{Attribute, Form, Policy, Rule},
        write::{Writer, Written},
        Error,
    },
    tuple::{protocol, Tuple},
};

/// The attributes (`enum nft_ct_expectation_attributes`).
mod kind {
    pub(super) const L3PROTO: u16 = 1;
    pub(super) const L4PROTO: u16 = 2;
    pub(super) const DPORT: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const SIZE: u16 = 5;
    pub(super) const ROOM: usize = 6;
}

/// The number of the kind of object (NFT_OBJECT_CT_EXPECT).
pub const NUMBER: u32 = 9;

/// What the attributes must be like.
pub const POLICY: Policy<{ kind::ROOM }> = Policy(&[
    Rule::new(kind::L3PROTO, Form::U16),
    Rule::new(kind::L4PROTO, Form::U8),
    Rule::new(kind::DPORT, Form::U16),
    Rule::new(kind::TIMEOUT, Form::U32),
    Rule::new(kind::SIZE, Form::U8),
]);

/// DCCP, which has no tracker.
const DCCP: u8 = 33;

/// The object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The network protocol (NFPROTO_*).
    family: u8,
    /// The transport protocol.
    protocol: u8,
    /// The port of the client, in network order.
    port: [u8; 2],
    /// How long it waits, in milliseconds.
    millis: u32,
    /// How many there are of one connection; zero for as many as there may be.
    size: u8,
}

impl Expectation {
    /// Reads the attributes of an object in a table of the family `of`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where they make no sense, [`Error::Family`] for another family than IPv4 and IPv6 (also in
    /// a table of both: it has to say which), [`Error::NotSupported`] for a protocol without ports.
    pub fn read<'a>(get: impl Fn(u16) -> Option<Attribute<'a>>, of: u8) -> Result<Self, Error> {
        let need = |kind| get(kind).ok_or(Error::Invalid);
        let (protocol, port) = (need(kind::L4PROTO)?, need(kind::DPORT)?);
        let (millis, size) = (need(kind::TIMEOUT)?, need(kind::SIZE)?);
        let wanted = get(kind::L3PROTO).map_or(Ok(of.into()), |family| family.be16())?;
        let family = match u8::try_from(wanted) {
            Ok(one @ (family::IPV4 | family::IPV6)) => one,
            _ => return Err(Error::Family),
        };
        if family != of && of != family::INET {
            return Err(Error::Invalid);
        }
        let protocol = protocol.u8()?;
        if ![protocol::TCP, protocol::UDP, protocol::SCTP, DCCP].contains(&protocol) {
            return Err(Error::NotSupported);
        }
        Ok(Self {
            family,
            protocol,
            port: port.bytes()?,
            millis: millis.u32()?,
            size: size.u8()?,
        })
    }

    /// The tuple that is expected of a connection whose answers have the tuple `reply`: from its server to its client.
    /// `None` for a connection of another network protocol.
    #[must_use]
    pub fn of(&self, reply: &Tuple) -> Option<Tuple> {
        let family = reply.family();
        (family.number() == u16::from(self.family)).then(|| {
            let (src, dst) = (reply.src_words(), reply.dst_words());
            Tuple::new(family, self.protocol, src, [0; 2], dst, self.port)
        })
    }

    /// How many there may be of one connection, and for how long; seconds that have begun count.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            most: match self.size {
                0 => Limits::MOST,
                size => size.into(),
            },
            seconds: self.millis.div_ceil(1000),
        }
    }

    /// Writes its attributes.
    ///
    /// # Errors
    ///
    /// [`crate::netlink::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>) -> Written {
        out.be16(kind::L3PROTO, self.family.into())?;
        out.u8(kind::L4PROTO, self.protocol)?;
        out.put(kind::DPORT, &self.port)?;
        out.put(kind::TIMEOUT, &self.millis.to_ne_bytes())?;
        let Limits { most, .. } = self.limits();
        // CAST: no more than 255.
        out.u8(kind::SIZE, most as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{netlink::attr::Attributes, tuple::Family};

    struct Asked {
        family: Option<u16>,
        protocol: u8,
        missing: u16,
    }

    fn read(asked: &Asked, of: u8) -> Result<Expectation, Error> {
        let (family, protocol) = (asked.family.map(u16::to_be_bytes), [asked.protocol]);
        let (port, millis, size) = (5432_u16.to_be_bytes(), 1500_u32.to_ne_bytes(), [7]);
        let all = [
            family.as_ref().map(|family| (kind::L3PROTO, &family[..])),
            Some((kind::L4PROTO, &protocol)),
            Some((kind::DPORT, &port)),
            Some((kind::TIMEOUT, &millis)),
            Some((kind::SIZE, &size)),
        ];
        let get = |kind| {
            let mut there = all
                .iter()
                .flatten()
                .filter(|(known, _)| *known != asked.missing);
            let found = there.find(|(known, _)| *known == kind);
            found.map(|(kind, value)| Attribute::new(*kind, value))
        };
        Expectation::read(get, of)
    }

    #[test]
    fn families_and_protocols() {
        for (of, family, right) in [
            (2, None, Ok(2)),
            (10, None, Ok(10)),
            (1, None, Err(Error::Family)),
            (1, Some(2), Ok(2)),
            (1, Some(10), Ok(10)),
            (2, Some(10), Err(Error::Invalid)),
            (10, Some(2), Err(Error::Invalid)),
            (2, Some(0x102), Err(Error::Family)),
            (3, None, Err(Error::Family)),
        ] {
            let found = read(
                &Asked {
                    family,
                    protocol: 6,
                    missing: 0,
                },
                of,
            );
            assert_eq!(found.map(|found| found.family), right, "{of} {family:?}");
        }
        for (protocol, right) in [
            (6, true),
            (17, true),
            (132, true),
            (33, true),
            (1, false),
            (47, false),
        ] {
            let found = read(
                &Asked {
                    family: None,
                    protocol,
                    missing: 0,
                },
                2,
            );
            assert_eq!(found.err(), (!right).then_some(Error::NotSupported));
        }
        for missing in [kind::L4PROTO, kind::DPORT, kind::TIMEOUT, kind::SIZE] {
            let found = read(
                &Asked {
                    family: None,
                    protocol: 6,
                    missing,
                },
                2,
            );
            assert_eq!(found, Err(Error::Invalid));
        }
    }

    #[test]
    fn what_is_expected() {
        let one = read(
            &Asked {
                family: None,
                protocol: 6,
                missing: 0,
            },
            2,
        )
        .unwrap();
        let (server, client) = ([1, 0, 0, 0], [2, 0, 0, 0]);
        let reply = Tuple::new(Family::Ipv4, 17, server, [0, 80], client, [9, 9]);
        let expected = Tuple::new(
            Family::Ipv4,
            6,
            server,
            [0; 2],
            client,
            5432_u16.to_be_bytes(),
        );
        assert_eq!(one.of(&reply), Some(expected));
        let other = Tuple::new(Family::Ipv6, 17, server, [0, 80], client, [9, 9]);
        assert_eq!(one.of(&other), None);
        assert_eq!(
            one.limits(),
            Limits {
                most: 7,
                seconds: 2
            }
        );
        let any = Expectation { size: 0, ..one };
        assert_eq!(any.limits().most, 255);
    }

    #[test]
    fn it_comes_back() {
        let one = read(
            &Asked {
                family: Some(10),
                protocol: 17,
                missing: 0,
            },
            1,
        )
        .unwrap();
        let mut room = [0; 64];
        let mut out = Writer::new(&mut room);
        one.write(&mut out).unwrap();
        let again: Vec<_> = Attributes::new(out.as_bytes()).collect();
        let get = |kind| again.iter().copied().find(|one| one.kind() == kind);
        assert_eq!(Expectation::read(get, 1), Ok(one));
    }
}
