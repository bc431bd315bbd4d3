// SPDX-License-Identifier: GPL-2.0
//! Packets for the tests, built by a library that is not ours.
#![allow(dead_code)] // Each test file uses its own part.

use conntrack::{
    packet::{self, Bytes, Class, Header, Packet, Segment, Tcp, Transport, Ways},
    proto::{self, Before, Effect, Kept, Outcome, Places, Question, State, WORDS},
    reason::Reason,
    status::Status,
    time::{Instant, Ticks},
    timeouts::Config,
    tuple::{Direction, Family, Tuple},
};
use etherparse::{IpNumber, PacketBuilder, TcpOptionElement};

/// Ticks in a second of the tests' clock.
pub const HZ: u32 = 250;
pub const CLIENT: [u8; 4] = [192, 168, 1, 6];
pub const SERVER: [u8; 4] = [192, 168, 1, 9];
pub const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6];
pub const SERVER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

/// The addresses of a packet that goes in `direction`.
pub fn ends<T>(direction: Direction, client: T, server: T) -> (T, T) {
    match direction {
        Direction::Original => (client, server),
        Direction::Reply => (server, client),
    }
}

/// A TCP segment between client port 1031 and server port 23; `flags` as tcpdump has them.
pub fn tcp(direction: Direction, flags: &str, seq: u32, ack: u32, data: usize) -> Vec<u8> {
    segment(direction, flags, seq, ack, data, 8192, &[])
}

/// The same with a window and options.
pub fn segment(
    direction: Direction,
    flags: &str,
    seq: u32,
    ack: u32,
    data: usize,
    window: u16,
    options: &[TcpOptionElement],
) -> Vec<u8> {
    let (src, dst) = ends(direction, CLIENT, SERVER);
    let (sport, dport) = ends(direction, 1031, 23);
    let mut builder = PacketBuilder::ipv4(src, dst, 64)
        .tcp(sport, dport, seq, window)
        .options(options)
        .unwrap();
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(ack),
            'F' => builder.fin(),
            'R' => builder.rst(),
            'P' => builder.psh(),
            'U' => builder.urg(0),
            other => panic!("no flag {other}"),
        };
    }
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0; data]).unwrap();
    bytes
}

/// The outcome of a packet that passes and changes nothing, for a reason.
pub fn passes(remark: Reason) -> Outcome {
    Outcome::Accept(Effect {
        remark: Some(remark),
        ..Effect::default()
    })
}

pub fn udp(direction: Direction, data: usize) -> Vec<u8> {
    let (src, dst) = ends(direction, CLIENT, SERVER);
    let (sport, dport) = ends(direction, 137, 1025);
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(src, dst, 64)
        .udp(sport, dport)
        .write(&mut bytes, &vec![0; data])
        .unwrap();
    bytes
}

pub fn udp6(direction: Direction, data: usize) -> Vec<u8> {
    let (src, dst) = ends(direction, CLIENT6, SERVER6);
    let (sport, dport) = ends(direction, 137, 1025);
    let mut bytes = Vec::new();
    PacketBuilder::ipv6(src, dst, 64)
        .udp(sport, dport)
        .write(&mut bytes, &vec![0; data])
        .unwrap();
    bytes
}

/// An SCTP packet between client port 1031 and server port 80: chunks are of type, flags, value.
pub fn sctp(direction: Direction, tag: u32, chunks: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, flags, value) in chunks {
        let length = u16::try_from(4 + value.len()).unwrap().to_be_bytes();
        body.extend([*kind, *flags, length[0], length[1]]);
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    sctp_raw(direction, tag, &body)
}

