// SPDX-License-Identifier: GPL-2.0
//! SCTP: how associations begin and end, whose tags count, and what is no packet at all.

mod common;

use common::{sctp, sctp_raw, Entry};
use conntrack::{
    packet::Class,
    proto::{Effect, Outcome, State},
    reason::Reason,
    status::Status,
    time::Ticks,
    timeouts::Config,
    tuple::Direction,
};
use Direction::{Original as C, Reply as S};

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const COMPLETE: u8 = 14;
const REFLECTED: u8 = 1;

/// Tags that the ends ask for: packets to the client carry 7, those to the server 9.
const TO_CLIENT: u32 = 7;
const TO_SERVER: u32 = 9;

/// What INIT and INIT ACK carry.
fn init(tag: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend([0, 0, 255, 255, 0, 1, 0, 1, 0, 0, 0, 1]);
    value
}

/// A packet with one chunk.
fn chunk(direction: Direction, tag: u32, kind: u8, value: &[u8]) -> Vec<u8> {
    sctp(direction, tag, &[(kind, 0, value)])
}

/// The tag that packets of a direction carry.
fn tag(direction: Direction) -> u32 {
    match direction {
        C => TO_SERVER,
        S => TO_CLIENT,
    }
}

fn name(entry: &Entry) -> &'static str {
    entry.state.name().unwrap()
}

/// Sends a chunk with the right tag and tells the state.
fn send(entry: &mut Entry, direction: Direction, kind: u8) -> &'static str {
    let outcome = entry.packet(direction, &chunk(direction, tag(direction), kind, &[0; 4]));
    assert!(matches!(outcome, Outcome::Accept(_)), "{outcome:?}");
    name(entry)
}

fn opened() -> Entry {
    Entry::open(&chunk(C, 0, INIT, &init(TO_CLIENT))).unwrap()
}

fn answered() -> Entry {
    let mut entry = opened();
    entry.packet(S, &chunk(S, TO_CLIENT, INIT_ACK, &init(TO_SERVER)));
    entry
}

fn established() -> Entry {
    let mut entry = answered();
    send(&mut entry, C, COOKIE_ECHO);
    send(&mut entry, S, COOKIE_ACK);
    entry
}

#[test]
fn an_association_opens_and_closes() {
    let mut entry = opened();
    assert_eq!((name(&entry), entry.secs()), ("CLOSED", 10));
    entry.packet(S, &chunk(S, TO_CLIENT, INIT_ACK, &init(TO_SERVER)));
    assert_eq!((name(&entry), entry.secs()), ("COOKIE_WAIT", 3));
    assert_eq!(send(&mut entry, C, COOKIE_ECHO), "COOKIE_ECHOED");
    assert!(!entry.status.contains(Status::ASSURED));
    assert_eq!(send(&mut entry, S, COOKIE_ACK), "ESTABLISHED");
    assert!(entry.status.contains(Status::ASSURED));
    assert_eq!(entry.secs(), 210);
    assert!(!entry.state.is_closing());
    assert_eq!(send(&mut entry, C, SHUTDOWN), "SHUTDOWN_SENT");
    assert!(entry.state.is_closing());
    assert_eq!(send(&mut entry, S, SHUTDOWN_ACK), "SHUTDOWN_ACK_SENT");
    assert_eq!(send(&mut entry, C, COMPLETE), "CLOSED");
    assert_eq!(entry.secs(), 10);
}

#[test]
fn the_server_shuts_down_and_an_error_ends_it() {
    let mut entry = established();
    assert_eq!(send(&mut entry, S, SHUTDOWN), "SHUTDOWN_RECD");
    assert_eq!(entry.secs(), 3);
    let mut entry = answered();
    send(&mut entry, C, COOKIE_ECHO);
    assert_eq!(send(&mut entry, S, ERROR), "CLOSED");
}

#[test]
fn a_packet_without_a_whole_chunk_is_invalid() {
    for body in [&[][..], &[1], &[1, 0, 0], &[0, 3, 0, 0, 0, 0, 0, 0]] {
        let packet = sctp_raw(C, 0, body);
        assert_eq!(Entry::open(&packet).err(), Some(Reason::SctpChunks));
        let outcome = established().packet(C, &sctp_raw(C, TO_SERVER, body));
        assert_eq!(outcome, Outcome::Invalid(Reason::SctpChunks));
    }
}

