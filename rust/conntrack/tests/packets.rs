// SPDX-License-Identifier: GPL-2.0
//! Packets right and wrong: what they are taken for.

mod common;

use common::{flow, icmp, icmp6, other, parse, tcp, udp, udp6, Entry, CLIENT, HZ, SERVER};
use conntrack::{
    ctinfo::CtInfo,
    packet::{protocol_of, tuple_of, Bytes, Checksum, Class, Packet},
    proto::State,
    reason::Reason,
    seq::Seq,
    setting::Setting,
    show::Detail,
    status::Status,
    time::Ticks,
    timeouts::Config,
    tuple::{ipv4, Direction, Family, Tuple},
};
use Direction::{Original as C, Reply as S};

fn class(bytes: &[u8]) -> Result<Class, Reason> {
    parse(bytes)?.classify()
}

#[test]
fn a_tuple_has_the_packets_addresses_and_ports() {
    let tuple = flow(&udp(C, 5));
    assert_eq!(ipv4(tuple.src_words()).octets(), CLIENT);
    assert_eq!(ipv4(tuple.dst_words()).octets(), SERVER);
    assert_eq!(tuple.src_id(), 137u16.to_be_bytes());
    assert_eq!(tuple.dst_id(), 1025u16.to_be_bytes());
    assert_eq!((tuple.family(), tuple.protocol()), (Family::Ipv4, 17));
}

#[test]
fn of_an_invalid_packet_is_told_what_can_be_read() {
    let whole = udp(C, 5);
    let of = |bytes: &[u8]| tuple_of(Family::Ipv4, Bytes::whole(bytes));
    assert_eq!(of(&whole), Some(flow(&whole)));
    // No ports, but addresses and the protocol.
    let cut = of(&whole[..22]).unwrap();
    assert_eq!((cut.src_id(), cut.dst_id()), ([0; 2], [0; 2]));
    assert_eq!(
        (cut.src(), cut.dst()),
        (flow(&whole).src(), flow(&whole).dst())
    );
    assert_eq!(cut.protocol(), 17);
    assert_eq!(of(&whole[..19]), None);
}

#[test]
fn the_payload_is_what_follows_the_transport_header() {
    let payload = |bytes: &[u8]| {
        let packet = parse(bytes).unwrap();
        packet.payload().map(|(bytes, seq)| (bytes.to_vec(), seq))
    };
    let datagram = udp(C, 5);
    assert_eq!(
        payload(&datagram),
        Some((datagram[28..].to_vec(), Seq::default()))
    );
    // What follows the datagram in its packet is none of it.
    let padded = [&datagram[..], b"padding"].concat();
    assert_eq!(payload(&padded), payload(&datagram));
    let datagram = udp6(C, 5);
    assert_eq!(payload(&datagram).unwrap().0, datagram[48..]);
    let segment = tcp(C, "A", 77, 1, 9);
    assert_eq!(
        payload(&segment),
        Some((segment[40..].to_vec(), Seq::new(77)))
    );
    assert_eq!(segment[40..].len(), 9);
    assert_eq!(
        payload(&tcp(C, "A", 77, 1, 0)),
        Some((vec![], Seq::new(77)))
    );
    assert_eq!(payload(&icmp(C, 8, 0, 1, b"x")), None);
    // Not all at hand.
    let short = Bytes::new(&segment[..44], segment.len() as u32, &());
    assert_eq!(
        Packet::parse(Family::Ipv4, short)
            .unwrap()
            .payload()
            .map(|_| ()),
        None
    );
}

#[test]
fn without_source_a_tuple_has_its_destination() {
    let tuple = flow(&udp(C, 5)).without_source();
    assert_eq!((tuple.src_words(), tuple.src_id()), ([0; 4], [0; 2]));
    assert_eq!(
        (tuple.dst(), tuple.dst_id()),
        (flow(&udp(C, 5)).dst(), flow(&udp(C, 5)).dst_id())
    );
}

#[test]
fn bytes_show_how_many_they_are() {
    let bytes = Bytes::whole(&[69, 1]);
    assert_eq!(format!("{bytes:?}"), "Bytes { head: [69, 1], len: 2, .. }");
    assert!(!bytes.is_empty() && Bytes::whole(&[]).is_empty());
}

