// SPDX-License-Identifier: GPL-2.0
//! Lines of the list of connections, against those of the documents that the project is made from
//! (wrapped lines joined, blanks squeezed).

use std::fmt::Write;

use conntrack::{
    netlink::expectation::Flags,
    show::{Buffer, Counters, Detail, Entry},
    status::Status,
    tuple::{Family, Tuple},
    zone::{Directions, Zone},
};

fn address(bytes: [u8; 4]) -> [u32; 4] {
    [u32::from_ne_bytes(bytes), 0, 0, 0]
}

fn tuple(protocol: u8, src: [u8; 4], src_id: u16, dst: [u8; 4], dst_id: [u8; 2]) -> Tuple {
    Tuple::new(
        Family::Ipv4,
        protocol,
        address(src),
        src_id.to_be_bytes(),
        address(dst),
        dst_id,
    )
}

fn line(tuple: &Tuple, remaining: u32, state: Detail, status: Status) -> String {
    let mut text = String::new();
    Entry {
        remaining,
        state,
        original: tuple,
        reply: &tuple.invert().unwrap(),
        status,
        mark: Some(0),
        context: None,
        zone: None,
        age: None,
        counters: None,
        references: 1,
    }
    .write_line(&mut text)
    .unwrap();
    text
}

#[test]
fn tcp() {
    let flow = tuple(
        6,
        [192, 168, 1, 6],
        32775,
        [192, 168, 1, 9],
        22u16.to_be_bytes(),
    );
    assert_eq!(
        line(&flow, 117, Detail::State("SYN_SENT"), Status::NONE),
        "tcp      6 117 SYN_SENT src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 [UNREPLIED] \
         src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 use=1\n"
    );
    let flow = tuple(
        6,
        [192, 168, 1, 5],
        1031,
        [192, 168, 1, 35],
        23u16.to_be_bytes(),
    );
    assert_eq!(
        line(&flow, 57, Detail::State("SYN_RECV"), Status::SEEN_REPLY),
        "tcp      6 57 SYN_RECV src=192.168.1.5 dst=192.168.1.35 sport=1031 dport=23 \
         src=192.168.1.35 dst=192.168.1.5 sport=23 dport=1031 use=1\n"
    );
    assert_eq!(
        line(
            &flow,
            431_999,
            Detail::State("ESTABLISHED"),
            Status::SEEN_REPLY | Status::ASSURED
        ),
        "tcp      6 431999 ESTABLISHED src=192.168.1.5 dst=192.168.1.35 sport=1031 dport=23 \
         src=192.168.1.35 dst=192.168.1.5 sport=23 dport=1031 [ASSURED] use=1\n"
    );
}

#[test]
fn udp_icmp_unknown() {
    let (a, b) = ([192, 168, 1, 2], [192, 168, 1, 5]);
    assert_eq!(
        line(
            &tuple(17, a, 137, b, 1025u16.to_be_bytes()),
            25,
            Detail::None,
            Status::NONE
        ),
        "udp      17 25 src=192.168.1.2 dst=192.168.1.5 sport=137 dport=1025 [UNREPLIED] \
         src=192.168.1.5 dst=192.168.1.2 sport=1025 dport=137 use=1\n"
    );
    assert_eq!(
        line(
            &tuple(1, a, 33029, b, [8, 0]),
            25,
            Detail::None,
            Status::NONE
        ),
        "icmp     1 25 src=192.168.1.2 dst=192.168.1.5 type=8 code=0 id=33029 [UNREPLIED] \
         src=192.168.1.5 dst=192.168.1.2 type=0 code=0 id=33029 use=1\n"
    );
    assert_eq!(
        line(&tuple(99, a, 0, b, [0, 0]), 598, Detail::None, Status::NONE),
        "unknown  99 598 src=192.168.1.2 dst=192.168.1.5 [UNREPLIED] \
         src=192.168.1.5 dst=192.168.1.2 use=1\n"
    );
}

#[test]
fn mark_and_counters() {
    let flow = tuple(17, [10, 0, 0, 1], 1, [10, 0, 0, 2], [0, 2]);
    let mut text = String::new();
    Entry {
        remaining: 119,
        state: Detail::None,
        original: &flow,
        reply: &flow.invert().unwrap(),
        status: Status::SEEN_REPLY | Status::ASSURED,
        mark: Some(7),
        context: Some("web"),
        zone: Some(Zone::new(5, Directions::Original)),
        age: None,
        counters: Some([
            Counters {
                packets: 3,
                bytes: 99,
            },
            Counters {
                packets: 2,
                bytes: 88,
            },
        ]),
        references: 2,
    }
    .write_line(&mut text)
    .unwrap();
    assert_eq!(
        text,
        "udp      17 119 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 zone-orig=5 packets=3 bytes=99 \
         src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 packets=2 bytes=88 [ASSURED] mark=7 \
         secctx=web use=2\n"
    );
}

