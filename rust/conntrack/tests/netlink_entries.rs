// SPDX-License-Identifier: GPL-2.0
//! Connections and expectations as netlink messages: byte for byte what the stock tracker of Linux
//! 7.3 has sent of the same traffic, where the bytes are marked as its own.

use conntrack::{
    event::Events,
    netlink::{
        attr::{Attribute, Attributes},
        entry::{Entry, Shift},
        expectation::{Expected, Flags},
        kind::{ct, exp_message, message},
        stats::{write_global, Counted, ExpectationsCounted},
        write::{flag, Header, NoRoom, Writer},
    },
    proto::{self, Change, State},
    show::Counters,
    status::Status,
    tuple::{protocol, Family, SourceMask, Tuple},
    zone::{Directions, Zone},
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4) | pair[1])
        .collect()
}

fn v4(address: [u8; 4]) -> [u32; 4] {
    [u32::from_ne_bytes(address), 0, 0, 0]
}

fn flow(protocol: u8, src: u8, src_id: u16, dst: u8, dst_id: u16) -> Tuple {
    Tuple::new(
        Family::Ipv4,
        protocol,
        v4([127, 0, 0, src]),
        src_id.to_be_bytes(),
        v4([127, 0, 0, dst]),
        dst_id.to_be_bytes(),
    )
}

/// An entry as it is without anything special.
fn plain<'a>(tuples: [&'a Tuple; 2], state: &'a State) -> Entry<'a> {
    Entry {
        tuples,
        zone: Zone::DEFAULT,
        status: Status::CONFIRMED,
        timeout: 27,
        state,
        mark: Some(0),
        context: Some(b"?"),
        id: 0,
        references: 1,
        master: None,
        counters: None,
        stamps: None,
        helper: None,
        labels: None,
        shifts: None,
    }
}

const LISTED: Header = Header {
    subsystem: message::SUBSYSTEM,
    message: message::NEW,
    flags: flag::MULTI,
    seq: 1,
    port: 0x55,
    family: 2,
    resource: 0,
};

fn listed(entry: &Entry<'_>) -> Vec<u8> {
    written(&LISTED, |out| entry.write_listed(out))
}

