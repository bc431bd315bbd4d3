// SPDX-License-Identifier: GPL-2.0
//! What goes with a packet to NFQUEUE and NFLOG: never more than the room that was asked for.

use conntrack::{
    netlink::{
        entry::{room_beside_packet, Entry, Shift, CONTEXT},
        write::Writer,
    },
    proto::State,
    show::Counters,
    status::Status,
    tuple::{protocol, Family, Tuple},
    zone::{Directions, Zone},
};

const COUNTERS: Counters = Counters {
    packets: u64::MAX,
    bytes: u64::MAX,
};

/// All that a connection can have.
fn fattest<'a>(tuple: &'a Tuple, state: &'a State, context: Option<&'a [u8]>) -> Entry<'a> {
    let shift = Shift::default();
    Entry {
        tuples: [tuple, tuple],
        zone: Zone::new(7, Directions::Original),
        status: Status::CONFIRMED | Status::EXPECTED,
        timeout: u32::MAX,
        state,
        mark: Some(u32::MAX),
        context,
        id: u32::MAX,
        references: 1,
        master: Some(tuple),
        counters: Some([COUNTERS, COUNTERS]),
        stamps: Some([u64::MAX, u64::MAX]),
        helper: Some(b"fifteen letters"),
        labels: Some([u32::MAX; 4]),
        shifts: Some([shift, shift]),
    }
}

fn len(entry: &Entry<'_>) -> usize {
    let mut room = [0; 2048];
    let mut out = Writer::new(&mut room);
    entry.write_beside_packet(&mut out).unwrap();
    out.as_bytes().len()
}

#[test]
fn there_is_room_for_all() {
    let context = [b'x'; CONTEXT];
    let mut longest = 0;
    for number in 0..=u8::MAX {
        let tuple = Tuple::new(Family::Ipv6, number, [1; 4], [128, 0], [2; 4], [0, 0]);
        let state = State::unseen(&tuple);
        longest = longest.max(len(&fattest(&tuple, &state, None)));
        let with_context = len(&fattest(&tuple, &state, Some(&context)));
        assert!(with_context <= room_beside_packet(true), "{number}");
    }
    // Not much more than is needed: what is asked for is taken from the packet's share.
    assert_eq!(longest, room_beside_packet(false));
    let tuple = Tuple::new(Family::Ipv4, protocol::TCP, [1; 4], [1; 2], [2; 4], [2; 2]);
    let state = State::unseen(&tuple);
    assert!(len(&fattest(&tuple, &state, None)) < longest);
}
