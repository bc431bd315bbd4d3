// SPDX-License-Identifier: GPL-2.0
//! TCP segments inside and outside of the windows.

mod common;

use common::{passes, segment, tcp, Entry, HZ};
use conntrack::{
    proto::{Outcome, State},
    reason::Reason,
    status::Status,
    timeouts::Config,
    tuple::Direction::{self, Original as C, Reply as S},
};
use etherparse::TcpOptionElement::{
    self, SelectiveAcknowledgement, SelectiveAcknowledgementPermitted, WindowScale,
};

/// A connection between sequence numbers 101 and 501 whose ends offer `window` bytes, with the
/// options of the client's and the server's SYN.
fn established(window: u16, client: &[TcpOptionElement], server: &[TcpOptionElement]) -> Entry {
    let mut entry = Entry::open(&segment(C, "S", 100, 0, 0, window, client)).unwrap();
    for bytes in [
        segment(S, "SA", 500, 101, 0, window, server),
        segment(C, "A", 101, 501, 0, window, &[]),
    ] {
        let direction = if bytes[15] == 6 { C } else { S };
        assert!(matches!(
            entry.packet(direction, &bytes),
            Outcome::Accept(_)
        ));
    }
    assert!(entry.status.contains(Status::ASSURED));
    entry
}

fn plain() -> Entry {
    established(8192, &[], &[])
}

fn accepted(entry: &mut Entry, direction: Direction, bytes: &[u8]) {
    let outcome = entry.packet(direction, bytes);
    assert!(
        matches!(outcome, Outcome::Accept(effect) if effect.remark.is_none()),
        "{outcome:?}"
    );
}

#[test]
fn what_lies_above_the_window_is_invalid() {
    let mut entry = plain();
    // The last byte that the server takes is 8292.
    accepted(&mut entry, C, &tcp(C, "A", 8293, 501, 0));
    let outcome = entry.packet(C, &tcp(C, "A", 8294, 501, 10_000));
    assert_eq!(outcome, Outcome::Invalid(Reason::TcpSeqAbove));
}

#[test]
fn a_little_too_much_passes_and_its_acknowledgement_counts() {
    let mut entry = plain();
    assert_eq!(
        entry.packet(C, &tcp(C, "A", 8294, 501, 5)),
        passes(Reason::TcpOvershot)
    );
    accepted(&mut entry, S, &tcp(S, "A", 501, 8299, 0));
}

#[test]
fn data_that_was_not_seen_cannot_be_acknowledged() {
    let mut entry = plain();
    let outcome = entry.packet(S, &tcp(S, "A", 501, 102, 0));
    assert_eq!(outcome, Outcome::Invalid(Reason::TcpAckAbove));
    accepted(&mut entry, C, &tcp(C, "A", 101, 501, 1));
    accepted(&mut entry, S, &tcp(S, "A", 501, 102, 0));
}

#[test]
fn what_is_late_passes_and_does_not_count() {
    let mut entry = plain();
    for at in 0..10 {
        accepted(&mut entry, C, &tcp(C, "A", 101 + at * 8000, 501, 8000));
        accepted(&mut entry, S, &tcp(S, "A", 501, 8101 + at * 8000, 0));
    }
    assert_eq!(
        entry.packet(C, &tcp(C, "A", 101, 501, 100)),
        passes(Reason::TcpSeqBelow)
    );
    assert_eq!(
        entry.packet(S, &tcp(S, "A", 501, 101, 0)),
        passes(Reason::TcpAckBelow)
    );
}

#[test]
fn windows_scale_if_both_ends_say_so() {
    for (server, outcome) in [
        (&[WindowScale(7)][..], None),
        (&[], Some(Outcome::Invalid(Reason::TcpSeqAbove))),
    ] {
        let mut entry = established(1000, &[WindowScale(7)], server);
        // That of the SYN/ACK does not scale; this one does, or does not.
        accepted(&mut entry, S, &segment(S, "A", 501, 101, 0, 1000, &[]));
        let far = tcp(C, "A", 101 + 100_000, 501, 0);
        match outcome {
            None => accepted(&mut entry, C, &far),
            Some(outcome) => assert_eq!(entry.packet(C, &far), outcome),
        }
    }
}

