// SPDX-License-Identifier: GPL-2.0
//! Amanda's BSD authentication over UDP (amanda-auth(7); packets as common-src/security-util.c of
//! Amanda writes them): the backed-up host names the TCP ports where the server may fetch the data.

use core::ffi::CStr;

use conntrack::{
    helper::{text, Helper, Message, Parsed, Pinhole, Policy, Port, Wanted},
    tuple::{protocol, Direction},
};

/// The streams that a backup may have.
const STREAMS: [&[u8]; 4] = [b"DATA", b"MESG", b"INDEX", b"STATE"];

const POLICIES: [Policy; 1] = [Policy {
    most: 4,
    seconds: 180,
}];

/// Reads the answers of amandad.
#[derive(Clone, Copy, Debug)]
pub struct Amanda {
    master_timeout: u32,
}

impl Amanda {
    /// How long the master connection is kept after an answer unless somebody has said otherwise,
    /// in seconds: amandad may be busy for long with an estimate before it sends the next one.
    pub const MASTER_TIMEOUT: u32 = 300;

    /// With the time that the master connection is kept after each answer, in seconds.
    #[must_use]
    pub const fn new(master_timeout_secs: u32) -> Self {
        Self {
            master_timeout: master_timeout_secs,
        }
    }
}

impl Default for Amanda {
    fn default() -> Self {
        Self::new(Self::MASTER_TIMEOUT)
    }
}

impl Helper for Amanda {
    const NAME: &'static CStr = c"amanda";
    const PROTOCOLS: &'static [u8] = &[protocol::UDP];
    const PORT: u16 = 10080;
    type Session = ();

    fn policies(&self) -> &[Policy] {
        &POLICIES
    }

    fn read(&self, (): &mut (), message: &Message<'_>, wanted: &mut Wanted) {
        if message.direction != Direction::Reply {
            return;
        }
        wanted.keep(self.master_timeout);
        if let Parsed::Match(streams) = streams(message.payload) {
            for port in ports(streams).take(STREAMS.len()) {
                wanted.open(Pinhole::to_sender(protocol::TCP, port));
            }
        }
    }
}

/// What follows `CONNECT` in an answer: names of streams, each with its port.
#[must_use]
pub fn streams(payload: &[u8]) -> Parsed<&[u8]> {
    let Some((header, mut body)) = line(payload) else {
        return Parsed::NeedMore;
    };
    if !is_answer(header) {
        return Parsed::NoMatch;
    }
    // Only a line that has its end: of a port that is cut off, another port is left.
    while let Some((line, rest)) = line(body) {
        if let Some(streams) = line.strip_prefix(b"CONNECT ") {
            return Parsed::Match(streams);
        }
        body = rest;
    }
    Parsed::NeedMore
}

/// Whether a packet's first line is `Amanda 2.6 REP HANDLE 000-00000000 SEQ 0`, or the same with
/// PREP: a part of the answer, before all of it is known.
fn is_answer(header: &[u8]) -> bool {
    let Some(rest) = header.strip_prefix(b"Amanda ") else {
        return false;
    };
    let (version, rest) = text::word(rest);
    let (kind, rest) = text::word(rest);
    version.contains(&b'.') && matches!(kind, b"REP" | b"PREP") && rest.starts_with(b"HANDLE ")
}

/// The ports of the streams that are known. One that does not exist has the port `-1`.
fn ports(mut streams: &[u8]) -> impl Iterator<Item = Port> + '_ {
    core::iter::from_fn(move || {
        let (name, rest) = text::word(streams);
        let (number, rest) = text::word(rest);
        streams = rest;
        (!name.is_empty()).then(|| port(name, number))
    })
    .flatten()
}

/// The port of one stream.
fn port(name: &[u8], number: &[u8]) -> Option<Port> {
    match text::port(number, 1)? {
        (port, []) if STREAMS.contains(&name) => Some(port),
        _ => None,
    }
}

/// A line without its end, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(at)?;
    Some((line, rest.get(1..)?))
}
