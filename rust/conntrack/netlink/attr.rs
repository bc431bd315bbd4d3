// SPDX-License-Identifier: GPL-2.0
//! Attributes as they come in netlink messages: length, type, value; a value may hold attributes
//! again (linux/netlink.h; what is let through, and with which error not, is lib/nlattr.c's).

use super::Error;

/// Bytes in front of a value: its length with these, and its type, both in host order.
const HEADER: usize = 4;

/// The bit of a type that says that the value holds attributes (NLA_F_NESTED).
pub(super) const NESTED: u16 = 1 << 15;

/// The number of a type, without the bits that are none (NLA_TYPE_MASK).
const NUMBER: u16 = (1 << 14) - 1;

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// An attribute by the word of its type and its value.
    #[must_use]
    pub const fn new(kind: u16, value: &'a [u8]) -> Self {
        Self { kind, value }
    }

    /// Its type's number.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        self.kind & NUMBER
    }

    /// Whether it says that it holds attributes.
    #[must_use]
    pub const fn is_nested(&self) -> bool {
        self.kind & NESTED != 0
    }

    /// Its value.
    #[must_use]
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The first bytes of the value: what a number is read from may be longer, as users of old had
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is shorter.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], Error> {
        self.value.first_chunk().copied().ok_or(Error::Range)
    }

    /// A number of one byte.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where there is none.
    pub fn u8(&self) -> Result<u8, Error> {
        let [number] = self.bytes()?;
        Ok(number)
    }

    /// A number of two bytes in network order.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is shorter.
    pub fn be16(&self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.bytes()?))
    }

    /// A number of four bytes in network order.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is shorter.
    pub fn be32(&self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.bytes()?))
    }

    /// A number of four bytes in host order.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where it is shorter.
    pub fn u32(&self) -> Result<u32, Error> {
        Ok(u32::from_ne_bytes(self.bytes()?))
    }

    /// A text, up to its end.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.value
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }
}

/// Attributes in a row, up to the first that is none.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Those in a row of bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left: at the end, bytes that are no attribute.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [a, b, c, d] = *self.rest.first_chunk::<HEADER>()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.rest.get(HEADER..len)?;
        // The last one's padding may be left out.
        let next = len.checked_next_multiple_of(HEADER)?;
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some(Attribute {
            kind: u16::from_ne_bytes([c, d]),
            value,
        })
    }
}

/// What an attribute's value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// At least so many bytes.
    AtLeast(u16),
    /// At most so many bytes.
    AtMost(u16),
    /// A number of one byte.
    U8,
    /// A number of two bytes.
    U16,
    /// A number of four bytes.
    U32,
    /// A number of four bytes in network order, for bounds.
    Be32,
    /// A text with its end, of at most so many bytes before it; zero for any.
    Text(u16),
    /// A text with or without its end, not nothing at all, of at most so many bytes before it.
    Name(u16),
    /// Attributes.
    Nested,
    /// It may not be there.
    Refused,
}

/// What a number must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Anything.
    None,
    /// At most so much.
    Most(u16),
    /// No bits but these.
    Bits(u32),
}

/// What an attribute must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its type's number.
    pub kind: u16,
    /// What its value must look like.
    pub form: Form,
    /// What its number must be like.
    pub bound: Bound,
}

impl Rule {
    /// An attribute whose value has a form.
    #[must_use]
    pub const fn new(kind: u16, form: Form) -> Self {
        Self {
            kind,
            form,
            bound: Bound::None,
        }
    }

    /// The same with a bound of its number.
    #[must_use]
    pub const fn bounded(kind: u16, form: Form, bound: Bound) -> Self {
        Self { kind, form, bound }
    }
}

/// What the attributes in a row must be like; those without a rule may be anything, and those of
/// `N` and above count for nothing.
#[derive(Clone, Copy, Debug)]
pub struct Policy<const N: usize>(pub &'static [Rule]);

/// How far a row may be from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As for users of old: too long numbers, types beyond the last, bytes at the end.
    Liberal,
    /// Not at all.
    Strict,
}

/// The attributes of a row by their type; of more than one of a type the last.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a, const N: usize>([Option<Attribute<'a>>; N]);

impl<'a, const N: usize> Table<'a, N> {
    /// An attribute, if it is there.
    #[must_use]
    pub fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    /// Whether an attribute is there.
    #[must_use]
    pub fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    /// An attribute that has to be there.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it is not.
    pub fn need(&self, kind: u16) -> Result<Attribute<'a>, Error> {
        self.get(kind).ok_or(Error::Invalid)
    }
}

