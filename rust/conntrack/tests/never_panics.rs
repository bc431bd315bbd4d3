// SPDX-License-Identifier: GPL-2.0
//! Whatever comes, the engine answers; overflow checks are on here as in the kernel.

mod common;

use common::{flow, icmp, icmp6, parse, tcp, udp, udp6, HZ};
use conntrack::{
    ctinfo::CtInfo,
    packet::{tuple_of, Bytes, Class, Packet},
    proto::{Before, Outcome, State},
    rule::{self, connmark::Target as _, conntrack::Revision as _, ct::Revision as _, Rule, Seen},
    show::Counters,
    status::Status,
    time::{Instant, Ticks},
    timeouts::Config,
    tuple::{Direction, Family},
};
use proptest::prelude::*;

/// All that the tracker does with bytes.
fn track(family: Family, bytes: &[u8], len: u32) {
    let parsed = Packet::parse(family, Bytes::new(bytes, len, &()));
    common::short_way_agrees(family, Bytes::new(bytes, len, &()), &parsed);
    let Ok(packet) = parsed else {
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
    let Ok(mut state) = State::open(packet.transport(), &config) else {
        return;
    };
    for direction in [Direction::Original, Direction::Reply] {
        state.update(
            packet.transport(),
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
        let mut state = State::open(packet.transport(), &config).unwrap();
        let status = if seen { Status::CONFIRMED | Status::SEEN_REPLY } else { Status::CONFIRMED };
        for (direction, flags, seq, ack, data) in segments {
            let bytes = tcp(direction, flags, seq, ack, data);
            let packet = parse(&bytes).unwrap();
            let before = Before { status, expires: Some(Instant::from_ticks(ack)), timeouts: &config.timeouts };
            match state.update(packet.transport(), direction, before, Instant::from_ticks(seq), &config) {
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
    fn any_rule(bytes in any::<[u64; 24]>(), [a, b, c] in any::<[u32; 3]>(), status in any::<u32>()) {
        let status = Status::from_bits(status);
        let bytes = zerocopy::IntoBytes::as_bytes(&bytes);
        let original = tuple_of(Family::Ipv6, Bytes::new(bytes, 192, &()));
        let original = original.unwrap_or_else(|| flow(&udp(Direction::Original, 1)));
        let reply = original.invert().unwrap_or(original);
        let tuples = [&original, &reply];
        let flow = rule::conntrack::Flow { ctinfo: CtInfo::New, tuples, status };
        let _ = of::<rule::state::State>(bytes).matches(Seen::Flow(CtInfo::New));
        let _ = of::<rule::conntrack::Revision1>(bytes).matches(Seen::Flow(flow), || a);
        let _ = of::<rule::conntrack::Revision2>(bytes).matches(Seen::Flow(flow), || a);
        let _ = of::<rule::conntrack::Revision3>(bytes).matches(Seen::Flow(flow), || a);
        let _ = of::<rule::helper::Helper>(bytes).matches(Some(b"ftp"));
        let _ = of::<rule::connmark::Connmark>(bytes).matches(a);
        let _ = of::<rule::connmark::Target1>(bytes).action(a, b);
        let _ = of::<rule::connmark::Target2>(bytes).action(a, b);
        let counters = Counters { packets: a.into(), bytes: u64::MAX };
        let _ = of::<rule::connbytes::Connbytes>(bytes).matches([counters; 2]);
        let limit = of::<rule::connlimit::Connlimit>(bytes);
        let _ = limit.matches(limit.key([a; 4], [b; 4])[0]);
        let label = of::<rule::connlabel::Connlabel>(bytes);
        let _ = label.matches(Some(label.bit() == 0), || ());
        let _ = of::<rule::cluster::Cluster>(bytes).matches(&original.src(), |_, _| c);
        let _ = of::<rule::secmark::Connsecmark>(bytes).action(a, b);
        let _ = of::<rule::ct::Revision0>(bytes).action();
        let _ = of::<rule::ct::Revision1>(bytes).action();
        let _ = of::<rule::ct::Revision2>(bytes).action();
    }
}

/// A rule that was not asked whether it may be.
fn of<R: Rule>(bytes: &[u8]) -> &R {
    let rule = R::of(&bytes[..size_of::<R>()]).unwrap();
    let _ = rule.check();
    rule
}