#[test]
fn chunks_of_any_length_come_to_an_end() {
    for length in 1..=u16::MAX {
        let [a, b] = length.to_be_bytes();
        let mut body = [0x55; 64];
        body[..4].copy_from_slice(&[DATA, 3, a, b]);
        let _ = established().packet(C, &sctp_raw(C, TO_SERVER, &body));
    }
}

#[test]
fn what_must_be_alone_or_first_is() {
    let value = init(TO_CLIENT);
    for chunks in [
        [(INIT, 0, &value[..]), (DATA, 0, &[0; 12])],
        [(DATA, 0, &[0; 12]), (INIT, 0, &value)],
        [(DATA, 0, &[0; 12]), (COOKIE_ECHO, 0, &[0; 4])],
        [(COMPLETE, 0, &[]), (DATA, 0, &[0; 12])],
    ] {
        let outcome = established().packet(C, &sctp(C, TO_SERVER, &chunks));
        assert_eq!(
            outcome,
            Outcome::Invalid(Reason::SctpChunks),
            "{:?}",
            chunks.map(|c| c.0)
        );
    }
    let bundled = [(COOKIE_ECHO, 0, &[0; 4][..]), (DATA, 0, &[0; 12])];
    let mut entry = answered();
    entry.packet(C, &sctp(C, TO_SERVER, &bundled));
    assert_eq!(name(&entry), "COOKIE_ECHOED");
}

#[test]
fn any_first_chunk() {
    for kind in 0..=u8::MAX {
        let bytes = chunk(C, 0, kind, &init(TO_CLIENT));
        let packet = common::parse(&bytes).unwrap();
        assert!(matches!(packet.classify(), Ok(Class::Flow(_))));
        let found = State::open(packet.transport(), &Config::defaults(common::HZ));
        let may = matches!(
            kind,
            INIT | INIT_ACK
                | HEARTBEAT
                | HEARTBEAT_ACK
                | SHUTDOWN
                | SHUTDOWN_ACK
                | ERROR
                | COOKIE_ECHO
        );
        assert_eq!(found.err(), (!may).then_some(Reason::SctpNotNew), "{kind}");
    }
    // An INIT has no tag of its own, and all its fields.
    for (tag, value) in [(5, &init(TO_CLIENT)[..]), (0, &init(TO_CLIENT)[..12])] {
        let found = Entry::open(&chunk(C, tag, INIT, value));
        assert_eq!(found.err(), Some(Reason::SctpTag));
    }
}

#[test]
fn a_wrong_tag_is_invalid() {
    for kind in [DATA, ABORT, COMPLETE, COOKIE_ECHO, INIT, ERROR] {
        let outcome = established().packet(C, &chunk(C, 1234, kind, &init(1)));
        assert_eq!(outcome, Outcome::Invalid(Reason::SctpTag), "{kind}");
    }
    let answer = answered().packet(S, &chunk(S, 1234, COOKIE_ACK, &[]));
    assert_eq!(answer, Outcome::Invalid(Reason::SctpTag));
}

#[test]
fn who_has_no_association_reflects_the_tag() {
    for (flags, tag, ends) in [
        (0, TO_SERVER, true),
        (0, TO_CLIENT, false),
        (REFLECTED, TO_CLIENT, true),
        (REFLECTED, TO_SERVER, false),
    ] {
        let mut entry = established();
        entry.packet(C, &sctp(C, tag, &[(ABORT, flags, &[])]));
        assert_eq!(name(&entry) == "CLOSED", ends, "{flags} {tag}");
    }
}

#[test]
fn an_init_again_gives_no_more_time() {
    let mut entry = opened();
    entry.timeout = Ticks::new(1);
    let outcome = entry.packet(C, &chunk(C, 0, INIT, &init(TO_CLIENT)));
    assert_eq!(outcome, Outcome::Accept(Effect::default()));
    assert_eq!(entry.timeout, Ticks::new(1));
}

