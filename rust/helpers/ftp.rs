// SPDX-License-Identifier: GPL-2.0
//! FTP (RFC 959; RFC 1123, 4.1.2; RFC 2428): the two ends announce data connections on the
//! control connection.
//!
//! The client announces with PORT and EPRT where it listens, the server with its answers to PASV
//! and EPSV. Who can make a client send bytes of his choice (a web page its browser, a link some
//! other program) must not get pinholes by that: only what begins as an FTP session does is
//! read, and an answer counts only where the client has asked for it.

use core::{ffi::CStr, net::IpAddr};

use conntrack::{
    helper::{
        lines::{Line, Lines},
        text::{self, number, word, UNPRIVILEGED},
        Helper, Listener, Message, Pinhole, Policy, Port, Wanted,
    },
    tuple::{protocol, Address, Direction, Family},
};

/// One data connection at a time; it is opened at once.
const POLICIES: [Policy; 1] = [Policy {
    most: 1,
    seconds: 300,
}];

/// The longest line that is read. All that announce something are shorter.
const LINE: usize = 128;

/// How many PASV or EPSV may wait for their answers; an FTP client sends one and waits.
const MOST_ASKED: u8 = 4;

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ftp {
    /// Whether the ends may name a third host, for transfers between two servers, and ports below
    /// 1024. Whoever sends PORT then chooses what the other end may reach.
    pub loose: bool,
}

/// What is kept of a control connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    commands: Lines<LINE>,
    replies: Lines<LINE>,
    talk: Talk,
}

/// How far the talk of client and server has come.
#[derive(Clone, Copy, Debug, Default)]
struct Talk {
    stage: Stage,
    /// PASV without an answer.
    pasv: u8,
    /// EPSV without an answer.
    epsv: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The server has not said anything yet.
    #[default]
    Silent,
    /// The server has greeted, the client has not said anything yet.
    Greeted,
    /// The client has said what an FTP client says first.
    Open,
    /// This is not FTP, or nobody can read it any more.
    Closed,
}

impl Helper for Ftp {
    const NAME: &'static CStr = c"ftp";
    const PROTOCOLS: &'static [u8] = &[protocol::TCP];
    const PORT: u16 = 21;
    type Session = Session;

    fn policies(&self) -> &[Policy] {
        &POLICIES
    }

    fn read(&self, session: &mut Session, message: &Message<'_>, wanted: &mut Wanted) {
        let Session {
            commands,
            replies,
            talk,
        } = session;
        if talk.stage == Stage::Silent && message.begin.is_none() {
            talk.stage = Stage::Closed; // How it began is not known.
        }
        if talk.stage == Stage::Closed {
            return;
        }
        let lines = match message.direction {
            Direction::Original => commands,
            Direction::Reply => replies,
        };
        lines.feed_all(message, |line| {
            if let Some(pinhole) = self.line(talk, message, line) {
                wanted.open(pinhole);
            }
        });
    }
}

impl Ftp {
    /// Reads a line of the message's sender.
    fn line(&self, talk: &mut Talk, message: &Message<'_>, line: Line<'_>) -> Option<Pinhole> {
        match message.direction {
            Direction::Original => talk.begin(line),
            Direction::Reply => talk.hear(line),
        }
        let (Stage::Open, Line::Whole(line)) = (talk.stage, line) else {
            return None;
        };
        match message.direction {
            Direction::Original => self.command(talk, message, line),
            Direction::Reply => self.reply(talk, message, line),
        }
    }

