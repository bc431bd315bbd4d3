// SPDX-License-Identifier: GPL-2.0
//! TCP connections, segment by segment: state, time left, status.

mod common;

use common::{passes, tcp, Entry};
use conntrack::{
    proto::{Effect, Outcome},
    reason::Reason,
    status::Status,
    timeouts::Config,
    tuple::Direction::{self, Original as C, Reply as S},
};

/// A segment, and the state and time that it leads to.
type Row<'a> = (Direction, &'a str, u32, u32, &'a str, u32);

fn play(entry: &mut Entry, rows: &[Row<'_>]) {
    for &(direction, flags, seq, ack, state, secs) in rows {
        let outcome = entry.packet(direction, &tcp(direction, flags, seq, ack, 0));
        assert!(
            matches!(outcome, Outcome::Accept(_)),
            "{direction:?} {flags}: {outcome:?}"
        );
        assert_eq!(
            (entry.state.name(), entry.secs()),
            (Some(state), secs),
            "{direction:?} {flags}"
        );
    }
}

fn syn() -> Entry {
    let entry = Entry::open(&tcp(C, "S", 100, 0, 0)).unwrap();
    assert_eq!((entry.state.name(), entry.secs()), (Some("SYN_SENT"), 120));
    entry
}

fn established() -> Entry {
    let mut entry = syn();
    play(&mut entry, &[(S, "SA", 500, 101, "SYN_RECV", 60)]);
    assert!(!entry.status.contains(Status::ASSURED));
    play(&mut entry, &[(C, "A", 101, 501, "ESTABLISHED", 432_000)]);
    assert!(entry.status.contains(Status::ASSURED));
    entry
}

fn closed() -> Entry {
    let mut entry = established();
    play(
        &mut entry,
        &[
            (C, "FA", 101, 501, "FIN_WAIT", 120),
            (S, "A", 501, 102, "CLOSE_WAIT", 60),
            (S, "FA", 501, 102, "LAST_ACK", 30),
            (C, "A", 102, 502, "TIME_WAIT", 120),
        ],
    );
    entry
}

#[test]
fn handshake_and_close() {
    closed();
}

#[test]
fn the_server_may_close_first() {
    let mut entry = established();
    play(
        &mut entry,
        &[
            (S, "FA", 501, 101, "FIN_WAIT", 120),
            (C, "A", 101, 502, "CLOSE_WAIT", 60),
            (C, "FA", 101, 502, "LAST_ACK", 30),
            (S, "A", 502, 102, "TIME_WAIT", 120),
        ],
    );
}

#[test]
fn both_may_close_at_once() {
    let mut entry = established();
    play(
        &mut entry,
        &[
            (C, "FA", 101, 501, "FIN_WAIT", 120),
            (S, "FA", 501, 101, "LAST_ACK", 30),
            (C, "A", 102, 502, "TIME_WAIT", 120),
        ],
    );
}

#[test]
fn a_reset_closes() {
    let mut entry = established();
    play(&mut entry, &[(S, "R", 501, 0, "CLOSE", 10)]);
}

#[test]
fn a_refusal_ends_the_entry() {
    let mut entry = syn();
    assert_eq!(entry.packet(S, &tcp(S, "RA", 0, 101, 0)), Outcome::Kill);
}

#[test]
fn a_syn_that_comes_again_gives_no_more_time() {
    let mut entry = syn();
    let outcome = entry.packet(C, &tcp(C, "S", 100, 0, 0));
    assert_eq!(outcome, Outcome::Accept(Effect::default()));
}

#[test]
fn simultaneous_open() {
    let mut entry = syn();
    play(
        &mut entry,
        &[
            (S, "S", 500, 0, "SYN_SENT2", 120),
            (C, "SA", 100, 501, "SYN_RECV", 60),
            (S, "A", 501, 101, "ESTABLISHED", 432_000),
        ],
    );
}

#[test]
fn a_client_that_begins_again_ends_a_simultaneous_open() {
    let mut entry = syn();
    play(
        &mut entry,
        &[
            (S, "S", 500, 0, "SYN_SENT2", 120),
            (C, "SA", 100, 501, "SYN_RECV", 60),
            // Let through: the ACK that follows may answer this, so it opens nothing.
            (C, "S", 7000, 0, "SYN_RECV", 60),
            (S, "A", 501, 101, "SYN_RECV", 60),
        ],
    );
}

#[test]
fn a_new_syn_after_the_close_starts_anew() {
    let mut entry = closed();
    assert_eq!(entry.packet(C, &tcp(C, "S", 9000, 0, 0)), Outcome::Repeat);
}

#[test]
fn a_new_syn_after_ones_own_reset_starts_anew() {
    let mut entry = established();
    play(&mut entry, &[(C, "R", 101, 0, "CLOSE", 10)]);
    assert_eq!(entry.packet(C, &tcp(C, "S", 9000, 0, 0)), Outcome::Repeat);
}

#[test]
fn a_new_syn_after_the_others_reset_is_let_through() {
    let mut entry = established();
    play(&mut entry, &[(S, "R", 501, 0, "CLOSE", 10)]);
    let outcome = entry.packet(C, &tcp(C, "S", 9000, 0, 0));
    assert_eq!(outcome, passes(Reason::TcpUnjudged));
    assert_eq!(entry.state.name(), Some("CLOSE"));
}

#[test]
fn a_start_that_the_server_believes_is_believed() {
    let mut entry = established();
    // The client lost its memory and begins again, and the server answers.
    let outcome = entry.packet(C, &tcp(C, "S", 7000, 0, 0));
    assert_eq!(outcome, passes(Reason::TcpUnjudged));
    assert_eq!(entry.state.name(), Some("ESTABLISHED"));
    play(&mut entry, &[(S, "SA", 800, 7001, "SYN_RECV", 60)]);
}

#[test]
fn a_believed_start_forgets_the_close_before_it() {
    let mut entry = established();
    play(
        &mut entry,
        &[
            (C, "FA", 101, 501, "FIN_WAIT", 120),
            (C, "S", 7000, 0, "FIN_WAIT", 120),
            (S, "SA", 800, 7001, "SYN_RECV", 60),
            (S, "R", 801, 0, "CLOSE", 10),
        ],
    );
    // The close was of the connection before; this one was reset, and by the other end.
    let outcome = entry.packet(C, &tcp(C, "S", 9000, 0, 0));
    assert_eq!(outcome, passes(Reason::TcpUnjudged));
}

#[test]
fn a_challenge_is_not_the_last_ack() {
    let mut entry = established();
    play(
        &mut entry,
        &[
            (C, "FA", 101, 501, "FIN_WAIT", 120),
            (S, "FA", 501, 102, "LAST_ACK", 30),
        ],
    );
    let outcome = entry.packet(C, &tcp(C, "S", 7000, 0, 0));
    assert_eq!(outcome, passes(Reason::TcpUnjudged));
    let outcome = entry.packet(S, &tcp(S, "A", 502, 102, 0));
    assert_eq!(outcome, passes(Reason::TcpChallenge));
    assert_eq!(entry.state.name(), Some("LAST_ACK"));
    // The real one comes after it.
    play(&mut entry, &[(S, "A", 502, 102, "TIME_WAIT", 120)]);
}

#[test]
fn picked_up_in_mid_stream() {
    let mut entry = Entry::open(&tcp(C, "PA", 100, 500, 10)).unwrap();
    assert_eq!(
        (entry.state.name(), entry.secs()),
        (Some("ESTABLISHED"), 300)
    );
    play(&mut entry, &[(S, "A", 500, 110, "ESTABLISHED", 300)]);
    assert!(!entry.status.contains(Status::ASSURED));
    play(&mut entry, &[(C, "A", 110, 501, "ESTABLISHED", 432_000)]);
    assert!(entry.status.contains(Status::ASSURED));
}

#[test]
fn not_picked_up_where_that_is_off() {
    let config = Config::defaults(common::HZ);
    config.tcp_loose.set(false);
    let opened = Entry::open_with(&tcp(C, "A", 100, 500, 0), config);
    assert_eq!(opened.err(), Some(Reason::TcpNotNew));
}

#[test]
fn what_starts_nothing() {
    for flags in ["SA", "FA", "R", "RA"] {
        let opened = Entry::open(&tcp(C, flags, 1, 1, 0));
        assert_eq!(opened.err(), Some(Reason::TcpNotNew), "{flags}");
    }
}

#[test]
fn what_does_not_fit_is_invalid() {
    let mut entry = syn();
    for flags in ["A", "FA", "SA"] {
        let outcome = entry.packet(C, &tcp(C, flags, 101, 1, 0));
        assert_eq!(outcome, Outcome::Invalid(Reason::TcpState), "{flags}");
    }
    assert_eq!((entry.state.name(), entry.secs()), (Some("SYN_SENT"), 120));
}

#[test]
fn retransmissions_shorten_the_time() {
    let mut entry = established();
    // The handshake has ended with the same.
    for secs in [432_000, 432_000, 300, 300] {
        entry.packet(C, &tcp(C, "A", 101, 501, 0));
        assert_eq!(entry.secs(), secs);
    }
    entry.packet(S, &tcp(S, "A", 501, 101, 0));
    assert_eq!(entry.secs(), 432_000);
}