#[test]
fn selective_acknowledgements_count_where_they_are_allowed() {
    let sack = [SelectiveAcknowledgement((301, 401), [None; 3])];
    for (offer, allowed) in [
        (&[SelectiveAcknowledgementPermitted][..], true),
        (&[], false),
    ] {
        let mut entry = established(8192, offer, offer);
        // The bytes up to 400 were not seen: acknowledging them is a lie, if it means anything.
        let outcome = entry.packet(S, &segment(S, "A", 501, 101, 0, 8192, &sack));
        if allowed {
            assert_eq!(outcome, Outcome::Invalid(Reason::TcpAckAbove));
        } else {
            assert!(matches!(outcome, Outcome::Accept(_)));
        }
    }
}

#[test]
fn only_the_exact_reset_ends_an_open_connection() {
    let mut entry = plain();
    let below = entry.packet(C, &tcp(C, "R", 50, 0, 0));
    // The server has acknowledged 101 with its SYN/ACK.
    assert_eq!(below, Outcome::Invalid(Reason::TcpReset));
    accepted(&mut entry, C, &tcp(C, "R", 120, 0, 0));
    assert_eq!(
        (entry.state.name(), entry.secs()),
        (Some("ESTABLISHED"), 300)
    );
    accepted(&mut entry, C, &tcp(C, "R", 101, 0, 0));
    assert_eq!(entry.state.name(), Some("CLOSE"));
}

#[test]
fn a_reset_right_behind_data_ends_it() {
    let mut entry = plain();
    accepted(&mut entry, C, &tcp(C, "PA", 101, 501, 19));
    accepted(&mut entry, C, &tcp(C, "R", 120, 0, 0));
    assert_eq!(entry.state.name(), Some("CLOSE"));
}

#[test]
fn resets_below_the_window_pass_where_that_is_wanted() {
    let mut entry = plain();
    entry.config.tcp_ignore_invalid_rst.set(true);
    accepted(&mut entry, C, &tcp(C, "R", 50, 0, 0));
    assert_eq!(
        (entry.state.name(), entry.secs()),
        (Some("ESTABLISHED"), 300)
    );
}

/// CVE-2026-63913: a SYN with a reset of any number behind it must not close.
#[test]
fn a_syn_does_not_open_the_way_for_a_reset() {
    let mut entry = plain();
    assert_eq!(
        entry.packet(C, &tcp(C, "S", 70_000, 0, 0)),
        passes(Reason::TcpUnjudged)
    );
    let outcome = entry.packet(C, &tcp(C, "R", 3_000_000, 0, 0));
    assert_eq!(outcome, Outcome::Invalid(Reason::TcpSeqAbove));
    assert_eq!(entry.state.name(), Some("ESTABLISHED"));
}

#[test]
fn a_refused_syn_on_an_open_connection_closes_it() {
    let mut entry = plain();
    assert_eq!(
        entry.packet(C, &tcp(C, "S", 70_000, 0, 0)),
        passes(Reason::TcpUnjudged)
    );
    accepted(&mut entry, S, &tcp(S, "RA", 0, 70_001, 0));
    assert_eq!(entry.state.name(), Some("CLOSE"));
}

#[test]
fn a_stale_end_is_challenged_and_resets() {
    let mut entry = Entry::open(&tcp(C, "S", 100, 0, 0)).unwrap();
    // The server still has an old connection, and asks.
    assert_eq!(
        entry.packet(S, &tcp(S, "A", 9000, 7777, 0)),
        passes(Reason::TcpUnjudged)
    );
    accepted(&mut entry, C, &tcp(C, "R", 7777, 0, 0));
    assert_eq!(entry.state.name(), Some("CLOSE"));
}

#[test]
fn unacknowledged_data_shortens_the_time() {
    let mut entry = plain();
    accepted(&mut entry, C, &tcp(C, "PA", 101, 501, 10));
    assert_eq!(entry.secs(), 300);
    accepted(&mut entry, S, &tcp(S, "A", 501, 111, 0));
    assert_eq!(entry.secs(), 432_000);
}

