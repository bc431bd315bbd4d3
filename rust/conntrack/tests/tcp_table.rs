// SPDX-License-Identifier: GPL-2.0
//! The whole TCP state table against that of the kernel's source.

use conntrack::{
    packet::Segment,
    proto::tcp::{step, State, Step},
    tuple::Direction,
};

#[test]
fn every_cell_is_the_kernels() {
    let path = std::env::var("TCP_TABLE").expect(
        "TCP_TABLE must name the output of `tools/tcp_table.py KERNEL_SOURCE` (make test does it)",
    );
    let golden = std::fs::read_to_string(&path).expect("TCP_TABLE must be readable");
    let mut cells = 0;
    for line in golden.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [direction, segment, state, next] = words[..] else {
            panic!("not a cell: {line}");
        };
        let direction = match direction {
            "original" => Direction::Original,
            "reply" => Direction::Reply,
            other => panic!("no direction {other}"),
        };
        let segment = match segment {
            "syn" => Segment::Syn,
            "synack" => Segment::SynAck,
            "fin" => Segment::Fin,
            "ack" => Segment::Ack,
            "rst" => Segment::Rst,
            "none" => Segment::None,
            other => panic!("no segment {other}"),
        };
        let state = *State::ALL.iter().find(|s| s.name() == state).unwrap();
        let found = match step(direction, segment, state) {
            Step::To(state) => state.name(),
            Step::Ignore => "ignore",
            Step::Invalid => "invalid",
        };
        assert_eq!(found, next, "{direction:?} {segment:?} in {state:?}");
        cells += 1;
    }
    assert_eq!(cells, 2 * 6 * 10);
}
