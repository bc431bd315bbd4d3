// SPDX-License-Identifier: GPL-2.0
//! The object `ct timeout`: how long connections of a rule live after a packet.

use crate::{
    netlink::{
        attr::{Attribute, Form, Policy, Rule},
        policy::Protocol,
        write::{Writer, Written},
        Error,
    },
    timeouts::Timeouts,
};

/// The attributes (`enum nft_ct_timeout_timeout_attributes`).
mod kind {
    pub(super) const L3PROTO: u16 = 1;
    pub(super) const L4PROTO: u16 = 2;
    pub(super) const DATA: u16 = 3;
    pub(super) const ROOM: usize = 4;
}

/// The number of the kind of object (NFT_OBJECT_CT_TIMEOUT).
pub const NUMBER: u32 = 7;

/// What the attributes must be like.
pub const POLICY: Policy<{ kind::ROOM }> = Policy(&[
    Rule::new(kind::L3PROTO, Form::U16),
    Rule::new(kind::L4PROTO, Form::U8),
    Rule::new(kind::DATA, Form::Nested),
]);

/// The object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// The network protocol's number, as users have given it: nobody asks.
    family: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl Timeout {
    /// Reads the attributes of an object in a table of the family `of`; with it the timeouts.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where one is missing, [`Error::NotSupported`] for a protocol without timeouts of its own.
    pub fn read<'a>(
        get: impl Fn(u16) -> Option<Attribute<'a>>,
        of: u8,
    ) -> Result<(Self, Attribute<'a>), Error> {
        let (Some(protocol), Some(data)) = (get(kind::L4PROTO), get(kind::DATA)) else {
            return Err(Error::Invalid);
        };
        let family = get(kind::L3PROTO).map_or(Ok(of.into()), |family| family.be16())?;
        let protocol = Protocol::from_number(protocol.u8()?).ok_or(Error::NotSupported)?;
        Ok((Self { family, protocol }, data))
    }

    /// Writes its attributes, in a clock of `hz` ticks a second.
    ///
    /// # Errors
    ///
    /// [`crate::netlink::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>, timeouts: &Timeouts, hz: u32) -> Written {
        out.u8(kind::L4PROTO, self.protocol.number())?;
        out.be16(kind::L3PROTO, self.family)?;
        self.protocol.write(kind::DATA, out, timeouts, hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{netlink::attr::Attributes, timeouts::Config};

    const HZ: u32 = 250;

    fn read<'a>(attributes: &'a [Attribute<'a>]) -> Result<(Timeout, Attribute<'a>), Error> {
        let get = |kind| attributes.iter().copied().find(|one| one.kind() == kind);
        Timeout::read(get, 1)
    }

    /// What is written is what was read.
    #[test]
    fn it_comes_back() {
        for protocol in Protocol::ALL {
            let (family, number) = (2_u16.to_be_bytes(), [protocol.number()]);
            // The first of its timeouts.
            let data = [8, 0, 1, 0, 0, 0, 0, 77];
            let attributes = [
                Attribute::new(kind::L3PROTO, &family),
                Attribute::new(kind::L4PROTO, &number),
                Attribute::new(kind::DATA, &data),
            ];
            let (timeout, data) = read(&attributes).unwrap();
            let timeouts = Config::defaults(HZ).timeouts;
            protocol.set(&timeouts, &data, None, HZ).unwrap();
            assert_eq!(protocol.first(&timeouts).as_secs(HZ), 77, "{protocol:?}");
            let mut room = [0; 256];
            let mut out = Writer::new(&mut room);
            timeout.write(&mut out, &timeouts, HZ).unwrap();
            let again: Vec<_> = Attributes::new(out.as_bytes()).collect();
            let (same, data) = read(&again).unwrap();
            assert_eq!(same, timeout);
            assert_eq!(data.value().get(..8), Some(&[8, 0, 1, 0, 0, 0, 0, 77][..]));
        }
    }

    #[test]
    fn what_is_missing() {
        let (number, data) = ([6], [0; 0]);
        let all = [
            Attribute::new(kind::L4PROTO, &number),
            Attribute::new(kind::DATA, &data),
        ];
        assert!(read(&all).is_ok());
        assert_eq!(read(&all[..1]), Err(Error::Invalid));
        assert_eq!(read(&all[1..]), Err(Error::Invalid));
        let other = [Attribute::new(kind::L4PROTO, &[99]), all[1]];
        assert_eq!(read(&other), Err(Error::NotSupported));
    }
}
