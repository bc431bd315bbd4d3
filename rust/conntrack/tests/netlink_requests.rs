// SPDX-License-Identifier: GPL-2.0
//! What users ask by netlink: right, and wrong in every way.

use conntrack::{
    netlink::{
        attr::{Attributes, Bound, Form, Manner, Policy, Rule},
        entry::Shift,
        expectation::{self, Flags},
        filter::{Candidate, Filter},
        kind::{ct, expect, filter, help, ip, proto as ports, protoinfo, sctp, seqadj, tcp, tuple},
        request::{status_to_set, Request},
        tuple::{self as tuples, Parts},
        write::{NoRoom, Writer},
        Error, Support,
    },
    proto::{self, Change, State},
    status::Status,
    tuple::{protocol, Direction, Family, SourceMask, Tuple},
    zone::{Directions, Zone},
};
use proptest::prelude::*;

const ALL: Support = Support {
    zones: true,
    marks: true,
    secmarks: true,
    labels: true,
};
const NONE: Support = Support {
    zones: false,
    marks: false,
    secmarks: false,
    labels: false,
};
const V4: u8 = 2;
const V6: u8 = 10;

type Written = Result<(), NoRoom>;

/// Attributes.
fn row(write: impl FnOnce(&mut Writer<'_>) -> Written) -> Vec<u8> {
    let mut room = [0; 2048];
    let mut out = Writer::new(&mut room);
    write(&mut out).unwrap();
    out.as_bytes().to_vec()
}

fn request(bytes: &[u8], family: u8) -> Request<'_> {
    Request::read(bytes, family, ALL).unwrap()
}

fn v4(protocol: u8) -> Tuple {
    let (src, dst) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let dst_id = if protocol == protocol::ICMP {
        [8, 0]
    } else {
        [0, 80]
    };
    Tuple::new(
        Family::Ipv4,
        protocol,
        [u32::from_ne_bytes(src), 0, 0, 0],
        [4, 1],
        [u32::from_ne_bytes(dst), 0, 0, 0],
        dst_id,
    )
}

fn v6(protocol: u8) -> Tuple {
    let dst_id = if protocol == protocol::ICMPV6 {
        [128, 0]
    } else {
        [0, 80]
    };
    Tuple::new(
        Family::Ipv6,
        protocol,
        [1, 2, 3, 4],
        [4, 1],
        [5, 6, 7, 8],
        dst_id,
    )
}

/// A tuple that stock can know: what a protocol does not tell is zero.
fn told(tuple: &Tuple) -> Tuple {
    if [6, 17, 132, 47, 1, 58].contains(&tuple.protocol()) {
        return *tuple;
    }
    Tuple::new(
        tuple.family(),
        tuple.protocol(),
        tuple.src_words(),
        [0; 2],
        tuple.dst_words(),
        [0; 2],
    )
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    (
        any::<bool>(),
        any::<u8>(),
        any::<[u32; 8]>(),
        any::<[u8; 4]>(),
    )
        .prop_map(|(six, protocol, [a, b, c, d, e, f, g, h], [i, j, k, l])| {
            let (family, src, dst) = if six {
                (Family::Ipv6, [a, b, c, d], [e, f, g, h])
            } else {
                (Family::Ipv4, [a, 0, 0, 0], [e, 0, 0, 0])
            };
            let dst_id = match protocol {
                protocol::ICMP => [[0, 8, 13, 14, 15, 16, 17, 18][usize::from(k % 8)], l],
                protocol::ICMPV6 => [[128, 129, 139, 140][usize::from(k % 4)], l],
                _ => [k, l],
            };
            Tuple::new(family, protocol, src, [i, j], dst, dst_id)
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(original in any_tuple(), reply in any_tuple(), zone: u16, at in 0..3_u8) {
        let family = original.family().number() as u8;
        prop_assume!(original.family() == reply.family());
        let only = |side| (at == side).then_some(zone);
        let bytes = row(|out| {
            tuples::write(out, ct::TUPLE_ORIG, &original, only(0))?;
            tuples::write(out, ct::TUPLE_REPLY, &reply, only(1))?;
            match only(2) {
                Some(zone) => out.be16(ct::ZONE, zone),
                None => Ok(()),
            }
        });
        let read = request(&bytes, family).tuples().unwrap();
        prop_assert_eq!(read.original, Some(told(&original)));
        prop_assert_eq!(read.reply, Some(told(&reply).with_direction(Direction::Reply)));
        let directions = [Directions::Original, Directions::Reply, Directions::Both][usize::from(at)];
        prop_assert_eq!(read.zone, Zone::new(zone, directions));
    }

    /// Whatever comes, it is read or refused, by the core and by what is built from it.
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), family: u8) {
        read_all(&bytes, family);
    }

    /// The same of rows that are nearly right.
    #[test]
    fn no_change_of_a_byte_is_too_strange(at: prop::sample::Index, byte: u8, which in 0..2_usize, six: bool) {
        let family = if six { V6 } else { V4 };
        let mut bytes = [whole(family), whole_expectation(family)][which].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_all(&bytes, family);
    }
}

