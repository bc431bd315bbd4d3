// SPDX-License-Identifier: GPL-2.0
//! TFTP: which datagrams are requests, and where the answer may come to.

mod datagrams;

use conntrack::{
    helper::{Caller, Helper, Listener, Parsed, Pinhole, Policy, Port},
    tuple::{protocol, Direction},
};
use datagrams::{
    address, assert_cut_is_subset, assert_sane, damaged, direction, ends, pinholes, pinholes_from,
    pinholes_v6, ports, read, CLIENT, CLIENT_PORT, SERVER,
};
use helpers::tftp::{request, Tftp};
use proptest::prelude::*;
use Direction::{Original, Reply};

const RRQ: &[u8] = b"\0\x01boot/pxelinux.0\0octet\0";
const WRQ: &[u8] = b"\0\x02config\0netascii\0";
/// RFC 2347: options are more strings.
const OPTIONS: &[u8] = b"\0\x01boot\0octet\0tsize\x000\0blksize\x001468\0";

#[test]
fn the_server_may_answer_from_any_port() {
    for payload in [RRQ, WRQ, OPTIONS] {
        assert_eq!(
            pinholes(&Tftp, Original, payload),
            [Pinhole {
                protocol: protocol::UDP,
                listener: Listener::Sender,
                port: Port::new(CLIENT_PORT).unwrap(),
                caller: Caller::OtherEnd,
                class: 0,
                permanent: false,
                helped: false,
            }]
        );
        assert_eq!(read(&Tftp, Original, payload).kept(), None);
    }
    let found = pinholes(&Tftp, Original, RRQ);
    assert_eq!(
        ends(Original, &found[0]),
        (Some(address(SERVER)), address(CLIENT))
    );
    assert_eq!(ports(&pinholes_v6(&Tftp, Original, RRQ)), [CLIENT_PORT]);
}

#[test]
fn one_transfer_is_expected_for_five_minutes() {
    let policy = Policy {
        most: 1,
        seconds: 300,
    };
    assert_eq!(Tftp.policies(), [policy]);
}

#[test]
fn only_the_client_asks() {
    assert_eq!(pinholes(&Tftp, Reply, RRQ), []);
    assert_eq!(pinholes(&Tftp, Reply, WRQ), []);
}

#[test]
fn a_request_from_port_zero_has_no_answer() {
    assert_eq!(pinholes_from(&Tftp, 0, RRQ), []);
    assert_eq!(ports(&pinholes_from(&Tftp, 1, RRQ)), [1]);
    assert_eq!(ports(&pinholes_from(&Tftp, 65535, RRQ)), [65535]);
}

#[test]
fn what_is_no_request_opens_nothing() {
    for payload in [
        &b"\0\x00a\0octet\0"[..],
        b"\0\x03\x01\x01data\0octet\0",
        b"\0\x04\x01\x01\0\0",
        b"\0\x05\x01\x01not found\0\0",
        b"\0\x06blksize\x001468\0",
        b"\x01\x00a\0octet\0",
        b"\x01\x01a\0octet\0",
        // No name.
        b"\0\x01\0octet\0",
    ] {
        assert_eq!(request(payload), Parsed::NoMatch, "{payload:?}");
        assert_eq!(pinholes(&Tftp, Original, payload), [], "{payload:?}");
    }
}

#[test]
fn a_request_is_known_by_the_end_of_its_mode() {
    for (payload, whole) in [(RRQ, RRQ.len()), (WRQ, WRQ.len()), (OPTIONS, 13)] {
        for len in 0..whole {
            assert_eq!(request(&payload[..len]), Parsed::NeedMore, "{len}");
        }
        for len in whole..=payload.len() {
            assert!(request(&payload[..len]).found().is_some(), "{len}");
        }
        assert_cut_is_subset(&Tftp, Original, payload);
    }
    assert_eq!(request(RRQ), Parsed::Match(&b"boot/pxelinux.0"[..]));
}

proptest! {
    #[test]
    fn any_bytes(direction in direction(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        assert_sane(&Tftp, direction, &bytes);
    }

    #[test]
    fn requests_with_some_bytes_changed(bytes in damaged(OPTIONS.to_vec())) {
        assert_sane(&Tftp, Original, &bytes);
        for pinhole in pinholes(&Tftp, Original, &bytes) {
            prop_assert_eq!(pinhole.port.get(), CLIENT_PORT);
        }
    }
}
