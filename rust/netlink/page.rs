// SPDX-License-Identifier: GPL-2.0
//! Room in which messages are written before they are sent.

use conntrack::netlink::{
    write::{Header, Writer, Written},
    Error,
};
use kernel::prelude::*;
use netfilter::nfnetlink::Outbox;

/// The longest message, in bytes: three IPv6 tuples, a security context, and all the rest come to
/// some 1100.
const ROOM: usize = 1536;

/// A message that is being written, or waits for room.
pub(crate) struct Page {
    room: KVec<u8>,
    used: usize,
}

impl Page {
    /// An empty page. May sleep.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`].
    pub(crate) fn new() -> Result<Self, Error> {
        let room = KVec::from_elem(0, ROOM, GFP_KERNEL).map_err(|_| Error::NoMemory)?;
        Ok(Self { room, used: 0 })
    }

    /// Writes a message in the place of the one before.
    pub(crate) fn write(
        &mut self,
        header: &Header,
        write: impl FnOnce(&mut Writer<'_>) -> Written,
    ) {
        let mut out = Writer::new(&mut self.room);
        self.used = match out.message(header, write) {
            Ok(()) => out.as_bytes().len(),
            Err(_) => 0,
        };
    }

    /// Sends what stands on the page; whether there was room for it.
    pub(crate) fn send(&mut self, out: &mut Outbox<'_>) -> bool {
        let message = self.room.get(..self.used).unwrap_or_default();
        let sent = message.is_empty() || out.push(message);
        if sent {
            self.used = 0;
        }
        sent
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] where it did not fit, as stock has it.
    pub(crate) fn into_message(mut self) -> Result<KVec<u8>, Error> {
        if self.used == 0 {
            return Err(Error::NoMemory);
        }
        self.room.truncate(self.used);
        Ok(self.room)
    }
}