#[test]
fn a_buffer_refuses_what_does_not_fit() {
    let mut room = [0; 5];
    let mut buffer = Buffer::new(&mut room);
    buffer.write_str("abc").unwrap();
    assert!(buffer.write_str("def").is_err());
    assert_eq!(buffer.as_bytes(), b"abc");
    buffer.write_str("de").unwrap();
    assert_eq!(buffer.as_bytes(), b"abcde");
}

#[test]
fn stocks_form() {
    let words = |last: u8| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        bytes[15] = last;
        [0, 4, 8, 12].map(|at| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()))
    };
    let flow = Tuple::new(Family::Ipv6, 47, words(1), [0, 0], words(2), [0, 5]);
    let mut text = String::new();
    Entry {
        remaining: 29,
        state: Detail::Timeouts(30, 180),
        original: &flow,
        reply: &flow.invert().unwrap(),
        status: Status::NONE,
        mark: Some(0),
        context: None,
        zone: Some(Zone::DEFAULT),
        age: Some(3),
        counters: None,
        references: 2,
    }
    .write_long_line(&mut text)
    .unwrap();
    assert_eq!(
        text,
        "ipv6     10 gre      47 29 timeout=30, stream_timeout=180 \
         src=2001:0db8:0000:0000:0000:0000:0000:0001 dst=2001:0db8:0000:0000:0000:0000:0000:0002 \
         srckey=0x0 dstkey=0x5 [UNREPLIED] \
         src=2001:0db8:0000:0000:0000:0000:0000:0002 dst=2001:0db8:0000:0000:0000:0000:0000:0001 \
         srckey=0x5 dstkey=0x0 mark=0 zone=0 delta-time=3 use=2\n"
    );
}

#[test]
fn stocks_form_of_the_others() {
    for (protocol, detail, begin, ids) in [
        (
            132,
            Detail::State("CLOSED"),
            "ipv4     2 sctp     132 9 CLOSED",
            "sport=1 dport=2",
        ),
        (
            17,
            Detail::None,
            "ipv4     2 udp      17 9",
            "sport=1 dport=2",
        ),
        (99, Detail::None, "ipv4     2 unknown  99 9", ""),
    ] {
        let flow = tuple(protocol, [10, 0, 0, 1], 1, [10, 0, 0, 2], [0, 2]);
        let mut text = String::new();
        Entry {
            remaining: 9,
            state: detail,
            original: &flow,
            reply: &flow.invert().unwrap(),
            status: Status::SEEN_REPLY,
            mark: None,
            context: None,
            zone: None,
            age: None,
            counters: None,
            references: 2,
        }
        .write_long_line(&mut text)
        .unwrap();
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains(ids), "{text}");
    }
}

#[test]
fn protocols_have_the_kernels_names() {
    let names = [1, 6, 17, 47, 132, 58, 50].map(conntrack::show::protocol_name);
    assert_eq!(
        names,
        ["icmp", "tcp", "udp", "gre", "sctp", "icmpv6", "unknown"]
    );
}

#[test]
fn what_is_expected() {
    let expected = tuple(
        6,
        [192, 168, 1, 9],
        0,
        [192, 168, 1, 6],
        5001u16.to_be_bytes(),
    );
    let of = |tuple: &Tuple, flags| {
        let entry = conntrack::show::Expected {
            remaining: 299,
            tuple,
            flags: Flags::from_bits(flags),
            helper: b"ftp",
        };
        let (mut short, mut long) = (String::new(), String::new());
        entry.write_line(&mut short).unwrap();
        entry.write_long_line(&mut long).unwrap();
        (short, long)
    };
    let ends = "src=192.168.1.9 dst=192.168.1.6 sport=0 dport=5001 ";
    assert_eq!(
        of(&expected, 0),
        (
            format!("299 proto=6 {ends}\n"),
            format!("299 l3proto = 2 proto=6 {ends}ftp\n")
        )
    );
    for (flags, kinds) in [
        (1, "PERMANENT"),
        (2, "INACTIVE"),
        (4, "USERSPACE"),
        (7, "PERMANENT,INACTIVE,USERSPACE"),
    ] {
        let line = format!("299 l3proto = 2 proto=6 {ends}{kinds} ftp\n");
        assert_eq!(of(&expected, flags).1, line);
    }
}
