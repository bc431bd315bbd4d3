// SPDX-License-Identifier: GPL-2.0
//! Talk: who announces itself, who is found, and which calls that opens.

mod datagrams;

use conntrack::{
    helper::{Caller, Helper, Listener, Pinhole, Policy, Port},
    tuple::{protocol, Direction},
};
use datagrams::{
    address, assert_cut_is_subset, assert_sane, damaged, direction, ends, pinholes, pinholes_v6,
    CLIENT, SERVER,
};
use helpers::talk::Talk;
use proptest::prelude::*;
use Direction::{Original, Reply};

const LEAVE_INVITE: u8 = 0;
const LOOK_UP: u8 = 1;
const DELETE: u8 = 2;
const ANNOUNCE: u8 = 3;
const PORT: u16 = 34567;

/// `struct osockaddr`, as talk and talkd fill it: all in network order, then whatever was there.
fn socket(family: u16, port: u16, address: [u8; 4]) -> Vec<u8> {
    let [family, port] = [family, port].map(u16::to_be_bytes);
    [&family[..], &port, &address, b"\0\0\0\0leak"].concat()
}

/// `CTL_RESPONSE`, and how `CTL_MSG` begins.
fn response(kind: u8, answer: u8, socket: &[u8]) -> Vec<u8> {
    let bytes = [&[1, kind, answer, 0][..], &7_u32.to_be_bytes(), socket].concat();
    assert_eq!(bytes.len(), 24);
    bytes
}

