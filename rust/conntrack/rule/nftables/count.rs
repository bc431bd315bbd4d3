// SPDX-License-Identifier: GPL-2.0
//! The expression `ct count` (in the kernel: connlimit): how many connections a rule, or an element of its set, has
//! at once.

use crate::netlink::{
    attr::{Attribute, Bound, Form, Policy, Rule},
    write::{Writer, Written},
    Error,
};

/// The attributes (`enum nft_connlimit_attributes`).
mod kind {
    pub(super) const COUNT: u16 = 1;
    pub(super) const FLAGS: u16 = 2;
    pub(super) const ROOM: usize = 3;
}

/// More are wanted, not as many at most (NFT_CONNLIMIT_F_INV).
const INVERTED: u32 = 1;

/// What the attributes must be like.
pub const POLICY: Policy<{ kind::ROOM }> = Policy(&[
    Rule::new(kind::COUNT, Form::U32),
    Rule::bounded(kind::FLAGS, Form::Be32, Bound::Bits(INVERTED)),
]);

/// The expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    limit: u32,
    inverted: bool,
}

impl Count {
    /// Reads the attributes of an expression.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] without a limit, [`Error::NotSupported`] for a flag that there is not.
    pub fn read<'a>(get: impl Fn(u16) -> Option<Attribute<'a>>) -> Result<Self, Error> {
        let limit = get(kind::COUNT).ok_or(Error::Invalid)?.be32()?;
        let flags = get(kind::FLAGS).map_or(Ok(0), |flags| flags.be32())?;
        if flags & !INVERTED != 0 {
            return Err(Error::NotSupported);
        }
        Ok(Self {
            limit,
            inverted: flags & INVERTED != 0,
        })
    }

    /// Whether so many connections are more than the limit.
    #[must_use]
    pub const fn is_above(&self, connections: u32) -> bool {
        connections > self.limit
    }

    /// Whether so many connections are what the rule asks for.
    #[must_use]
    pub const fn matches(&self, connections: u32) -> bool {
        self.is_above(connections) == self.inverted
    }

    /// Writes its attributes.
    ///
    /// # Errors
    ///
    /// [`crate::netlink::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>) -> Written {
        out.be32(kind::COUNT, self.limit)?;
        if self.inverted {
            out.be32(kind::FLAGS, INVERTED)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Attributes;

    fn read(limit: Option<u32>, flags: Option<u32>) -> Result<Count, Error> {
        let [limit, flags] = [limit, flags].map(|word| word.map(u32::to_be_bytes));
        Count::read(|kind| {
            let found = if kind == kind::COUNT { &limit } else { &flags };
            found.as_ref().map(|word| Attribute::new(kind, word))
        })
    }

    #[test]
    fn up_to_and_above() {
        let (most, above) = (
            read(Some(2), None).unwrap(),
            read(Some(2), Some(1)).unwrap(),
        );
        for (connections, within) in [(0, true), (2, true), (3, false), (u32::MAX, false)] {
            assert_eq!(most.matches(connections), within);
            assert_eq!(above.matches(connections), !within);
            assert_eq!(above.is_above(connections), !within);
        }
        assert_eq!(read(None, Some(1)), Err(Error::Invalid));
        assert_eq!(read(Some(1), Some(2)), Err(Error::NotSupported));
    }

    #[test]
    fn it_comes_back() {
        for (limit, flags) in [(0, None), (1 << 20, Some(1)), (u32::MAX, Some(0))] {
            let one = read(Some(limit), flags).unwrap();
            let mut room = [0; 16];
            let mut out = Writer::new(&mut room);
            one.write(&mut out).unwrap();
            let again: Vec<_> = Attributes::new(out.as_bytes()).collect();
            let get = |kind| again.iter().copied().find(|one| one.kind() == kind);
            assert_eq!(Count::read(get), Ok(one));
        }
    }
}
