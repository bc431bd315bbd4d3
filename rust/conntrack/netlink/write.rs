// SPDX-License-Identifier: GPL-2.0
//! Attributes and messages as they go out.

use super::attr::NESTED;

/// There is no room for it; what was written of it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What writing comes to.
pub type Written = Result<(), NoRoom>;

/// Everything is written in steps of so many bytes.
const STEP: usize = 4;

/// The header of a message and what nfnetlink puts behind it (`struct nlmsghdr`, linux/netlink.h;
/// `struct nfgenmsg`, linux/netfilter/nfnetlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The subsystem.
    pub subsystem: u8,
    /// The message's number in it.
    pub message: u8,
    /// See [`flag`].
    pub flags: u16,
    /// The number of the request that this answers; zero of an event.
    pub seq: u32,
    /// The socket that has sent the request; zero for none.
    pub port: u32,
    /// The number of the network protocol; zero for none.
    pub family: u8,
    /// A number that some messages carry.
    pub resource: u16,
}

/// Flags of messages (linux/netlink.h).
pub mod flag {
    /// One of several: the last is NLMSG_DONE (NLM_F_MULTI).
    pub const MULTI: u16 = 2;
    /// An answer is wanted in any case (NLM_F_ACK).
    pub const ACK: u16 = 4;
    /// An event shall be sent to who has asked, too (NLM_F_ECHO).
    pub const ECHO: u16 = 8;
    /// Not all was shown: a filter was at work (NLM_F_DUMP_FILTERED).
    pub const FILTERED: u16 = 0x20;
    /// All that there are (NLM_F_DUMP; either bit of it).
    pub const DUMP: u16 = 0x300;
    /// In the place of the one that is there (NLM_F_REPLACE).
    pub const REPLACE: u16 = 0x100;
    /// Not if it is there (NLM_F_EXCL).
    pub const EXCL: u16 = 0x200;
    /// Make it if it is not there (NLM_F_CREATE).
    pub const CREATE: u16 = 0x400;
}

/// Bytes in front of a message's attributes: `struct nlmsghdr` and `struct nfgenmsg`.
pub const MESSAGE_HEADER: usize = 20;

/// Writes into a caller's room.
#[derive(Debug)]
pub struct Writer<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl<'a> Writer<'a> {
    /// Begins at the begin of the room.
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0 }
    }

    /// What was written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.used).unwrap_or_default()
    }

    /// Appends bytes, and zeros up to the next step.
    fn append(&mut self, bytes: &[u8]) -> Written {
        let end = self.used.checked_add(bytes.len()).ok_or(NoRoom)?;
        let next = end.checked_next_multiple_of(STEP).ok_or(NoRoom)?;
        let place = self.room.get_mut(self.used..next).ok_or(NoRoom)?;
        let (value, padding) = place.split_at_mut_checked(bytes.len()).ok_or(NoRoom)?;
        value.copy_from_slice(bytes);
        padding.fill(0);
        self.used = next;
        Ok(())
    }

    /// Writes over what was written before.
    fn patch(&mut self, at: usize, bytes: &[u8]) -> Written {
        let place = self.room.get_mut(at..).ok_or(NoRoom)?;
        let place = place.get_mut(..bytes.len()).ok_or(NoRoom)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    /// Does all or nothing.
    fn whole(&mut self, write: impl FnOnce(&mut Self) -> Written) -> Written {
        let begin = self.used;
        write(self).inspect_err(|_| self.used = begin)
    }

    /// An attribute by the word of its type.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn put(&mut self, kind: u16, value: &[u8]) -> Written {
        let len = value.len().checked_add(STEP).ok_or(NoRoom)?;
        let [a, b] = u16::try_from(len).map_err(|_| NoRoom)?.to_ne_bytes();
        let [c, d] = kind.to_ne_bytes();
        self.whole(|out| {
            out.append(&[a, b, c, d])?;
            out.append(value)
        })
    }

    /// A number of one byte.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn u8(&mut self, kind: u16, value: u8) -> Written {
        self.put(kind, &[value])
    }

    /// A number in network order.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn be16(&mut self, kind: u16, value: u16) -> Written {
        self.put(kind, &value.to_be_bytes())
    }

    /// A number in network order.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn be32(&mut self, kind: u16, value: u32) -> Written {
        self.put(kind, &value.to_be_bytes())
    }

    /// A number in network order.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn be64(&mut self, kind: u16, value: u64) -> Written {
        self.put(kind, &value.to_be_bytes())
    }

    /// A text, with its end.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn text(&mut self, kind: u16, text: &[u8]) -> Written {
        let len = text.len().checked_add(STEP + 1).ok_or(NoRoom)?;
        let [a, b] = u16::try_from(len).map_err(|_| NoRoom)?.to_ne_bytes();
        let [c, d] = kind.to_ne_bytes();
        self.whole(|out| {
            out.append(&[a, b, c, d])?;
            out.append(text)?;
            // Where the text fills its last step, its end needs another.
            if text.len() % STEP == 0 {
                out.append(&[0])?;
            }
            Ok(())
        })
    }

    /// Attributes within an attribute; all of them or none.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self) -> Written) -> Written {
        self.whole(|out| {
            let begin = out.used;
            out.put(kind | NESTED, &[])?;
            write(out)?;
            let len = u16::try_from(out.used.saturating_sub(begin)).map_err(|_| NoRoom)?;
            out.patch(begin, &len.to_ne_bytes())
        })
    }

    /// A message; all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn message(
        &mut self,
        header: &Header,
        write: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        self.whole(|out| {
            let begin = out.used;
            out.append(&[0; STEP])?; // Its length.
            let [a, b] = u16::from_be_bytes([header.subsystem, header.message]).to_ne_bytes();
            let [c, d] = header.flags.to_ne_bytes();
            out.append(&[a, b, c, d])?;
            out.append(&header.seq.to_ne_bytes())?;
            out.append(&header.port.to_ne_bytes())?;
            let [e, f] = header.resource.to_be_bytes();
            /// NFNETLINK_V0.
            const VERSION: u8 = 0;
            out.append(&[header.family, VERSION, e, f])?;
            write(out)?;
            let len = u32::try_from(out.used.saturating_sub(begin)).map_err(|_| NoRoom)?;
            out.patch(begin, &len.to_ne_bytes())
        })
    }
}
