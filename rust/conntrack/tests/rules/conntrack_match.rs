// SPDX-License-Identifier: GPL-2.0
//! The match `conntrack`.

use conntrack::{
    ctinfo::CtInfo,
    rule::{
        conntrack::{Flow, Revision, Revision1, Revision2, Revision3},
        Refused, Seen,
    },
    status::Status,
    tuple::{Direction, Tuple},
};

use crate::{
    check,
    common::{flow, udp, udp6},
    state::PLACES,
    Sent,
};

// Where things stand (struct xt_conntrack_mtinfo*).
const EXPIRES: usize = 128;
const PROTOCOL: usize = 136;
const PORTS: usize = 138;
const WANTED: usize = 146;
const INVERTED: usize = 148;
const STATES: usize = 150;
const STATUS: usize = 152;
const PORTS_HIGH: usize = 154;

// What is asked for (XT_CONNTRACK_*).
const STATE: u16 = 1;
const PROTO: u16 = 2;
const ADDRESS: [u16; 4] = [4, 8, 16, 32];
const OF_STATUS: u16 = 64;
const OF_TIME: u16 = 128;
const PORT: [u16; 4] = [256, 512, 1024, 2048];
const DIRECTION: u16 = 4096;

/// A rule in the making.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(revision: u8) -> Self {
        Self(vec![0; [0, 152, 156, 164][usize::from(revision)]])
    }

    fn put(mut self, at: usize, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0[at..at + value.len()].copy_from_slice(value);
        self
    }

    fn number(self, at: usize, value: u16) -> Self {
        self.put(at, value.to_ne_bytes())
    }

    fn wants(self, what: u16) -> Self {
        self.number(WANTED, what)
    }

    fn inverted(self, what: u16) -> Self {
        self.number(INVERTED, what)
    }

    fn matches<R: Revision>(&self, seen: Seen<Flow<'_>>, left: u32) -> bool {
        Sent::new(&self.0).rule::<R>().matches(seen, || left)
    }
}

/// A connection's tuples, original and reply.
struct Tuples([Tuple; 2]);

impl Tuples {
    /// From 192.168.1.6 port 137 to 192.168.1.9 port 1025.
    fn udp() -> Self {
        Self::of(&udp(Direction::Original, 1))
    }

    fn of(packet: &[u8]) -> Self {
        let original = flow(packet);
        Self([original, original.invert().unwrap()])
    }

    fn seen(&self, ctinfo: CtInfo, status: Status) -> Seen<Flow<'_>> {
        let [original, reply] = &self.0;
        Seen::Flow(Flow {
            ctinfo,
            tuples: [original, reply],
            status,
        })
    }
}

#[test]
fn states() {
    let tuples = Tuples::udp();
    for (place, _, expected) in PLACES {
        let seen = match place {
            Seen::Flow(ctinfo) => tuples.seen(ctinfo, Status::NONE),
            Seen::Invalid => Seen::Invalid,
            Seen::Untracked => Seen::Untracked,
        };
        for bit in 0..16 {
            let asked = 1_u16 << bit;
            for inverted in [0, STATE] {
                let rule = |revision| {
                    Bytes::new(revision)
                        .wants(STATE)
                        .inverted(inverted)
                        .number(STATES, asked)
                };
                let right = (asked == expected) != (inverted != 0);
                assert_eq!(rule(2).matches::<Revision2>(seen, 0), right, "{place:?}");
                assert_eq!(rule(3).matches::<Revision3>(seen, 0), right, "{place:?}");
                if let Ok(byte) = u8::try_from(asked) {
                    let rule = rule(1).put(STATES, [byte, 0]);
                    assert_eq!(rule.matches::<Revision1>(seen, 0), right, "{place:?}");
                }
            }
        }
    }
}

#[test]
fn translated_addresses_are_states_of_their_own() {
    let tuples = Tuples::udp();
    for (status, bit) in [(Status::SRC_NAT, 6), (Status::DST_NAT, 7)] {
        let seen = tuples.seen(CtInfo::Established, status);
        for asked in 0..9 {
            let rule = Bytes::new(3).wants(STATE).number(STATES, 1 << asked);
            let right = asked == 1 || asked == bit;
            assert_eq!(rule.matches::<Revision3>(seen, 0), right, "{asked}");
        }
    }
}

