// SPDX-License-Identifier: GPL-2.0
//! Whatever comes, the engine answers; overflow checks are on here as in the kernel.

mod common;

use common::{icmp, icmp6, parse, tcp, udp, udp6, HZ};
use conntrack::{
    packet::{Bytes, Class, Packet},
    proto::{Before, Outcome, State},
    rule::{ct_target, ConntrackMatch, HelperMatch, StateMatch},
    status::Status,
    time::{Instant, Ticks},
    timeouts::Config,
    tuple::{Direction, Family},
};
use proptest::prelude::*;

/// All that the tracker does with bytes.
fn track(family: Family, bytes: &[u8], len: u32) {
    let Ok(packet) = Packet::parse(family, Bytes::new(bytes, len, &())) else {
        return;
    };
    if let Some(checksum) = packet.checksum() {
        // What verifies it must find it: the kernel's own code stops the machine otherwise.
        assert!(u32::from(checksum.offset) + 8 <= len);
    }
    let Ok(Class::Flow(tuple)) = packet.classify() else {
        return;
    };
    let config = Config::defaults(HZ);
    let _ = (tuple.invert(), tuple.hash_words(0));
    let Ok(mut state) = State::open(&packet, &config) else {
        return;
    };
    for direction in [Direction::Original, Direction::Reply] {
        state.update(
            &packet,
            direction,
            Before::new(&config.timeouts),
            Instant::from_ticks(0),
            &config,
        );
    }
}

/// The same IPv6 packet with a destination options header, whose length may then be anything.
fn with_options_header(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let next = bytes[6];
    bytes[6] = 60;
    bytes.splice(40..40, [next, 0, 1, 4, 0, 0, 0, 0]);
    bytes
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Original), Just(Direction::Reply)]
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    let c = Direction::Original;
    prop_oneof![
        Just(tcp(c, "S", 1, 0, 0)),
        Just(tcp(c, "PA", 1, 1, 30)),
        Just(udp(c, 20)),
        Just(udp6(c, 20)),
        Just(icmp(c, 8, 0, 1, b"ping")),
        Just(icmp(Direction::Reply, 3, 3, 0, &udp(c, 8))),
        Just(icmp6(Direction::Reply, 1, 4, 0, &udp6(c, 8))),
        Just(icmp6(c, 137, 0, 0, &[4; 200])),
        Just(with_options_header(&icmp6(c, 128, 0, 1, b"ping"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_bytes(family in family(), bytes in prop::collection::vec(any::<u8>(), 0..300), len: u32) {
        track(family, &bytes, len);
        track(family, &bytes, bytes.len() as u32);
    }

    #[test]
    fn valid_packets_with_some_bytes_changed(
        mut bytes in valid(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        longer in 0u32..70000,
    ) {
        let family = if bytes[0] >> 4 == 6 { Family::Ipv6 } else { Family::Ipv4 };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let whole = bytes.len() as u32;
        track(family, &bytes, whole);
        track(family, &bytes, whole + longer);
        bytes.truncate(cut.index(bytes.len()));
        track(family, &bytes, bytes.len() as u32);
    }

    #[test]
    fn any_sequence_of_segments(
        segments in prop::collection::vec(
            (direction(), prop::sample::select(vec!["S", "SA", "A", "FA", "R", "RA", "PA"]), any::<u32>(), any::<u32>(), 0usize..40),
            1..40,
        ),
        seen in any::<bool>(),
    ) {
        let config = Config::defaults(HZ);
        let first = tcp(Direction::Original, "S", 1, 0, 0);
        let packet = parse(&first).unwrap();
        let mut state = State::open(&packet, &config).unwrap();
        let status = if seen { Status::CONFIRMED | Status::SEEN_REPLY } else { Status::CONFIRMED };
        for (direction, flags, seq, ack, data) in segments {
            let bytes = tcp(direction, flags, seq, ack, data);
            let packet = parse(&bytes).unwrap();
            let before = Before { status, remaining: Ticks::new(ack), timeouts: &config.timeouts };
            match state.update(&packet, direction, before, Instant::from_ticks(seq), &config) {
                Outcome::Accept(effect) => {
                    prop_assert_ne!(effect.timeout, Some(Ticks::new(0)));
                    prop_assert!(effect.timeout.is_none_or(|t| t <= Ticks::from_secs(432_000, HZ)));
                }
                Outcome::Repeat => break,
                Outcome::Kill | Outcome::Invalid(_) | Outcome::Shorten(..) => {}
            }
        }
    }

    #[test]
    fn any_rule(bytes in prop::collection::vec(any::<u8>(), 0..200), revision in 0u8..6) {
        let _ = ConntrackMatch::parse(revision, &bytes);
        let _ = StateMatch::parse(&bytes);
        let _ = HelperMatch::parse(&bytes);
        let _ = ct_target(revision, &bytes);
    }
}