/// `CTL_MSG`.
fn request(kind: u8, address: &[u8]) -> Vec<u8> {
    let mut bytes = response(kind, 0, address);
    bytes.extend(socket(2, 1031, CLIENT));
    bytes.extend(4711_u32.to_be_bytes());
    bytes.extend(b"alice\0\0\0\0\0\0\0bob\0\0\0\0\0\0\0\0\0pts/3\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(bytes.len(), 84);
    bytes
}

fn announce() -> Vec<u8> {
    request(ANNOUNCE, &socket(2, PORT, CLIENT))
}

fn found() -> Vec<u8> {
    response(LOOK_UP, 0, &socket(2, PORT, SERVER))
}

fn conversation(port: u16) -> Pinhole {
    Pinhole {
        protocol: protocol::TCP,
        listener: Listener::Sender,
        port: Port::new(port).unwrap(),
        caller: Caller::OtherEnd,
        class: 1,
        permanent: false,
        helped: false,
    }
}

fn call_to_daemon() -> Pinhole {
    Pinhole {
        protocol: protocol::UDP,
        class: 0,
        helped: true,
        ..conversation(518)
    }
}

#[test]
fn who_is_announced_is_called_by_the_other_end() {
    let found = pinholes(&Talk, Original, &announce());
    assert_eq!(found, [call_to_daemon(), conversation(PORT)]);
    for pinhole in &found {
        assert_eq!(
            ends(Original, pinhole),
            (Some(address(SERVER)), address(CLIENT))
        );
    }
}

#[test]
fn who_is_found_waits_for_a_call() {
    let found = pinholes(&Talk, Reply, &found());
    assert_eq!(found, [conversation(PORT)]);
    assert_eq!(
        ends(Reply, &found[0]),
        (Some(address(CLIENT)), address(SERVER))
    );
}

#[test]
fn one_call_of_each_kind_is_expected_for_five_minutes() {
    let policy = Policy {
        most: 1,
        seconds: 300,
    };
    assert_eq!(Talk.policies(), [policy; 2]);
}

#[test]
fn other_messages_open_nothing() {
    for kind in [LEAVE_INVITE, LOOK_UP, DELETE, 4, 255] {
        let payload = request(kind, &socket(2, PORT, CLIENT));
        assert_eq!(pinholes(&Talk, Original, &payload), [], "{kind}");
    }
    for kind in [LEAVE_INVITE, DELETE, ANNOUNCE, 4, 255] {
        let payload = response(kind, 0, &socket(2, PORT, SERVER));
        assert_eq!(pinholes(&Talk, Reply, &payload), [], "{kind}");
    }
}

#[test]
fn an_answer_that_nobody_was_found_opens_nothing() {
    // The address may be there none the less: what the daemon's memory held.
    for answer in 1..=u8::MAX {
        let payload = response(LOOK_UP, answer, &socket(2, PORT, SERVER));
        assert_eq!(pinholes(&Talk, Reply, &payload), [], "{answer}");
    }
}

#[test]
fn each_message_has_its_direction() {
    assert_eq!(pinholes(&Talk, Reply, &announce()), []);
    assert_eq!(pinholes(&Talk, Original, &found()), []);
    // Even if all else is right.
    let announce = request(ANNOUNCE, &socket(2, PORT, SERVER));
    assert_eq!(pinholes(&Talk, Reply, &announce), []);
    let mut found = request(LOOK_UP, &socket(2, PORT, CLIENT));
    assert_eq!(pinholes(&Talk, Original, &found), []);
    found.truncate(24);
    assert_eq!(pinholes(&Talk, Original, &found), []);
}

#[test]
fn nobody_opens_a_way_to_another() {
    for other in [SERVER, [0; 4], [127, 0, 0, 1], [203, 0, 113, 1], [255; 4]] {
        let payload = request(ANNOUNCE, &socket(2, PORT, other));
        assert_eq!(pinholes(&Talk, Original, &payload), [], "{other:?}");
    }
    for other in [CLIENT, [0; 4], [127, 0, 0, 1], [203, 0, 113, 1], [255; 4]] {
        let payload = response(LOOK_UP, 0, &socket(2, PORT, other));
        assert_eq!(pinholes(&Talk, Reply, &payload), [], "{other:?}");
    }
}

#[test]
fn services_are_not_called() {
    for (port, allowed) in [
        (0, false),
        (22, false),
        (518, false),
        (1023, false),
        (1024, true),
        (65535, true),
    ] {
        let payload = request(ANNOUNCE, &socket(2, port, CLIENT));
        let all = pinholes(&Talk, Original, &payload);
        assert_eq!(all.len(), if allowed { 2 } else { 0 }, "{port}");
        let payload = response(LOOK_UP, 0, &socket(2, port, SERVER));
        let all = pinholes(&Talk, Reply, &payload);
        assert_eq!(all.len(), usize::from(allowed), "{port}");
    }
}

#[test]
fn only_internet_addresses_count() {
    // In host order, with the length as 4.4BSD has it, and others.
    for family in [0, 0x0200, 0x1002, 10, 1] {
        let payload = request(ANNOUNCE, &socket(family, PORT, CLIENT));
        assert_eq!(pinholes(&Talk, Original, &payload), [], "{family}");
        let payload = response(LOOK_UP, 0, &socket(family, PORT, SERVER));
        assert_eq!(pinholes(&Talk, Reply, &payload), [], "{family}");
    }
    assert_eq!(pinholes_v6(&Talk, Original, &announce()), []);
    assert_eq!(pinholes_v6(&Talk, Reply, &found()), []);
}

#[test]
fn only_this_version_counts() {
    for version in [0, 2, 255] {
        let mut payload = announce();
        payload[0] = version;
        assert_eq!(pinholes(&Talk, Original, &payload), []);
        let mut payload = found();
        payload[0] = version;
        assert_eq!(pinholes(&Talk, Reply, &payload), []);
    }
}

#[test]
fn a_message_that_is_cut_opens_nothing_and_a_longer_one_the_same() {
    for (direction, payload) in [(Original, announce()), (Reply, found())] {
        assert_cut_is_subset(&Talk, direction, &payload);
        for len in 1..payload.len() {
            assert_eq!(pinholes(&Talk, direction, &payload[..len]), [], "{len}");
        }
        let longer = [payload.clone(), vec![0xff; 9]].concat();
        let all = pinholes(&Talk, direction, &longer);
        assert_eq!(all, pinholes(&Talk, direction, &payload));
    }
}

proptest! {
    #[test]
    fn any_bytes(direction in direction(), bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        assert_sane(&Talk, direction, &bytes);
    }

    #[test]
    fn requests_with_some_bytes_changed(bytes in damaged(announce())) {
        assert_sane(&Talk, Original, &bytes);
    }

    #[test]
    fn responses_with_some_bytes_changed(bytes in damaged(found())) {
        assert_sane(&Talk, Reply, &bytes);
    }
}