fn written(header: &Header, write: impl Fn(&mut Writer<'_>) -> Result<(), NoRoom>) -> Vec<u8> {
    let mut room = [0xaa; 2048];
    let mut out = Writer::new(&mut room);
    out.message(header, &write).unwrap();
    let message = out.as_bytes().to_vec();
    // Whatever room there is, all of it is written or nothing.
    for len in 0..message.len() {
        let mut out = Writer::new(&mut room[..len]);
        assert_eq!(out.message(header, &write), Err(NoRoom));
        assert_eq!(out.as_bytes(), b"");
    }
    message
}

/// A connection both ends of which were seen, by another firewall.
fn open_tcp() -> State {
    let mut state = State::unseen(&flow(protocol::TCP, 1, 0, 1, 0));
    let flags = proto::tcp::FlagChange {
        value: 0x23,
        mask: 0xff,
    };
    state.change(&Change::Tcp(proto::tcp::Change {
        state: Some(proto::tcp::State::Established),
        flags: [Some(flags), Some(flags)],
        scales: Some([7, 7]),
    }));
    state
}

#[test]
fn tcp() {
    let (original, reply) = (
        flow(protocol::TCP, 1, 2000, 1, 80),
        flow(protocol::TCP, 1, 80, 1, 2000),
    );
    let state = open_tcp();
    let entry = Entry {
        status: Status::from_bits(0xe),
        timeout: 0x6977f,
        id: u32::from_ne_bytes([0x0d, 0xc7, 0x1e, 0x6c]),
        counters: Some([
            Counters {
                packets: 2,
                bytes: 0x70,
            },
            Counters {
                packets: 1,
                bytes: 0x3c,
            },
        ]),
        stamps: Some([0x18eb_3d43_0ba3_dd8a, 0]),
        ..plain([&original, &reply], &state)
    };
    let stock = hex(
        "28010000000102000100000055000000020000003400018014000180080001007f000001080002007f0000011c
        00028005000100060000000600020007d0000006000300005000003400028014000180080001007f0000010800
        02007f0000011c000280050001000600000006000200005000000600030007d00000080003000000000e080008
        00000000000c001380060001003f00000008000c000dc71e6c08000b0000000001080007000006977f30000480
        2c0001800500010003000000050002000700000005000300070000000600040023000000060005002300000
        01c0009800c00010000000000000000020c00020000000000000000701c000a800c00010000000000000000010
        c000200000000000000003c100014800c00010018eb3d430ba3dd8a",
    );
    assert_eq!(listed(&entry), stock);
}

#[test]
fn icmp_and_the_nameless() {
    let state = State::Icmp;
    let (original, reply) = (
        flow(protocol::ICMP, 1, 0x53, 1, 0x0800),
        flow(protocol::ICMP, 1, 0x53, 1, 0),
    );
    let entry = Entry {
        status: Status::from_bits(0xa),
        id: u32::from_ne_bytes([0xce, 0x28, 0xc1, 0x78]),
        ..plain([&original, &reply], &state)
    };
    let stock = hex(
        "c0000000000102000100000055000000020000003c00018014000180080001007f000001080002007f00000124
        00028005000100010000000600040000530000050005000800000005000600000000003c000280140001800800
        01007f000001080002007f00000124000280050001000100000006000400005300000500050000000000050006
        0000000000080003000000000a08000800000000000c001380060001003f00000008000c00ce28c17808000b00
        00000001080007000000001b",
    );
    assert_eq!(listed(&entry), stock);

    let state = State::Generic;
    let (original, reply) = (flow(99, 1, 0, 2, 0), flow(99, 2, 0, 1, 0));
    let entry = Entry {
        timeout: 0x255,
        id: u32::from_ne_bytes([0x3b, 0x2e, 0xcd, 0x9b]),
        ..plain([&original, &reply], &state)
    };
    let stock = hex(
        "90000000000102000100000055000000020000002400018014000180080001007f000001080002007f0000020c
        00028005000100630000002400028014000180080001007f000002080002007f0000010c000280050001006300
        0000080003000000000808000800000000000c001380060001003f00000008000c003b2ecd9b08000b00000000
        010800070000000255",
    );
    assert_eq!(listed(&entry), stock);
}

#[test]
fn gre() {
    let state = State::Gre;
    let (original, reply) = (
        flow(protocol::GRE, 1, 0, 2, 5),
        flow(protocol::GRE, 2, 5, 1, 0),
    );
    let entry = Entry {
        id: u32::from_ne_bytes([0x9a, 0xe3, 0xf6, 0xd5]),
        ..plain([&original, &reply], &state)
    };
    let stock = hex(
        "b0000000000102000100000055000000020000003400018014000180080001007f000001080002007f0000021c
        000280050001002f000000060002000000000006000300000500003400028014000180080001007f0000020800
        02007f0000011c000280050001002f000000060002000005000006000300000000000800030000000008080008
        00000000000c001380060001003f00000008000c009ae3f6d508000b0000000001080007000000001b",
    );
    assert_eq!(listed(&entry), stock);
}

#[test]
fn zones() {
    let state = State::Udp(proto::Udp::default());
    let of = |port, zone, id: [u8; 4]| {
        let (original, reply) = (
            flow(protocol::UDP, 1, port, 1, 999),
            flow(protocol::UDP, 1, 999, 1, port),
        );
        listed(&Entry {
            zone,
            id: u32::from_ne_bytes(id),
            ..plain([&original, &reply], &state)
        })
    };
    let both = hex(
        "b8000000000102000100000055000000020000003400018014000180080001007f000001080002007f0000011c
        00028005000100110000000600020003ea00000600030003e700003400028014000180080001007f0000010800
        02007f0000011c00028005000100110000000600020003e700000600030003ea00000600120000070000080003
        000000000808000800000000000c001380060001003f00000008000c001825dcfd08000b000000000108000700
        0000001b",
    );
    let zone = Zone::new(7, Directions::Both);
    assert_eq!(of(1002, zone, [0x18, 0x25, 0xdc, 0xfd]), both);
    let original = hex(
        "b8000000000102000100000055000000020000003c00018014000180080001007f000001080002007f0000011c
        00028005000100110000000600020003eb00000600030003e70000060003000008000034000280140001800800
        01007f000001080002007f0000011c00028005000100110000000600020003e700000600030003eb0000080003
        000000000808000800000000000c001380060001003f00000008000c002b36e66108000b000000000108000700
        0000001b",
    );
    let zone = Zone::new(8, Directions::Original);
    assert_eq!(of(1003, zone, [0x2b, 0x36, 0xe6, 0x61]), original);
    let reply = hex(
        "b8000000000102000100000055000000020000003400018014000180080001007f000001080002007f0000011c
        00028005000100110000000600020003ec00000600030003e700003c00028014000180080001007f0000010800
        02007f0000011c00028005000100110000000600020003e700000600030003ec00000600030000090000080003
        000000000808000800000000000c001380060001003f00000008000c001090316508000b000000000108000700
        0000001b",
    );
    let zone = Zone::new(9, Directions::Reply);
    assert_eq!(of(1004, zone, [0x10, 0x90, 0x31, 0x65]), reply);
}

/// The types of the attributes in a message, in their order.
fn kinds(message: &[u8]) -> Vec<u16> {
    Attributes::new(&message[20..])
        .map(|attribute| attribute.kind())
        .collect()
}

fn find(message: &[u8], kind: u16) -> Attribute<'_> {
    Attributes::new(&message[20..])
        .find(|attribute| attribute.kind() == kind)
        .unwrap()
}

