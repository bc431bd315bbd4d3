// SPDX-License-Identifier: GPL-2.0
//! Timeout policies: what users send and read back.

use conntrack::{
    netlink::{
        attr::Attribute,
        policy::{Protocol, Request, Scope, Shown},
        write::{NoRoom, Writer},
        Error,
    },
    proto::{sctp, tcp},
    time::Ticks,
    timeouts::{Config, Timeouts},
};
use proptest::prelude::*;

const HZ: u32 = 250;
const NAME: u16 = 1;
const FAMILY: u16 = 2;
const PROTOCOL: u16 = 3;
const DATA: u16 = 4;
const USE: u16 = 5;

fn defaults() -> Timeouts {
    Config::defaults(HZ).timeouts
}

/// Attributes as bytes.
fn row(write: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) -> Vec<u8> {
    let mut room = [0; 1024];
    let mut out = Writer::new(&mut room);
    write(&mut out).unwrap();
    out.as_bytes().to_vec()
}

/// Sets what `seconds` says, by attribute number.
fn set(
    protocol: Protocol,
    timeouts: &Timeouts,
    seconds: &[(u16, u32)],
    others: Option<&Timeouts>,
) -> Result<(), Error> {
    let data = row(|out| seconds.iter().try_for_each(|(kind, n)| out.be32(*kind, *n)));
    protocol.set(timeouts, &Attribute::new(DATA, &data), others, HZ)
}

/// What is told of the timeouts of a protocol, by attribute number.
fn told(protocol: Protocol, timeouts: &Timeouts) -> Vec<(u16, u32)> {
    let scope = Scope {
        family: 2,
        protocol,
    };
    let bytes = row(|out| {
        let shown = Shown {
            named: None,
            scope,
            timeouts,
        };
        shown.write(out, HZ)
    });
    let request = Request::read(&bytes).unwrap();
    assert_eq!(request.family(), Ok(2));
    assert_eq!(request.protocol(), Ok(protocol.number()));
    let data = request.data().unwrap();
    assert!(data.is_nested());
    let row = conntrack::netlink::attr::Attributes::new(data.value());
    row.map(|one| (one.kind(), one.be32().unwrap())).collect()
}

/// As stock tells the defaults.
#[test]
fn defaults_are_told_in_the_order_of_their_numbers() {
    let told = |protocol| -> Vec<u32> {
        let all = told(protocol, &defaults());
        assert!(all.iter().map(|(kind, _)| *kind).eq(1..=all.len() as u16));
        all.into_iter().map(|(_, seconds)| seconds).collect()
    };
    assert_eq!(
        told(Protocol::Tcp),
        [120, 60, 432_000, 120, 60, 30, 120, 10, 120, 300, 300]
    );
    assert_eq!(told(Protocol::Udp), [30, 120]);
    assert_eq!(told(Protocol::Icmp), [30]);
    assert_eq!(told(Protocol::Icmpv6), [30]);
    assert_eq!(told(Protocol::Sctp), [10, 3, 3, 210, 3, 3, 3, 30, 0]);
    assert_eq!(told(Protocol::Gre), [30, 180]);
    assert_eq!(told(Protocol::Generic), [600]);
}

#[test]
fn what_is_set_is_told_and_nothing_else_changes() {
    for protocol in Protocol::ALL {
        let known = told(protocol, &defaults());
        for (kind, _) in &known {
            let timeouts = defaults();
            set(protocol, &timeouts, &[(*kind, 4711)], None).unwrap();
            let expected: Vec<_> = known
                .iter()
                .map(|(at, seconds)| (*at, if at == kind { 4711 } else { *seconds }))
                .collect();
            assert_eq!(told(protocol, &timeouts), expected);
            for other in Protocol::ALL.into_iter().filter(|other| *other != protocol) {
                assert_eq!(told(other, &timeouts), told(other, &defaults()));
            }
        }
    }
}

#[test]
fn what_is_not_named_is_as_in_others() {
    let (timeouts, others) = (defaults(), defaults());
    set(Protocol::Udp, &timeouts, &[(1, 5), (2, 6)], None).unwrap();
    set(Protocol::Udp, &others, &[(1, 7), (2, 8)], None).unwrap();
    set(Protocol::Udp, &timeouts, &[(2, 9)], Some(&others)).unwrap();
    assert_eq!(told(Protocol::Udp, &timeouts), [(1, 7), (2, 9)]);
    set(Protocol::Udp, &timeouts, &[], None).unwrap();
    assert_eq!(told(Protocol::Udp, &timeouts), [(1, 7), (2, 9)]);
}

#[test]
fn the_first_state_goes_with_the_second() {
    let timeouts = defaults();
    set(Protocol::Tcp, &timeouts, &[(1, 5)], None).unwrap();
    assert_eq!(timeouts.tcp.of(tcp::State::None), Ticks::from_secs(5, HZ));
    set(Protocol::Sctp, &timeouts, &[(1, 6)], None).unwrap();
    assert_eq!(timeouts.sctp.of(sctp::State::None), Ticks::from_secs(6, HZ));
}

#[test]
fn a_copy_goes_its_own_way() {
    let first = defaults();
    let second = first.clone();
    set(Protocol::Generic, &first, &[(1, 5)], None).unwrap();
    assert_eq!(told(Protocol::Generic, &second), [(1, 600)]);
}