#[test]
fn an_answer_has_the_inverse_tuple() {
    for (there, back) in [
        (udp(C, 5), udp(S, 5)),
        (udp6(C, 5), udp6(S, 5)),
        (tcp(C, "S", 1, 0, 0), tcp(S, "SA", 1, 2, 0)),
        (icmp(C, 8, 0, 77, b"x"), icmp(S, 0, 0, 77, b"x")),
        (icmp(C, 13, 0, 77, b"x"), icmp(S, 14, 0, 77, b"x")),
        (icmp(C, 15, 0, 77, b"x"), icmp(S, 16, 0, 77, b"x")),
        (icmp(C, 17, 0, 77, b"x"), icmp(S, 18, 0, 77, b"x")),
        (icmp6(C, 128, 0, 77, b"x"), icmp6(S, 129, 0, 77, b"x")),
    ] {
        let inverse = flow(&there).invert().unwrap();
        assert!(inverse.matches(&flow(&back)));
    }
}

#[test]
fn cut_at_any_length_it_is_invalid() {
    for whole in [
        tcp(C, "S", 1, 0, 0),
        udp(C, 0),
        udp6(C, 0),
        icmp(C, 8, 0, 1, b""),
    ] {
        for len in 0..whole.len() {
            assert!(
                class(&whole[..len]).is_err(),
                "{len} bytes of {}",
                whole.len()
            );
        }
        assert!(class(&whole).is_ok());
    }
}

#[test]
fn lengths_that_cannot_be() {
    let mut short_header = tcp(C, "S", 1, 0, 0);
    short_header[20 + 12] = 4 << 4;
    assert_eq!(class(&short_header), Err(Reason::TcpDataOffset));
    let mut long_header = tcp(C, "S", 1, 0, 0);
    long_header[20 + 12] = 6 << 4;
    assert_eq!(class(&long_header), Err(Reason::TcpDataOffset));
    for length in [0u16, 7, 14] {
        let mut datagram = udp(C, 5);
        datagram[24..26].copy_from_slice(&length.to_be_bytes());
        assert_eq!(class(&datagram), Err(Reason::UdpLength), "{length}");
    }
    let mut short_ip = udp(C, 5);
    short_ip[0] = 0x44;
    assert_eq!(class(&short_ip), Err(Reason::NetworkHeader));
    let mut options = udp(C, 0);
    options[0] = 0x4f;
    assert_eq!(class(&options), Err(Reason::NetworkHeader));
}

#[test]
fn padding_behind_a_datagram_is_no_harm() {
    let mut padded = udp(C, 5);
    padded.extend([0; 20]);
    assert!(class(&padded).is_ok());
}

#[test]
fn fragments_are_invalid_but_for_the_first() {
    let mut later = udp(C, 5);
    later[6..8].copy_from_slice(&1u16.to_be_bytes());
    assert_eq!(class(&later), Err(Reason::Fragment));
    let mut first = udp(C, 5);
    first[6..8].copy_from_slice(&0x2000u16.to_be_bytes());
    assert!(class(&first).is_ok());
    assert!(parse(&first).unwrap().is_first_fragment());
    assert!(!parse(&udp(C, 5)).unwrap().is_first_fragment());
}

#[test]
fn protocols_with_trackers_of_their_own_are_never_generic() {
    // CVE-2014-8160: ports that nobody looks at would all be one flow.
    let mut sctp = udp(C, 5);
    sctp[9] = 132;
    let tuple = flow(&sctp);
    assert_eq!((tuple.src_id(), tuple.dst_id()), ([0, 137], [4, 1]));
    let mut other = udp(C, 5);
    other[9] = 99;
    let tuple = flow(&other);
    assert_eq!((tuple.src_id(), tuple.dst_id()), ([0; 2], [0; 2]));
}

#[test]
fn icmp_of_the_other_family_is_invalid() {
    let mut packet = udp(C, 5);
    packet[9] = 58;
    assert_eq!(class(&packet), Err(Reason::IcmpFamily));
    let mut packet = udp6(C, 5);
    packet[6] = 1;
    assert_eq!(class(&packet), Err(Reason::IcmpFamily));
}

