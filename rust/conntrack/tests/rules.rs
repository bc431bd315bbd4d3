// SPDX-License-Identifier: GPL-2.0
//! Rules of iptables: the bytes that it sends, and what they ask for.

mod common;

use common::{flow, udp, udp6};
use conntrack::{
    ctinfo::CtInfo,
    rule::{
        ct_target, ct_target_size, ConntrackMatch, CtAction, Flow, HelperMatch, Refused, Seen,
        StateMatch,
    },
    status::Status,
    tuple::Direction,
};

#[test]
fn sizes_are_those_of_the_c_structures() {
    assert_eq!([1, 2, 3].map(ConntrackMatch::size), [152, 156, 164]);
    assert_eq!(StateMatch::SIZE, 4);
    assert_eq!(
        [0, 1, 2].map(ct_target_size),
        [[32, 40], [64, 72], [64, 72]]
    );
}

#[test]
fn states() {
    let original = flow(&udp(Direction::Original, 1));
    let reply = original.invert().unwrap();
    let seen = |ctinfo| {
        Seen::Flow(Flow {
            ctinfo,
            tuples: [&original, &reply],
            status: Status::NONE,
            remaining: 5,
            announced_by: None,
        })
    };
    // The bit of each state in the matches state and conntrack.
    for (packet, state_bit, conntrack_bit) in [
        (Seen::Invalid, 1u32, 1u16),
        (seen(CtInfo::Established), 2, 2),
        (seen(CtInfo::EstablishedReply), 2, 2),
        (seen(CtInfo::Related), 4, 4),
        (seen(CtInfo::RelatedReply), 4, 4),
        (seen(CtInfo::New), 8, 8),
        (Seen::Untracked, 64, 256),
    ] {
        for bit in 0..9 {
            let rule = StateMatch::parse(&(1u32 << bit).to_ne_bytes()).unwrap();
            assert_eq!(
                rule.matches(&packet),
                1 << bit == state_bit,
                "{packet:?} {bit}"
            );
            for (revision, at) in [(2, 150), (3, 150)] {
                let mut bytes = vec![0; ConntrackMatch::size(revision)];
                bytes[146..148].copy_from_slice(&1u16.to_ne_bytes());
                bytes[at..at + 2].copy_from_slice(&(1u16 << bit).to_ne_bytes());
                let rule = ConntrackMatch::parse(revision, &bytes).unwrap();
                assert_eq!(
                    rule.matches(&packet),
                    1 << bit == conntrack_bit,
                    "{packet:?} {bit}"
                );
                // Inverted.
                bytes[148..150].copy_from_slice(&1u16.to_ne_bytes());
                let rule = ConntrackMatch::parse(revision, &bytes).unwrap();
                assert_eq!(
                    rule.matches(&packet),
                    1 << bit != conntrack_bit,
                    "not {packet:?} {bit}"
                );
            }
        }
    }
}

#[test]
fn only_the_bits_of_the_mask_count() {
    let original = flow(&udp(Direction::Original, 1));
    let reply = original.invert().unwrap();
    let seen = Seen::Flow(Flow {
        ctinfo: CtInfo::New,
        tuples: [&original, &reply],
        status: Status::NONE,
        remaining: 5,
        announced_by: None,
    });
    let matches = |address: [u8; 4]| {
        let mut bytes = vec![0; ConntrackMatch::size(3)];
        // The original source, which is 192.168.1.6, and a mask of 24 bits.
        bytes[..4].copy_from_slice(&address);
        bytes[16..20].copy_from_slice(&[255, 255, 255, 0]);
        bytes[146..148].copy_from_slice(&(1u16 << 2).to_ne_bytes());
        ConntrackMatch::parse(3, &bytes).unwrap().matches(&seen)
    };
    assert!(matches([192, 168, 1, 0]));
    assert!(matches([192, 168, 1, 77]));
    assert!(!matches([192, 168, 2, 6]));
}

#[test]
fn all_words_of_an_ipv6_address_count() {
    let original = flow(&udp6(Direction::Original, 1));
    let reply = original.invert().unwrap();
    let seen = Seen::Flow(Flow {
        ctinfo: CtInfo::New,
        tuples: [&original, &reply],
        status: Status::NONE,
        remaining: 5,
        announced_by: None,
    });
    let matches = |change: usize| {
        let mut bytes = vec![0; ConntrackMatch::size(3)];
        for (place, word) in bytes.chunks_mut(4).zip(original.src_words()) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[16..32].fill(255);
        bytes[change] ^= 1;
        bytes[146..148].copy_from_slice(&(1u16 << 2).to_ne_bytes());
        ConntrackMatch::parse(3, &bytes).unwrap().matches(&seen)
    };
    for change in 0..16 {
        assert!(!matches(change), "{change}");
    }
    assert!(matches(149)); // Of what is not asked for.
}