/// Asks everything of a row.
fn read_all(bytes: &[u8], family: u8) {
    for support in [ALL, NONE] {
        if let Ok(request) = Request::read(bytes, family, support) {
            let _ = (
                request.key(),
                request.tuples(),
                request.id(),
                request.master(),
            );
            let _ = (request.helper(), request.mark(), request.labels());
            let _ = (request.timeout(), request.status(), request.has_nat());
            for direction in [Direction::Original, Direction::Reply] {
                let _ = request.shift(direction);
            }
            for number in 0..=u8::MAX {
                if let Ok(Some(change)) = request.state(number) {
                    let mut state = State::unseen(&v4(number));
                    state.change(&change);
                    let [_, _] = match state {
                        State::Tcp(tcp) => tcp.agreed().map(|end| u32::from(end.scale)),
                        State::Sctp(sctp) => sctp.tags(),
                        _ => [0; 2],
                    };
                }
            }
            if let Ok(Some(filter)) = Filter::read(&request, family) {
                let (one, other) = (v4(6), v6(58));
                let _ = filter.matches(&candidate([&one, &one]));
                let _ = filter.matches(&candidate([&other, &other]));
            }
        }
        if let Ok(request) = expectation::Request::read(bytes, family, support) {
            let _ = (
                request.zone(),
                request.mask(),
                request.id(),
                request.class(),
            );
            let _ = (request.timeout(), request.flags(), request.helper());
            for kind in 0..20 {
                let _ = request.tuple(kind);
            }
        }
    }
}

fn candidate(tuples: [&Tuple; 2]) -> Candidate<'_> {
    Candidate {
        tuples,
        zone: Zone::DEFAULT,
        mark: 0,
        status: Status::CONFIRMED,
    }
}

fn of_family(family: u8, protocol: u8) -> Tuple {
    if family == V6 {
        v6(protocol)
    } else {
        v4(protocol)
    }
}

/// A request with all that there may be.
fn whole(family: u8) -> Vec<u8> {
    let flow = of_family(family, protocol::TCP);
    row(|out| {
        tuples::write(out, ct::TUPLE_ORIG, &flow, None)?;
        tuples::write(out, ct::TUPLE_REPLY, &flow.invert().unwrap(), None)?;
        out.be16(ct::ZONE, 7)?;
        out.be32(ct::STATUS, 0xe)?;
        out.be32(ct::STATUS_MASK, 0xe)?;
        out.be32(ct::TIMEOUT, 100)?;
        out.be32(ct::MARK, 5)?;
        out.be32(ct::MARK_MASK, 0xff)?;
        out.put(ct::ID, &[1, 2, 3, 4])?;
        out.nest(ct::PROTOINFO, |out| {
            out.nest(protoinfo::TCP, |out| {
                out.u8(tcp::STATE, 3)?;
                out.u8(tcp::WSCALE_ORIGINAL, 14)?;
                out.u8(tcp::WSCALE_REPLY, 7)?;
                out.put(tcp::FLAGS_ORIGINAL, &[0xb, 0xff])?;
                out.put(tcp::FLAGS_REPLY, &[0xb, 0xff])
            })?;
            out.nest(protoinfo::SCTP, |out| {
                out.u8(sctp::STATE, 4)?;
                out.be32(sctp::VTAG_ORIGINAL, 1)?;
                out.be32(sctp::VTAG_REPLY, 2)
            })
        })?;
        out.nest(ct::HELP, |out| out.text(help::NAME, b"ftp"))?;
        tuples::write(out, ct::TUPLE_MASTER, &flow, None)?;
        for kind in [ct::SEQ_ADJ_ORIG, ct::SEQ_ADJ_REPLY] {
            out.nest(kind, |out| {
                out.be32(seqadj::CORRECTION_POS, 1)?;
                out.be32(seqadj::OFFSET_BEFORE, 2)?;
                out.be32(seqadj::OFFSET_AFTER, 3)
            })?;
        }
        out.put(ct::LABELS, &[1, 0, 0, 0, 2, 0, 0, 0])?;
        out.put(ct::LABELS_MASK, &[1, 0, 0, 0, 3, 0, 0, 0])?;
        out.nest(ct::FILTER, |out| {
            out.put(filter::ORIG_FLAGS, &0x3b_u32.to_ne_bytes())?;
            out.put(filter::REPLY_FLAGS, &0x8_u32.to_ne_bytes())
        })
    })
}

fn whole_expectation(family: u8) -> Vec<u8> {
    let flow = of_family(family, protocol::TCP);
    row(|out| {
        tuples::write(out, expect::MASTER, &flow, None)?;
        tuples::write(out, expect::TUPLE, &flow, None)?;
        tuples::write(out, expect::MASK, &flow, None)?;
        out.be32(expect::TIMEOUT, 1)?;
        out.put(expect::ID, &[1, 2, 3, 4])?;
        out.text(expect::HELP_NAME, b"ftp")?;
        out.be16(expect::ZONE, 0)?;
        out.be32(expect::FLAGS, 7)?;
        out.be32(expect::CLASS, 3)
    })
}

#[test]
fn all_of_a_request() {
    let bytes = whole(V4);
    let request = request(&bytes, V4);
    let flow = v4(protocol::TCP);
    let key = request.key().unwrap().unwrap();
    assert_eq!((key.zone.number(), key.tuple), (7, flow));
    assert_eq!(request.timeout(), Ok(Some(100)));
    assert_eq!(request.status(), Ok(Some(Status::from_bits(0xe))));
    assert_eq!(request.id(), Ok(Some(u32::from_ne_bytes([1, 2, 3, 4]))));
    assert_eq!(request.helper(), Ok(Some(&b"ftp"[..])));
    assert_eq!(request.master(), Ok(Some(flow)));
    assert!(request.has_master() && request.has_filter() && !request.has_nat());
    let mark = request.mark().unwrap().unwrap();
    assert_eq!(mark.apply(0x1234), 0x1205);
    let labels = request.labels().unwrap().unwrap();
    let words = [0xf0, 0xf1, 0xf2, 0xf3];
    let after: Vec<u32> = labels
        .words()
        .iter()
        .zip(words)
        .map(|(change, word)| change.apply(word))
        .collect();
    // As stock has it: what is not said is cleared.
    let le = |word: u32| u32::from_ne_bytes(word.to_le_bytes());
    assert_eq!(after, [0xf0 & !le(1) ^ le(1), 0xf1 & !le(3) ^ le(2), 0, 0]);
    let shift = Shift {
        position: 1,
        before: 2,
        after: 3,
    };
    assert_eq!(request.shift(Direction::Original), Ok(Some(shift)));
    assert_eq!(request.shift(Direction::Reply), Ok(Some(shift)));
    let Ok(Some(Change::Tcp(change))) = request.state(protocol::TCP) else {
        panic!("no change of TCP");
    };
    assert_eq!(change.state, Some(proto::tcp::State::Established));
    assert_eq!(change.scales, Some([14, 7]));
    let Ok(Some(Change::Sctp(change))) = request.state(protocol::SCTP) else {
        panic!("no change of SCTP");
    };
    assert_eq!(change.state, proto::sctp::State::Established);
    assert_eq!(change.tags, [1, 2]);
    assert_eq!(request.state(protocol::UDP), Ok(None));
}