#[test]
fn every_icmp_type() {
    for kind in 0..=u8::MAX {
        let quoted = udp(C, 5);
        let packet = icmp(S, kind, 0, 9, &quoted);
        let found = class(&packet);
        match kind {
            3 | 4 | 5 | 11 | 12 => assert!(matches!(found, Ok(Class::Error(_))), "{kind}"),
            0 | 8 | 13..=18 => assert!(matches!(found, Ok(Class::Flow(_))), "{kind}"),
            19.. => assert_eq!(found, Err(Reason::IcmpType), "{kind}"),
            _ => assert_eq!(found, Err(Reason::IcmpNotRequest), "{kind}"),
        }
        let Ok(Class::Flow(_)) = found else {
            continue;
        };
        let opened = State::open(parse(&packet).unwrap().transport(), &Config::defaults(100));
        let request = matches!(kind, 8 | 13 | 15 | 17);
        assert_eq!(opened.is_ok(), request, "{kind}");
    }
}

#[test]
fn every_icmpv6_type() {
    for kind in 0..=u8::MAX {
        let quoted = udp6(C, 5);
        let packet = icmp6(S, kind, 0, 9, &quoted);
        let found = class(&packet);
        match kind {
            0..=127 => assert!(matches!(found, Ok(Class::Error(_))), "{kind}"),
            130..=136 | 143 | 151 | 152 => assert_eq!(found, Ok(Class::Untracked), "{kind}"),
            128 | 129 | 139 | 140 => assert!(matches!(found, Ok(Class::Flow(_))), "{kind}"),
            137 => assert_eq!(found, Err(Reason::Redirect)),
            _ => assert_eq!(found, Err(Reason::IcmpNotRequest), "{kind}"),
        }
        let Ok(Class::Flow(_)) = found else {
            continue;
        };
        let opened = State::open(parse(&packet).unwrap().transport(), &Config::defaults(100));
        assert_eq!(opened.is_ok(), matches!(kind, 128 | 139), "{kind}");
    }
}

#[test]
fn an_error_finds_the_quoted_flow_from_its_other_end() {
    let sent = udp(C, 5);
    let answer = flow(&udp(S, 5));
    let error = icmp(S, 3, 3, 0, &sent[..28]);
    let Ok(Class::Error(found)) = class(&error) else {
        panic!()
    };
    assert!(found.matches(&answer));
}

#[test]
fn a_quote_must_be_whole_up_to_the_ports() {
    let sent = udp(C, 5);
    for len in 0..24 {
        assert!(
            class(&icmp(S, 3, 3, 0, &sent[..len])).is_err(),
            "{len} bytes"
        );
    }
    for len in 24..sent.len() {
        assert!(
            class(&icmp(S, 3, 3, 0, &sent[..len])).is_ok(),
            "{len} bytes"
        );
    }
}

#[test]
fn an_error_must_go_to_the_quoted_sender() {
    let sent = udp(S, 5);
    assert_eq!(class(&icmp(S, 3, 3, 0, &sent)), Err(Reason::QuoteAddress));
}

#[test]
fn a_quote_may_not_be_a_later_fragment() {
    let mut sent = udp(C, 5);
    sent[6..8].copy_from_slice(&1u16.to_be_bytes());
    assert_eq!(class(&icmp(S, 3, 3, 0, &sent)), Err(Reason::QuoteInvalid));
}

#[test]
fn a_quoted_error_is_of_no_flow() {
    let inner = icmp(C, 3, 3, 0, &udp(S, 5));
    assert_eq!(class(&icmp(S, 3, 3, 0, &inner)), Err(Reason::QuoteInvalid));
}

