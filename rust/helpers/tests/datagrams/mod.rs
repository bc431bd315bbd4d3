// SPDX-License-Identifier: GPL-2.0
//! Datagrams between a client and a server, for the tests of helpers that read such.
#![allow(dead_code)] // Each test file uses its own part.

use conntrack::{
    helper::{Helper, Listener, Message, Pinhole, Wanted},
    seq::Seq,
    tuple::{protocol, Address, Direction, Family, Tuple},
};
use proptest::prelude::*;

pub const CLIENT: [u8; 4] = [192, 0, 2, 6];
pub const SERVER: [u8; 4] = [198, 51, 100, 9];
pub const CLIENT_PORT: u16 = 1031;

fn tuple(family: Family, client: [u8; 4], client_port: u16) -> Tuple {
    let words = |bytes| [u32::from_ne_bytes(bytes), 0, 0, 0];
    Tuple::new(
        family,
        protocol::UDP,
        words(client),
        client_port.to_be_bytes(),
        words(SERVER),
        [0, 69],
    )
}

/// What a helper wants after a datagram of a connection with this original tuple.
fn read_of(helper: &impl Helper, original: &Tuple, direction: Direction, payload: &[u8]) -> Wanted {
    let reply = original.invert().unwrap();
    let mut wanted = Wanted::new();
    helper.read(
        &mut Default::default(),
        &Message {
            payload,
            direction,
            tuples: [original, &reply],
            seq: Seq::default(),
            begin: None,
        },
        &mut wanted,
    );
    wanted
}

/// What a helper wants after a datagram over IPv4.
pub fn read(helper: &impl Helper, direction: Direction, payload: &[u8]) -> Wanted {
    let original = tuple(Family::Ipv4, CLIENT, CLIENT_PORT);
    read_of(helper, &original, direction, payload)
}

/// The pinholes alone.
pub fn pinholes(helper: &impl Helper, direction: Direction, payload: &[u8]) -> Vec<Pinhole> {
    let wanted = read(helper, direction, payload);
    wanted.pinholes().copied().collect()
}

/// The same over IPv6, whose addresses begin with the same bytes.
pub fn pinholes_v6(helper: &impl Helper, direction: Direction, payload: &[u8]) -> Vec<Pinhole> {
    let original = tuple(Family::Ipv6, CLIENT, CLIENT_PORT);
    let wanted = read_of(helper, &original, direction, payload);
    wanted.pinholes().copied().collect()
}

/// The same from a client's port of one's choice.
pub fn pinholes_from(helper: &impl Helper, port: u16, payload: &[u8]) -> Vec<Pinhole> {
    let original = tuple(Family::Ipv4, CLIENT, port);
    let wanted = read_of(helper, &original, Direction::Original, payload);
    wanted.pinholes().copied().collect()
}

/// The ports of pinholes.
pub fn ports(pinholes: &[Pinhole]) -> Vec<u16> {
    pinholes.iter().map(|pinhole| pinhole.port.get()).collect()
}

/// The addresses of a pinhole that a message in `direction` has opened: caller and listener.
pub fn ends(direction: Direction, pinhole: &Pinhole) -> (Option<Address>, Address) {
    let original = tuple(Family::Ipv4, CLIENT, CLIENT_PORT);
    let reply = original.invert().unwrap();
    pinhole.ends(&Message {
        payload: b"x",
        direction,
        tuples: [&original, &reply],
        seq: Seq::default(),
        begin: None,
    })
}

/// An IPv4 address as the engine has it.
pub fn address(octets: [u8; 4]) -> Address {
    std::net::IpAddr::from(octets).into()
}

/// Of a datagram that is cut anywhere, nothing is read that the whole does not say.
pub fn assert_cut_is_subset(helper: &impl Helper, direction: Direction, whole: &[u8]) {
    let all = pinholes(helper, direction, whole);
    assert!(!all.is_empty());
    for len in 0..whole.len() {
        for pinhole in pinholes(helper, direction, &whole[..len]) {
            assert!(all.contains(&pinhole), "{pinhole:?} of {len} bytes");
        }
    }
}

/// What is true whatever the bytes are.
pub fn assert_sane(helper: &impl Helper, direction: Direction, payload: &[u8]) {
    for pinhole in pinholes(helper, direction, payload) {
        assert_eq!(pinhole.listener, Listener::Sender);
        assert!(usize::from(pinhole.class) < helper.policies().len());
    }
    pinholes_v6(helper, direction, payload);
}

pub fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Original), Just(Direction::Reply)]
}

/// A valid datagram with some bytes changed, and cut.
pub fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let at = 0..whole.len();
    let to = 0..=whole.len();
    let changes = prop::collection::vec((at, any::<u8>()), 0..5);
    (Just(whole), changes, to).prop_map(|(mut bytes, changes, to)| {
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(to);
        bytes
    })
}