#[test]
fn nothing_of_a_request() {
    let request = request(&[], V4);
    assert_eq!(request.key(), Ok(None));
    assert_eq!(request.timeout(), Ok(None));
    assert_eq!(request.helper(), Ok(None));
    assert_eq!(request.master(), Ok(None));
    assert_eq!(request.mark(), Ok(None));
    assert_eq!(request.labels(), Ok(None));
    assert_eq!(request.state(protocol::TCP), Ok(None));
    assert_eq!(request.shift(Direction::Reply), Ok(None));
    assert_eq!(Filter::read(&request, 0), Ok(None));
}

/// A row without one of its attributes, however deep; `path` says which.
fn without(bytes: &[u8], path: &[u16]) -> Vec<u8> {
    edit(bytes, path, &|_, _| vec![])
}

/// A row with an attribute edited: by its word of the type and its value.
fn edit(bytes: &[u8], path: &[u16], change: &dyn Fn(u16, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut new = Vec::new();
    for attribute in Attributes::new(bytes) {
        let word = attribute.kind() | if attribute.is_nested() { 1 << 15 } else { 0 };
        match path {
            [kind] if *kind == attribute.kind() => {
                new.extend(change(word, attribute.value()));
            }
            [kind, rest @ ..] if *kind == attribute.kind() => {
                new.extend(raw(word, &edit(attribute.value(), rest, change)));
            }
            _ => new.extend(raw(word, attribute.value())),
        }
    }
    new
}

fn raw(word: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len() as u16;
    let mut bytes = [len.to_ne_bytes(), word.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What has to be there in a tuple of TCP.
const PARTS: [&[u16]; 7] = [
    &[tuple::IP],
    &[tuple::IP, ip::V4_SRC],
    &[tuple::IP, ip::V4_DST],
    &[tuple::PROTO],
    &[tuple::PROTO, ports::NUM],
    &[tuple::PROTO, ports::SRC_PORT],
    &[tuple::PROTO, ports::DST_PORT],
];

#[test]
fn each_missing_part_of_a_tuple() {
    let bytes = row(|out| tuples::write(out, ct::TUPLE_ORIG, &v4(6), None));
    for path in PARTS {
        let path = [&[ct::TUPLE_ORIG], path].concat();
        let bytes = without(&bytes, &path);
        assert_eq!(request(&bytes, V4).key(), Err(Error::Invalid), "{path:?}");
    }
    for (number, parts) in [
        (
            protocol::ICMP,
            [ports::ICMP_TYPE, ports::ICMP_CODE, ports::ICMP_ID],
        ),
        (
            protocol::ICMPV6,
            [ports::ICMPV6_TYPE, ports::ICMPV6_CODE, ports::ICMPV6_ID],
        ),
    ] {
        for part in parts {
            let flow = if number == protocol::ICMP {
                v4(number)
            } else {
                v6(number)
            };
            let family = flow.family().number() as u8;
            let bytes = row(|out| tuples::write(out, ct::TUPLE_REPLY, &flow, None));
            assert!(request(&bytes, family).key().is_ok());
            let bytes = without(&bytes, &[ct::TUPLE_REPLY, tuple::PROTO, part]);
            assert_eq!(request(&bytes, family).key(), Err(Error::Invalid));
        }
    }
}

#[test]
fn the_last_of_two_counts() {
    let both = [
        row(|out| tuples::write(out, ct::TUPLE_ORIG, &v4(17), None)),
        row(|out| tuples::write(out, ct::TUPLE_ORIG, &v4(6), None)),
        row(|out| {
            out.be32(ct::TIMEOUT, 1)?;
            out.be32(ct::TIMEOUT, 2)
        }),
    ]
    .concat();
    let request = request(&both, V4);
    assert_eq!(request.key().unwrap().unwrap().tuple, v4(6));
    assert_eq!(request.timeout(), Ok(Some(2)));
}

/// Each attribute of a row, cut at every length, is refused or read as what is left of it; the
/// errors are those of the stock tracker's table (lib/nlattr.c): too short is `Range`.
#[test]
fn each_attribute_cut_short() {
    let bytes = whole(V4);
    for attribute in Attributes::new(&bytes) {
        let word = attribute.kind() | if attribute.is_nested() { 1 << 15 } else { 0 };
        for len in 0..attribute.value().len() {
            let cut = raw(word, &attribute.value()[..len]);
            let read = Request::read(&cut, V4, ALL).map(drop);
            let number = [
                ct::STATUS,
                ct::TIMEOUT,
                ct::MARK,
                ct::ID,
                ct::ZONE,
                ct::MARK_MASK,
                ct::STATUS_MASK,
            ];
            let expected = match attribute.kind() {
                kind if number.contains(&kind) => Err(Error::Range),
                ct::LABELS | ct::LABELS_MASK => Ok(()),
                // A nest may be empty, or hold something.
                _ if len == 0 || len >= 4 => Ok(()),
                _ => Err(Error::Range),
            };
            assert_eq!(read, expected, "{} cut to {len}", attribute.kind());
            read_all(&cut, V4);
        }
    }
    // And the row itself at every length.
    for len in 0..bytes.len() {
        read_all(&bytes[..len], V4);
    }
}

#[test]
fn what_is_too_short_deep_inside() {
    let bytes = whole(V4);
    let short = |word: u16, value: &[u8]| raw(word, &value[..value.len() - 1]);
    let read = |path: &[u16]| edit(&bytes, path, &short);
    for path in [
        &[ct::TUPLE_ORIG, tuple::IP, ip::V4_SRC][..],
        &[ct::TUPLE_ORIG, tuple::PROTO, ports::NUM],
        &[ct::TUPLE_ORIG, tuple::PROTO, ports::SRC_PORT],
        &[ct::TUPLE_ORIG, tuple::PROTO, ports::DST_PORT],
    ] {
        assert_eq!(
            request(&read(path), V4).key(),
            Err(Error::Range),
            "{path:?}"
        );
    }
    for kind in [
        tcp::STATE,
        tcp::WSCALE_ORIGINAL,
        tcp::WSCALE_REPLY,
        tcp::FLAGS_ORIGINAL,
        tcp::FLAGS_REPLY,
    ] {
        let bytes = read(&[ct::PROTOINFO, protoinfo::TCP, kind]);
        assert_eq!(
            request(&bytes, V4).state(6),
            Err(Error::Range),
            "TCP {kind}"
        );
    }
    for kind in [sctp::STATE, sctp::VTAG_ORIGINAL, sctp::VTAG_REPLY] {
        let path = [ct::PROTOINFO, protoinfo::SCTP, kind];
        assert_eq!(request(&read(&path), V4).state(132), Err(Error::Range));
        let bytes = without(&bytes, &path);
        assert_eq!(request(&bytes, V4).state(132), Err(Error::Invalid));
    }
    for kind in [
        seqadj::CORRECTION_POS,
        seqadj::OFFSET_BEFORE,
        seqadj::OFFSET_AFTER,
    ] {
        let path = [ct::SEQ_ADJ_ORIG, kind];
        let shift = |bytes: &[u8]| request(bytes, V4).shift(Direction::Original);
        assert_eq!(shift(&read(&path)), Err(Error::Range));
        assert_eq!(shift(&without(&bytes, &path)), Err(Error::Invalid));
    }
    // A name without its end.
    let path = [ct::HELP, help::NAME];
    assert_eq!(request(&read(&path), V4).helper(), Err(Error::Invalid));
    let bytes = without(&bytes, &path);
    assert_eq!(request(&bytes, V4).helper(), Err(Error::Invalid));
}

/// Every value of every number that stands for one of a few (reliability.md, 22, 23, 56).
#[test]
fn numbers_out_of_range() {
    let bytes = whole(V4);
    let set = |path: &[u16], value: u8| edit(&bytes, path, &|word, _| raw(word, &[value]));
    for value in 0..=u8::MAX {
        let path = [ct::PROTOINFO, protoinfo::TCP, tcp::STATE];
        let read = request(&set(&path, value), V4).state(6).map(drop);
        assert_eq!(read.is_ok(), value <= 9, "TCP's state {value}");
        for kind in [tcp::WSCALE_ORIGINAL, tcp::WSCALE_REPLY] {
            let path = [ct::PROTOINFO, protoinfo::TCP, kind];
            let read = request(&set(&path, value), V4).state(6).map(drop);
            assert_eq!(
                read,
                if value <= 14 {
                    Ok(())
                } else {
                    Err(Error::Range)
                }
            );
        }
        let path = [ct::PROTOINFO, protoinfo::SCTP, sctp::STATE];
        let read = request(&set(&path, value), V4).state(132).map(drop);
        assert_eq!(
            read,
            if value <= 8 {
                Ok(())
            } else {
                Err(Error::Range)
            }
        );

        let flow = row(|out| tuples::write(out, ct::TUPLE_ORIG, &v4(value), None));
        let read = |family| request(&flow, family).key().map(|key| key.unwrap().tuple);
        // ICMPv6 has no type 0; of the others all may be.
        let expected = match value {
            protocol::ICMPV6 => Err(Error::Invalid),
            _ => Ok(told(&v4(value))),
        };
        assert_eq!(read(V4), expected, "protocol {value}");
        let read = read(value).map(drop);
        let expected = match value {
            V4 => Ok(()),
            V6 => Err(Error::Invalid), // Its addresses are missing.
            _ => Err(Error::NotSupported),
        };
        if value != protocol::ICMPV6 {
            assert_eq!(read, expected, "family {value}");
        }
    }
    for (number, answered) in [
        (protocol::ICMP, &[0, 8, 13, 14, 15, 16, 17, 18][..]),
        (protocol::ICMPV6, &[128, 129, 139, 140]),
    ] {
        for kind in 0..=u8::MAX {
            let flow = Tuple::new(
                Family::Ipv4,
                number,
                [1, 0, 0, 0],
                [0; 2],
                [2, 0, 0, 0],
                [kind, 9],
            );
            let bytes = row(|out| tuples::write(out, ct::TUPLE_ORIG, &flow, None));
            let read = request(&bytes, V4).key();
            assert_eq!(
                read.is_ok(),
                answered.contains(&kind),
                "{number}: type {kind}"
            );
        }
    }
}

#[test]
fn zones() {
    let of = |only: Option<u16>, both: Option<u16>| {
        let bytes = row(|out| {
            tuples::write(out, ct::TUPLE_REPLY, &v4(6), only)?;
            both.map_or(Ok(()), |zone| out.be16(ct::ZONE, zone))
        });
        request(&bytes, V4).key().map(|key| key.unwrap().zone)
    };
    assert_eq!(of(None, None), Ok(Zone::DEFAULT));
    assert_eq!(of(Some(3), None), Ok(Zone::new(3, Directions::Reply)));
    assert_eq!(of(None, Some(3)), Ok(Zone::new(3, Directions::Both)));
    assert_eq!(of(Some(3), Some(0)), Ok(Zone::new(3, Directions::Reply)));
    assert_eq!(of(Some(3), Some(3)), Err(Error::Invalid));
    for (only, both) in [(Some(3), None), (None, Some(3))] {
        let bytes = row(|out| {
            tuples::write(out, ct::TUPLE_ORIG, &v4(6), only)?;
            both.map_or(Ok(()), |zone| out.be16(ct::ZONE, zone))
        });
        let request = Request::read(&bytes, V4, NONE).unwrap();
        assert_eq!(request.key(), Err(Error::NotSupported));
    }
    // A master has the zone of who it has announced.
    let bytes = row(|out| tuples::write(out, ct::TUPLE_MASTER, &v4(6), Some(3)));
    assert_eq!(request(&bytes, V4).master(), Err(Error::Invalid));
}

#[test]
fn labels_are_whole_words() {
    let of = |values: &[u8], mask: Option<&[u8]>| {
        let bytes = row(|out| {
            out.put(ct::LABELS, values)?;
            mask.map_or(Ok(()), |mask| out.put(ct::LABELS_MASK, mask))
        });
        Request::read(&bytes, V4, ALL).and_then(|request| request.labels().map(drop))
    };
    assert_eq!(of(&[0; 16], None), Ok(()));
    assert_eq!(of(&[0; 20], None), Err(Error::Range));
    assert_eq!(of(&[0; 15], None), Err(Error::Invalid));
    assert_eq!(of(&[0; 4], Some(&[0; 4])), Ok(()));
    assert_eq!(of(&[0; 4], Some(&[0; 8])), Err(Error::Invalid));
    assert_eq!(of(&[], Some(&[])), Err(Error::Invalid));
    assert_eq!(of(&[], None), Ok(()));
    let bytes = row(|out| out.put(ct::LABELS, &[0; 4]));
    let request = Request::read(&bytes, V4, NONE).unwrap();
    assert_eq!(request.labels(), Err(Error::NotSupported));
}

#[test]
fn names_of_helpers() {
    let of = |name: &[u8]| {
        let bytes = row(|out| out.nest(ct::HELP, |out| out.put(help::NAME, name)));
        request(&bytes, V4)
            .helper()
            .map(|name| name.unwrap().to_vec())
    };
    assert_eq!(of(b"ftp\0"), Ok(b"ftp".to_vec()));
    assert_eq!(of(b"ftp\0junk\0"), Ok(b"ftp".to_vec()));
    assert_eq!(of(b"fifteen letters\0"), Ok(b"fifteen letters".to_vec()));
    assert_eq!(of(b"sixteen letters!\0"), Err(Error::Invalid));
    assert_eq!(of(b"short\0and then more"), Err(Error::Range));
    assert_eq!(of(b"no end"), Err(Error::Invalid));
    assert_eq!(of(b""), Err(Error::Invalid));
}

#[test]
fn status_bits() {
    let confirmed = Status::CONFIRMED;
    let set = |now: Status, wanted: u32| status_to_set(now, Status::from_bits(wanted));
    assert_eq!(set(confirmed, 8), Ok(Status::NONE));
    assert_eq!(set(confirmed, 0), Err(Error::Busy));
    assert_eq!(
        set(confirmed, 0xe),
        Ok(Status::SEEN_REPLY | Status::ASSURED)
    );
    assert_eq!(set(confirmed | Status::ASSURED, 8), Err(Error::Busy));
    assert_eq!(set(confirmed | Status::SEEN_REPLY, 8), Err(Error::Busy));
    assert_eq!(set(confirmed, 9), Err(Error::Busy));
    assert_eq!(set(confirmed, 8 | (1 << 9)), Err(Error::Busy));
    // Bits that users do not set are passed over.
    let all = u32::MAX & !(1 | (1 << 9));
    let kept = set(confirmed, all).unwrap();
    assert_eq!(kept.bits(), (1 << 1) | (1 << 2) | (1 << 10) | (1 << 13));
}

/// A filter's parts by the bits of its flags, which of them are looked at, and with what errors.
#[test]
fn filters_of_tuples() {
    let flow = v4(protocol::TCP);
    let with = |flags: u32, tuple: &Tuple| {
        let bytes = row(|out| {
            tuples::write(out, ct::TUPLE_ORIG, tuple, None)?;
            out.nest(ct::FILTER, |out| {
                out.put(filter::ORIG_FLAGS, &flags.to_ne_bytes())
            })
        });
        let family = tuple.family().number() as u8;
        Filter::read(&request(&bytes, family), family).map(Option::unwrap)
    };
    let matches = |flags: u32, wanted: &Tuple, tuple: &Tuple| {
        with(flags, wanted)
            .unwrap()
            .matches(&candidate([tuple, tuple]))
    };
    let tcp = (Parts::SRC.bits() | Parts::DST.bits()) | 0x38;
    assert!(matches(tcp, &flow, &flow));
    let change = |src, sport, dst, dport| Tuple::new(Family::Ipv4, 6, src, sport, dst, dport);
    let (src, dst) = (flow.src_words(), flow.dst_words());
    let others = [
        (Parts::SRC, change(dst, [4, 1], dst, [0, 80])),
        (Parts::DST, change(src, [4, 1], src, [0, 80])),
        (Parts::SRC_PORT, change(src, [4, 2], dst, [0, 80])),
        (Parts::DST_PORT, change(src, [4, 1], dst, [0, 81])),
        (Parts::PROTOCOL, v4(17)),
    ];
    for (part, other) in others {
        assert!(!matches(tcp, &flow, &other), "{part:?}");
        let but = tcp & !part.bits();
        if part == Parts::PROTOCOL {
            // Ports of which protocol?
            assert_eq!(with(but, &flow), Err(Error::Invalid));
            continue;
        }
        assert!(matches(but, &flow, &other), "without {part:?}");
    }
    // Ports of other protocols are not looked at, as with stock.
    let (sctp, other) = (
        v4(132),
        Tuple::new(Family::Ipv4, 132, src, [9, 9], dst, [9, 9]),
    );
    assert!(matches(tcp, &sctp, &other));

    for (number, six, first) in [(protocol::ICMP, false, 6), (protocol::ICMPV6, true, 9)] {
        let flow = if six { v6(number) } else { v4(number) };
        let all = 0xb | (7 << first);
        assert!(matches(all, &flow, &flow));
        let [kind, code] = flow.dst_id();
        let reply = if six { 129 } else { 0 };
        for (bit, id, dst_id) in [
            (0, flow.src_id(), [reply, code]),
            (1, flow.src_id(), [kind, 9]),
            (2, [9, 9], flow.dst_id()),
        ] {
            let other = Tuple::new(
                flow.family(),
                number,
                flow.src_words(),
                id,
                flow.dst_words(),
                dst_id,
            );
            assert!(!matches(all, &flow, &other));
            assert!(matches(all & !(1 << (first + bit)), &flow, &other));
        }
    }
    // Of another family nothing matches.
    assert!(!matches(1, &flow, &v6(6)));
    assert_eq!(with(1 << 12, &flow), Err(Error::Invalid));
}

#[test]
fn filters() {
    let read = |family: u8, write: &dyn Fn(&mut Writer<'_>) -> Written| {
        let bytes = row(write);
        Filter::read(&request(&bytes, family), family)
    };
    let flow = v4(6);
    let here = candidate([&flow, &flow]);
    let only_family = read(V4, &|_| Ok(())).unwrap().unwrap();
    assert!(only_family.matches(&here));
    let six = v6(6);
    assert!(!only_family.matches(&candidate([&six, &six])));
    let nobody = read(7, &|_| Ok(())).unwrap().unwrap();
    assert!(!nobody.matches(&here));

    let marked = |mark| Candidate { mark, ..here };
    let filter = read(0, &|out| out.be32(ct::MARK, 5)).unwrap().unwrap();
    assert!(filter.matches(&marked(5)) && !filter.matches(&marked(0x105)));
    let filter = read(0, &|out| {
        out.be32(ct::MARK, 5)?;
        out.be32(ct::MARK_MASK, 0xff)
    });
    assert!(filter.unwrap().unwrap().matches(&marked(0x105)));
    // A mask alone says nothing; with another filter beside it, it is an error.
    assert_eq!(read(0, &|out| out.be32(ct::MARK_MASK, 5)), Ok(None));
    assert_eq!(
        read(V4, &|out| out.be32(ct::MARK_MASK, 5)),
        Err(Error::Invalid)
    );
    assert_eq!(
        read(V4, &|out| out.be32(ct::STATUS_MASK, 5)),
        Err(Error::Invalid)
    );

    let seen = Candidate {
        status: Status::CONFIRMED | Status::SEEN_REPLY,
        ..here
    };
    let filter = read(0, &|out| out.be32(ct::STATUS, 2)).unwrap().unwrap();
    assert!(filter.matches(&seen) && !filter.matches(&here));
    let filter = read(0, &|out| {
        out.be32(ct::STATUS, 0)?;
        out.be32(ct::STATUS_MASK, 2)
    });
    let filter = filter.unwrap().unwrap();
    assert!(!filter.matches(&seen) && filter.matches(&here));
    assert_eq!(read(0, &|out| out.be32(ct::STATUS, 0)), Err(Error::Invalid));

    let zoned = Candidate {
        zone: Zone::new(3, Directions::Reply),
        ..here
    };
    let filter = read(0, &|out| out.be16(ct::ZONE, 3)).unwrap().unwrap();
    assert!(filter.matches(&zoned) && !filter.matches(&here));
    let filter = read(0, &|out| out.be16(ct::ZONE, 0)).unwrap().unwrap();
    assert!(!filter.matches(&zoned) && filter.matches(&here));

    // A filter's own attributes are read strictly.
    let flat = |out: &mut Writer<'_>| out.put(ct::FILTER, &raw(filter::ORIG_FLAGS, &[0; 4]));
    assert_eq!(read(0, &flat), Err(Error::Invalid));
    for inside in [
        raw(filter::ORIG_FLAGS, &[0; 8]),
        raw(3, &[0; 4]),
        raw(filter::ORIG_FLAGS | (1 << 15), &[0; 4]),
        [raw(filter::ORIG_FLAGS, &[0; 4]), vec![0, 0, 0, 0]].concat(),
    ] {
        let nested = |out: &mut Writer<'_>| out.put(ct::FILTER | (1 << 15), &inside);
        assert_eq!(read(0, &nested), Err(Error::Invalid));
    }
    // A tuple that is asked for has to be there, and its network protocol.
    let asked = |out: &mut Writer<'_>| {
        out.nest(ct::FILTER, |out| {
            out.put(filter::REPLY_FLAGS, &1_u32.to_ne_bytes())
        })
    };
    assert_eq!(read(V4, &asked), Err(Error::Invalid));
    let with_tuple = |out: &mut Writer<'_>| {
        tuples::write(out, ct::TUPLE_REPLY, &v4(6), None)?;
        asked(out)
    };
    assert_eq!(read(0, &with_tuple), Err(Error::NotSupported));
    assert!(read(V4, &with_tuple).is_ok());
    let with_zones = |out: &mut Writer<'_>| {
        tuples::write(out, ct::TUPLE_REPLY, &v4(6), Some(4))?;
        out.be16(ct::ZONE, 5)?;
        out.nest(ct::FILTER, |out| {
            out.put(filter::REPLY_FLAGS, &5_u32.to_ne_bytes())
        })
    };
    assert_eq!(read(V4, &with_zones), Err(Error::Invalid));

    let bytes = row(|out| out.be32(ct::MARK, 5));
    let request = Request::read(&bytes, V4, NONE).unwrap();
    assert_eq!(Filter::read(&request, V4), Err(Error::NotSupported));
}

