// SPDX-License-Identifier: GPL-2.0
//! The target `CT`.

use conntrack::{
    event::Events,
    rule::{
        ct::{Action, Revision, Revision0, Revision1, Revision2, Template},
        Refused,
    },
    zone::{Directions, Zone},
};

use crate::{check, Sent};

/// Nothing special.
const PLAIN: Template<'static> = Template {
    zone: Zone::DEFAULT,
    events: None,
    helper: None,
    timeouts: None,
};

/// `flags`, zone, events of connections and of expectations, helper, timeout policy.
fn bytes(flags: u16, zone: u16, events: [u32; 2], names: [&[u8]; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..2].copy_from_slice(&flags.to_ne_bytes());
    bytes[2..4].copy_from_slice(&zone.to_ne_bytes());
    bytes[4..12].copy_from_slice(&crate::words(&events));
    for (at, name) in [12, 28].into_iter().zip(names) {
        bytes[at..at + name.len()].copy_from_slice(name);
    }
    bytes
}

fn plain(flags: u16) -> Vec<u8> {
    bytes(flags, 0, [0; 2], [b"", b""])
}

fn of<R: Revision>(bytes: &[u8], expected: Result<Action<'_>, Refused>) {
    let size = if R::NUMBER == 0 { 32 } else { 64 };
    let sent = Sent::new(&bytes[..size]);
    assert_eq!(sent.rule::<R>().action(), expected, "{}", R::NUMBER);
}

fn of_all(bytes: &[u8], expected: Result<Action<'_>, Refused>) {
    of::<Revision0>(bytes, expected);
    of::<Revision1>(bytes, expected);
    of::<Revision2>(bytes, expected);
}

#[test]
fn notrack_makes_all_else_void() {
    of_all(
        &bytes(1, 7, [1, 2], [&[b'x'; 16], &[b'y'; 32]]),
        Ok(Action::NoTrack),
    );
    of::<Revision2>(&plain(3), Ok(Action::NoTrack));
}

#[test]
fn nothing_is_a_template_too() {
    of_all(&plain(0), Ok(Action::Template(PLAIN)));
}

#[test]
fn flags_of_each_revision() {
    for bit in 0..16 {
        let bytes = plain(1 << bit);
        let checked = |known: u16| {
            if bit < known {
                Ok(())
            } else {
                Err(Refused::Malformed)
            }
        };
        assert_eq!(check::<Revision0>(&bytes[..32]), checked(1), "{bit}");
        assert_eq!(check::<Revision1>(&bytes), checked(1), "{bit}");
        assert_eq!(check::<Revision2>(&bytes), checked(5), "{bit}");
    }
}

#[test]
fn zones() {
    let zone = |zone| Ok(Action::Template(Template { zone, ..PLAIN }));
    of_all(
        &bytes(0, 7, [0; 2], [b"", b""]),
        zone(Zone::new(7, Directions::Both)),
    );
    for (flags, directions) in [
        (4, Directions::Original),
        (8, Directions::Reply),
        (12, Directions::Both),
    ] {
        of::<Revision2>(
            &bytes(flags, 7, [0; 2], [b"", b""]),
            zone(Zone::new(7, directions)),
        );
        of::<Revision2>(&plain(flags | 16), zone(Zone::by_mark(directions)));
    }
    of::<Revision2>(&plain(16), zone(Zone::by_mark(Directions::Both)));
}

#[test]
fn events() {
    for masks in [[1, 0], [0, 2], [0x405, 0x3]] {
        of_all(
            &bytes(0, 0, masks, [b"", b""]),
            Ok(Action::Template(Template {
                events: Some(masks.map(|mask| Events::from_bits(mask as u16))),
                ..PLAIN
            })),
        );
    }
}

#[test]
fn names_have_an_end() {
    let helper = |helper| {
        Ok(Action::Template(Template {
            helper: Some(helper),
            ..PLAIN
        }))
    };
    of_all(&bytes(0, 0, [0; 2], [b"ftp", b""]), helper(&b"ftp"[..]));
    let long = [b'x'; 32];
    of_all(
        &bytes(0, 0, [0; 2], [&long[..15], b""]),
        helper(&long[..15]),
    );
    of_all(
        &bytes(0, 0, [0; 2], [&long[..16], b""]),
        Err(Refused::NameTooLong),
    );
    for name in [&b"slow"[..], &long[..31]] {
        let expected = Ok(Action::Template(Template {
            timeouts: Some(name),
            ..PLAIN
        }));
        let sent = bytes(0, 0, [0; 2], [b"", name]);
        of::<Revision1>(&sent, expected);
        of::<Revision2>(&sent, expected);
    }
    let sent = bytes(0, 0, [0; 2], [b"", &long]);
    of::<Revision1>(&sent, Err(Refused::NameTooLong));
    of::<Revision2>(&sent, Err(Refused::NameTooLong));
}