/// An entry with all that there may be.
fn full<'a>(tuples: [&'a Tuple; 2], state: &'a State, master: &'a Tuple) -> Entry<'a> {
    let shift = Shift {
        position: 1,
        before: 2,
        after: 3,
    };
    Entry {
        status: Status::CONFIRMED | Status::EXPECTED,
        mark: Some(5),
        master: Some(master),
        counters: Some(
            [Counters {
                packets: 1,
                bytes: 2,
            }; 2],
        ),
        stamps: Some([1, 2]),
        helper: Some(b"ftp"),
        labels: Some([0, 0, 0, 1 << 31]),
        shifts: Some([shift, shift]),
        ..plain(tuples, state)
    }
}

fn ipv6() -> [Tuple; 2] {
    let original = Tuple::new(
        Family::Ipv6,
        protocol::TCP,
        [1, 2, 3, 4],
        [0, 20],
        [5, 6, 7, 8],
        [4, 1],
    );
    [original, original.invert().unwrap()]
}

#[test]
fn the_order_of_all_that_a_list_tells() {
    let (state, [original, reply]) = (open_tcp(), ipv6());
    let message = listed(&full([&original, &reply], &state, &original));
    let expected = [
        ct::TUPLE_ORIG,
        ct::TUPLE_REPLY,
        ct::STATUS,
        ct::MARK,
        ct::SECCTX,
        ct::ID,
        ct::USE,
        ct::TUPLE_MASTER,
        ct::TIMEOUT,
        ct::PROTOINFO,
        ct::COUNTERS_ORIG,
        ct::COUNTERS_REPLY,
        ct::TIMESTAMP,
        ct::HELP,
        ct::LABELS,
        ct::SEQ_ADJ_ORIG,
        ct::SEQ_ADJ_REPLY,
    ];
    assert_eq!(kinds(&message), expected);
    assert_eq!(find(&message, ct::HELP).value(), hex("0800010066747000"));
    assert_eq!(
        find(&message, ct::TIMESTAMP).value(),
        hex("0c000100 0000000000000001 0c000200 0000000000000002")
    );
    assert_eq!(
        find(&message, ct::LABELS).value(),
        hex("000000000000000000000000 00000080")
    );
    assert_eq!(
        find(&message, ct::SEQ_ADJ_REPLY).value(),
        hex("08000100 00000001 08000200 00000002 08000300 00000003")
    );
    let tuple = find(&message, ct::TUPLE_ORIG);
    assert!(tuple.is_nested());
    let inside: Vec<_> = Attributes::new(tuple.value()).collect();
    assert_eq!(inside.len(), 2);
    assert_eq!(
        inside[0].value(),
        hex("1400030001000000020000000300000004000000 1400040005000000060000000700000008000000")
    );
    // The longest there can be, with the longest security context, fits where messages are made.
    let context = [b'x'; 255];
    let longest = listed(&Entry {
        context: Some(&context),
        zone: Zone::new(7, Directions::Original),
        helper: Some(b"fifteen letters"),
        ..full([&original, &reply], &state, &original)
    });
    assert!(longest.len() < 1536, "{}", longest.len());
}

