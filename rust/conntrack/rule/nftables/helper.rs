// SPDX-License-Identifier: GPL-2.0
//! The object `ct helper`: which helper reads the connections of a rule.

use super::family;
use crate::netlink::{
    attr::{Attribute, Form, Policy, Rule},
    write::{Writer, Written},
    Error,
};

/// The attributes (`enum nft_ct_helper_attributes`).
mod kind {
    pub(super) const NAME: u16 = 1;
    pub(super) const L3PROTO: u16 = 2;
    pub(super) const L4PROTO: u16 = 3;
    pub(super) const ROOM: usize = 4;
}

/// The number of the kind of object (NFT_OBJECT_CT_HELPER).
pub const NUMBER: u32 = 3;

/// What the attributes must be like.
pub const POLICY: Policy<{ kind::ROOM }> = Policy(&[
    Rule::new(kind::NAME, Form::Name(15)),
    Rule::new(kind::L3PROTO, Form::U16),
    Rule::new(kind::L4PROTO, Form::U8),
]);

/// The object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Of the connections (NFPROTO_*): one, or [`family::INET`] for both.
    pub family: u8,
    /// The transport protocol.
    pub protocol: u8,
}

impl Helper {
    /// Reads the attributes of an object in a table of the family `of`; with it the helper's name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where they make no sense, [`Error::NotFound`] for the protocol 0,
    /// [`Error::Family`] for a family that no helper reads.
    pub fn read<'a>(
        get: impl Fn(u16) -> Option<Attribute<'a>>,
        of: u8,
    ) -> Result<(Self, &'a [u8]), Error> {
        let (Some(name), Some(protocol)) = (get(kind::NAME), get(kind::L4PROTO)) else {
            return Err(Error::Invalid);
        };
        let protocol = protocol.u8()?;
        if protocol == 0 {
            return Err(Error::NotFound);
        }
        let wanted = get(kind::L3PROTO).map_or(Ok(of.into()), |family| family.be16())?;
        let family = match (u8::try_from(wanted).map_err(|_| Error::Family)?, of) {
            (family::IPV4, family::IPV6) | (family::IPV6, family::IPV4) => {
                return Err(Error::Invalid)
            }
            (one @ (family::IPV4 | family::IPV6), _) => one,
            // Of frames and of packets before the stack (NFPROTO_NETDEV, NFPROTO_BRIDGE) it is said elsewhere that
            // they are not tracked.
            (family::INET | 5 | 7, _) => family::INET,
            _ => return Err(Error::Family),
        };
        Ok((Self { family, protocol }, name.text()))
    }

    /// Whether connections of a family and a protocol are meant.
    #[must_use]
    pub const fn covers(&self, of: u16, protocol: u8) -> bool {
        // CAST: widened.
        let family = self.family == family::INET || self.family as u16 == of;
        family && self.protocol == protocol
    }

    /// Writes its attributes.
    ///
    /// # Errors
    ///
    /// [`crate::netlink::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>, name: &[u8]) -> Written {
        out.text(kind::NAME, name)?;
        out.u8(kind::L4PROTO, self.protocol)?;
        out.be16(kind::L3PROTO, self.family.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attributes: &[(u16, &[u8])], of: u8) -> Result<(u8, u8, String), Error> {
        let get = |kind| {
            let found = attributes.iter().find(|(known, _)| *known == kind);
            found.map(|(kind, value)| Attribute::new(*kind, value))
        };
        let (helper, name) = Helper::read(get, of)?;
        let name = String::from_utf8(name.to_vec()).unwrap();
        Ok((helper.family, helper.protocol, name))
    }

    /// By the table's family and the one that is asked for: whose connections are read.
    #[test]
    fn whose_connections() {
        const INET: u8 = family::INET;
        for (of, asked, right) in [
            (2, None, Ok(2)),
            (10, None, Ok(10)),
            (INET, None, Ok(INET)),
            (INET, Some(2), Ok(2)),
            (INET, Some(10), Ok(10)),
            (INET, Some(1), Ok(INET)),
            (2, Some(2), Ok(2)),
            (2, Some(10), Err(Error::Invalid)),
            (10, Some(2), Err(Error::Invalid)),
            (INET, Some(3), Err(Error::Family)),
            (INET, Some(0x102), Err(Error::Family)),
            (3, None, Err(Error::Family)),
        ] {
            let asked = asked.map(|family: u16| family.to_be_bytes());
            let mut attributes: Vec<(u16, &[u8])> =
                vec![(kind::NAME, b"ftp\0"), (kind::L4PROTO, &[6])];
            attributes.extend(asked.as_ref().map(|family| (kind::L3PROTO, &family[..])));
            let right = right.map(|family| (family, 6, "ftp".to_owned()));
            assert_eq!(read(&attributes, of), right, "{of} {asked:?}");
        }
    }

    #[test]
    fn what_is_missing() {
        assert_eq!(read(&[(kind::NAME, b"ftp\0")], 2), Err(Error::Invalid));
        assert_eq!(read(&[(kind::L4PROTO, &[6])], 2), Err(Error::Invalid));
        let none = [(kind::NAME, &b"ftp\0"[..]), (kind::L4PROTO, &[0])];
        assert_eq!(read(&none, 2), Err(Error::NotFound));
    }

    #[test]
    fn what_is_covered() {
        let ipv4 = Helper {
            family: 2,
            protocol: 6,
        };
        assert!(ipv4.covers(2, 6) && !ipv4.covers(10, 6) && !ipv4.covers(2, 17));
        let both = Helper {
            family: family::INET,
            protocol: 17,
        };
        assert!(both.covers(2, 17) && both.covers(10, 17) && !both.covers(10, 6));
    }
}
