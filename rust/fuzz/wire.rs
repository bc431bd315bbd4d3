// SPDX-License-Identifier: GPL-2.0
//! Bytes from a fuzzer as whole packets, read by the engine, and as requests of netlink.

use conntrack::{
    netlink::{expectation, policy, request, Support},
    packet::{self, Bytes, Class, Header, Packet, Tcp, Transport, Ways},
    proto::{Before, Outcome, State},
    status::Status,
    time::Instant,
    timeouts::Config,
    tuple::{Direction, Family, Tuple},
};

use crate::rules;

/// Ticks of a second.
const HZ: u32 = 250;

/// A flow, by the first packet that may begin one.
struct Flow {
    tuple: Tuple,
    state: State,
    status: Status,
    expires: Instant,
}

/// The short way of a packet.
struct Short;

impl<'a> Ways<'a> for Short {
    type End = (Tuple, Transport<'a>);

    fn flow(self, tuple: Tuple, header: impl Header<'a>) -> Self::End {
        (tuple, header.read())
    }

    fn segment(self, tuple: Tuple, segment: Tcp<'a>) -> Self::End {
        (tuple, Transport::Tcp(segment))
    }
}

/// The packets of an input, each behind its length in two bytes; the first is how long ago the one before was,
/// in seconds.
fn packets_of(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        let [ago, high, low, rest @ ..] = input else {
            return None;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (packet, behind) = rest.split_at(len);
        input = behind;
        Some((*ago, packet))
    })
}

/// Reads an input as packets of one flow: how many did something to it. What the short ways read is what the
/// long one reads.
#[must_use]
pub fn packets(input: &[u8]) -> usize {
    let config = Config::defaults(HZ);
    let mut flow = None;
    let mut now = Instant::from_ticks(u32::MAX - 1000);
    let mut counted = 0;
    for (ago, bytes) in packets_of(input) {
        now = Instant::from_ticks(now.as_ticks().wrapping_add(u32::from(ago) * HZ));
        let family = match bytes.first() {
            Some(first) if first >> 4 == 6 => Family::Ipv6,
            _ => Family::Ipv4,
        };
        let bytes = Bytes::new(bytes, bytes.len() as u32, &());
        let parsed = Packet::parse(family, bytes);
        if let Some((tuple, transport)) = packet::quick(family, bytes, Short) {
            let packet = parsed.as_ref().expect("what is read quickly makes sense");
            assert_eq!(packet.classify(), Ok(Class::Flow(tuple)));
            assert_eq!(
                format!("{transport:?}"),
                format!("{:?}", packet.transport())
            );
        }
        let Ok(packet) = parsed else { continue };
        if let Some(checksum) = packet.checksum() {
            // What verifies it must find it.
            assert!(usize::from(checksum.offset) + 8 <= bytes.len());
        }
        let _ = packet.payload();
        if let Ok(Class::Flow(tuple)) = packet.classify() {
            counted += usize::from(step(&mut flow, tuple, &packet, now, &config));
        }
    }
    counted
}

/// What a packet does to the flow, or begins: whether that counts.
fn step(
    flow: &mut Option<Flow>,
    tuple: Tuple,
    packet: &Packet<'_>,
    now: Instant,
    config: &Config,
) -> bool {
    let (direction, of) = match flow {
        Some(of) if of.tuple.matches(&tuple) => (Direction::Original, of),
        Some(of)
            if of
                .tuple
                .invert()
                .is_some_and(|inverse| inverse.matches(&tuple)) =>
        {
            (Direction::Reply, of)
        }
        Some(_) => return false,
        None => {
            let Ok(state) = State::open(packet.transport(), config) else {
                return false;
            };
            let new = Flow {
                tuple,
                state,
                status: Status::NONE,
                expires: now,
            };
            (Direction::Original, flow.insert(new))
        }
    };
    let before = Before {
        status: of.status,
        expires: Some(of.expires),
        timeouts: &config.timeouts,
    };
    let outcome = of
        .state
        .update(packet.transport(), direction, before, now, config);
    let keeps = match outcome {
        Outcome::Accept(effect) => {
            of.status = of.status | effect.set | Status::CONFIRMED;
            if direction == Direction::Reply {
                of.status = of.status | Status::SEEN_REPLY;
            }
            if let Some(timeout) = effect.timeout {
                of.expires = now.add(timeout);
            }
            true
        }
        Outcome::Shorten(_, timeout) => {
            of.expires = now.add(timeout);
            true
        }
        Outcome::Invalid(_) => of.status.contains(Status::CONFIRMED),
        Outcome::Kill | Outcome::Repeat => false,
    };
    // What it says of itself holds for any state.
    let _ = (
        of.state.name(),
        of.state.detail(&config.timeouts, HZ),
        of.state.is_closing(),
    );
    if !keeps {
        *flow = None;
    }
    matches!(outcome, Outcome::Accept(_))
}

/// Reads an input as a request of netlink, or as what a rule of nftables is made of: what kind it is, the family, and
/// its attributes. Whether it could be read.
#[must_use]
pub fn netlink(input: &[u8]) -> bool {
    let [kind, family, attributes @ ..] = input else {
        return false;
    };
    let support = Support {
        zones: kind & 4 == 0,
        marks: kind & 8 == 0,
        secmarks: kind & 8 == 0,
        labels: kind & 16 == 0,
    };
    if kind & 32 != 0 {
        return rules::read(kind >> 6 | (kind & 1) << 2, attributes, *family, support);
    }
    match kind & 3 {
        0 | 1 => connection(attributes, *family, support),
        2 => expected(attributes, *family, support),
        _ => timeouts(attributes),
    }
}

fn connection(bytes: &[u8], family: u8, support: Support) -> bool {
    let Ok(request) = request::Request::read(bytes, family, support) else {
        return false;
    };
    let _ = (
        request.zone(),
        request.key(),
        request.tuples(),
        request.id(),
        request.timeout(),
    );
    let _ = (
        request.status(),
        request.master(),
        request.helper(),
        request.mark(),
        request.labels(),
    );
    let _ = [Direction::Original, Direction::Reply].map(|at| request.shift(at));
    // A user's state is one that packets may meet.
    for protocol in [6, 17, 132] {
        if let (Ok(Some(change)), Ok(tuples)) = (request.state(protocol), request.tuples()) {
            for tuple in [tuples.original, tuples.reply].into_iter().flatten() {
                let mut state = State::unseen(&tuple);
                state.change(&change);
                let _ = (state.name(), state.is_closing(), state.is_over());
            }
        }
    }
    if let Ok(Some(wanted)) = request.status() {
        let _ = request::status_to_set(Status::CONFIRMED, wanted);
    }
    true
}

fn expected(bytes: &[u8], family: u8, support: Support) -> bool {
    let Ok(request) = expectation::Request::read(bytes, family, support) else {
        return false;
    };
    let _ = [1, 2, 3].map(|kind| request.tuple(kind));
    let _ = (
        request.zone(),
        request.mask(),
        request.id(),
        request.timeout(),
        request.class(),
    );
    let _ = (request.flags(), request.helper());
    true
}

fn timeouts(bytes: &[u8]) -> bool {
    let Ok(request) = policy::Request::read(bytes) else {
        return false;
    };
    let _ = (
        request.name(),
        request.family(),
        request.protocol(),
        request.data().is_ok(),
    );
    true
}
