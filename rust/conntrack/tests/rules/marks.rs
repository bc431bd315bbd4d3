// SPDX-License-Identifier: GPL-2.0
//! Marks: `connmark`, `CONNMARK`, `connlabel`, `CONNSECMARK`.

use std::cell::Cell;

use conntrack::rule::{
    connlabel::Connlabel,
    connmark::{Action, Connmark, Target, Target1, Target2},
    secmark::{self, Connsecmark},
    Refused,
};

use crate::{check, words, Sent};

#[test]
fn a_mark_under_a_mask() {
    for (mark, mask, found, right) in [
        (5, u32::MAX, 5, true),
        (5, u32::MAX, 7, false),
        (5, 0xd, 7, true),
        (5, 0xf, 0xf5, true),
        // Bits outside of the mask are in no mark under it.
        (0x15, 0xf, 0x15, false),
        (0, 0, 9, true),
    ] {
        for inverted in [0, 1] {
            let sent = Sent::new(&words(&[mark, mask, inverted]));
            let matches = sent.rule::<Connmark>().matches(found);
            assert_eq!(matches, right != (inverted != 0), "{mark}/{mask} {found}");
        }
    }
}

/// `--set-xmark`, `--save-mark` and `--restore-mark`, with the marks of connection and packet.
#[test]
fn marks_are_set_and_copied() {
    let [connection, packet] = [0x1234_5678, 0x9abc_def0];
    for (mode, mark, ctmask, nfmask, expected) in [
        (0, 0x0000_00ff, 0, 0, Action::Connection(0x1234_5687)),
        (0, 0x0000_0042, u32::MAX, 0, Action::Connection(0x42)),
        (0, 0x0000_0042, 0xff, 0, Action::Connection(0x1234_5642)),
        (1, 0, u32::MAX, u32::MAX, Action::Connection(packet)),
        (1, 0, 0xffff, 0xffff, Action::Connection(0x1234_def0)),
        (1, 0, 0, 0xffff, Action::Connection(0x1234_5678 ^ 0xdef0)),
        (2, 0, u32::MAX, u32::MAX, Action::Packet(connection)),
        (2, 0, 0xffff, 0xffff, Action::Packet(0x9abc_5678)),
        (
            2,
            0,
            0xffff_0000,
            0xff00_0000,
            Action::Packet(0x00bc_def0 ^ 0x1234_0000),
        ),
        (3, 1, 1, 1, Action::Nothing),
    ] {
        let mut sent = words(&[mark, ctmask, nfmask]);
        sent.extend([mode, 0, 0, 0]);
        let one = Sent::new(&sent);
        assert_eq!(one.rule::<Target1>().action(connection, packet), expected);
        sent[12..].copy_from_slice(&[0, 0, mode, 0]);
        let two = Sent::new(&sent);
        assert_eq!(two.rule::<Target2>().action(connection, packet), expected);
    }
}

#[test]
fn marks_are_shifted() {
    let [connection, packet] = [0x0000_0f12, 0x0000_0034];
    for (mode, direction, bits, expected) in [
        // What is set is shifted as a whole: 0xf42, for 0x42 under the mask 0xff.
        (0, 0, 8, Action::Connection(0x000f_4200)),
        (0, 1, 4, Action::Connection(0x0000_00f4)),
        // What is saved or restored, before it is put under the mask of the other.
        (1, 0, 4, Action::Connection(0x0f00 ^ 0x340)),
        (1, 1, 4, Action::Connection(0x0f03)),
        (2, 0, 8, Action::Packet(0x1200)),
        (2, 1, 4, Action::Packet(0x0001)),
        (2, 1, 31, Action::Packet(0)),
    ] {
        let mut sent = words(&[0x42, 0xff, 0xff]);
        sent.extend([direction, bits, mode, 0]);
        assert_eq!(check::<Target2>(&sent), Ok(()));
        let found = Sent::new(&sent);
        let found = found.rule::<Target2>().action(connection, packet);
        assert_eq!(found, expected, "{mode} {direction} {bits}");
    }
    for (direction, bits) in [(2, 0), (255, 1), (0, 32), (1, 255)] {
        let mut sent = words(&[0; 3]);
        sent.extend([direction, bits, 0, 0]);
        assert_eq!(check::<Target2>(&sent), Err(Refused::Malformed));
    }
}

fn label(bit: u16, options: u16) -> Vec<u8> {
    [bit, options]
        .iter()
        .flat_map(|half| half.to_ne_bytes())
        .collect()
}

#[test]
fn labels() {
    // Options, whether the connection has the label; whether it matches, and gets it.
    for (options, has, matches, sets) in [
        (0, None, false, false),
        (0, Some(false), false, false),
        (0, Some(true), true, false),
        (1, None, true, false),
        (1, Some(false), true, false),
        (1, Some(true), false, false),
        (2, None, false, false),
        (2, Some(false), true, true),
        (2, Some(true), true, false),
        (3, None, true, false),
        (3, Some(false), false, true),
        (3, Some(true), false, false),
    ] {
        let set = Cell::new(false);
        let sent = Sent::new(&label(127, options));
        let rule = sent.rule::<Connlabel>();
        assert_eq!(rule.bit(), 127);
        assert_eq!(
            rule.matches(has, || set.set(true)),
            matches,
            "{options} {has:?}"
        );
        assert_eq!(set.get(), sets, "{options} {has:?}");
    }
}

#[test]
fn labels_that_there_are() {
    assert_eq!(check::<Connlabel>(&label(0, 0)), Ok(()));
    assert_eq!(check::<Connlabel>(&label(127, 3)), Ok(()));
    assert_eq!(
        check::<Connlabel>(&label(128, 0)),
        Err(Refused::NoSuchLabel)
    );
    assert_eq!(
        check::<Connlabel>(&label(65535, 0)),
        Err(Refused::NoSuchLabel)
    );
    assert_eq!(check::<Connlabel>(&label(0, 4)), Err(Refused::Malformed));
}

#[test]
fn security_marks_take_nothings_place() {
    use secmark::Action::{Nothing, Restore, Save};
    for (mode, connection, packet, expected) in [
        (1, 0, 5, Save),
        (1, 4, 5, Nothing),
        (1, 0, 0, Nothing),
        (2, 4, 0, Restore),
        (2, 4, 5, Nothing),
        (2, 0, 0, Nothing),
    ] {
        let sent = Sent::new(&[mode]);
        let found = sent.rule::<Connsecmark>().action(connection, packet);
        assert_eq!(found, expected, "{mode} {connection} {packet}");
    }
    for mode in 0..=u8::MAX {
        let right = if mode == 1 || mode == 2 {
            Ok(())
        } else {
            Err(Refused::Malformed)
        };
        assert_eq!(check::<Connsecmark>(&[mode]), right);
    }
}
