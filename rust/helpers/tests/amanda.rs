// SPDX-License-Identifier: GPL-2.0
//! Amanda: which answers name streams, and which ports they open.

mod datagrams;

use conntrack::{
    helper::{Helper, Parsed, Pinhole, Policy, Port, Wanted},
    tuple::{protocol, Direction},
};
use datagrams::{
    address, assert_cut_is_subset, assert_sane, damaged, direction, ends, pinholes, pinholes_v6,
    ports, read, CLIENT, SERVER,
};
use helpers::amanda::{streams, Amanda};
use proptest::prelude::*;
use Direction::{Original, Reply};

const ANSWER: &str = "Amanda 2.6 REP HANDLE 000-78B0F40A SEQ 1246283281\n\
                      CONNECT DATA 11000 MESG 11001 INDEX 11002\n\
                      OPTIONS features=ffff;hostname=host;\n";

/// An answer with this line in it.
fn answer(line: &str) -> String {
    format!("Amanda 3.5 REP HANDLE 000-00000001 SEQ 1\nKENCRYPT\n{line}\nOPTIONS ;\n")
}

fn found(payload: &str) -> Vec<u16> {
    ports(&pinholes(&Amanda::default(), Reply, payload.as_bytes()))
}

#[test]
fn the_server_may_fetch_each_stream() {
    let helper = Amanda::default();
    let found = pinholes(&helper, Reply, ANSWER.as_bytes());
    let expected = [11000, 11001, 11002]
        .map(|port| Pinhole::to_sender(protocol::TCP, Port::new(port).unwrap()));
    assert_eq!(found, expected);
    // The server has asked, so it is the client of the master connection.
    assert_eq!(
        ends(Reply, &found[0]),
        (Some(address(CLIENT)), address(SERVER))
    );
    let found = pinholes_v6(&helper, Reply, ANSWER.as_bytes());
    assert_eq!(ports(&found), [11000, 11001, 11002]);
}

#[test]
fn four_streams_are_expected_for_three_minutes() {
    let policy = Policy {
        most: 4,
        seconds: 180,
    };
    assert_eq!(Amanda::default().policies(), [policy]);
}

#[test]
fn every_answer_keeps_the_master() {
    let kept = |helper: Amanda, direction, payload: &[u8]| -> Option<u32> {
        let wanted: Wanted = read(&helper, direction, payload);
        wanted.kept()
    };
    for payload in [
        ANSWER.as_bytes(),
        b"Amanda 2.6 ACK HANDLE 000-00000001 SEQ 1\n",
        b"x",
    ] {
        assert_eq!(kept(Amanda::default(), Reply, payload), Some(300));
        assert_eq!(kept(Amanda::new(7200), Reply, payload), Some(7200));
        assert_eq!(kept(Amanda::new(7200), Original, payload), None);
    }
}

#[test]
fn only_the_other_end_answers() {
    assert_eq!(
        pinholes(&Amanda::default(), Original, ANSWER.as_bytes()),
        []
    );
}

#[test]
fn only_answers_name_streams() {
    let connect = "CONNECT DATA 11000\n";
    for header in [
        "Amanda 2.6 REP HANDLE 000-78B0F40A SEQ 1246283281\n",
        "Amanda 3.5.1 PREP HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda 2.4 REP HANDLE  SEQ 0\n",
    ] {
        assert_eq!(found(&format!("{header}{connect}")), [11000], "{header}");
    }
    for header in [
        "",
        "\n",
        "Amanda 2.6 REQ HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda 2.6 ACK HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda 2.6 NAK HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda 2.6 REPX HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda 2.6 rep HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda 2.6 REP SEQ 1\n",
        "Amanda 2.6 REP\n",
        "Amanda 26 REP HANDLE 000-78B0F40A SEQ 1\n",
        "Amanda REP HANDLE 000-78B0F40A SEQ 1\n",
        "amanda 2.6 REP HANDLE 000-78B0F40A SEQ 1\n",
        "Amandas 2.6 REP HANDLE 000-78B0F40A SEQ 1\n",
        " Amanda 2.6 REP HANDLE 000-78B0F40A SEQ 1\n",
        "\nAmanda 2.6 REP HANDLE 000-78B0F40A SEQ 1\n",
    ] {
        assert_eq!(found(&format!("{header}{connect}")), [], "{header}");
        let payload = format!("{header}{connect}");
        assert_eq!(streams(payload.as_bytes()), Parsed::NoMatch, "{header}");
    }
}