/// The same with whatever bytes behind the header.
pub fn sctp_raw(direction: Direction, tag: u32, body: &[u8]) -> Vec<u8> {
    let (sport, dport): (u16, u16) = ends(direction, 1031, 80);
    let mut packet = Vec::new();
    packet.extend(sport.to_be_bytes());
    packet.extend(dport.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    // The checksum is the caller's business, not the engine's.
    packet.extend([0; 4]);
    packet.extend(body);
    other(direction, 132, &packet)
}

/// A packet of any protocol.
pub fn other(direction: Direction, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = ends(direction, CLIENT, SERVER);
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(src, dst, 64)
        .write(&mut bytes, IpNumber(protocol), payload)
        .unwrap();
    bytes
}

/// An ICMP message with an identifier.
pub fn icmp(direction: Direction, kind: u8, code: u8, id: u16, rest: &[u8]) -> Vec<u8> {
    let (src, dst) = ends(direction, CLIENT, SERVER);
    let [a, b] = id.to_be_bytes();
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(src, dst, 64)
        .icmpv4_raw(kind, code, [a, b, 0, 1])
        .write(&mut bytes, rest)
        .unwrap();
    bytes
}

/// An ICMPv6 message with an identifier.
pub fn icmp6(direction: Direction, kind: u8, code: u8, id: u16, rest: &[u8]) -> Vec<u8> {
    let (src, dst) = ends(direction, CLIENT6, SERVER6);
    let [a, b] = id.to_be_bytes();
    let mut bytes = Vec::new();
    PacketBuilder::ipv6(src, dst, 64)
        .icmpv6_raw(kind, code, [a, b, 0, 1])
        .write(&mut bytes, rest)
        .unwrap();
    bytes
}

pub fn parse(bytes: &[u8]) -> Result<Packet<'_>, conntrack::reason::Reason> {
    let family = if bytes.first().is_some_and(|b| b >> 4 == 6) {
        Family::Ipv6
    } else {
        Family::Ipv4
    };
    let parsed = Packet::parse(family, Bytes::whole(bytes));
    short_way_agrees(family, Bytes::whole(bytes), &parsed);
    parsed
}

/// The quickest ways, all of them to the same end.
struct Short;

impl<'a> Ways<'a> for Short {
    type End = (Tuple, Transport<'a>);

    fn flow(self, tuple: Tuple, header: impl Header<'a>) -> Self::End {
        let transport = header.read();
        assert_eq!(header.has_lock(), transport.has_lock());
        (tuple, transport)
    }

    fn segment(self, tuple: Tuple, segment: Tcp<'a>) -> Self::End {
        assert_ne!(segment.segment, Segment::Ack);
        (tuple, Transport::Tcp(segment))
    }
}

/// Where the short way reads a packet, it reads what the long one does.
pub fn short_way_agrees(family: Family, bytes: Bytes<'_>, parsed: &Result<Packet<'_>, Reason>) {
    let ways = [
        packet::usual(family, bytes),
        packet::quick(family, bytes, Short),
    ];
    for (tuple, transport) in ways.into_iter().flatten() {
        let packet = parsed.as_ref().unwrap();
        assert_eq!(packet.classify(), Ok(Class::Flow(tuple)));
        assert_eq!(
            format!("{:?}", packet.transport()),
            format!("{transport:?}")
        );
    }
}

pub fn flow(bytes: &[u8]) -> Tuple {
    match parse(bytes).unwrap().classify() {
        Ok(Class::Flow(tuple)) => tuple,
        other => panic!("no flow: {other:?}"),
    }
}

/// What stays, of whichever kind its state is.
fn stay(places: Places<'_>, question: &Question<'_, '_>) -> Option<Ticks> {
    if question.transport.has_lock() {
        proto::stay(places, question)
    } else {
        proto::stay_word(*places.middle, question)
    }
}

/// What advances.
fn advance(places: Places<'_>, question: &Question<'_, '_>) -> Option<Effect> {
    if question.transport.has_lock() {
        proto::advance(places, question)
    } else {
        proto::advance_word(places.middle, question)
    }
}

/// An entry, treated as the tracker treats one.
pub struct Entry {
    pub state: State,
    pub status: Status,
    pub timeout: Ticks,
    pub config: Config,
    pub now: Instant,
}

impl Entry {
    /// What the first packet makes.
    pub fn open(bytes: &[u8]) -> Result<Self, conntrack::reason::Reason> {
        Self::open_with(bytes, Config::defaults(HZ))
    }

