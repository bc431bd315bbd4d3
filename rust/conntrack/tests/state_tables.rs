// SPDX-License-Identifier: GPL-2.0
//! The state tables of TCP and SCTP, whole, against those of the kernel's source.

use conntrack::{
    packet::Segment,
    proto::{
        sctp,
        tcp::{step, State, Step},
    },
    tuple::Direction,
};

/// The cells of a protocol: direction, message, state, next state.
fn cells(protocol: &str) -> Vec<[String; 4]> {
    let path = std::env::var("STATE_TABLES").expect(
        "STATE_TABLES must name the output of `tools/state_tables.py KERNEL_SOURCE` (make test does it)",
    );
    let golden = std::fs::read_to_string(&path).expect("STATE_TABLES must be readable");
    golden
        .lines()
        .filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(' '))
        .map(|cell| {
            let words: Vec<_> = cell.split(' ').map(str::to_owned).collect();
            words.try_into().expect("four words")
        })
        .collect()
}

fn direction(name: &str) -> Direction {
    match name {
        "original" => Direction::Original,
        "reply" => Direction::Reply,
        other => panic!("no direction {other}"),
    }
}

#[test]
fn tcp() {
    let cells = cells("tcp");
    assert_eq!(cells.len(), 2 * 6 * 10);
    for [way, segment, state, next] in &cells {
        let segment = match segment.as_str() {
            "syn" => Segment::Syn,
            "synack" => Segment::SynAck,
            "fin" => Segment::Fin,
            "ack" => Segment::Ack,
            "rst" => Segment::Rst,
            "none" => Segment::None,
            other => panic!("no segment {other}"),
        };
        let state = *State::ALL.iter().find(|s| s.name() == state).unwrap();
        let found = match step(direction(way), segment, state) {
            Step::To(state) => state.name(),
            Step::Ignore => "ignore",
            Step::Invalid => "invalid",
        };
        assert_eq!(found, next, "{way} {segment:?} in {state:?}");
    }
}

#[test]
fn sctp() {
    let cells = cells("sctp");
    assert_eq!(cells.len(), 2 * 11 * 9);
    for [way, chunk, state, next] in &cells {
        let number = match chunk.as_str() {
            "init" => 1,
            "init_ack" => 2,
            "heartbeat" => 4,
            "heartbeat_ack" => 5,
            "abort" => 6,
            "shutdown" => 7,
            "shutdown_ack" => 8,
            "error" => 9,
            "cookie_echo" => 10,
            "cookie_ack" => 11,
            "shutdown_comp" => 14,
            other => panic!("no chunk {other}"),
        };
        let state = *sctp::State::ALL.iter().find(|s| s.name() == state).unwrap();
        let found = sctp::step(direction(way), number, state).map_or("invalid", sctp::State::name);
        assert_eq!(found, next, "{way} {chunk} in {state:?}");
    }
}