#[test]
fn a_message_without_what_there_is_not() {
    let (state, [original, reply]) = (open_tcp(), ipv6());
    let full = full([&original, &reply], &state, &original);
    let entry = Entry {
        // It has a master, and is not expected: nobody is told.
        status: Status::CONFIRMED,
        labels: Some([0; 4]),
        mark: None,
        context: None,
        counters: None,
        stamps: None,
        helper: None,
        shifts: None,
        ..full
    };
    let expected = [
        ct::TUPLE_ORIG,
        ct::TUPLE_REPLY,
        ct::STATUS,
        ct::ID,
        ct::USE,
        ct::TIMEOUT,
        ct::PROTOINFO,
    ];
    assert_eq!(kinds(&listed(&entry)), expected);
}

#[test]
fn events() {
    let (state, [original, reply]) = (open_tcp(), ipv6());
    let entry = full([&original, &reply], &state, &original);
    let event = |entry: &Entry<'_>, events, time| {
        written(&LISTED, |out| entry.write_event(out, events, time))
    };
    let base = [ct::TUPLE_ORIG, ct::TUPLE_REPLY, ct::ID, ct::STATUS];
    let with = |rest: &[u16]| [&base[..], rest].concat();
    let destroyed = event(&entry, Events::DESTROY, Some(9));
    let expected = with(&[
        ct::TIMEOUT,
        ct::COUNTERS_ORIG,
        ct::COUNTERS_REPLY,
        ct::TIMESTAMP,
        ct::PROTOINFO,
        ct::MARK,
        ct::TIMESTAMP_EVENT,
    ]);
    assert_eq!(kinds(&destroyed), expected);
    // Of the end the state's number is enough.
    let info = find(&destroyed, ct::PROTOINFO);
    assert_eq!(info.value(), hex("0c000180 0500010003000000"));
    let over = Entry {
        timeout: 0,
        mark: Some(0),
        counters: None,
        ..entry
    };
    let expected = with(&[ct::TIMESTAMP, ct::PROTOINFO]);
    assert_eq!(kinds(&event(&over, Events::DESTROY, None)), expected);

    let expected = with(&[ct::TIMEOUT, ct::HELP, ct::SECCTX]);
    assert_eq!(kinds(&event(&over, Events::REPLY, None)), expected);
    let all = Events::from_bits(!Events::DESTROY.bits());
    let expected = with(&[
        ct::TIMEOUT,
        ct::PROTOINFO,
        ct::HELP,
        ct::SECCTX,
        ct::LABELS,
        ct::TUPLE_MASTER,
        ct::SEQ_ADJ_ORIG,
        ct::SEQ_ADJ_REPLY,
        ct::MARK,
    ]);
    assert_eq!(kinds(&event(&over, all, None)), expected);
}

#[test]
fn beside_a_packet() {
    let (state, [original, reply]) = (open_tcp(), ipv6());
    let entry = full([&original, &reply], &state, &original);
    let message = written(&LISTED, |out| entry.write_beside_packet(out));
    let expected = [
        ct::TUPLE_ORIG,
        ct::TUPLE_REPLY,
        ct::ID,
        ct::STATUS,
        ct::TIMEOUT,
        ct::PROTOINFO,
        ct::COUNTERS_ORIG,
        ct::COUNTERS_REPLY,
        ct::TIMESTAMP,
        ct::HELP,
        ct::SECCTX,
        ct::TUPLE_MASTER,
        ct::SEQ_ADJ_ORIG,
        ct::SEQ_ADJ_REPLY,
        ct::MARK,
        ct::LABELS,
    ];
    assert_eq!(kinds(&message), expected);
}