    pub fn open_with(bytes: &[u8], config: Config) -> Result<Self, conntrack::reason::Reason> {
        let packet = parse(bytes)?;
        let now = Instant::from_ticks(u32::MAX - 1000);
        // The tracker has the words made at once.
        let mut kept = [0; WORDS];
        let timeouts = &config.timeouts;
        let begun = proto::begin(&mut kept, packet.transport(), timeouts, now, &config);
        if let Ok(Class::Flow(tuple)) = packet.classify() {
            if let Some((state, timeout)) = proto::begin_quickly(&tuple, timeouts, now) {
                assert_eq!(kept, state);
                assert_eq!(begun.map(|effect| effect.timeout), Ok(Some(timeout)));
            }
        }
        let state = State::open(packet.transport(), &config).inspect_err(|reason| {
            assert_eq!(begun, Err(*reason));
        })?;
        let mut entry = Self {
            state,
            status: Status::NONE,
            timeout: Ticks::default(),
            config,
            now,
        };
        match entry.packet(Direction::Original, bytes) {
            Outcome::Accept(effect) => {
                assert_eq!(begun, Ok(effect));
                assert_eq!(entry.state.keep(), kept);
            }
            other => panic!("the first packet: {other:?}"),
        }
        entry.status = entry.status | Status::CONFIRMED;
        Ok(entry)
    }

    /// What a short way says of a packet, and makes of the state, where it has something to say.
    fn shortly<R>(
        &self,
        transport: &Transport<'_>,
        direction: Direction,
        before: Before<'_>,
        way: impl FnOnce(Places<'_>, &Question<'_, '_>) -> Option<R>,
    ) -> Option<(R, Kept)> {
        let (mut first, mut next, mut middle, mut last) = ([0; 6], [0; 2], 0, [0; 4]);
        let mut places = Places {
            first: &mut first,
            next: &mut next,
            middle: &mut middle,
            last: &mut last,
        };
        places.set(&self.state.keep());
        let question = Question {
            transport,
            direction,
            before,
            now: self.now,
            config: &self.config,
        };
        let result = way(places, &question);
        let places = Places {
            first: &mut first,
            next: &mut next,
            middle: &mut middle,
            last: &mut last,
        };
        if result.is_none() {
            assert_eq!(places.get(), self.state.keep(), "nothing is changed");
        }
        result.map(|result| (result, places.get()))
    }

    /// What another packet does to it.
    pub fn packet(&mut self, direction: Direction, bytes: &[u8]) -> Outcome {
        let packet = parse(bytes).unwrap();
        let before = Before {
            status: self.status,
            expires: Some(self.now.add(self.timeout)),
            timeouts: &self.config.timeouts,
        };
        // Kept as words between packets, as the kernel keeps it.
        if let Ok(Class::Flow(tuple)) = packet.classify() {
            self.state = State::kept(&tuple, self.state.keep());
        }
        let transport = packet.transport();
        let settled = proto::settled(transport.has_lock()) | Status::CONFIRMED;
        let stays = self.status.contains(settled);
        let stayed = stays
            .then(|| self.shortly(transport, direction, before, stay))
            .flatten();
        let advanced = proto::may_advance(transport, self.status)
            .then(|| self.shortly(transport, direction, before, advance))
            .flatten();
        let outcome = self.state.update(
            packet.transport(),
            direction,
            before,
            self.now,
            &self.config,
        );
        if let Some((effect, kept)) = advanced {
            assert_eq!(outcome, Outcome::Accept(effect));
            assert_eq!(self.state.keep(), kept);
        }
        if let Some((timeout, kept)) = stayed {
            let Outcome::Accept(effect) = outcome else {
                panic!("the short way lets through what is {outcome:?}")
            };
            assert_eq!((effect.timeout, self.state.keep()), (Some(timeout), kept));
            assert!(self.status.contains(effect.set) && !effect.moved && effect.remark.is_none());
        }
        if let Outcome::Accept(Effect { timeout, set, .. }) = outcome {
            self.status = self.status | set;
            self.timeout = timeout.unwrap_or(self.timeout);
            if direction == Direction::Reply {
                self.status = self.status | Status::SEEN_REPLY;
            }
        }
        if let Outcome::Shorten(_, timeout) = outcome {
            self.timeout = timeout;
        }
        outcome
    }

    pub fn secs(&self) -> u32 {
        self.timeout.as_secs(HZ)
    }

    pub fn wait(&mut self, secs: u32) {
        self.now = self.now.add(Ticks::from_secs(secs, HZ));
    }
}