impl<const N: usize> Policy<N> {
    /// Reads a row of attributes.
    ///
    /// # Errors
    ///
    /// The first attribute that is not as it must be: [`Error::Range`] or [`Error::Invalid`].
    pub fn read<'a>(&self, bytes: &'a [u8], manner: Manner) -> Result<Table<'a, N>, Error> {
        let mut table = Table([None; N]);
        let mut row = Attributes::new(bytes);
        for attribute in row.by_ref() {
            let place = match attribute.kind() {
                0 => None, // Of no type.
                kind => table.0.get_mut(usize::from(kind)),
            };
            match place {
                Some(place) => {
                    self.rule(attribute.kind()).check(&attribute, manner)?;
                    *place = Some(attribute);
                }
                None if manner == Manner::Strict => return Err(Error::Invalid),
                None => {}
            }
        }
        if manner == Manner::Strict && !row.rest().is_empty() {
            return Err(Error::Invalid);
        }
        Ok(table)
    }

    /// Reads the attributes that an attribute holds.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub fn read_nested<'a>(
        &self,
        attribute: &Attribute<'a>,
        manner: Manner,
    ) -> Result<Table<'a, N>, Error> {
        if manner == Manner::Strict && !attribute.is_nested() {
            return Err(Error::Invalid);
        }
        self.read(attribute.value(), manner)
    }

    /// The rule for a type.
    #[must_use]
    pub fn rule(&self, kind: u16) -> Rule {
        let rules = self.0.iter().find(|rule| rule.kind == kind);
        rules.copied().unwrap_or(Rule::new(kind, Form::AtLeast(0)))
    }
}

impl Rule {
    fn check(&self, attribute: &Attribute<'_>, manner: Manner) -> Result<(), Error> {
        let len = attribute.value().len();
        if manner == Manner::Strict {
            self.check_strictly(attribute)?;
        }
        let fits = match self.form {
            Form::AtLeast(least) => len >= usize::from(least),
            Form::AtMost(most) => len <= usize::from(most),
            Form::U8 => len >= 1,
            Form::U16 => len >= 2,
            Form::U32 | Form::Be32 => len >= 4,
            Form::Text(most) => return check_text(attribute.value(), usize::from(most)),
            Form::Name(most) => {
                let value = attribute.value();
                let text = value.strip_suffix(&[0]).unwrap_or(value);
                !value.is_empty() && text.len() <= usize::from(most)
            }
            Form::Nested => len == 0 || len >= HEADER,
            Form::Refused => return Err(Error::Invalid),
        };
        if !fits {
            return Err(Error::Range);
        }
        match self.bound {
            Bound::None => Ok(()),
            Bound::Most(most) if self.number(attribute)? <= most.into() => Ok(()),
            Bound::Most(_) => Err(Error::Range),
            Bound::Bits(bits) if self.number(attribute)? & !bits == 0 => Ok(()),
            Bound::Bits(_) => Err(Error::Invalid),
        }
    }

    /// What users of old may do otherwise.
    fn check_strictly(&self, attribute: &Attribute<'_>) -> Result<(), Error> {
        let len = attribute.value().len();
        let exact = match self.form {
            Form::U8 => len == 1,
            Form::U16 => len == 2,
            Form::U32 | Form::Be32 => len == 4,
            Form::AtLeast(_) => false, // Of no known form.
            _ => true,
        };
        if exact && attribute.is_nested() == (self.form == Form::Nested) {
            Ok(())
        } else {
            Err(Error::Invalid)
        }
    }

    /// The number that the bound is about.
    fn number(&self, attribute: &Attribute<'_>) -> Result<u32, Error> {
        match self.form {
            Form::U8 => attribute.u8().map(u32::from),
            Form::U16 => attribute.bytes().map(u16::from_ne_bytes).map(u32::from),
            Form::Be32 => attribute.be32(),
            _ => attribute.u32(),
        }
    }
}

/// Whether a value is a text with its end, of at most `most` bytes before it; zero for any.
fn check_text(value: &[u8], most: usize) -> Result<(), Error> {
    let looked_at = match most {
        0 => value.len(),
        most => most.saturating_add(1),
    };
    if !value.iter().take(looked_at).any(|byte| *byte == 0) {
        return Err(Error::Invalid);
    }
    let text = value.strip_suffix(&[0]).unwrap_or(value);
    if most != 0 && text.len() > most {
        return Err(Error::Range);
    }
    Ok(())
}
