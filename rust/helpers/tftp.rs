// SPDX-License-Identifier: GPL-2.0
//! TFTP (RFC 1350, RFC 2347): the server answers a request from a port that it chooses then.

use core::ffi::CStr;

use conntrack::{
    helper::{Helper, Message, Parsed, Pinhole, Policy, Wanted},
    tuple::{protocol, Direction},
};

/// Opcode of a request to read (RFC 1350, 5).
const RRQ: u16 = 1;
/// Opcode of a request to write.
const WRQ: u16 = 2;

const POLICIES: [Policy; 1] = [Policy {
    most: 1,
    seconds: 300,
}];

/// Reads requests.
#[derive(Clone, Copy, Debug)]
pub struct Tftp;

impl Helper for Tftp {
    const NAME: &'static CStr = c"tftp";
    const PROTOCOLS: &'static [u8] = &[protocol::UDP];
    const PORT: u16 = 69;
    type Session = ();

    fn policies(&self) -> &[Policy] {
        &POLICIES
    }

    fn read(&self, (): &mut (), message: &Message<'_>, wanted: &mut Wanted) {
        if message.direction != Direction::Original || request(message.payload).found().is_none() {
            return;
        }
        // RFC 1350, 4: each end chooses its port; the client's stays the one it asks from.
        if let Some(port) = message.sender_port() {
            wanted.open(Pinhole::to_sender(protocol::UDP, port));
        }
    }
}

/// The file's name in a request to read or write (RFC 1350, 5). Which modes there are is the
/// server's affair: it says no from a new port, too. So are options (RFC 2347) behind the mode.
#[must_use]
pub fn request(payload: &[u8]) -> Parsed<&[u8]> {
    let Some((opcode, rest)) = payload.split_first_chunk() else {
        return Parsed::NeedMore;
    };
    if !matches!(u16::from_be_bytes(*opcode), RRQ | WRQ) {
        return Parsed::NoMatch;
    }
    let Some((name, rest)) = string(rest) else {
        return Parsed::NeedMore;
    };
    if name.is_empty() {
        return Parsed::NoMatch;
    }
    match string(rest) {
        Some(_) => Parsed::Match(name),
        None => Parsed::NeedMore,
    }
}

/// A string up to the zero byte that ends it, and what follows that.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    let (string, rest) = bytes.split_at_checked(at)?;
    Some((string, rest.get(1..)?))
}
