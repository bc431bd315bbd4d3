// SPDX-License-Identifier: GPL-2.0
//! KUnit: the engine as the kernel's build compiles it, with the kernel's overflow checks.
#![deny(unsafe_code)]

use kernel::prelude::*;

module! {
    type: Suite,
    name: "kunit_engine",
    authors: ["The ip_conntrack developers"],
    description: "KUnit suites of the ip_conntrack engine",
    license: "GPL v2",
}

struct Suite;

impl kernel::Module for Suite {
    fn init(_: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

#[kunit_tests(ip_conntrack_engine)]
mod tests {
    use conntrack::{
        packet::{Bytes, Class, Packet},
        proto::{Before, Effect, Outcome, State},
        reason::Reason,
        rule,
        show::{Buffer, Detail, Entry},
        status::Status,
        time::{Instant, Ticks},
        timeouts::Config,
        tuple::{Direction, Family},
    };

    /// A SYN from 192.168.1.6 port 32775 to 192.168.1.9 port 22.
    const SYN: [u8; 40] = [
        0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 168, 1, 6, 192, 168, 1, 9, //
        0x80, 0x07, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_syn_opens_a_connection() {
        let config = Config::defaults(100);
        let packet = Packet::parse(Family::Ipv4, Bytes::whole(&SYN));
        assert!(packet.is_ok());
        let Ok(packet) = packet else { return };
        let Ok(Class::Flow(_)) = packet.classify() else {
            assert!(false);
            return;
        };
        let Ok(mut state) = State::open(packet.transport(), &config) else {
            assert!(false);
            return;
        };
        let now = Instant::from_ticks(u32::MAX);
        let outcome = state.update(
            packet.transport(),
            Direction::Original,
            Before::new(&config.timeouts),
            now,
            &config,
        );
        let timeout = Some(Ticks::from_secs(120, 100));
        assert!(
            outcome
                == Outcome::Accept(Effect {
                    timeout,
                    moved: true,
                    ..Effect::default()
                })
        );
        assert!(state.name() == Some("SYN_SENT"));
    }

    #[test]
    fn a_syn_cut_short_is_invalid() {
        for len in 0..SYN.len() {
            let cut = SYN.get(..len).unwrap_or_default();
            assert!(Packet::parse(Family::Ipv4, Bytes::whole(cut)).is_err());
        }
    }

    #[test]
    fn every_byte_may_be_anything() {
        let config = Config::defaults(100);
        for at in 0..SYN.len() {
            for value in 0..=u8::MAX {
                let mut bytes = SYN;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
                let Ok(packet) = Packet::parse(Family::Ipv4, Bytes::whole(&bytes)) else {
                    continue;
                };
                let Ok(Class::Flow(_)) = packet.classify() else {
                    continue;
                };
                let _ = State::open(packet.transport(), &config);
            }
        }
    }

    #[test]
    fn a_line_is_as_it_always_was() {
        let Ok(packet) = Packet::parse(Family::Ipv4, Bytes::whole(&SYN)) else {
            return;
        };
        let Ok(Class::Flow(original)) = packet.classify() else {
            return;
        };
        let Some(reply) = original.invert() else {
            return;
        };
        let mut room = [0; 256];
        let mut out = Buffer::new(&mut room);
        let entry = Entry {
            remaining: 117,
            state: Detail::State("SYN_SENT"),
            original: &original,
            reply: &reply,
            status: Status::NONE,
            mark: Some(0),
            context: None,
            zone: None,
            age: None,
            counters: None,
            references: 1,
        };
        assert!(entry.write_line(&mut out).is_ok());
        let expected =
            b"tcp      6 117 SYN_SENT src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 \
            [UNREPLIED] src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 use=1\n";
        assert!(out.as_bytes() == expected);
    }

    #[test]
    fn rules_have_the_sizes_of_the_c_structures() {
        assert_eq!(size_of::<rule::conntrack::Revision1>(), 152);
        assert_eq!(size_of::<rule::conntrack::Revision2>(), 156);
        assert_eq!(size_of::<rule::conntrack::Revision3>(), 164);
        assert_eq!(size_of::<rule::state::State>(), 4);
        assert_eq!(size_of::<rule::helper::Helper>(), 36);
        assert_eq!(size_of::<rule::connmark::Connmark>(), 12);
        assert_eq!(size_of::<rule::connbytes::Connbytes>(), 24);
        assert_eq!(size_of::<rule::connlimit::Connlimit>(), 24);
        assert_eq!(size_of::<rule::connlabel::Connlabel>(), 4);
        assert_eq!(size_of::<rule::cluster::Cluster>(), 16);
        assert_eq!(size_of::<rule::connmark::Target1>(), 16);
        assert_eq!(size_of::<rule::connmark::Target2>(), 16);
        assert_eq!(size_of::<rule::secmark::Connsecmark>(), 1);
        assert_eq!(size_of::<rule::ct::Revision0>(), 32);
        assert_eq!(size_of::<rule::ct::Revision1>(), 64);
        assert_eq!(size_of::<rule::ct::Revision2>(), 64);
    }

    #[test]
    fn reasons_have_names() {
        for reason in Reason::ALL {
            assert!(!reason.name().is_empty());
        }
    }

    #[test]
    fn jhash_is_the_kernels() {
        // As a cluster's other firewalls have it, of 192.168.1.6.
        assert_eq!(
            netfilter::xtables::jhash(0x0601_a8c0, 0xdead_beef),
            0xf5a1_2e36
        );
    }

    #[test]
    fn hash_key_is_used() {
        let one = netfilter::HashKey::random();
        let other = netfilter::HashKey::random();
        assert_eq!(one.two([1, 2]), one.two([1, 2]));
        assert!(one.two([1, 2]) != one.two([2, 1]));
        assert!(one.two([1, 2]) != other.two([1, 2]));
        assert!(one.five([1, 2, 3, 4, 5]) != one.five([1, 2, 3, 4, 6]));
    }
}
