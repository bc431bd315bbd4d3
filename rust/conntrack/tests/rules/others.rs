// SPDX-License-Identifier: GPL-2.0
//! `helper`, `connbytes`, `connlimit`, `cluster`.

use conntrack::{
    rule::{cluster::Cluster, connbytes::Connbytes, connlimit::Connlimit, helper::Helper, Refused},
    show::Counters,
    tuple::{Address, Family},
};

use crate::{check, words, Sent};

#[test]
fn a_helper_is_the_one_that_has_announced_the_connection() {
    let matches = |name: &[u8], inverted: bool, by: Option<&[u8]>| {
        let mut bytes = [0; 36];
        bytes[0] = u8::from(inverted);
        bytes[4..4 + name.len()].copy_from_slice(name);
        Sent::new(&bytes).rule::<Helper>().matches(by)
    };
    for (name, by, expected) in [
        (&b"ftp"[..], &b"ftp"[..], true),
        (b"ftp-2121", b"ftp", true),
        (b"", b"ftp", true),
        (b"ft", b"ftp", false),
        (b"irc", b"ftp", false),
        // A name that has no end.
        (&[b'x'; 30], b"x", true),
        (&[b'x'; 30], b"y", false),
    ] {
        assert_eq!(matches(name, false, Some(by)), expected, "{name:?}");
        assert_eq!(matches(name, true, Some(by)), !expected, "not {name:?}");
    }
    for name in [&b""[..], b"ftp"] {
        assert!(!matches(name, false, None));
        assert!(matches(name, true, None));
    }
}

fn connbytes(from: u64, to: u64, what: u8, direction: u8) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    bytes[..8].copy_from_slice(&from.to_ne_bytes());
    bytes[8..16].copy_from_slice(&to.to_ne_bytes());
    bytes[16] = what;
    bytes[17] = direction;
    bytes
}

#[test]
fn packets_bytes_and_averages() {
    let counted = |packets, bytes| Counters { packets, bytes };
    let counters = [counted(3, 100), counted(2, 4000)];
    for (what, direction, found) in [
        (0, 0, 3),
        (0, 1, 2),
        (0, 2, 5),
        (1, 0, 100),
        (1, 1, 4000),
        (1, 2, 4100),
        (2, 0, 33),
        (2, 1, 2000),
        (2, 2, 820),
    ] {
        for (from, to, right) in [
            (found, found, true),
            (0, u64::MAX, true),
            (found, u64::MAX, true),
            (0, found, true),
            (found + 1, u64::MAX, false),
            (0, found - 1, false),
            // Inverted: what lies between is not asked for.
            (found, found - 1, false),
            (found + 1, found, false),
            (u64::MAX, 0, false),
            (u64::MAX, found + 1, true),
            (found - 1, 0, true),
        ] {
            let sent = Sent::new(&connbytes(from, to, what, direction));
            let matches = sent.rule::<Connbytes>().matches(counters);
            assert_eq!(matches, right, "{what} {direction}: {from} {to}");
        }
    }
    // Of no packets the average is none.
    let sent = Sent::new(&connbytes(0, 0, 2, 0));
    assert!(sent.rule::<Connbytes>().matches([counted(0, 0); 2]));
}

#[test]
fn what_can_be_counted() {
    for what in 0..=255 {
        for direction in [0, 2, 3, 255] {
            let right = if what <= 2 && direction <= 2 {
                Ok(())
            } else {
                Err(Refused::Malformed)
            };
            assert_eq!(check::<Connbytes>(&connbytes(0, 0, what, direction)), right);
        }
    }
}

#[test]
fn connections_above_and_up_to() {
    for (flags, inverted) in [(0, false), (1, true), (2, false), (3, true)] {
        let sent = Sent::new(&words(&[0, 0, 0, 0, 3, flags]));
        let rule = sent.rule::<Connlimit>();
        for connections in 0..6 {
            assert_eq!(rule.is_above(connections), connections > 3);
            assert_eq!(rule.matches(connections), (connections > 3) != inverted);
        }
    }
}

#[test]
fn connections_of_a_network() {
    let [src, dst] = [
        [0x1111, 0x2222, 0x3333, 0x4444],
        [0x5555, 0x6666, 0x7777, 0x8888],
    ];
    let mask = [0xffff, 0x0fff, 0x00ff, 0];
    let mut sent = words(&mask);
    sent.extend(words(&[1, 0]));
    let rule = Sent::new(&sent);
    assert_eq!(
        rule.rule::<Connlimit>().key(src, dst),
        [0x1111, 0x222, 0x33, 0]
    );
    sent[20] = 2;
    let rule = Sent::new(&sent);
    assert_eq!(
        rule.rule::<Connlimit>().key(src, dst),
        [0x5555, 0x666, 0x77, 0]
    );
}

#[test]
fn each_node_has_its_share() {
    // Of an IPv6 address the first word counts, as with stock.
    for family in [Family::Ipv4, Family::Ipv6] {
        let source = Address {
            family,
            words: [1, 2, 3, 4],
        };
        // Four nodes; a quarter of all hashes each.
        for (hash, node) in [
            (0, 0),
            (0x3fff_ffff, 0),
            (0x4000_0000, 1),
            (0x8000_0000, 2),
            (0xffff_ffff, 3),
        ] {
            for (own, flags) in (0..16).flat_map(|own| [(own, 0), (own, 1)]) {
                let sent = Sent::new(&words(&[4, own, 7, flags]));
                let asked = |word, seed| {
                    assert_eq!((word, seed), (1, 7));
                    hash
                };
                let matches = sent.rule::<Cluster>().matches(&source, asked);
                assert_eq!(matches, ((own >> node) & 1 != 0) != (flags != 0));
            }
        }
        let sent = Sent::new(&words(&[32, 1 << 31, 0, 0]));
        assert!(sent.rule::<Cluster>().matches(&source, |_, _| u32::MAX));
        // Of no nodes none is this one.
        let sent = Sent::new(&words(&[0, 0, 0, 0]));
        assert!(!sent.rule::<Cluster>().matches(&source, |_, _| 9));
    }
}

#[test]
fn nodes_that_there_are() {
    for (nodes, own, right) in [
        (0, 0, Ok(())),
        (0, 1, Err(Refused::NoSuchNode)),
        (2, 3, Ok(())),
        (2, 4, Err(Refused::NoSuchNode)),
        (32, u32::MAX, Ok(())),
        (33, 0, Err(Refused::TooManyNodes)),
        (u32::MAX, 0, Err(Refused::TooManyNodes)),
    ] {
        assert_eq!(check::<Cluster>(&words(&[nodes, own, 0, 0])), right);
    }
}
