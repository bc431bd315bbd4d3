// SPDX-License-Identifier: GPL-2.0
//! The expression `ct`: what a rule reads of a packet's connection, or writes on it.

use super::{family, Operand};
use crate::{
    netlink::{
        attr::{Attribute, Bound, Form, Policy, Rule},
        write::{Writer, Written},
        Error, Support,
    },
    tuple::Direction,
};

/// The attributes (`enum nft_ct_attributes`).
mod kind {
    pub(super) const DREG: u16 = 1;
    pub(super) const KEY: u16 = 2;
    pub(super) const DIRECTION: u16 = 3;
    pub(super) const SREG: u16 = 4;
    pub(super) const ROOM: usize = 5;
}

/// The last register (NFT_REG32_MAX).
const LAST_REGISTER: u16 = 23;

/// What the attributes must be like.
pub const POLICY: Policy<{ kind::ROOM }> = Policy(&[
    Rule::bounded(kind::DREG, Form::Be32, Bound::Most(LAST_REGISTER)),
    Rule::bounded(kind::KEY, Form::Be32, Bound::Most(255)),
    Rule::bounded(kind::DIRECTION, Form::U8, Bound::Most(1)),
    Rule::bounded(kind::SREG, Form::Be32, Bound::Most(LAST_REGISTER)),
]);

/// Bytes of a helper's name with its end (NF_CT_HELPER_NAME_LEN).
pub const NAME: usize = 16;

/// What there is to a connection (`enum nft_ct_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Key {
    /// What the packet is to it: a bit.
    State = 0,
    /// The direction of the packet.
    Direction = 1,
    /// Its status bits.
    Status = 2,
    /// The firewall mark.
    Mark = 3,
    /// The security mark.
    Secmark = 4,
    /// The time that it has left, in milliseconds.
    Expiration = 5,
    /// The name of the helper that has announced it.
    Helper = 6,
    /// The network protocol.
    L3Protocol = 7,
    /// The source address, as long as the table's family has them.
    Src = 8,
    /// The destination address.
    Dst = 9,
    /// The transport protocol.
    Protocol = 10,
    /// The source port, or what stands for it.
    ProtoSrc = 11,
    /// The destination port.
    ProtoDst = 12,
    /// The labels.
    Labels = 13,
    /// How many packets.
    Packets = 14,
    /// How many bytes.
    Bytes = 15,
    /// Bytes of the average packet.
    Average = 16,
    /// The zone.
    Zone = 17,
    /// The events that are told of it.
    EventMask = 18,
    /// The source address of IPv4.
    SrcIpv4 = 19,
    /// The destination address of IPv4.
    DstIpv4 = 20,
    /// The source address of IPv6.
    SrcIpv6 = 21,
    /// The destination address of IPv6.
    DstIpv6 = 22,
    /// Its number.
    Id = 23,
}

/// Whether the rule has to name a direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directed {
    Never,
    /// It makes no difference, and is forgotten.
    Ignored,
    Maybe,
    Always,
}

impl Key {
    const ALL: [Self; 24] = [
        Self::State,
        Self::Direction,
        Self::Status,
        Self::Mark,
        Self::Secmark,
        Self::Expiration,
        Self::Helper,
        Self::L3Protocol,
        Self::Src,
        Self::Dst,
        Self::Protocol,
        Self::ProtoSrc,
        Self::ProtoDst,
        Self::Labels,
        Self::Packets,
        Self::Bytes,
        Self::Average,
        Self::Zone,
        Self::EventMask,
        Self::SrcIpv4,
        Self::DstIpv4,
        Self::SrcIpv6,
        Self::DstIpv6,
        Self::Id,
    ];

    /// The key of a number, if this kernel has it.
    fn from_number(number: u32, support: Support) -> Option<Self> {
        let known = Self::ALL.into_iter();
        let key = known.into_iter().find(|key| key.number() == number)?;
        let has = match key {
            Self::Mark => support.marks,
            Self::Labels => support.labels,
            Self::Zone => support.zones,
            Self::Secmark => support.secmarks,
            _ => true,
        };
        has.then_some(key)
    }