/// Without a connection everything but the state counts for nothing.
#[test]
fn without_a_connection_only_the_state_is_asked_for() {
    for seen in [Seen::Invalid, Seen::Untracked] {
        for what in [PROTO, ADDRESS[0], OF_STATUS, OF_TIME, PORT[0], DIRECTION] {
            let rule = Bytes::new(3).wants(what);
            assert!(!rule.matches::<Revision3>(seen, 0), "{what}");
            assert!(!rule.inverted(what).matches::<Revision3>(seen, 0), "{what}");
            let rule = Bytes::new(3).wants(what | STATE).number(STATES, u16::MAX);
            assert!(rule.matches::<Revision3>(seen, 0), "{what}");
        }
    }
}

#[test]
fn protocols() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::NONE);
    for (protocol, right) in [(17, true), (6, false), (17 + 256, false)] {
        let rule = Bytes::new(3).wants(PROTO).number(PROTOCOL, protocol);
        assert_eq!(rule.matches::<Revision3>(seen, 0), right);
        assert_eq!(rule.inverted(PROTO).matches::<Revision3>(seen, 0), !right);
    }
}

#[test]
fn directions() {
    let tuples = Tuples::udp();
    for (ctinfo, original) in [
        (CtInfo::New, true),
        (CtInfo::Established, true),
        (CtInfo::Related, true),
        (CtInfo::EstablishedReply, false),
        (CtInfo::RelatedReply, false),
    ] {
        let seen = tuples.seen(ctinfo, Status::NONE);
        let rule = Bytes::new(1).wants(DIRECTION);
        assert_eq!(rule.matches::<Revision1>(seen, 0), original);
        assert_eq!(
            rule.inverted(DIRECTION).matches::<Revision1>(seen, 0),
            !original
        );
    }
}

#[test]
fn status_bits() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::SEEN_REPLY | Status::CONFIRMED);
    for (asked, right) in [(0, false), (2, true), (8, true), (4, false), (4 | 8, true)] {
        let rules = [
            Bytes::new(1).put(STATES + 1, [asked]),
            Bytes::new(2).put(STATUS, u16::from(asked).to_ne_bytes()),
            Bytes::new(3).put(STATUS, u16::from(asked).to_ne_bytes()),
        ];
        for (rule, inverted) in rules.iter().flat_map(|rule| [(rule, false), (rule, true)]) {
            let what = if inverted { OF_STATUS } else { 0 };
            let rule = rule.clone().wants(OF_STATUS).inverted(what);
            let found = match rule.0.len() {
                152 => rule.matches::<Revision1>(seen, 0),
                156 => rule.matches::<Revision2>(seen, 0),
                _ => rule.matches::<Revision3>(seen, 0),
            };
            assert_eq!(found, right != inverted, "{asked} {inverted}");
        }
    }
}

#[test]
fn times() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::NONE);
    let rule = Bytes::new(3)
        .wants(OF_TIME)
        .put(EXPIRES, 20_u32.to_ne_bytes())
        .put(EXPIRES + 4, 30_u32.to_ne_bytes());
    for (left, right) in [(0, false), (19, false), (20, true), (30, true), (31, false)] {
        assert_eq!(rule.matches::<Revision3>(seen, left), right, "{left}");
        let not = rule.clone().inverted(OF_TIME);
        assert_eq!(not.matches::<Revision3>(seen, left), !right, "{left}");
    }
}

#[test]
fn nobody_asks_for_the_time_in_vain() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::NONE);
    let sent = Sent::new(&Bytes::new(3).wants(STATE | PROTO).number(STATES, 8).0);
    assert!(!sent.rule::<Revision3>().matches(seen, || panic!("asked")));
    let sent = Sent::new(&Bytes::new(3).wants(STATE).number(STATES, 8).0);
    assert!(sent.rule::<Revision3>().matches(seen, || panic!("asked")));
}

#[test]
fn only_the_bits_of_the_mask_count() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::NONE);
    let ends = [[192, 168, 1, 6], [192, 168, 1, 9]];
    for (at, end) in [ends[0], ends[1], ends[1], ends[0]].into_iter().enumerate() {
        let rule = |address: [u8; 4], mask: [u8; 4]| {
            Bytes::new(3)
                .wants(ADDRESS[at])
                .put(at * 32, address)
                .put(at * 32 + 16, mask)
                // Of an IPv4 rule the other words count for nothing.
                .put(at * 32 + 4, [1; 12])
                .put(at * 32 + 20, [255; 12])
        };
        let other = [192, 168, 1, end[3] ^ 1];
        for (rule, right) in [
            (rule(end, [255; 4]), true),
            (rule(other, [255; 4]), false),
            (rule(other, [255, 255, 255, 0]), true),
            (rule([192, 168, 2, 6], [255, 255, 255, 0]), false),
            (rule([1, 2, 3, 4], [0; 4]), true),
        ] {
            assert_eq!(rule.matches::<Revision3>(seen, 0), right, "{at}");
            let not = rule.inverted(ADDRESS[at]);
            assert_eq!(not.matches::<Revision3>(seen, 0), !right, "{at}");
        }
    }
}