#[test]
fn all_of_a_request_about_an_expectation() {
    let bytes = whole_expectation(V4);
    let request = expectation::Request::read(&bytes, V4, ALL).unwrap();
    for kind in [expect::MASTER, expect::TUPLE] {
        assert!(request.has(kind));
        assert_eq!(request.tuple(kind), Ok(v4(6)));
    }
    assert_eq!(
        request.mask(),
        Ok(SourceMask {
            address: v4(6).src_words(),
            port: [4, 1],
        })
    );
    assert_eq!(request.timeout(), Ok(Some(1)));
    assert_eq!(request.id(), Ok(Some(u32::from_ne_bytes([1, 2, 3, 4]))));
    assert_eq!(request.helper(), Some(&b"ftp"[..]));
    assert_eq!(request.zone(), Ok(Zone::DEFAULT));
    assert_eq!(request.class(), Ok(3));
    // A program that holds packets says so itself.
    assert_eq!(request.flags(), Ok(Flags::from_bits(3)));

    let with = |kind, value: u32| {
        let bytes = edit(&bytes, &[kind], &|word, _| raw(word, &value.to_be_bytes()));
        expectation::Request::read(&bytes, V4, ALL).map(|request| request.class())
    };
    assert_eq!(with(expect::FLAGS, 8).map(drop), Err(Error::Invalid));
    assert_eq!(with(expect::CLASS, 255), Ok(Ok(255)));
    assert_eq!(with(expect::CLASS, 256), Ok(Err(Error::Invalid)));
    assert_eq!(with(expect::CLASS, u32::MAX), Ok(Err(Error::Invalid)));

    let none = expectation::Request::read(&[], V4, ALL).unwrap();
    assert_eq!(none.tuple(expect::TUPLE), Err(Error::Invalid));
    assert_eq!((none.class(), none.flags()), (Ok(0), Ok(Flags::default())));
    let zoned = row(|out| tuples::write(out, expect::TUPLE, &v4(6), Some(1)));
    let zoned = expectation::Request::read(&zoned, V4, ALL).unwrap();
    assert_eq!(zoned.tuple(expect::TUPLE), Err(Error::Invalid));
    let zone = row(|out| out.be16(expect::ZONE, 1));
    let read = |support| {
        expectation::Request::read(&zone, V4, support)
            .unwrap()
            .zone()
    };
    assert_eq!(read(ALL), Ok(Zone::new(1, Directions::Both)));
    assert_eq!(read(NONE), Err(Error::NotSupported));
}