#[test]
fn streams_stand_in_a_line_of_their_own() {
    assert_eq!(found(&answer("CONNECT STATE 5 DATA 6")), [5, 6]);
    for line in [
        "",
        "CONNECT",
        "CONNECT ",
        "CONNECT DATA",
        "CONNECT DATA ",
        "CONNECTED DATA 11000",
        "connect DATA 11000",
        " CONNECT DATA 11000",
        "ERROR CONNECT DATA 11000",
        "DATA 11000",
        "CONNECT: DATA 11000",
    ] {
        assert_eq!(found(&answer(line)), [], "{line}");
    }
    let twice = answer("CONNECT DATA 5\nCONNECT MESG 6");
    assert_eq!(found(&twice), [5]);
    let in_the_header = "Amanda 2.6 REP HANDLE CONNECT DATA 5\nOPTIONS ;\n";
    assert_eq!(found(in_the_header), []);
}

#[test]
fn of_the_streams_only_known_ones_with_a_port_count() {
    for (line, expected) in [
        ("CONNECT DATA 1 MESG 65535", &[1, 65535][..]),
        ("CONNECT DATA 0 MESG 2", &[2]),
        ("CONNECT DATA 65536 MESG 2", &[2]),
        ("CONNECT DATA 65615 MESG 2", &[2]),
        ("CONNECT DATA 99999999999 MESG 2", &[2]),
        // As Amanda says that there is no such stream.
        ("CONNECT DATA 50000 MESG 50001 INDEX -1", &[50000, 50001]),
        ("CONNECT DATA +1 MESG 2", &[2]),
        ("CONNECT DATA 1x MESG 2", &[2]),
        ("CONNECT DATA 1, MESG 2", &[2]),
        ("CONNECT DATA x MESG 2", &[2]),
        ("CONNECT DATAX 1 MESG 2", &[2]),
        ("CONNECT data 1 MESG 2", &[2]),
        ("CONNECT SHELL 22 MESG 2", &[2]),
        ("CONNECT DATA 1  MESG 2", &[1]),
        ("CONNECT DATA 1 MESG 2 INDEX 3 STATE 4", &[1, 2, 3, 4]),
        ("CONNECT DATA 1 MESG 2 INDEX 3 STATE 4 CMD 5", &[1, 2, 3, 4]),
        (
            "CONNECT DATA 1 MESG 2 INDEX 3 STATE 4 DATA 5 MESG 6 DATA 7 DATA 8 DATA 9",
            &[1, 2, 3, 4],
        ),
    ] {
        assert_eq!(found(&answer(line)), expected, "{line}");
    }
}

#[test]
fn a_line_without_its_end_does_not_count() {
    let begin = "Amanda 2.6 REP HANDLE 000-00000001 SEQ 1\nCONNECT DATA 1100";
    assert_eq!(found(begin), []);
    assert_eq!(streams(begin.as_bytes()), Parsed::NeedMore);
    assert_eq!(found(&format!("{begin}0\n")), [11000]);
    for text in [
        ANSWER.to_string(),
        answer("CONNECT DATA 1 MESG 2 INDEX 3 STATE 4"),
    ] {
        assert_cut_is_subset(&Amanda::default(), Reply, text.as_bytes());
    }
}

proptest! {
    #[test]
    fn any_bytes(direction in direction(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_sane(&Amanda::default(), direction, &bytes);
    }

    #[test]
    fn any_streams(line in "[A-Z0-9 \\-]{0,60}") {
        let payload = answer(&format!("CONNECT {line}"));
        assert_sane(&Amanda::default(), Reply, payload.as_bytes());
        prop_assert!(found(&payload).len() <= 4);
    }

    #[test]
    fn answers_with_some_bytes_changed(bytes in damaged(ANSWER.as_bytes().to_vec())) {
        assert_sane(&Amanda::default(), Reply, &bytes);
    }
}
