// SPDX-License-Identifier: GPL-2.0
//! The seeds are what their names say: one that begins with `no_` opens nothing, or does nothing to a connection,
//! or is no request; any other does, or is one. So a driver that no longer gets through is noticed.

use std::{fmt::Debug, fs, path::Path};

use conntrack::helper::Pinhole;

fn check(target: &str, read: fn(&[u8]) -> Vec<Pinhole>) {
    check_by(target, |input| {
        let found = read(input);
        (!found.is_empty(), found)
    });
}

/// The same where `read` says whether an input is what it should be, and what it has found.
fn check_by<F: Debug>(target: &str, read: impl Fn(&[u8]) -> (bool, F)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let (is, found) = read(&fs::read(&path).unwrap());
        assert_eq!(is, !name.starts_with("no_"), "{target}/{name}: {found:?}");
        seeds += 1;
    }
    assert!(seeds >= 10, "{target}: {seeds} seeds");
}

#[test]
fn ftp() {
    check("ftp", driver::ftp);
}

#[test]
fn irc() {
    check("irc", driver::irc);
}

#[test]
fn tftp() {
    check("tftp", driver::tftp);
}

#[test]
fn amanda() {
    check("amanda", driver::amanda);
}

#[test]
fn talk() {
    check("talk", driver::talk);
}

#[test]
fn packets() {
    check_by("packets", |input| {
        let counted = driver::packets(input);
        (counted > 0, counted)
    });
}

#[test]
fn netlink() {
    check_by("netlink", |input| (driver::netlink(input), ()));
}
