// SPDX-License-Identifier: GPL-2.0
//! How long entries live, and what else users can set.

use crate::{
    proto::{
        sctp,
        tcp::{State, StateTimeouts},
    },
    setting::Setting,
    time::Ticks,
};

/// How long an entry lives after a packet.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// TCP, by state.
    pub tcp: StateTimeouts,
    /// TCP, after so many retransmissions that the other end must be gone.
    pub tcp_retrans: Setting<Ticks>,
    /// TCP, while data is not acknowledged, and for what was picked up in mid-stream.
    pub tcp_unacknowledged: Setting<Ticks>,
    /// UDP.
    pub udp: Setting<Ticks>,
    /// UDP, once it is a stream.
    pub udp_stream: Setting<Ticks>,
    /// How long UDP traffic must go both ways to be a stream.
    pub udp_settle: Ticks,
    /// ICMP.
    pub icmp: Setting<Ticks>,
    /// ICMPv6.
    pub icmpv6: Setting<Ticks>,
    /// SCTP, by state.
    pub sctp: sctp::StateTimeouts,
    /// SCTP, in a state that no association is in any more (HEARTBEAT_ACKED): who sets it finds it
    /// set.
    pub sctp_heartbeat_acked: Setting<Ticks>,
    /// GRE.
    pub gre: Setting<Ticks>,
    /// GRE, once it goes both ways.
    pub gre_stream: Setting<Ticks>,
    /// Every other protocol.
    pub generic: Setting<Ticks>,
}

/// What users can set.
#[derive(Debug)]
pub struct Config {
    /// Ticks in a second.
    pub hz: u32,
    /// How long entries live.
    pub timeouts: Timeouts,
    /// Whether checksums are verified.
    pub checksum: Setting<bool>,
    /// Of which protocol's invalid packets the log is told; 255 of all, 0 of none.
    pub log_invalid: Setting<u8>,
    /// Whether what finds no room goes on as INVALID, and is not dropped.
    pub full_is_invalid: Setting<bool>,
    /// Whether TCP connections are picked up in mid-stream.
    pub tcp_loose: Setting<bool>,
    /// Whether TCP segments outside of the windows pass as if they were inside.
    pub tcp_be_liberal: Setting<bool>,
    /// Whether TCP resets below the window pass.
    pub tcp_ignore_invalid_rst: Setting<bool>,
    /// How many retransmissions mean that the other end is gone.
    pub tcp_max_retrans: Setting<u8>,
}

impl Config {
    /// The defaults, for a clock of `hz` ticks a second.
    #[must_use]
    pub fn defaults(hz: u32) -> Self {
        let secs = |secs| Setting::new(Ticks::from_secs(secs, hz));
        Self {
            hz,
            timeouts: Timeouts {
                tcp: StateTimeouts::new(|state| {
                    secs(match state {
                        State::None | State::SynSent | State::SynSent2 => 120,
                        State::SynRecv => 60,
                        State::Established => 5 * 24 * 60 * 60,
                        State::FinWait | State::TimeWait => 120,
                        State::CloseWait => 60,
                        State::LastAck => 30,
                        State::Close => 10,
                    })
                }),
                tcp_retrans: secs(300),
                tcp_unacknowledged: secs(300),
                udp: secs(30),
                udp_stream: secs(120),
                udp_settle: Ticks::from_secs(crate::proto::UDP_SETTLE_SECS, hz),
                icmp: secs(30),
                icmpv6: secs(30),
                sctp: sctp::StateTimeouts::new(|state| {
                    secs(match state {
                        sctp::State::None => 0,
                        sctp::State::Closed => 10,
                        sctp::State::Established => 210,
                        sctp::State::HeartbeatSent => 30,
                        _ => 3,
                    })
                }),
                sctp_heartbeat_acked: secs(0),
                gre: secs(30),
                gre_stream: secs(180),
                generic: secs(600),
            },
            checksum: Setting::new(true),
            log_invalid: Setting::new(0),
            full_is_invalid: Setting::new(false),
            tcp_loose: Setting::new(true),
            tcp_be_liberal: Setting::new(false),
            tcp_ignore_invalid_rst: Setting::new(false),
            tcp_max_retrans: Setting::new(3),
        }
    }
}