#[test]
fn sctp() {
    let tuple = flow(protocol::SCTP, 1, 5000, 2, 80);
    let mut state = State::unseen(&tuple);
    state.change(&Change::Sctp(proto::sctp::Change {
        state: proto::sctp::State::ShutdownAckSent,
        tags: [0x0102_0304, 5],
    }));
    let entry = plain([&tuple, &tuple], &state);
    let info = listed(&entry);
    assert_eq!(
        find(&info, ct::PROTOINFO).value(),
        hex("1c000380 0500010007000000 0800020001020304 0800030000000005")
    );
    let event = written(&LISTED, |out| entry.write_event(out, Events::DESTROY, None));
    assert_eq!(
        find(&event, ct::PROTOINFO).value(),
        hex("0c000380 0500010007000000")
    );
}

#[test]
fn expectations() {
    let tuple = Tuple::new(
        Family::Ipv4,
        protocol::TCP,
        v4([192, 168, 1, 9]),
        [0; 2],
        v4([192, 168, 1, 6]),
        5121_u16.to_be_bytes(),
    );
    let master = Tuple::new(
        Family::Ipv4,
        protocol::TCP,
        v4([192, 168, 1, 6]),
        [4, 1],
        v4([192, 168, 1, 9]),
        [0, 21],
    );
    let expected = Expected {
        tuple: &tuple,
        mask: SourceMask::host(Family::Ipv4),
        master: &master,
        timeout: 300,
        id: u32::from_ne_bytes([1, 2, 3, 4]),
        flags: Flags::PERMANENT,
        class: 0,
        helper: Some(b"ftp"),
    };
    let header = Header {
        subsystem: exp_message::SUBSYSTEM,
        message: exp_message::NEW,
        ..LISTED
    };
    let message = written(&header, |out| expected.write(out));
    let by_hand = hex("d8000000 0002 0200 01000000 55000000 02000000
        34000280 14000180 08000100c0a80109 08000200c0a80106
                 1c000280 0500010006000000 0600020000000000 0600030014010000
        34000380 14000180 08000100ffffffff 08000200ffffffff
                 1c000280 0500010006000000 0600020000000000 06000300ffff0000
        34000180 14000180 08000100c0a80106 08000200c0a80109
                 1c000280 0500010006000000 0600020004010000 0600030000150000
        080004000000012c 0800050001020304 0800080000000001 0800090000000000 0800060066747000");
    assert_eq!(message, by_hand);
}

#[test]
fn statistics() {
    let counted = Counted {
        invalid: 1,
        insert: 2,
        insert_failed: 3,
        drop: 4,
        early_drop: 5,
        error: 6,
        clash_resolved: 7,
    };
    let header = Header {
        message: message::GET_STATS_CPU,
        family: 0,
        resource: 1,
        ..LISTED
    };
    assert_eq!(
        written(&header, |out| counted.write(out)),
        hex(
            "6400000004010200010000005500000000000001 0800020000000000 0800040000000001
            0800080000000002 0800090000000003 08000a0000000004 08000b0000000005 08000c0000000006
            08000d0000000000 08000e0000000007 08000f0000000000"
        )
    );
    let header = Header {
        message: message::GET_STATS,
        family: 0,
        ..LISTED
    };
    assert_eq!(
        written(&header, |out| write_global(out, 9, 0x2000)),
        hex("2400000005010200010000005500000000000000 0800010000000009 0800020000002000")
    );
    let expected = ExpectationsCounted {
        new: 1,
        create: 2,
        delete: 3,
    };
    let mut room = [0; 64];
    let mut out = Writer::new(&mut room);
    expected.write(&mut out).unwrap();
    assert_eq!(
        out.as_bytes(),
        hex("0800010000000001 0800020000000002 0800030000000003")
    );
}

#[test]
fn text_ends_with_a_zero_and_is_padded() {
    for (text, expected) in [
        (&b""[..], "0500010000000000"),
        (b"a", "0600010061000000"),
        (b"abc", "0800010061626300"),
        (b"abcd", "0900010061626364 00000000"),
    ] {
        let mut room = [0xaa; 16];
        let mut out = Writer::new(&mut room);
        out.text(1, text).unwrap();
        assert_eq!(out.as_bytes(), hex(expected));
    }
}