#[test]
fn a_closed_window_shortens_the_time() {
    let mut entry = plain();
    accepted(&mut entry, S, &segment(S, "A", 501, 101, 0, 0, &[]));
    assert_eq!(entry.secs(), 300);
    // It is probed with a byte.
    accepted(&mut entry, S, &segment(S, "A", 501, 101, 0, 8192, &[]));
    assert_eq!(entry.secs(), 432_000);
}

#[test]
fn ends_that_close_outside_of_the_windows_shorten_the_time() {
    let mut entry = plain();
    let far = |direction, flags| tcp(direction, flags, 3_000_000, 3_000_000, 0);
    assert_eq!(
        entry.packet(C, &far(C, "FA")),
        Outcome::Invalid(Reason::TcpSeqAbove)
    );
    let outcome = entry.packet(S, &far(S, "FA"));
    assert!(
        matches!(outcome, Outcome::Shorten(Reason::TcpSeqAbove, _)),
        "{outcome:?}"
    );
    assert_eq!(entry.secs(), 300);
    // It is short already.
    assert_eq!(
        entry.packet(C, &far(C, "FA")),
        Outcome::Invalid(Reason::TcpSeqAbove)
    );
}

#[test]
fn liberal_lets_all_pass() {
    let config = Config::defaults(common::HZ);
    config.tcp_be_liberal.set(true);
    let mut entry = plain();
    entry.config = config;
    accepted(&mut entry, C, &tcp(C, "A", 3_000_000, 501, 10));
    accepted(&mut entry, S, &tcp(S, "A", 501, 2_000_000, 10));
}

#[test]
fn a_picked_up_connection_is_not_judged_by_what_was_not_seen() {
    let mut entry = Entry::open(&segment(C, "PA", 100, 500, 10, 100, &[])).unwrap();
    // Its windows may scale by any number.
    accepted(&mut entry, S, &segment(S, "A", 500, 110, 0, 100, &[]));
    accepted(&mut entry, C, &tcp(C, "A", 500_000, 500, 10));
}

#[test]
fn a_tuple_that_is_used_anew_has_new_options() {
    let mut entry = established(1000, &[WindowScale(2)], &[WindowScale(2)]);
    let again = segment(C, "S", 70_000, 0, 0, 1000, &[WindowScale(7)]);
    assert_eq!(entry.packet(C, &again), passes(Reason::TcpUnjudged));
    accepted(
        &mut entry,
        S,
        &segment(S, "SA", 90_000, 70_001, 0, 1000, &[WindowScale(7)]),
    );
    accepted(
        &mut entry,
        C,
        &segment(C, "A", 70_001, 90_001, 0, 1000, &[]),
    );
    // With a scale of 7 the client takes 128,000 bytes.
    accepted(&mut entry, S, &tcp(S, "A", 90_001 + 120_000, 70_001, 0));
}

#[test]
fn who_is_picked_up_by_a_keepalive_is_placed_by_its_answer() {
    // The probe carries a number that was sent before (RFC 9293, 3.8.4): its answer acknowledges
    // one more than was seen.
    let mut entry = Entry::open(&tcp(C, "A", 100, 500, 0)).unwrap();
    accepted(&mut entry, S, &tcp(S, "A", 500, 101, 0));
    accepted(&mut entry, C, &tcp(C, "A", 101, 500, 10));
}

#[test]
fn data_across_the_edge_of_the_window_widens_it() {
    let mut entry = plain();
    // The last byte that the server takes is 8292; this ends at 8383.
    accepted(&mut entry, C, &tcp(C, "A", 8283, 501, 100));
    accepted(&mut entry, S, &tcp(S, "A", 501, 8383, 0));
    // As far back as the wider window reaches counts, but no further.
    accepted(&mut entry, C, &tcp(C, "A", 101, 501, 1));
}

#[test]
fn this_host_may_reset_it() {
    let config = Config::defaults(HZ);
    let State::Tcp(mut tcp) = plain().state else {
        panic!("no TCP")
    };
    let timeout = tcp.close(&config.timeouts).map(|ticks| ticks.as_secs(HZ));
    assert_eq!((tcp.state().name(), timeout), ("CLOSE", Some(10)));
    assert_eq!(tcp.close(&config.timeouts), None);
}
