// SPDX-License-Identifier: GPL-2.0
//! IRC (RFC 1459, RFC 2812): clients offer each other direct connections, as CTCP messages that
//! the server hands on (DCC, a convention that no RFC has).
//!
//! Only what the client itself says is read. Anybody can have the server send text to it, and
//! anybody may write of offers in his messages: an offer is a whole line of its sender's.

use core::{ffi::CStr, net::IpAddr};

use conntrack::{
    helper::{
        lines::{Line, Lines},
        text::{after, number, port, word, UNPRIVILEGED},
        Caller, Helper, Message, Pinhole, Policy, Port, Wanted,
    },
    tuple::{protocol, Address, Direction},
};

/// The longest line without tags (RFC 2812, 2.3).
const LINE: usize = 512;

/// What a client may begin with: to register, to negotiate before that, or to see whether the
/// server is there
/// (RFC 2812, 3.1; RFC 1459, 4.1; IRCv3).
const FIRST: [&[u8]; 10] = [
    b"CAP",
    b"PASS",
    b"NICK",
    b"USER",
    b"SERVICE",
    b"WEBIRC",
    b"AUTHENTICATE",
    b"PING",
    b"PROTOCTL",
    b"STARTTLS",
];

/// The kinds of offers where who offers listens: conversations and files, plain, encrypted and in
/// the variants of some clients. RESUME and ACCEPT speak of a connection that was offered before.
const KINDS: [&[u8]; 7] = [
    b"CHAT", b"SCHAT", b"SEND", b"SSEND", b"TSEND", b"MOVE", b"XMIT",
];

/// What begins and ends a CTCP message.
const CTCP: u8 = 1;

/// The helper.
#[derive(Clone, Copy, Debug)]
pub struct Irc {
    policies: [Policy; 1],
}

impl Irc {
    /// With the number of offers that may be open at once, and for how long each is.
    #[must_use]
    pub const fn new(most: u32, seconds: u32) -> Self {
        Self {
            policies: [Policy { most, seconds }],
        }
    }
}

impl Default for Irc {
    fn default() -> Self {
        Self::new(8, 300)
    }
}

/// What is kept of a connection to a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    lines: Lines<LINE>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The client has not said anything yet.
    #[default]
    Silent,
    /// The client has said what an IRC client says first.
    Open,
    /// This is not IRC.
    Closed,
}

impl Stage {
    /// Looks at the client's first line: what does not begin as an IRC client does is something
    /// else (a browser that a web page has sent here), whatever follows.
    fn begin(&mut self, line: Line<'_>) {
        *self = match (*self, line) {
            (Self::Silent, Line::Whole(line)) if begins_session(line) => Self::Open,
            (Self::Silent, _) => Self::Closed,
            (stage, _) => stage,
        };
    }
}

impl Helper for Irc {
    const NAME: &'static CStr = c"irc";
    const PROTOCOLS: &'static [u8] = &[protocol::TCP];
    const PORT: u16 = 6667;
    type Session = Session;

    fn policies(&self) -> &[Policy] {
        &self.policies
    }

    fn read(&self, session: &mut Session, message: &Message<'_>, wanted: &mut Wanted) {
        let Session { lines, stage } = session;
        if *stage == Stage::Closed || message.direction != Direction::Original {
            return;
        }
        if *stage == Stage::Silent && message.begin.is_none() {
            *stage = Stage::Closed; // How it began is not known.
        }
        lines.feed_all(message, |line| {
            stage.begin(line);
            if let (Stage::Open, Line::Whole(line)) = (*stage, line) {
                if let Some(port) = offer(message, line) {
                    wanted.open(Pinhole {
                        caller: Caller::Anyone, // Nobody can know where the other client is.
                        ..Pinhole::to_sender(protocol::TCP, port)
                    });
                }
            }
        });
    }
}

fn begins_session(line: &[u8]) -> bool {
    let (command, _) = word(line);
    FIRST
        .iter()
        .any(|first| command.eq_ignore_ascii_case(first))
}

/// The port of a line that offers a connection to the sender.
fn offer(message: &Message<'_>, line: &[u8]) -> Option<Port> {
    let text = private_message(line)?;
    let ctcp = text.strip_prefix(&[CTCP])?.strip_suffix(&[CTCP])?;
    let (address, port) = dcc(ctcp)?;
    (Address::from(address) == message.sender()).then_some(port)
}

/// The text of `[@tags ][:source ]PRIVMSG target :text` (RFC 2812, 2.3.1; IRCv3 message tags).
///
/// Tags and source do not tell what a message says, and a server ignores the message where the
/// source is not its sender's (RFC 1459, 2.3): they are read over. Neither has a blank in it, so
/// nothing that was quoted there becomes a command.
fn private_message(line: &[u8]) -> Option<&[u8]> {
    let line = read_over(line, b'@');
    let line = read_over(line, b':');
    let (target, text) = word(past_blanks(after(line, "PRIVMSG ")?));
    let text = past_blanks(text).strip_prefix(b":")?;
    (!target.starts_with(b":")).then_some(text)
}

/// What follows a first word that begins with `mark`, and the blanks behind it; all of the line
/// where it begins otherwise.
fn read_over(line: &[u8], mark: u8) -> &[u8] {
    if line.first() == Some(&mark) {
        past_blanks(word(line).1)
    } else {
        line
    }
}

/// What follows the blanks at the beginning, if there are any.
fn past_blanks(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    text
}

/// Address and port of `DCC kind argument address port[ more]`.
fn dcc(text: &[u8]) -> Option<(IpAddr, Port)> {
    if text.contains(&CTCP) {
        return None; // More than one message: clients do not agree on what that is.
    }
    let (kind, rest) = word(after(text, "DCC ")?);
    if !KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (host, rest) = word(behind_argument(rest)?);
    let (port, rest) = port(rest, UNPRIVILEGED)?;
    (rest.is_empty() || rest.starts_with(b" ")).then_some((address(host)?, port))
}

/// What follows the argument: a word, or any text in quotation marks. A name with blanks in it
/// and no marks around it is none: nobody could tell where it ends.
fn behind_argument(text: &[u8]) -> Option<&[u8]> {
    match text.strip_prefix(b"\"") {
        Some(quoted) => {
            let end = quoted.windows(2).position(|pair| pair == b"\" ")?;
            quoted.get(end.checked_add(2)?..)
        }
        None => {
            let (argument, rest) = word(text);
            (!argument.is_empty()).then_some(rest)
        }
    }
}

/// An address: of IPv4 as one number, as clients have always written it, or as four; of IPv6 in
/// its usual form.
fn address(text: &[u8]) -> Option<IpAddr> {
    match number(text, u32::MAX) {
        Some((address, [])) => Some(IpAddr::from(address.to_be_bytes())),
        _ => core::str::from_utf8(text).ok()?.parse().ok(),
    }
}