    /// Its number.
    const fn number(self) -> u32 {
        // CAST: as declared.
        self as u32
    }

    /// How many bytes it has in a table of a family.
    fn len(self, of: u8) -> Result<u8, Error> {
        Ok(match self {
            Self::Direction | Self::L3Protocol | Self::Protocol => 1,
            Self::ProtoSrc | Self::ProtoDst | Self::Zone => 2,
            Self::State
            | Self::Status
            | Self::Mark
            | Self::Secmark
            | Self::Expiration
            | Self::EventMask
            | Self::SrcIpv4
            | Self::DstIpv4
            | Self::Id => 4,
            Self::Packets | Self::Bytes | Self::Average => 8,
            Self::Helper | Self::Labels | Self::SrcIpv6 | Self::DstIpv6 => 16,
            Self::Src | Self::Dst => match of {
                family::IPV4 => 4,
                family::IPV6 | family::INET => 16,
                _ => return Err(Error::Family),
            },
        })
    }

    fn directed(self) -> Directed {
        match self {
            Self::Src
            | Self::Dst
            | Self::ProtoSrc
            | Self::ProtoDst
            | Self::SrcIpv4
            | Self::DstIpv4
            | Self::SrcIpv6
            | Self::DstIpv6 => Directed::Always,
            Self::Packets | Self::Bytes | Self::Average | Self::Zone => Directed::Maybe,
            Self::L3Protocol | Self::Protocol => Directed::Ignored,
            _ => Directed::Never,
        }
    }
}

/// What is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is read into a register.
    Read,
    /// It is set to what a register has.
    Write,
}

/// The expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ct {
    /// What is read or written.
    pub key: Key,
    /// Which of the two.
    pub way: Way,
    /// The direction that is meant; `None` for both.
    pub direction: Option<Direction>,
    /// Bytes of the register.
    len: u8,
}