#[test]
fn a_short_number_is_refused_and_nothing_changes() {
    for protocol in Protocol::ALL {
        for len in 0..4 {
            let timeouts = defaults();
            let data = row(|out| {
                out.be32(1, 5)?;
                out.put(told(protocol, &timeouts).len() as u16, &[0; 4][..len])
            });
            let data = Attribute::new(DATA, &data);
            assert_eq!(
                protocol.set(&timeouts, &data, None, HZ),
                Err(Error::Range),
                "{protocol:?} {len}"
            );
            assert_eq!(told(protocol, &timeouts), told(protocol, &defaults()));
        }
    }
}

/// What a protocol does not have may be anything.
#[test]
fn an_unknown_timeout_is_not_looked_at() {
    for protocol in Protocol::ALL {
        let timeouts = defaults();
        let beyond = told(protocol, &timeouts).len() as u16 + 1;
        let data = row(|out| {
            out.put(beyond, &[1])?;
            out.put(0, &[])?;
            out.put(u16::MAX, &[1, 2, 3])
        });
        let data = Attribute::new(DATA, &data);
        assert_eq!(protocol.set(&timeouts, &data, None, HZ), Ok(()));
        assert_eq!(told(protocol, &timeouts), told(protocol, &defaults()));
    }
}

#[test]
fn a_long_timeout_is_the_longest() {
    let timeouts = defaults();
    for seconds in [u32::MAX, u32::MAX / HZ + 1, i32::MAX as u32 / HZ + 1] {
        set(Protocol::Icmp, &timeouts, &[(1, seconds)], None).unwrap();
        assert_eq!(told(Protocol::Icmp, &timeouts), [(1, i32::MAX as u32 / HZ)]);
        assert_eq!(timeouts.icmp.get(), Ticks::MAX);
    }
}

#[test]
fn protocols_have_numbers() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        assert_eq!(Protocol::of(protocol.number()), protocol);
    }
    let known: Vec<_> = (0..=u8::MAX)
        .filter(|number| Protocol::from_number(*number).is_some())
        .collect();
    assert_eq!(known, [1, 6, 17, 47, 58, 132, 255]);
    assert_eq!(Protocol::of(50), Protocol::Generic);
}

#[test]
fn a_request_says_what_it_says() {
    let bytes = row(|out| {
        out.text(NAME, b"abc")?;
        out.be16(FAMILY, 10)?;
        out.u8(PROTOCOL, 17)?;
        out.nest(DATA, |out| out.be32(1, 5))
    });
    let request = Request::read(&bytes).unwrap();
    assert_eq!(request.name(), Some(&b"abc"[..]));
    assert_eq!(request.family(), Ok(10));
    assert_eq!(request.protocol(), Ok(17));
    assert_eq!(request.data().map(|data| data.value().len()), Ok(8));
    let nothing = Request::read(&[]).unwrap();
    assert_eq!(nothing.name(), None);
    assert_eq!(nothing.family(), Err(Error::Invalid));
    assert_eq!(nothing.protocol(), Err(Error::Invalid));
    assert_eq!(nothing.data().err(), Some(Error::Invalid));
}

#[test]
fn names_have_an_end_and_a_length() {
    let read = |name: &[u8]| Request::read(&row(|out| out.put(NAME, name))).err();
    let long = |len: usize| [vec![b'x'; len], vec![0]].concat();
    assert_eq!(read(&long(31)), None);
    assert_eq!(read(&long(32)), Some(Error::Invalid));
    assert_eq!(read(b"without"), Some(Error::Invalid));
    assert_eq!(read(b""), Some(Error::Invalid));
    let short = |kind, value: &[u8]| Request::read(&row(|out| out.put(kind, value))).err();
    assert_eq!(short(FAMILY, &[1]), Some(Error::Range));
    assert_eq!(short(PROTOCOL, &[]), Some(Error::Range));
    assert_eq!(short(DATA, &[1]), Some(Error::Range));
    assert_eq!(short(USE, &[]), None);
}

#[test]
fn a_policy_is_told_with_its_name_and_its_users() {
    let timeouts = defaults();
    let shown = Shown {
        named: Some((b"abc", 3)),
        scope: Scope {
            family: 2,
            protocol: Protocol::Icmp,
        },
        timeouts: &timeouts,
    };
    let bytes = row(|out| shown.write(out, HZ));
    let kinds: Vec<_> = conntrack::netlink::attr::Attributes::new(&bytes)
        .map(|one| (one.kind(), one.value().to_vec()))
        .collect();
    assert_eq!(
        kinds,
        [
            (NAME, b"abc\0".to_vec()),
            (FAMILY, vec![0, 2]),
            (PROTOCOL, vec![1]),
            (USE, vec![0, 0, 0, 3]),
            (DATA, vec![8, 0, 1, 0, 0, 0, 0, 30]),
        ]
    );
    let mut room = [0; 32];
    assert_eq!(shown.write(&mut Writer::new(&mut room), HZ), Err(NoRoom));
}

proptest! {
    /// Whatever is sent, it is refused or read, and what is told is what was sent at most.
    #[test]
    fn any_bytes(bytes: Vec<u8>, at in 0_usize..7) {
        let protocol = Protocol::ALL[at];
        if let Ok(request) = Request::read(&bytes) {
            let _ = (request.name(), request.family(), request.protocol(), request.data());
        }
        let timeouts = defaults();
        let _ = protocol.set(&timeouts, &Attribute::new(DATA, &bytes), None, HZ);
        prop_assert_eq!(told(protocol, &timeouts).len(), told(protocol, &defaults()).len());
    }
}