#[test]
fn extension_headers_are_skipped() {
    let plain = udp6(C, 5);
    let with = |kind: u8, header: &[u8]| {
        let mut packet = plain[..40].to_vec();
        packet[6] = kind;
        packet.extend(header);
        packet.extend(&plain[40..]);
        packet
    };
    let tuple = flow(&plain);
    for (kind, header) in [
        (0u8, [17u8, 0, 0, 0, 0, 0, 0, 0].as_slice()),
        (43, &[17, 0, 0, 0, 0, 0, 0, 0]),
        (44, &[17, 0, 0, 1, 0, 0, 0, 9]),
        (51, &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (60, &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert!(flow(&with(kind, header)).matches(&tuple), "{kind}");
    }
    assert_eq!(
        class(&with(44, &[17, 0, 0, 8, 0, 0, 0, 9])),
        Err(Reason::Fragment)
    );
    assert_eq!(
        class(&with(59, &[17, 0, 0, 0, 0, 0, 0, 0])),
        Err(Reason::NoTransport)
    );
    // A chain that leads behind the end.
    assert_eq!(
        class(&with(0, &[0, 255, 0, 0, 0, 0, 0, 0])),
        Err(Reason::NoTransport)
    );
}

#[test]
fn an_extension_header_longer_than_the_packet() {
    // The kernel's function for ICMPv6 checksums stops the machine at a header outside the packet.
    let mut packet = icmp6(C, 128, 0, 1, b"ping");
    packet[6] = 60;
    packet.splice(40..40, [58, 4, 1, 4, 0, 0, 0, 0]);
    assert_eq!(parse(&packet).unwrap_err(), Reason::TransportTruncated);
    packet[41] = 0;
    assert_eq!(parse(&packet).unwrap().checksum().unwrap().offset, 48);
}

#[test]
fn no_more_extension_headers_than_the_kernel_takes() {
    let plain = udp6(C, 5);
    let with = |count: usize| {
        let mut packet = plain[..40].to_vec();
        packet[6] = 60;
        for left in (0..count).rev() {
            packet.extend([if left == 0 { 17 } else { 60 }, 0, 0, 0, 0, 0, 0, 0]);
        }
        packet.extend(&plain[40..]);
        packet
    };
    assert!(flow(&with(12)).matches(&flow(&plain)));
    assert_eq!(class(&with(13)), Err(Reason::NoTransport));
}

#[test]
fn which_checksum_counts() {
    let offset = 20;
    let of = |bytes: &[u8]| parse(bytes).unwrap().checksum();
    assert_eq!(
        of(&tcp(C, "S", 1, 0, 0)),
        Some(Checksum {
            protocol: 6,
            offset
        })
    );
    assert_eq!(
        of(&icmp(C, 8, 0, 1, b"")),
        Some(Checksum {
            protocol: 1,
            offset
        })
    );
    let mut datagram = udp(C, 5);
    assert_eq!(
        of(&datagram),
        Some(Checksum {
            protocol: 17,
            offset
        })
    );
    datagram[26..28].fill(0);
    assert_eq!(of(&datagram), None);
}

#[test]
fn udp_becomes_a_stream_after_two_seconds_both_ways() {
    let mut entry = common::Entry::open(&udp(C, 5)).unwrap();
    assert_eq!(entry.secs(), 30);
    entry.wait(3);
    entry.packet(C, &udp(C, 5));
    assert_eq!(
        (entry.secs(), entry.status.contains(Status::ASSURED)),
        (30, false)
    );
    entry.packet(S, &udp(S, 5));
    assert_eq!(
        (entry.secs(), entry.status.contains(Status::ASSURED)),
        (30, false)
    );
    entry.packet(C, &udp(C, 5));
    assert_eq!(
        (entry.secs(), entry.status.contains(Status::ASSURED)),
        (120, true)
    );
}

#[test]
fn a_stream_stays_one_when_the_clock_wraps() {
    let mut entry = common::Entry::open(&udp(C, 5)).unwrap();
    entry.packet(S, &udp(S, 5));
    entry.wait(3);
    entry.packet(C, &udp(C, 5));
    assert!(entry.status.contains(Status::ASSURED));
    // So long that its beginning looks like the future.
    for _ in 0..2 {
        entry.now = entry.now.add(Ticks::new(0x5000_0000));
        entry.packet(C, &udp(C, 5));
        assert_eq!(entry.secs(), 120);
    }
}

#[test]
fn a_question_and_its_answer_are_no_stream() {
    let mut entry = common::Entry::open(&udp(C, 5)).unwrap();
    for _ in 0..5 {
        entry.packet(S, &udp(S, 5));
        entry.packet(C, &udp(C, 5));
    }
    assert_eq!(
        (entry.secs(), entry.status.contains(Status::ASSURED)),
        (30, false)
    );
}

#[test]
fn times_of_the_others() {
    let mut other = udp(C, 5);
    other[9] = 99;
    for (packet, secs) in [
        (other, 600),
        (icmp(C, 8, 0, 1, b""), 30),
        (icmp6(C, 128, 0, 1, b""), 30),
    ] {
        assert_eq!(common::Entry::open(&packet).unwrap().secs(), secs);
    }
}

/// A tuple is found whatever its direction says.
#[test]
fn matching_ignores_the_direction() {
    let tuple: Tuple = flow(&udp(C, 5));
    assert!(tuple.matches(&tuple.with_direction(S)));
    assert_ne!(tuple, tuple.with_direction(S));
}

#[test]
fn gre_has_a_key_where_pptp_gives_it_one() {
    // RFC 2637, 4.1: flags with the key's, version 1, protocol PPP, length, call.
    let call = |protocol: [u8; 2]| {
        let [a, b] = protocol;
        other(C, 47, &[0x20, 1, a, b, 0, 0, 0x12, 0x34])
    };
    assert_eq!(flow(&call([0x88, 0x0b])).dst_id(), [0x12, 0x34]);
    assert_eq!(class(&call([8, 0])), Err(Reason::GreProtocol));
    // Too short for a call, of another version, of nothing at all.
    for payload in [
        &[0x20, 1, 0x88, 0x0b, 0, 0][..],
        &[0x20, 0, 8, 0, 0, 0, 0x12, 0x34],
        &[],
    ] {
        assert_eq!(flow(&other(C, 47, payload)).dst_id(), [0, 0]);
    }
}

#[test]
fn gre_both_ways_lives_longer() {
    let mut entry = Entry::open(&other(C, 47, &[0; 8])).unwrap();
    assert_eq!(entry.secs(), 30);
    entry.packet(S, &other(S, 47, &[0; 8]));
    entry.packet(S, &other(S, 47, &[0; 8]));
    assert_eq!(entry.secs(), 180);
    assert!(entry.status.contains(Status::ASSURED));
    let config = Config::defaults(HZ);
    assert_eq!(
        entry.state.detail(&config.timeouts, HZ),
        Detail::Timeouts(30, 180)
    );
    assert!(entry.state.may_merge() && !entry.state.is_closing());
}

/// A redirect (RFC 4861, 4.5) whose option is of a type and length, quoting a packet.
fn redirect(kind: u8, length: u8, quoted: &[u8]) -> Vec<u8> {
    let mut rest = vec![0; 32];
    rest.extend([kind, length, 0, 0, 0, 0, 0, 0]);
    rest.extend(quoted);
    let mut packet = icmp6(S, 137, 0, 0, &rest);
    // From a router on the link, whom no other router has passed on.
    packet[7] = 255;
    packet[8..24].copy_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet
}

#[test]
fn a_redirect_quotes_in_an_option() {
    let sent = udp6(C, 8);
    let answer = flow(&sent).invert().unwrap();
    let right = redirect(4, 7, &sent);
    assert_eq!(class(&right), Ok(Class::Error(answer)));
    assert_eq!(class(&redirect(4, 0, &sent)), Err(Reason::Redirect));
    assert_eq!(class(&redirect(1, 7, &sent)), Err(Reason::IcmpNotRequest));
    assert_eq!(class(&right[..40 + 41]), Err(Reason::Redirect));
    assert_eq!(class(&right[..40 + 39]), Err(Reason::TransportTruncated));
    let mut passed_on = right.clone();
    passed_on[7] = 254;
    assert_eq!(class(&passed_on), Err(Reason::Redirect));
    let mut from_afar = right;
    from_afar[8] = 0x20;
    assert_eq!(class(&from_afar), Err(Reason::Redirect));
}

#[test]
fn numbers_that_the_kernel_uses() {
    for bits in 0..=u8::MAX {
        let known = CtInfo::from_bits(bits);
        assert_eq!(
            known.map(CtInfo::bits),
            matches!(bits, 0..=4 | 7).then_some(bits)
        );
    }
    assert_eq!(Family::from_number(2), Some(Family::Ipv4));
    assert_eq!(Family::from_number(10), Some(Family::Ipv6));
    assert_eq!(Family::from_number(3), None);
    for direction in [C, S] {
        assert_ne!(direction, direction.other());
        assert_eq!(direction.other().index(), 1 - direction.index());
    }
    assert_eq!(Status::from_bits(8), Status::CONFIRMED);
}

#[test]
fn what_a_packet_is_of() {
    assert_eq!(
        protocol_of(Family::Ipv4, Bytes::whole(&udp(C, 1))),
        Some(17)
    );
    assert_eq!(protocol_of(Family::Ipv6, Bytes::whole(&udp(C, 1))), None);
    let bytes = udp6(C, 1);
    let packet = parse(&bytes).unwrap();
    assert_eq!((packet.family(), packet.protocol()), (Family::Ipv6, 17));
}

#[test]
fn a_setting_holds_what_it_is_given() {
    let number = Setting::new(7u32);
    number.set(u32::MAX);
    assert_eq!(
        (number.get(), format!("{number:?}")),
        (u32::MAX, "4294967295".into())
    );
    let switch = Setting::new(true);
    switch.set(false);
    assert!(!switch.get());
    let small = Setting::new(255u8);
    assert_eq!(small.get(), 255);
}