/// The same as of connections, of expectations: cut short, missing, twice, out of range.
#[test]
fn what_is_wrong_with_a_request_about_an_expectation() {
    fn read(bytes: &[u8]) -> Result<expectation::Request<'_>, Error> {
        expectation::Request::read(bytes, V4, ALL)
    }
    let bytes = whole_expectation(V4);
    for attribute in Attributes::new(&bytes) {
        let kind = attribute.kind();
        let word = kind | if attribute.is_nested() { 1 << 15 } else { 0 };
        let value = attribute.value();
        for len in 0..value.len() {
            let cut = edit(&bytes, &[kind], &|word, value| raw(word, &value[..len]));
            let expected = match kind {
                expect::HELP_NAME => Err(Error::Invalid), // Without its end.
                _ if attribute.is_nested() && (len == 0 || len >= 4) => Ok(()),
                _ => Err(Error::Range),
            };
            assert_eq!(read(&cut).map(drop), expected, "{kind} cut to {len}");
            read_all(&cut, V4);
        }
        let twice = [raw(word, &vec![0xff; value.len()]), bytes.clone()].concat();
        match read(&twice) {
            Ok(request) => {
                assert_eq!(request.timeout(), Ok(Some(1)));
                assert_eq!(request.class(), Ok(3));
                assert_eq!(request.tuple(expect::MASTER), Ok(v4(6)));
            }
            // The one that does not count has to be right, too.
            Err(error) => {
                assert!([expect::FLAGS, expect::HELP_NAME].contains(&kind));
                assert_eq!(error, Error::Invalid);
            }
        }
        let without = without(&bytes, &[kind]);
        let request = read(&without).unwrap();
        let missing = |of: u16| kind == of;
        for of in [expect::MASTER, expect::TUPLE, expect::MASK] {
            assert_eq!(request.has(of), !missing(of));
            assert_eq!(request.tuple(of).is_err(), missing(of));
        }
        assert_eq!(request.mask().is_err(), missing(expect::MASK));
        assert_eq!(
            request.timeout().unwrap().is_none(),
            missing(expect::TIMEOUT)
        );
        assert_eq!(request.id().unwrap().is_none(), missing(expect::ID));
        assert_eq!(request.helper().is_none(), missing(expect::HELP_NAME));
    }
    for kind in [expect::MASTER, expect::TUPLE, expect::MASK] {
        for path in PARTS {
            let path = [&[kind], path].concat();
            let short = |word: u16, value: &[u8]| raw(word, &value[..value.len() - 1]);
            let cut = edit(&bytes, &path, &short);
            if path.len() == 3 {
                let tuple = read(&cut).unwrap().tuple(kind);
                assert_eq!(tuple, Err(Error::Range), "{path:?} short");
            }
            let none = without(&bytes, &path);
            let tuple = read(&none).unwrap().tuple(kind);
            assert_eq!(tuple, Err(Error::Invalid), "{path:?} missing");
        }
    }
    for flags in 0..=0xff_u32 {
        let set = edit(&bytes, &[expect::FLAGS], &|word, _| {
            raw(word, &flags.to_be_bytes())
        });
        let read = read(&set).map(|request| request.flags().unwrap().bits());
        let expected = if flags < 8 {
            Ok(flags & 3)
        } else {
            Err(Error::Invalid)
        };
        assert_eq!(read, expected, "flags {flags}");
    }
}