    /// Reads a command of the client.
    fn command(&self, talk: &mut Talk, message: &Message<'_>, line: &[u8]) -> Option<Pinhole> {
        let (verb, argument) = command(line)?;
        match &verb {
            b"PORT" => {
                let (address, port, rest) = host_port(argument)?;
                let all = rest.is_empty();
                all.then(|| self.pinhole(message, address, port))?
            }
            b"EPRT" => {
                let named = Extended::parse(argument)?;
                let address = address(named.address)?;
                let right_family = family(named.protocol) == Some(Address::from(address).family);
                (right_family && named.rest.is_empty())
                    .then(|| self.pinhole(message, address, named.port))?
            }
            b"PASV" if argument.is_empty() => asked(&mut talk.pasv),
            // With an argument it asks for a network protocol, or, with ALL, for nothing (RFC
            // 2428, 3 and 4).
            b"EPSV" if argument.is_empty() || family(argument) == Some(message.family()) => {
                asked(&mut talk.epsv)
            }
            _ => None,
        }
    }

    /// Reads a line of the server's. Only the last one of a reply has a blank after the code
    /// (RFC 959, 4.2).
    fn reply(&self, talk: &mut Talk, message: &Message<'_>, line: &[u8]) -> Option<Pinhole> {
        match line.split_first_chunk()? {
            (b"227 ", text) => {
                answered(&mut talk.pasv)?;
                let (address, port) = passive(text)?;
                self.pinhole(message, address, port)
            }
            (b"229 ", text) => {
                answered(&mut talk.epsv)?;
                self.extended_passive(message, text)
            }
            _ => None,
        }
    }

    /// Reads `text (<d><d><d>port<d>)` (RFC 2428, 3). Protocol and address are to be left out;
    /// where a server names them, they must be its own: the client does not look at them.
    fn extended_passive(&self, message: &Message<'_>, text: &[u8]) -> Option<Pinhole> {
        let at = text.iter().position(|byte| *byte == b'(')?;
        let named = Extended::parse(text.get(at.checked_add(1)?..)?)?;
        let right_family =
            named.protocol.is_empty() || family(named.protocol) == Some(message.family());
        let right_address = named.address.is_empty()
            || address(named.address).map(Address::from) == Some(message.sender());
        (right_family
            && right_address
            && named.rest.starts_with(b")")
            && named.port.get() >= self.least_port())
        .then(|| Pinhole::to_sender(protocol::TCP, named.port))
    }

    /// What is expected where the sender of a message says that `address` listens.
    fn pinhole(&self, message: &Message<'_>, address: IpAddr, port: Port) -> Option<Pinhole> {
        if port.get() < self.least_port() {
            return None;
        }
        let pinhole = Pinhole::to_sender(protocol::TCP, port);
        let named = Address::from(address);
        if named == message.sender() {
            return Some(pinhole);
        }
        (self.loose && named.family == message.family() && is_host(address)).then_some(Pinhole {
            listener: Listener::Other(named),
            ..pinhole
        })
    }

    fn least_port(&self) -> u16 {
        if self.loose {
            1
        } else {
            UNPRIVILEGED
        }
    }
}

impl Talk {
    /// Looks at how a line of the server's begins: it speaks first, and begins with a code.
    fn hear(&mut self, line: Line<'_>) {
        let (Line::Whole(begin) | Line::PassedOver(begin)) = line;
        let code = begin.first_chunk::<3>();
        if begin.starts_with(b"234 ") {
            // What follows is encrypted (RFC 4217, 4), also where a CCC ends that again: that
            // command nobody can see.
            self.stage = Stage::Closed;
        } else if self.stage == Stage::Silent
            && code.is_some_and(|code| code.iter().all(u8::is_ascii_digit))
        {
            self.stage = Stage::Greeted;
        }
    }

    /// Looks at the client's first line: what does not begin as an FTP client does is something
    /// else, whatever follows.
    fn begin(&mut self, line: Line<'_>) {
        self.stage = match (self.stage, line) {
            (Stage::Greeted, Line::Whole(line)) if begins_session(line) => Stage::Open,
            (Stage::Silent | Stage::Greeted, _) => Stage::Closed,
            (stage, _) => stage,
        };
    }
}

/// Notes a command that asks for an answer.
fn asked(count: &mut u8) -> Option<Pinhole> {
    *count = count.saturating_add(1).min(MOST_ASKED);
    None
}

