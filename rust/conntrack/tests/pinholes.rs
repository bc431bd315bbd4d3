// SPDX-License-Identifier: GPL-2.0
//! What a helper can want, and which connections that means.

mod common;

use common::{flow, tcp};
use conntrack::{
    helper::{Caller, Listener, Message, Pinhole, Port, Wanted},
    seq::Seq,
    tuple::{protocol, Address, Direction, Family, Tuple},
};
use std::net::IpAddr;

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

/// The tuple of a pinhole that a message in `direction` opens, as text.
fn tuple(pinhole: &Pinhole, direction: Direction, tuples: [&Tuple; 2]) -> (Address, Address, u16) {
    let message = Message {
        payload: b"x",
        direction,
        tuples,
        seq: Seq::default(),
        begin: None,
    };
    let tuple = pinhole.tuple(&message);
    assert_eq!(tuple.src_id(), [0; 2]);
    assert_eq!(tuple.protocol(), pinhole.protocol);
    (tuple.src(), tuple.dst(), u16::from_be_bytes(tuple.dst_id()))
}

#[test]
fn each_end_may_listen() {
    let original = flow(&tcp(Direction::Original, "S", 1, 0, 0));
    let reply = original.invert().unwrap();
    let tuples = [&original, &reply];
    let (client, server) = (original.src(), original.dst());
    let to_sender = Pinhole::to_sender(protocol::TCP, port(5001));
    let to_receiver = Pinhole::to_receiver(protocol::UDP, port(5002));
    assert_eq!(
        tuple(&to_sender, Direction::Original, tuples),
        (server, client, 5001)
    );
    assert_eq!(
        tuple(&to_sender, Direction::Reply, tuples),
        (client, server, 5001)
    );
    assert_eq!(
        tuple(&to_receiver, Direction::Original, tuples),
        (client, server, 5002)
    );
    assert_eq!(
        tuple(&to_receiver, Direction::Reply, tuples),
        (server, client, 5002)
    );
    // Anyone may call, from no known address.
    let anyone = Pinhole {
        caller: Caller::Anyone,
        ..to_sender
    };
    let nobody = Address {
        family: Family::Ipv4,
        words: [0; 4],
    };
    assert!(anyone.is_for_anyone() && !to_sender.is_for_anyone());
    assert_eq!(
        tuple(&anyone, Direction::Original, tuples),
        (nobody, client, 5001)
    );
    // A third host.
    let third = Address::from("192.0.2.77".parse::<IpAddr>().unwrap());
    let elsewhere = Pinhole {
        listener: Listener::Other(third),
        ..to_sender
    };
    assert_eq!(
        tuple(&elsewhere, Direction::Original, tuples),
        (server, third, 5001)
    );
}

#[test]
fn where_addresses_are_translated_callers_go_to_what_they_see() {
    // The client is behind 203.0.113.6.
    let original = flow(&tcp(Direction::Original, "S", 1, 0, 0));
    let outside = Address::from("203.0.113.6".parse::<IpAddr>().unwrap());
    let reply = Tuple::new(
        Family::Ipv4,
        protocol::TCP,
        original.dst_words(),
        original.dst_id(),
        outside.words,
        original.src_id(),
    );
    let pinhole = Pinhole::to_sender(protocol::TCP, port(5001));
    let found = tuple(&pinhole, Direction::Original, [&original, &reply]);
    assert_eq!(found, (original.dst(), outside, 5001));
}

#[test]
fn of_too_many_the_last_count() {
    let mut wanted = Wanted::new();
    assert!(wanted.is_empty());
    for number in 1..=20 {
        wanted.open(Pinhole::to_sender(protocol::TCP, port(number)));
        assert!(!wanted.is_empty());
    }
    let ports: Vec<u16> = wanted
        .pinholes()
        .map(|pinhole| pinhole.port.get())
        .collect();
    assert_eq!(ports, (13..=20).collect::<Vec<u16>>());
    let mut wanted = Wanted::new();
    wanted.keep(5);
    wanted.keep(3);
    assert!(!wanted.is_empty());
    assert_eq!(wanted.kept(), Some(5));
}
