// SPDX-License-Identifier: GPL-2.0
//! Bytes from a fuzzer as the packets of one connection, read by a helper; and what must be true
//! of whatever the helper then wants.
//!
//! An input is a head and packets, each of which begins with `~`. So a seed can be read:
//!
//! ```text
//! 4~<220 ready.␍␊~>PASV␍␊~<227 (198,51,100,9,19,136)␍␊
//! ```
//!
//! In the head, `6` makes the connection one over IPv6, `p` one whose beginning nobody has seen,
//! `n` one with addresses that are translated. What follows `~` says whence a packet comes (`>` is
//! from the client) and, of TCP, where it begins in the stream: see [`place`].
#![forbid(unsafe_code)]

mod rules;
mod wire;

pub use wire::{netlink, packets};

use std::net::IpAddr;

use conntrack::{
    helper::{Helper, Listener, Message, Pinhole, Wanted, CLASSES},
    seq::Seq,
    tuple::{protocol, Address, Direction, Tuple},
};
use helpers::{amanda::Amanda, ftp::Ftp, irc::Irc, talk::Talk, tftp::Tftp};

/// The client's port.
const CLIENT_PORT: u16 = 40000;
/// Client, server, and how each is seen from the other side of a translation.
const IPV4: [&str; 4] = ["192.0.2.6", "198.51.100.9", "203.0.113.6", "203.0.113.9"];
/// The same of IPv6.
const IPV6: [&str; 4] = [
    "2001:db8:1::6",
    "2001:db8:2::9",
    "2001:db8:3::6",
    "2001:db8:3::9",
];

/// Where the streams of both directions begin: near the wrap, so that their numbers go over it.
const BEGINS: [Seq; 2] = [Seq::new(u32::MAX - 50), Seq::new(u32::MAX - 100)];

/// A connection that a helper reads.
struct Connection {
    original: Tuple,
    reply: Tuple,
    whole: bool,
}

/// A packet.
#[derive(Clone, Copy)]
struct Packet<'a> {
    direction: Direction,
    /// The place in the stream, from where it would be next.
    from_next: i32,
    payload: &'a [u8],
}

impl Connection {
    fn new(protocol: u8, port: u16, head: &[u8]) -> Self {
        let has = |letter| head.contains(&letter);
        let addresses = if has(b'6') { IPV6 } else { IPV4 };
        let [client, server, seen_client, seen_server] =
            addresses.map(|text| Address::from(text.parse::<IpAddr>().unwrap()));
        let tuple = |src: Address, src_port: u16, dst: Address, dst_port: u16| {
            let ports = [src_port, dst_port].map(u16::to_be_bytes);
            Tuple::new(
                src.family, protocol, src.words, ports[0], dst.words, ports[1],
            )
        };
        let (to_server, to_client) = if has(b'n') {
            (seen_server, seen_client)
        } else {
            (server, client)
        };
        Self {
            original: tuple(client, CLIENT_PORT, to_server, port),
            reply: tuple(server, port, to_client, CLIENT_PORT).with_direction(Direction::Reply),
            whole: !has(b'p'),
        }
    }

    fn message<'a>(&'a self, packet: &Packet<'a>, seq: Seq) -> Message<'a> {
        let begin = BEGINS[packet.direction.index()];
        Message {
            payload: packet.payload,
            direction: packet.direction,
            tuples: [&self.original, &self.reply],
            seq,
            begin: self.whole.then_some(begin),
        }
    }