/// Notes an answer; `None` where nobody has asked.
fn answered(count: &mut u8) -> Option<()> {
    *count = count.checked_sub(1)?;
    Some(())
}

/// Whether a client may begin with it: to log in, to negotiate before that, to ask about the
/// server, or to go away (RFC 959, 2228, 2389, 2640, 7151; CLNT names the client).
fn begins_session(line: &[u8]) -> bool {
    let verb = command(line).map(|(verb, _)| verb);
    verb.is_some_and(|verb| {
        matches!(
            &verb,
            b"USER"
                | b"PASS"
                | b"ACCT"
                | b"REIN"
                | b"HOST"
                | b"LANG"
                | b"OPTS"
                | b"FEAT"
                | b"CLNT"
                | b"AUTH"
                | b"PBSZ"
                | b"PROT"
                | b"SYST"
                | b"STAT"
                | b"HELP"
                | b"NOOP"
                | b"QUIT"
        )
    })
}

/// A command of four letters in upper case, and its argument without the blanks around it. The
/// command begins the line: in front of it no server takes blanks.
fn command(line: &[u8]) -> Option<([u8; 4], &[u8])> {
    let (verb, argument) = word(line);
    let verb = <[u8; 4]>::try_from(verb).ok()?;
    Some((
        verb.map(|byte| byte.to_ascii_uppercase()),
        argument.trim_ascii(),
    ))
}

/// `h1,h2,h3,h4,p1,p2` (RFC 959, 4.1.2), and what follows. Blanks in front of a number do not
/// count: servers read over them.
fn host_port(text: &[u8]) -> Option<(IpAddr, Port, &[u8])> {
    let (first, mut rest) = octet(text)?;
    let mut others = [0; 5];
    for place in &mut others {
        (*place, rest) = octet(rest.strip_prefix(b",")?)?;
    }
    let [second, third, fourth, high, low] = others;
    let port = Port::new(u16::from_be_bytes([high, low]))?;
    Some((IpAddr::from([first, second, third, fourth]), port, rest))
}

/// A number below 256, and what follows.
fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let (value, rest) = number(text.trim_ascii_start(), u8::MAX.into())?;
    Some((u8::try_from(value).ok()?, rest))
}

/// The six numbers of a 227: behind some text, in parentheses or not. Where they begin, only the
/// first digit tells (RFC 1123, 4.1.2.6).
fn passive(text: &[u8]) -> Option<(IpAddr, Port)> {
    let at = text.iter().position(u8::is_ascii_digit)?;
    let (address, port, rest) = host_port(text.get(at..)?)?;
    (!rest.starts_with(b",")).then_some((address, port))
}

/// `<d>protocol<d>address<d>port<d>` (RFC 2428, 2).
struct Extended<'a> {
    protocol: &'a [u8],
    address: &'a [u8],
    port: Port,
    /// What follows.
    rest: &'a [u8],
}

impl<'a> Extended<'a> {
    /// Reads it at the beginning of `text`; the delimiter is any character from 33 to 126.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (delimiter, text) = text.split_first()?;
        let mut fields = text.splitn(4, |byte| byte == delimiter);
        let (protocol, address) = (fields.next()?, fields.next()?);
        let (port, behind) = text::port(fields.next()?, 1)?;
        let rest = fields.next()?;
        (delimiter.is_ascii_graphic() && behind.is_empty()).then_some(Self {
            protocol,
            address,
            port,
            rest,
        })
    }
}

/// The network protocol behind a number (RFC 2428, 2).
fn family(number: &[u8]) -> Option<Family> {
    match number {
        b"1" => Some(Family::Ipv4),
        b"2" => Some(Family::Ipv6),
        _ => None,
    }
}

/// An address in its usual form.
fn address(text: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether an address can be that of some other host.
fn is_host(address: IpAddr) -> bool {
    let everybody = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(everybody || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}
