// SPDX-License-Identifier: GPL-2.0
//! Expectations as attributes, and what users ask of them.

use super::{
    attr::{Bound, Form, Manner, Policy, Rule, Table},
    kind::expect,
    request::NAME,
    tuple::{self, Parts},
    write::{Writer, Written},
    Error, Support,
};
use crate::{
    tuple::{SourceMask, Tuple},
    zone::{Directions, Zone},
};

/// What kind of expectation it is (NF_CT_EXPECT_ of linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// It stays after a connection has come.
    pub const PERMANENT: Self = Self(1 << 0);
    /// Connections do not meet it.
    pub const INACTIVE: Self = Self(1 << 1);
    /// A program in user space has made it for its helper.
    pub const USERSPACE: Self = Self(1 << 2);
    /// All that users may say.
    const ALL: u32 = 7;

    /// A set from the kernel's word.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The kernel's word.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What is known of an expectation.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// What is expected.
    pub tuple: &'a Tuple,
    /// Which bits of its source count.
    pub mask: SourceMask,
    /// The original tuple of the connection that has announced it.
    pub master: &'a Tuple,
    /// The time left, in seconds.
    pub timeout: u32,
    /// A number that tells it from others.
    pub id: u32,
    /// What kind it is.
    pub flags: Flags,
    /// The class of its policy.
    pub class: u8,
    /// The name of the helper of the connection that has announced it.
    pub helper: Option<&'a [u8]>,
}

impl Expected<'_> {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// [`super::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>) -> Written {
        // Of the destination all bits count.
        let mask = Tuple::new(
            self.tuple.family(),
            self.tuple.protocol(),
            self.mask.address,
            self.mask.port,
            [u32::MAX; 4],
            [u8::MAX; 2],
        );
        tuple::write(out, expect::TUPLE, self.tuple, None)?;
        tuple::write(out, expect::MASK, &mask, None)?;
        tuple::write(out, expect::MASTER, self.master, None)?;
        out.be32(expect::TIMEOUT, self.timeout)?;
        // Of no order: users send it back as it is.
        out.put(expect::ID, &self.id.to_ne_bytes())?;
        out.be32(expect::FLAGS, self.flags.bits())?;
        out.be32(expect::CLASS, self.class.into())?;
        match self.helper {
            Some(name) => out.text(expect::HELP_NAME, name),
            None => Ok(()),
        }
    }
}

/// What requests about expectations must be like.
pub const POLICY: Policy<{ expect::ROOM }> = Policy(&[
    Rule::new(expect::MASTER, Form::Nested),
    Rule::new(expect::TUPLE, Form::Nested),
    Rule::new(expect::MASK, Form::Nested),
    Rule::new(expect::TIMEOUT, Form::U32),
    Rule::new(expect::ID, Form::U32),
    Rule::new(expect::HELP_NAME, Form::Text(NAME)),
    Rule::new(expect::ZONE, Form::U16),
    Rule::bounded(expect::FLAGS, Form::Be32, Bound::Bits(Flags::ALL)),
    Rule::new(expect::CLASS, Form::U32),
    Rule::new(expect::NAT, Form::Nested),
    Rule::new(expect::FN, Form::Text(0)),
]);

/// A request about expectations.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    table: Table<'a, { expect::ROOM }>,
    family: u8,
    support: Support,
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

    /// The network protocol's number.
    #[must_use]
    pub fn family(&self) -> u8 {
        self.family
    }

    /// Whether an attribute is there.
    #[must_use]
    pub fn has(&self, kind: u16) -> bool {
        self.table.has(kind)
    }

    /// The zone.
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] where this kernel has no zones.
    pub fn zone(&self) -> Result<Zone, Error> {
        match self.table.get(expect::ZONE) {
            Some(_) if !self.support.zones => Err(Error::NotSupported),
            Some(number) => Ok(Zone::new(number.be16()?, Directions::Both)),
            None => Ok(Zone::DEFAULT),
        }
    }

    /// A tuple: [`expect::TUPLE`], [`expect::MASTER`], or what is in the place of one in
    /// [`expect::MASK`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it is not there, and what makes no sense.
    pub fn tuple(&self, kind: u16) -> Result<Tuple, Error> {
        let sent = tuple::read(&self.table.need(kind)?, self.family, Parts::ALL)?;
        match sent.zone {
            Some(_) => Err(Error::Invalid),
            None => Ok(sent.tuple),
        }
    }

    /// Which bits of the source count.
    ///
    /// # Errors
    ///
    /// As for [`Self::tuple`].
    pub fn mask(&self) -> Result<SourceMask, Error> {
        let mask = self.tuple(expect::MASK)?;
        Ok(SourceMask {
            address: mask.src_words(),
            port: mask.src_id(),
        })
    }

    /// The expectation's number, as it was told.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is none.
    pub fn id(&self) -> Result<Option<u32>, Error> {
        self.table.get(expect::ID).map(|id| id.u32()).transpose()
    }

    /// How long it shall wait, in seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is no number.
    pub fn timeout(&self) -> Result<Option<u32>, Error> {
        let timeout = self.table.get(expect::TIMEOUT);
        timeout.map(|seconds| seconds.be32()).transpose()
    }

    /// The class of its policy; the first where it does not say.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where no helper has so many.
    pub fn class(&self) -> Result<u8, Error> {
        match self.table.get(expect::CLASS) {
            Some(class) => u8::try_from(class.be32()?).map_err(|_| Error::Invalid),
            None => Ok(0),
        }
    }

    /// What kind it shall be. That a program has made it users do not say of others.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is no number.
    pub fn flags(&self) -> Result<Flags, Error> {
        match self.table.get(expect::FLAGS) {
            Some(flags) => Ok(Flags(flags.be32()? & !Flags::USERSPACE.0)),
            None => Ok(Flags::default()),
        }
    }

    /// The name of a helper.
    #[must_use]
    pub fn helper(&self) -> Option<&'a [u8]> {
        self.table.get(expect::HELP_NAME).map(|name| name.text())
    }
}