/// Changes of TCP's state: what agrees with what is known is taken.
#[test]
fn changes_of_tcp() {
    let flags = |value, mask| Some(proto::tcp::FlagChange { value, mask });
    let mut state = State::unseen(&v4(6));
    let mut change = |change| {
        state.change(&Change::Tcp(change));
        let State::Tcp(tcp) = state else {
            panic!("no TCP")
        };
        let [one, other] = tcp.agreed();
        (
            tcp.state(),
            [one.scale, other.scale],
            [one.flags, other.flags],
        )
    };
    use proto::tcp::{Change as Tcp, State as At};
    // Windows that do not scale keep to it.
    let scales = Tcp {
        scales: Some([7, 200]),
        ..Tcp::default()
    };
    assert_eq!(change(scales), (At::None, [0, 0], [0, 0]));
    let some = Tcp {
        state: Some(At::SynRecv),
        flags: [flags(0xff, 0x03), flags(0x01, 0xff)],
        scales: None,
    };
    assert_eq!(change(some), (At::SynRecv, [0, 0], [3, 1]));
    assert_eq!(change(scales), (At::SynRecv, [7, 14], [3, 1]));
    // What is of the tracker alone users neither see nor set.
    let others = Tcp {
        flags: [flags(0xc8, 0xff), None],
        ..Tcp::default()
    };
    assert_eq!(change(others), (At::SynRecv, [7, 14], [8, 1]));
}