#[test]
fn all_words_of_an_ipv6_address_count() {
    let tuples = Tuples::of(&udp6(Direction::Original, 1));
    let seen = tuples.seen(CtInfo::New, Status::NONE);
    let [original, reply] = &tuples.0;
    let found = [
        original.src_words(),
        original.dst_words(),
        reply.src_words(),
        reply.dst_words(),
    ];
    for (at, address) in found.into_iter().enumerate() {
        let rule = Bytes::new(3)
            .wants(ADDRESS[at])
            .put(at * 32, crate::words(&address))
            .put(at * 32 + 16, [255; 16]);
        assert!(rule.matches::<Revision3>(seen, 0), "{at}");
        for byte in 0..16 {
            let mut other = rule.clone();
            other.0[at * 32 + byte] ^= 1;
            assert!(!other.matches::<Revision3>(seen, 0), "{at} {byte}");
        }
    }
}

#[test]
fn ports() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::NONE);
    for (at, port) in [137_u16, 1025, 1025, 137].into_iter().enumerate() {
        for (asked, right) in [(port, true), (port + 1, false), (port.swap_bytes(), false)] {
            let place = PORTS + 2 * at;
            let one = Bytes::new(2)
                .put(place, asked.to_be_bytes())
                .wants(PORT[at]);
            assert_eq!(one.matches::<Revision2>(seen, 0), right, "{at}");
            let not = one.inverted(PORT[at]);
            assert_eq!(not.matches::<Revision2>(seen, 0), !right, "{at}");
        }
        for (first, last, right) in [
            (port, port, true),
            (port - 1, port + 1, true),
            (0, u16::MAX, true),
            (port + 1, u16::MAX, false),
            (0, port - 1, false),
            (port + 1, port - 1, false),
        ] {
            let range = Bytes::new(3)
                .number(PORTS + 2 * at, first)
                .number(PORTS_HIGH + 2 * at, last)
                .wants(PORT[at]);
            assert_eq!(range.matches::<Revision3>(seen, 0), right, "{at}");
            let not = range.inverted(PORT[at]);
            assert_eq!(not.matches::<Revision3>(seen, 0), !right, "{at}");
        }
    }
}

/// All that is asked for must agree.
#[test]
fn one_question_that_fails_is_enough() {
    let tuples = Tuples::udp();
    let seen = tuples.seen(CtInfo::New, Status::CONFIRMED);
    let right = Bytes::new(3)
        .number(STATES, 8)
        .number(STATUS, 8)
        .number(PROTOCOL, 17)
        .put(EXPIRES + 4, 30_u32.to_ne_bytes())
        .number(PORTS_HIGH, u16::MAX)
        .number(PORTS_HIGH + 2, u16::MAX)
        .number(PORTS_HIGH + 4, u16::MAX)
        .number(PORTS_HIGH + 6, u16::MAX);
    let all = (1 << 13) - 1;
    assert!(right.clone().wants(all).matches::<Revision3>(seen, 10));
    for bit in 0..13 {
        let rule = right.clone().wants(all).inverted(1 << bit);
        assert!(!rule.matches::<Revision3>(seen, 10), "{bit}");
    }
}

#[test]
fn unknown_questions_are_refused() {
    for at in [WANTED, INVERTED] {
        let rule = |bit| Bytes::new(3).number(at, 1_u16 << bit).0;
        for bit in 0..14 {
            assert_eq!(check::<Revision3>(&rule(bit)), Ok(()));
        }
        for bit in 14..16 {
            assert_eq!(check::<Revision3>(&rule(bit)), Err(Refused::NotSupported));
            assert_eq!(
                check::<Revision2>(&rule(bit)[..156]),
                Err(Refused::NotSupported)
            );
            assert_eq!(
                check::<Revision1>(&rule(bit)[..152]),
                Err(Refused::NotSupported)
            );
        }
    }
}