    /// What a helper finds in each packet.
    fn read<H: Helper>(&self, helper: &H, packets: &[Packet<'_>]) -> Vec<Vec<Pinhole>> {
        let mut session = H::Session::default();
        let mut next = BEGINS;
        let mut found = Vec::new();
        for packet in packets {
            let next = &mut next[packet.direction.index()];
            let seq = next.add(packet.from_next as u32);
            let message = self.message(packet, seq);
            *next = next.later(seq.add(packet.payload.len() as u32));
            let mut wanted = Wanted::new();
            helper.read(&mut session, &message, &mut wanted);
            for pinhole in wanted.pinholes() {
                check(helper, &message, pinhole);
            }
            found.push(wanted.pinholes().copied().collect());
        }
        found
    }
}

/// Where a packet comes from, and where it begins in the stream of its direction, from what would
/// be next: there, a bit before (bytes that come again), a bit behind (some are lost).
fn place(sign: u8) -> (Direction, i32) {
    match sign {
        b'>' => (Direction::Original, 0),
        b'<' => (Direction::Reply, 0),
        b'}' => (Direction::Original, -7),
        b'{' => (Direction::Reply, -7),
        b')' => (Direction::Original, 5),
        b'(' => (Direction::Reply, 5),
        odd if odd % 2 == 1 => (Direction::Original, i32::from(odd as i8)),
        even => (Direction::Reply, i32::from(even as i8)),
    }
}

/// The head of an input, and its packets.
fn parse(input: &[u8]) -> (&[u8], Vec<Packet<'_>>) {
    let mut parts = input.split(|byte| *byte == b'~');
    let head = parts.next().unwrap_or_default();
    let packets = parts.filter_map(|part| {
        let (sign, payload) = part.split_first()?;
        let (direction, from_next) = place(*sign);
        // A helper never gets an empty payload.
        (!payload.is_empty()).then_some(Packet {
            direction,
            from_next,
            payload,
        })
    });
    (head, packets.collect())
}

/// What is true of every pinhole of a helper that trusts nobody.
fn check<H: Helper>(helper: &H, message: &Message<'_>, pinhole: &Pinhole) {
    let classes = helper.policies().len();
    assert!((1..=CLASSES).contains(&classes), "{classes} classes");
    assert!(usize::from(pinhole.class) < classes, "{pinhole:?}");
    assert!(
        matches!(pinhole.protocol, protocol::TCP | protocol::UDP),
        "{pinhole:?}"
    );
    assert!(
        matches!(pinhole.listener, Listener::Sender | Listener::Receiver),
        "a hole to a third host: {pinhole:?}"
    );
    let (caller, listener) = pinhole.ends(message);
    let peers = message.tuples.map(Tuple::dst);
    assert!(peers.contains(&listener), "{pinhole:?}");
    assert_ne!(caller, Some(listener), "{pinhole:?}");
}

/// Reads an input as FTP, by the helper as it is unless the administrator trusts somebody.
#[must_use]
pub fn ftp(input: &[u8]) -> Vec<Pinhole> {
    stream(&Ftp { loose: false }, 21, input)
}

/// Reads an input as IRC.
#[must_use]
pub fn irc(input: &[u8]) -> Vec<Pinhole> {
    stream(&Irc::new(8, 300), 6667, input)
}

/// Reads an input as TFTP.
#[must_use]
pub fn tftp(input: &[u8]) -> Vec<Pinhole> {
    datagrams(&Tftp, 69, input)
}

/// Reads an input as Amanda's.
#[must_use]
pub fn amanda(input: &[u8]) -> Vec<Pinhole> {
    datagrams(&Amanda::default(), 10080, input)
}

/// Reads an input as talk.
#[must_use]
pub fn talk(input: &[u8]) -> Vec<Pinhole> {
    datagrams(&Talk, 518, input)
}

/// Drives a helper of TCP over the segments of an input: what it has found.
fn stream<H: Helper>(helper: &H, port: u16, input: &[u8]) -> Vec<Pinhole> {
    let (head, packets) = parse(input);
    let connection = Connection::new(protocol::TCP, port, head);
    let found = connection.read(helper, &packets);
    let whole = found.concat();
    // Of a packet with more than it may open the last count.
    let crowded = found.iter().any(|found| found.len() == Wanted::MOST);
    // What comes later does not change what was found: not even if a segment is cut in two.
    let at = input.len().checked_rem(packets.len()).unwrap_or_default();
    if let Some((last, before)) = packets.get(..=at).and_then(<[_]>::split_last) {
        let mut part = before.to_vec();
        let payload = &last.payload[..last.payload.len() / 2];
        if !payload.is_empty() {
            part.push(Packet { payload, ..*last });
        }
        let part = connection.read(helper, &part).concat();
        assert!(crowded || whole.starts_with(&part), "{part:?} of {whole:?}");
    }
    let in_order = packets.iter().all(|packet| packet.from_next == 0);
    if in_order && !crowded {
        assert_eq!(bytewise(helper, &connection, &packets), whole);
    }
    whole
}

/// What a helper finds if each byte comes alone.
fn bytewise<H: Helper>(
    helper: &H,
    connection: &Connection,
    packets: &[Packet<'_>],
) -> Vec<Pinhole> {
    let bytes: Vec<Packet<'_>> = packets
        .iter()
        .flat_map(|packet| {
            let each = packet.payload.chunks(1);
            each.map(|payload| Packet { payload, ..*packet })
        })
        .collect();
    connection.read(helper, &bytes).concat()
}

/// Drives a helper of UDP over the datagrams of an input: what it has found.
fn datagrams<H: Helper>(helper: &H, port: u16, input: &[u8]) -> Vec<Pinhole> {
    let (head, packets) = parse(input);
    let connection = Connection::new(protocol::UDP, port, head);
    let found = connection.read(helper, &packets);
    for (packet, whole) in packets.iter().zip(&found) {
        // A datagram that is cut says nothing that the whole one does not say.
        for payload in cuts(packet.payload) {
            let cut = Packet { payload, ..*packet };
            for pinhole in connection.read(helper, &[cut]).concat() {
                assert!(whole.contains(&pinhole), "{pinhole:?} of {whole:?}");
            }
        }
    }
    found.concat()
}

/// Some beginnings of a payload, not empty; all of a short one.
fn cuts(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let step = payload.len() / 32 + 1;
    (1..payload.len()).step_by(step).map(|len| &payload[..len])
}