#[test]
fn other_changes_change_nothing() {
    let tcp = Change::Tcp(proto::tcp::Change::default());
    for number in [17, 1, 132, 47, 99] {
        let mut state = State::unseen(&v4(number));
        let before = format!("{state:?}");
        state.change(&tcp);
        assert_eq!(format!("{state:?}"), before);
    }
    assert!(matches!(State::unseen(&v6(58)), State::Icmpv6));
    assert!(matches!(State::unseen(&v4(58)), State::Generic));
}

#[test]
fn masks_of_sources() {
    let one = v4(6);
    let (src, dst) = (one.src_words(), one.dst_words());
    let port = Tuple::new(Family::Ipv4, 6, src, [9, 9], dst, [0, 80]);
    let other = Tuple::new(Family::Ipv4, 6, dst, [4, 1], dst, [0, 80]);
    let host = SourceMask::host(Family::Ipv4);
    assert!(host.same(&one, &port) && !host.same(&one, &other));
    assert!(SourceMask::ANYONE.same(&one, &other));
    let ports = SourceMask {
        port: [0xff; 2],
        ..SourceMask::ANYONE
    };
    assert!(!ports.same(&one, &port) && ports.same(&one, &other));
    assert_eq!(host.and(&ports), SourceMask::ANYONE);
    let both = SourceMask {
        port: [0xff; 2],
        ..host
    };
    assert_eq!((both.and(&host), both.and(&ports)), (host, ports));
    // A network of hosts.
    let net = SourceMask {
        address: [u32::from_ne_bytes([255, 255, 255, 0]), 0, 0, 0],
        port: [0; 2],
    };
    assert!(net.same(&one, &other) && !host.same(&one, &other));
}

