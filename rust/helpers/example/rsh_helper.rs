// SPDX-License-Identifier: GPL-2.0
//! A helper for rsh. A client's first bytes are a port in decimal digits and a zero (rcmd(3)); the
//! server sends what goes wrong over a connection to that port.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use conntrack::{
    helper::{text, Helper, Message, Parsed, Pinhole, Policy, Port, Wanted},
    tuple::{protocol, Direction},
};

struct Rsh;

/// What is kept of a connection: the bytes so far, until it is known what they say.
#[derive(Clone, Copy, Default)]
struct Session {
    bytes: [u8; 6],
    len: usize,
    over: bool,
}

/// The port that begins a stream, of which this much has come.
fn port(bytes: &[u8]) -> Parsed<Port> {
    match text::port(bytes, text::UNPRIVILEGED) {
        Some((port, [0, ..])) => Parsed::Match(port),
        _ if bytes.len() < 6 && bytes.iter().all(u8::is_ascii_digit) => Parsed::NeedMore,
        _ => Parsed::NoMatch,
    }
}

impl Helper for Rsh {
    const NAME: &'static CStr = c"rsh";
    const PROTOCOLS: &'static [u8] = &[protocol::TCP];
    const PORT: u16 = 514;

    type Session = Session;

    fn policies(&self) -> &[Policy] {
        &[Policy {
            most: 1,
            seconds: 60,
        }]
    }

    fn read(&self, session: &mut Session, message: &Message<'_>, wanted: &mut Wanted) {
        // What was picked up in mid-stream has no beginning to be read; of what comes again, or
        // too early, nothing is new.
        let next = message
            .begin
            .and_then(|begin| usize::try_from(message.seq.since(begin)).ok());
        let ours = message.direction == Direction::Original && next == Some(session.len);
        if session.over || !ours {
            return;
        }
        let room = session.bytes.iter_mut().skip(session.len);
        for (to, from) in room.zip(message.payload) {
            *to = *from;
            session.len = session.len.saturating_add(1);
        }
        let bytes = session.bytes.get(..session.len).unwrap_or_default();
        match port(bytes) {
            Parsed::NeedMore => return,
            Parsed::NoMatch => {}
            Parsed::Match(port) => {
                wanted.open(Pinhole::to_sender(protocol::TCP, port));
            }
        }
        session.over = true;
    }
}

ip_conntrack::helper_module! {
    module: "rsh_helper",
    description: "A helper of ip_conntrack for rsh",
    helper: Rsh = Rsh,
    params: {},
}