#[test]
fn translated_addresses_are_states_of_their_own() {
    let original = flow(&udp(Direction::Original, 1));
    let reply = original.invert().unwrap();
    for (status, bit) in [(Status::SRC_NAT, 6), (Status::DST_NAT, 7)] {
        let seen = Seen::Flow(Flow {
            ctinfo: CtInfo::Established,
            tuples: [&original, &reply],
            status,
            remaining: 5,
            announced_by: None,
        });
        for asked in 0..9 {
            let mut bytes = vec![0; ConntrackMatch::size(3)];
            bytes[146..148].copy_from_slice(&1u16.to_ne_bytes());
            bytes[150..152].copy_from_slice(&(1u16 << asked).to_ne_bytes());
            let rule = ConntrackMatch::parse(3, &bytes).unwrap();
            assert_eq!(rule.matches(&seen), asked == 1 || asked == bit, "{asked}");
        }
    }
}

#[test]
fn too_few_bytes_are_refused() {
    for revision in 1..=3 {
        let bytes = [0; 149];
        assert_eq!(
            ConntrackMatch::parse(revision, &bytes).err(),
            Some(Refused::Malformed)
        );
    }
    assert_eq!(StateMatch::parse(&[0; 3]).err(), Some(Refused::Malformed));
    assert_eq!(ct_target(1, &[0; 63]), Err(Refused::Malformed));
}

#[test]
fn unknown_questions_are_refused() {
    let mut bytes = [0; 164];
    bytes[147] = 0x40;
    assert_eq!(
        ConntrackMatch::parse(3, &bytes).err(),
        Some(Refused::NotSupported)
    );
    assert_eq!(
        ConntrackMatch::parse(4, &bytes).err(),
        Some(Refused::NotSupported)
    );
}

#[test]
fn the_target_untracks_or_names_a_helper() {
    for revision in 0..=2 {
        let mut bytes = vec![0; ct_target_size(revision)[1]];
        assert_eq!(ct_target(revision, &bytes), Ok(CtAction::Nothing));
        bytes[12..15].copy_from_slice(b"ftp");
        assert_eq!(ct_target(revision, &bytes), Ok(CtAction::Helper(b"ftp")));
        for flags in [1, 3] {
            bytes[0] = flags;
            assert_eq!(ct_target(revision, &bytes), Ok(CtAction::NoTrack));
        }
        bytes[0] = 0;
        // A flag that is not known, a zone, events of connections and of expectations.
        for at in [1, 2, 4, 8] {
            bytes[at] = 4;
            assert_eq!(
                ct_target(revision, &bytes),
                Err(Refused::NotSupported),
                "{at}"
            );
            bytes[at] = 0;
        }
        bytes[12..28].fill(b'x');
        assert_eq!(ct_target(revision, &bytes), Err(Refused::Malformed));
    }
    let mut timeout = vec![0; 72];
    timeout[0] = 1;
    timeout[28] = b'x';
    assert_eq!(ct_target(1, &timeout), Err(Refused::NotSupported));
}

#[test]
fn a_helper_is_the_one_that_has_announced_the_connection() {
    let original = flow(&udp(Direction::Original, 1));
    let reply = original.invert().unwrap();
    let by = |announced_by| {
        Seen::Flow(Flow {
            ctinfo: CtInfo::Related,
            tuples: [&original, &reply],
            status: Status::NONE,
            remaining: 5,
            announced_by,
        })
    };
    let matches = |name: &[u8], inverted: bool, seen: &Seen<'_>| {
        let mut bytes = [0; HelperMatch::SIZE];
        bytes[0] = u8::from(inverted);
        bytes[4..4 + name.len()].copy_from_slice(name);
        HelperMatch::parse(&bytes).unwrap().matches(seen)
    };
    for (name, seen, expected) in [
        (&b"ftp"[..], by(Some(b"ftp")), true),
        (b"ftp-2121", by(Some(b"ftp")), true),
        (b"", by(Some(b"ftp")), true),
        (b"ft", by(Some(b"ftp")), false),
        (b"irc", by(Some(b"ftp")), false),
    ] {
        assert_eq!(matches(name, false, &seen), expected, "{name:?}");
        assert_eq!(matches(name, true, &seen), !expected, "not {name:?}");
    }
    for seen in [by(None), Seen::Invalid, Seen::Untracked] {
        assert!(!matches(b"", false, &seen) && !matches(b"ftp", false, &seen));
        assert!(matches(b"", true, &seen) && matches(b"ftp", true, &seen));
    }
    assert_eq!(
        HelperMatch::parse(&[b'x'; 36]).err(),
        Some(Refused::Malformed)
    );
    assert_eq!(HelperMatch::parse(&[0; 35]).err(), Some(Refused::Malformed));
}
