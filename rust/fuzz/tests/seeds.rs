// SPDX-License-Identifier: GPL-2.0
//! The seeds are what their names say: one that begins with `no_` opens nothing, any other does.
//! So a driver that no longer gets through to the helpers is noticed.

use std::{fs, path::Path};

use conntrack::helper::Pinhole;

fn check(target: &str, read: fn(&[u8]) -> Vec<Pinhole>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let found = read(&fs::read(&path).unwrap());
        assert_eq!(
            found.is_empty(),
            name.starts_with("no_"),
            "{target}/{name}: {found:?}"
        );
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