/// The forms and bounds that no message has today.
#[test]
fn policies() {
    const STRICT: Policy<8> = Policy(&[
        Rule::new(1, Form::U8),
        Rule::bounded(2, Form::U16, Bound::Most(9)),
        Rule::bounded(3, Form::U8, Bound::Bits(1)),
        Rule::new(4, Form::Text(3)),
        Rule::new(5, Form::Nested),
        Rule::new(6, Form::AtMost(2)),
    ]);
    let read = |bytes: &[u8], manner| STRICT.read(bytes, manner).map(drop);
    for (bytes, strict, liberal) in [
        (raw(1, &[1]), Ok(()), Ok(())),
        (raw(1, &[1, 2]), Err(Error::Invalid), Ok(())),
        (raw(2, &9_u16.to_ne_bytes()), Ok(()), Ok(())),
        (
            raw(2, &10_u16.to_ne_bytes()),
            Err(Error::Range),
            Err(Error::Range),
        ),
        (raw(3, &[2]), Err(Error::Invalid), Err(Error::Invalid)),
        (raw(4, b"abc\0"), Ok(()), Ok(())),
        (raw(5, &[]), Err(Error::Invalid), Ok(())),
        (raw(5 | (1 << 15), &[]), Ok(()), Ok(())),
        (raw(6, &[1, 2]), Ok(()), Ok(())),
        (raw(6, &[1, 2, 3]), Err(Error::Range), Err(Error::Range)),
        // Of no rule, of no type, of a type beyond the last.
        (raw(7, &[]), Err(Error::Invalid), Ok(())),
        (raw(0, &[]), Err(Error::Invalid), Ok(())),
        (raw(8, &[]), Err(Error::Invalid), Ok(())),
        (vec![1], Err(Error::Invalid), Ok(())),
        (vec![3, 0, 1, 0], Err(Error::Invalid), Ok(())),
    ] {
        assert_eq!(read(&bytes, Manner::Strict), strict, "{bytes:?}");
        assert_eq!(read(&bytes, Manner::Liberal), liberal, "{bytes:?}");
    }
    // The padding of the last may be left out.
    assert_eq!(read(&[5, 0, 1, 0, 1], Manner::Strict), Ok(()));
}