impl Ct {
    /// Reads the attributes of an expression in a table of the family `of`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where they make no sense, [`Error::NotSupported`] for a key that this kernel
    /// does not have or that cannot be written, [`Error::Family`] for an address whose length nobody
    /// knows.
    pub fn read<'a>(
        get: impl Fn(u16) -> Option<Attribute<'a>>,
        of: u8,
        support: Support,
    ) -> Result<Self, Error> {
        let number = get(kind::KEY).ok_or(Error::Invalid)?.be32()?;
        let way = match (get(kind::DREG), get(kind::SREG)) {
            (Some(_), None) => Way::Read,
            (None, Some(_)) => Way::Write,
            _ => return Err(Error::Invalid),
        };
        let key = Key::from_number(number, support).ok_or(Error::NotSupported)?;
        let direction = match get(kind::DIRECTION).map(|at| at.u8()).transpose()? {
            None => None,
            Some(0) => Some(Direction::Original),
            Some(1) => Some(Direction::Reply),
            Some(_) => return Err(Error::Invalid),
        };
        let directed = match (key, way) {
            (Key::EventMask, Way::Read) => return Err(Error::NotSupported),
            (Key::Zone, _) => Directed::Maybe,
            (Key::Mark | Key::Secmark | Key::Labels | Key::EventMask, Way::Write) => {
                Directed::Never
            }
            (_, Way::Write) => return Err(Error::NotSupported),
            (_, Way::Read) => key.directed(),
        };
        let direction = match (directed, direction) {
            (Directed::Never, Some(_)) | (Directed::Always, None) => return Err(Error::Invalid),
            (Directed::Ignored, _) => None,
            (_, direction) => direction,
        };
        Ok(Self {
            key,
            way,
            direction,
            len: key.len(of)?,
        })
    }

    /// Its register.
    #[must_use]
    pub const fn operand(&self) -> Operand {
        let (kind, is_source) = match self.way {
            Way::Read => (kind::DREG, false),
            Way::Write => (kind::SREG, true),
        };
        Operand {
            kind,
            len: self.len,
            is_source,
        }
    }

    /// Writes its attributes, but for the register.
    ///
    /// # Errors
    ///
    /// [`crate::netlink::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>) -> Written {
        out.be32(kind::KEY, self.key.number())?;
        match self.direction {
            None => Ok(()),
            Some(Direction::Original) => out.u8(kind::DIRECTION, 0),
            Some(Direction::Reply) => out.u8(kind::DIRECTION, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Support = Support {
        zones: true,
        marks: true,
        secmarks: true,
        labels: true,
    };

    /// What an expression with these attributes comes to.
    fn read(attributes: &[(u16, &[u8])], of: u8, support: Support) -> Result<Ct, Error> {
        let get = |kind| {
            let found = attributes.iter().find(|(known, _)| *known == kind);
            found.map(|(kind, value)| Attribute::new(*kind, value))
        };
        Ct::read(get, of, support)
    }

    fn expression(key: u32, way: u16, direction: Option<u8>, of: u8) -> Result<Ct, Error> {
        let (key, register, direction) = (
            key.to_be_bytes(),
            1_u32.to_be_bytes(),
            direction.map(|at| [at]),
        );
        let mut attributes: Vec<(u16, &[u8])> = vec![(kind::KEY, &key), (way, &register)];
        attributes.extend(direction.as_ref().map(|at| (kind::DIRECTION, &at[..])));
        read(&attributes, of, ALL)
    }

    #[test]
    fn keys_have_their_numbers() {
        for (number, key) in Key::ALL.into_iter().enumerate() {
            assert_eq!(key.number() as usize, number);
        }
        for (of, way) in [(kind::DREG, 24), (kind::SREG, 255)] {
            assert_eq!(
                expression(way, of, None, family::IPV4),
                Err(Error::NotSupported)
            );
        }
    }

    /// By key: the length of its register in tables of IPv4 and of both families, and whether it can be read
    /// without a direction, and with one.
    #[test]
    fn what_can_be_read() {
        const YES: bool = true;
        const NO: bool = false;
        for (key, lens, without, with) in [
            (Key::State, [4, 4], YES, NO),
            (Key::Direction, [1, 1], YES, NO),
            (Key::Status, [4, 4], YES, NO),
            (Key::Mark, [4, 4], YES, NO),
            (Key::Secmark, [4, 4], YES, NO),
            (Key::Expiration, [4, 4], YES, NO),
            (Key::Helper, [16, 16], YES, NO),
            (Key::L3Protocol, [1, 1], YES, YES),
            (Key::Src, [4, 16], NO, YES),
            (Key::Dst, [4, 16], NO, YES),
            (Key::Protocol, [1, 1], YES, YES),
            (Key::ProtoSrc, [2, 2], NO, YES),
            (Key::ProtoDst, [2, 2], NO, YES),
            (Key::Labels, [16, 16], YES, NO),
            (Key::Packets, [8, 8], YES, YES),
            (Key::Bytes, [8, 8], YES, YES),
            (Key::Average, [8, 8], YES, YES),
            (Key::Zone, [2, 2], YES, YES),
            (Key::SrcIpv4, [4, 4], NO, YES),
            (Key::DstIpv4, [4, 4], NO, YES),
            (Key::SrcIpv6, [16, 16], NO, YES),
            (Key::DstIpv6, [16, 16], NO, YES),
            (Key::Id, [4, 4], YES, NO),
        ] {
            for (of, len) in [family::IPV4, family::INET].into_iter().zip(lens) {
                for (direction, right) in [(None, without), (Some(0), with), (Some(1), with)] {
                    let found = expression(key.number(), kind::DREG, direction, of);
                    if right {
                        let operand = found.map(|found| found.operand());
                        assert_eq!(
                            operand,
                            Ok(Operand {
                                kind: kind::DREG,
                                len,
                                is_source: false
                            }),
                            "{key:?}"
                        );
                    } else {
                        assert_eq!(found, Err(Error::Invalid), "{key:?} {direction:?}");
                    }
                }
            }
        }
        let mask = Key::EventMask.number();
        assert_eq!(
            expression(mask, kind::DREG, None, family::IPV4),
            Err(Error::NotSupported)
        );
        const BRIDGE: u8 = 7;
        let address = expression(Key::Src.number(), kind::DREG, Some(0), BRIDGE);
        assert_eq!(address, Err(Error::Family));
    }

    #[test]
    fn what_can_be_written() {
        for key in Key::ALL {
            let len = match key {
                Key::Mark | Key::Secmark | Key::EventMask => 4,
                Key::Labels => 16,
                Key::Zone => 2,
                _ => {
                    let found = expression(key.number(), kind::SREG, None, family::INET);
                    assert_eq!(found, Err(Error::NotSupported), "{key:?}");
                    continue;
                }
            };
            let found = expression(key.number(), kind::SREG, None, family::INET);
            let operand = found.map(|found| found.operand());
            assert_eq!(
                operand,
                Ok(Operand {
                    kind: kind::SREG,
                    len,
                    is_source: true
                }),
                "{key:?}"
            );
            let directed = expression(key.number(), kind::SREG, Some(1), family::INET);
            let right = key == Key::Zone;
            assert_eq!(
                directed.map(|found| found.direction).ok(),
                right.then_some(Some(Direction::Reply))
            );
        }
    }

    #[test]
    fn what_a_kernel_does_not_have() {
        let none = Support {
            zones: false,
            marks: false,
            secmarks: false,
            labels: false,
        };
        for key in [Key::Mark, Key::Secmark, Key::Labels, Key::Zone] {
            let (number, register) = (key.number().to_be_bytes(), [0, 0, 0, 1]);
            for way in [kind::DREG, kind::SREG] {
                let attributes: [(u16, &[u8]); 2] = [(kind::KEY, &number), (way, &register)];
                assert_eq!(
                    read(&attributes, family::IPV4, none),
                    Err(Error::NotSupported)
                );
            }
        }
    }

    #[test]
    fn one_register_and_a_key() {
        let (key, register) = ([0; 4], [0, 0, 0, 1]);
        for attributes in [
            &[(kind::KEY, &key[..])][..],
            &[(kind::DREG, &register[..])],
            &[
                (kind::KEY, &key[..]),
                (kind::DREG, &register),
                (kind::SREG, &register),
            ],
        ] {
            assert_eq!(read(attributes, family::IPV4, ALL), Err(Error::Invalid));
        }
        let (key, directions) = (Key::Zone.number().to_be_bytes(), [2]);
        let third = [
            (kind::KEY, &key[..]),
            (kind::DREG, &register),
            (kind::DIRECTION, &directions),
        ];
        assert_eq!(read(&third, family::IPV4, ALL), Err(Error::Invalid));
    }

    /// What is written is what was read.
    #[test]
    fn it_comes_back() {
        for key in Key::ALL {
            for (way, direction) in [
                (kind::DREG, None),
                (kind::DREG, Some(1)),
                (kind::SREG, None),
                (kind::SREG, Some(0)),
            ] {
                let Ok(one) = expression(key.number(), way, direction, family::IPV6) else {
                    continue;
                };
                let mut room = [0; 64];
                let mut out = Writer::new(&mut room);
                one.write(&mut out).unwrap();
                let register = [0, 0, 0, 1];
                let mut attributes = vec![Attribute::new(way, &register)];
                attributes.extend(crate::netlink::attr::Attributes::new(out.as_bytes()));
                let get = |kind| attributes.iter().copied().find(|one| one.kind() == kind);
                assert_eq!(Ct::read(get, family::IPV6, ALL), Ok(one));
            }
        }
    }
}