#[test]
fn an_answer_must_suit_what_was_asked() {
    // Until the client has the cookie the server may ask anew; then it has settled for a tag.
    let mut entry = answered();
    let again = entry.packet(S, &chunk(S, TO_CLIENT, INIT_ACK, &init(1234)));
    assert!(matches!(again, Outcome::Accept(_)));
    let mut entry = established();
    let outcome = entry.packet(S, &chunk(S, TO_CLIENT, INIT_ACK, &init(1234)));
    assert_eq!(outcome, Outcome::Invalid(Reason::SctpTag));
    let short = opened().packet(S, &chunk(S, TO_CLIENT, INIT_ACK, &init(TO_SERVER)[..8]));
    assert_eq!(short, Outcome::Invalid(Reason::SctpChunks));
}

#[test]
fn both_ends_may_ask_at_once() {
    // RFC 9260, 5.2.1: the server's own INIT crosses the client's.
    let mut entry = opened();
    entry.packet(S, &chunk(S, 0, INIT, &init(TO_SERVER)));
    let late = entry.packet(S, &chunk(S, TO_CLIENT, INIT_ACK, &init(4321)));
    assert_eq!(late, Outcome::Invalid(Reason::SctpTag));
    // An INIT with a new tag settles the matter for its sender.
    entry.packet(C, &chunk(C, 0, INIT, &init(99)));
    let outcome = entry.packet(S, &chunk(S, 99, INIT_ACK, &init(TO_SERVER)));
    assert!(matches!(outcome, Outcome::Accept(_)));
    assert_eq!(send(&mut entry, C, COOKIE_ECHO), "COOKIE_ECHOED");
    let outcome = entry.packet(S, &chunk(S, 99, COOKIE_ACK, &[]));
    assert!(matches!(outcome, Outcome::Accept(_)));
    assert_eq!(name(&entry), "ESTABLISHED");
}

#[test]
fn a_further_path_is_tried_by_heartbeats() {
    let mut entry = Entry::open(&chunk(C, TO_SERVER, HEARTBEAT, &[0; 8])).unwrap();
    assert_eq!((name(&entry), entry.secs()), ("HEARTBEAT_SENT", 30));
    let data = entry.packet(S, &chunk(S, TO_CLIENT, DATA, &[0; 12]));
    assert_eq!(data, Outcome::Invalid(Reason::SctpTag));
    let abort = entry.packet(
        S,
        &sctp(
            S,
            TO_SERVER,
            &[(ABORT, REFLECTED, &[]), (DATA, 0, &[0; 12])],
        ),
    );
    assert_eq!(abort, Outcome::Invalid(Reason::SctpState));
    assert_eq!(send(&mut entry, S, HEARTBEAT_ACK), "ESTABLISHED");
}

#[test]
fn a_heartbeat_with_another_tag_is_set_right_by_its_answer() {
    let mut entry = established();
    let strange = entry.packet(C, &chunk(C, 55, HEARTBEAT, &[0; 8]));
    assert_eq!(strange, Outcome::Accept(Effect::default()));
    let answer = entry.packet(S, &chunk(S, 66, HEARTBEAT_ACK, &[0; 8]));
    assert!(matches!(answer, Outcome::Accept(_)));
    // The server's tag is now the answer's, and the client's is that of its next heartbeat.
    assert_eq!(
        entry.packet(S, &chunk(S, TO_CLIENT, DATA, &[0; 12])),
        Outcome::Invalid(Reason::SctpTag)
    );
    for (direction, tag, kind) in [(C, 55, HEARTBEAT), (C, 55, DATA), (S, 66, DATA)] {
        let outcome = entry.packet(direction, &chunk(direction, tag, kind, &[0; 12]));
        assert!(
            matches!(outcome, Outcome::Accept(_)),
            "{direction:?} {kind}"
        );
    }
}

#[test]
fn a_heartbeat_of_a_stranger_opens_nothing() {
    let mut entry = established();
    // Not with data, not as an answer that nobody has asked for.
    let data = sctp(C, 55, &[(HEARTBEAT, 0, &[0; 8]), (DATA, 0, &[0; 12])]);
    let answer = chunk(C, 55, HEARTBEAT_ACK, &[0; 8]);
    let twice = sctp(C, 55, &[(HEARTBEAT, 0, &[0; 8]), (HEARTBEAT, 0, &[0; 8])]);
    for packet in [&data, &answer, &twice] {
        assert_eq!(entry.packet(C, packet), Outcome::Invalid(Reason::SctpTag));
    }
}

#[test]
fn two_that_came_at_once_are_not_one() {
    // The tags of one would be lost.
    assert!(!opened().state.may_merge());
}
