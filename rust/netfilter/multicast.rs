// SPDX-License-Identifier: GPL-2.0
//! Messages to all who listen to a group of nfnetlink.
//!
//! As in `nfnetlink.rs`, what calls nfnetlink is generic, so that it is compiled into the modules
//! that send something.

use core::{mem::ManuallyDrop, ptr::NonNull, slice};

use conntrack::netlink::write::{Header, Writer, Written};
use kernel::ffi::c_int;

use crate::{conn::Conn, rcu::ReadSide};

/// Who listens to what (`enum nfnetlink_groups`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Group {
    /// New connections.
    New = raw::nfnetlink_groups_NFNLGRP_CONNTRACK_NEW,
    /// Those that change.
    Update = raw::nfnetlink_groups_NFNLGRP_CONNTRACK_UPDATE,
    /// Those that are over.
    Destroy = raw::nfnetlink_groups_NFNLGRP_CONNTRACK_DESTROY,
    /// New expectations.
    NewExpected = raw::nfnetlink_groups_NFNLGRP_CONNTRACK_EXP_NEW,
    /// Those that are over.
    DestroyExpected = raw::nfnetlink_groups_NFNLGRP_CONNTRACK_EXP_DESTROY,
}

/// Somebody who wants to miss nothing has missed this message.
#[derive(Clone, Copy, Debug)]
pub struct Missed;

/// How much room messages need, in bytes: those that are tried first, and the longest.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Of most; the less the more of them fit into a listener's buffer.
    pub usual: usize,
    /// Of any.
    pub most: usize,
}

/// A message to a group.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// To whom.
    pub group: Group,
    /// Its header.
    pub header: Header,
    /// Whether the socket that the header names gets it, too.
    pub echo: bool,
    /// How long it may be.
    pub size: Size,
}

impl Message {
    /// Sends it to those who listen in the namespace of a connection; callable from any context.
    /// Nothing is written while nobody listens.
    ///
    /// # Errors
    ///
    /// [`Missed`].
    pub fn send<W>(&self, about: &Conn, write: W, _read: ReadSide<'_>) -> Result<(), Missed>
    where
        W: FnMut(&mut Writer<'_>) -> Written,
    {
        let net = about.net().cast_mut();
        let group = self.group as u32;
        // SAFETY: a connection keeps its namespace. While it is not silent, which the read side
        // keeps it from becoming, it has its sockets.
        if !self.echo && unsafe { raw::nfnetlink_has_listeners(net, group) } == 0 {
            return Ok(());
        }
        let error = match self.packet(write) {
            // SAFETY: as above; the packet goes over to nfnetlink.
            Some(packet) => unsafe {
                raw::nfnetlink_send(
                    packet.into_raw(),
                    net,
                    self.header.port,
                    group,
                    self.echo.into(),
                    raw::IPCT_GFP_ATOMIC,
                )
            },
            // SAFETY: as above.
            None => match unsafe { raw::nfnetlink_set_err(net, 0, group, NO_BUFFERS) } {
                1.. => NO_BUFFERS,
                _ => 0,
            },
        };
        if matches!(error, NO_BUFFERS | AGAIN) {
            Err(Missed)
        } else {
            Ok(())
        }
    }

    fn packet<W>(&self, mut write: W) -> Option<Packet>
    where
        W: FnMut(&mut Writer<'_>) -> Written,
    {
        [self.size.usual, self.size.most]
            .into_iter()
            .find_map(|room| {
                let mut packet = Packet::new(room)?;
                packet.fill(&self.header, &mut write).then_some(packet)
            })
    }
}

const NO_BUFFERS: c_int = -(raw::ENOBUFS as c_int);
const AGAIN: c_int = -(raw::EAGAIN as c_int);

/// A packet for one message.
struct Packet(NonNull<raw::sk_buff>);

// Not generic, so that it is compiled into the core.
impl Packet {
    #[inline(never)]
    fn new(room: usize) -> Option<Self> {
        // SAFETY: callable from any context.
        NonNull::new(unsafe { raw::ipct_message_new(room) }).map(Self)
    }

    /// Writes the message; whether there was room for it.
    #[inline(never)]
    fn fill(&mut self, header: &Header, write: &mut dyn FnMut(&mut Writer<'_>) -> Written) -> bool {
        let mut len = 0;
        // SAFETY: the packet is ours, and has so many bytes at its end that nobody uses; they may
        // be read, for they were set to zero.
        let room = unsafe {
            let begin = raw::ipct_message_room(self.0.as_ptr(), &raw mut len);
            slice::from_raw_parts_mut(begin.cast::<u8>(), len)
        };
        let mut out = Writer::new(room);
        if out.message(header, write).is_err() {
            return false;
        }
        let used = out.as_bytes().len();
        // SAFETY: within the room.
        unsafe { raw::ipct_message_end(self.0.as_ptr(), used) };
        true
    }

    fn into_raw(self) -> *mut raw::sk_buff {
        ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Packet {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: the packet is ours.
        unsafe { raw::ipct_message_free(self.0.as_ptr()) };
    }
}
