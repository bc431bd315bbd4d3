// SPDX-License-Identifier: GPL-2.0
//! What users can set in `/proc/sys`: stock's names in `net/netfilter`, the seeds' in
//! `net/ipv4/netfilter`.

use core::ffi::CStr;

use conntrack::{
    proto::{sctp::State as Sctp, tcp::State as Tcp},
    setting::{Setting, Value},
    time::Ticks,
    timeouts::Config,
};
use kernel::prelude::*;
use netfilter::{
    sysctl::{Directory, Sysctl, Unit},
    Net,
};

use crate::{growth, namespace::Namespace};

/// The directories, in the order in which they are made.
pub(crate) static DIRECTORIES: [Directory<Namespace>; 4] = [
    Directory {
        path: c"net/netfilter",
        name: 0,
        settings: &SETTINGS,
        first_only: false,
    },
    Directory {
        path: c"net/ipv4/netfilter",
        name: 1,
        settings: &SETTINGS,
        first_only: false,
    },
    Directory {
        path: c"net",
        name: 0,
        settings: &MAX,
        first_only: true,
    },
    Directory {
        path: c"net/ipv4",
        name: 1,
        settings: &MAX,
        first_only: true,
    },
];

/// A name of ours as the kernel wants it.
const fn name(bytes: &'static [u8]) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes) {
        Ok(name) => name,
        Err(_) => c"",
    }
}

/// The names of a setting, in stock's directory and in the seeds'.
macro_rules! names {
    ($name:literal) => {
        &[
            name(concat!("nf_conntrack_", $name, "\0").as_bytes()),
            name(concat!("ip_conntrack_", $name, "\0").as_bytes()),
        ]
    };
}

fn get<V: Value>(net: &Net<Namespace>, of: fn(&Config) -> &Setting<V>) -> u32 {
    of(&net.tracker().config).get().number()
}

fn set<V: Value>(net: &Net<Namespace>, of: fn(&Config) -> &Setting<V>, value: u32) -> Result {
    of(&net.tracker().config).set(V::from_number(value));
    Ok(())
}

/// A number of a namespace, from 0 to `$most`.
macro_rules! number {
    ($name:literal, $most:expr, $of:expr) => {
        Sysctl {
            names: names!($name),
            unit: Unit::Number,
            range: [0, $most],
            get: |net| get(net, $of),
            set: Some(|net, value| set(net, $of, value)),
            global: false,
        }
    };
}

/// A timeout of a namespace.
macro_rules! seconds {
    ($name:literal, $of:expr) => {
        Sysctl {
            names: names!($name),
            unit: Unit::Seconds,
            range: [0, i32::MAX],
            get: |net| get::<Ticks>(net, $of),
            set: Some(|net, value| set::<Ticks>(net, $of, value)),
            global: false,
        }
    };
}

/// How many connections a namespace may have: each of them as many as the first one, or fewer. Who administers
/// the machine's network says so; who has a user namespace of their own could give themselves more again.
const MOST: Sysctl<Namespace> = Sysctl {
    names: names!("max"),
    unit: Unit::Number,
    range: [1, i32::MAX],
    get: |net| {
        let tracker = net.tracker();
        match tracker.own_max.get() {
            u32::MAX => tracker.shared.max(),
            own => own,
        }
    },
    set: Some(|net, value| {
        let tracker = net.tracker();
        if net.census().is_first() {
            tracker.shared.set_max(value);
        } else if netfilter::is_admin() {
            tracker.own_max.set(value);
        } else {
            return Err(EPERM);
        }
        Ok(())
    }),
    global: false,
};

static MAX: [Sysctl<Namespace>; 1] = [MOST];

static SETTINGS: [Sysctl<Namespace>; 40] = [
    MOST,
    Sysctl {
        names: names!("count"),
        unit: Unit::Number,
        range: [0, i32::MAX],
        get: |net| net.census().len(),
        set: None,
        global: false,
    },
    Sysctl {
        names: names!("buckets"),
        unit: Unit::Number,
        // CAST: it fits.
        range: [1, growth::MOST as i32],
        get: |net| net.tracker().shared.buckets(),
        set: Some(|net, value| net.tracker().shared.set_buckets(value)),
        global: true,
    },
    Sysctl {
        names: names!("expect_max"),
        unit: Unit::Number,
        range: [1, i32::MAX],
        get: |net| net.tracker().shared.expectations().max.get(),
        set: Some(|net, value| {
            net.tracker().shared.expectations().max.set(value);
            Ok(())
        }),
        global: true,
    },
    Sysctl {
        names: names!("helper"),
        unit: Unit::Number,
        range: [0, 1],
        get: |net| u32::from(net.tracker().assign_helpers.get()),
        set: Some(|net, value| {
            net.tracker().assign_helpers.set(value != 0);
            Ok(())
        }),
        global: false,
    },
    Sysctl {
        names: names!("acct"),
        unit: Unit::Number,
        range: [0, 1],
        get: |net| u32::from(net.tracker().wanted.acct()),
        set: Some(|net, value| {
            net.tracker().wanted.set_acct(value != 0);
            Ok(())
        }),
        global: false,
    },
    Sysctl {
        names: names!("timestamp"),
        unit: Unit::Number,
        range: [0, 1],
        get: |net| u32::from(net.tracker().wanted.timestamp()),
        set: Some(|net, value| {
            net.tracker().wanted.set_timestamp(value != 0);
            Ok(())
        }),
        global: false,
    },
    Sysctl {
        names: names!("events"),
        unit: Unit::Number,
        range: [0, 2],
        get: |net| net.tracker().wanted.events().into(),
        set: Some(|net, value| {
            net.tracker().wanted.set_events(Value::from_number(value));
            Ok(())
        }),
        global: false,
    },
    number!("checksum", 1, |config| &config.checksum),
    Sysctl {
        names: names!("log_invalid"),
        unit: Unit::Number,
        range: [0, 255],
        get: |net| get(net, |config| &config.log_invalid),
        set: Some(|net, value| {
            if value != 0 {
                netfilter::load_log();
            }
            set(net, |config| &config.log_invalid, value)
        }),
        global: false,
    },
    number!("full_is_invalid", 1, |config| &config.full_is_invalid),
    number!("tcp_loose", 1, |config| &config.tcp_loose),
    number!("tcp_be_liberal", 1, |config| &config.tcp_be_liberal),
    number!("tcp_ignore_invalid_rst", 1, |config| &config
        .tcp_ignore_invalid_rst),
    number!("tcp_max_retrans", 255, |config| &config.tcp_max_retrans),
    seconds!("generic_timeout", |config| &config.timeouts.generic),
    seconds!("tcp_timeout_syn_sent", |config| config
        .timeouts
        .tcp
        .setting(Tcp::SynSent)),
    seconds!("tcp_timeout_syn_recv", |config| config
        .timeouts
        .tcp
        .setting(Tcp::SynRecv)),
    seconds!("tcp_timeout_established", |config| config
        .timeouts
        .tcp
        .setting(Tcp::Established)),
    seconds!("tcp_timeout_fin_wait", |config| config
        .timeouts
        .tcp
        .setting(Tcp::FinWait)),
    seconds!("tcp_timeout_close_wait", |config| config
        .timeouts
        .tcp
        .setting(Tcp::CloseWait)),
    seconds!("tcp_timeout_last_ack", |config| config
        .timeouts
        .tcp
        .setting(Tcp::LastAck)),
    seconds!("tcp_timeout_time_wait", |config| config
        .timeouts
        .tcp
        .setting(Tcp::TimeWait)),
    seconds!("tcp_timeout_close", |config| config
        .timeouts
        .tcp
        .setting(Tcp::Close)),
    seconds!("tcp_timeout_max_retrans", |config| &config
        .timeouts
        .tcp_retrans),
    seconds!("tcp_timeout_unacknowledged", |config| &config
        .timeouts
        .tcp_unacknowledged),
    seconds!("udp_timeout", |config| &config.timeouts.udp),
    seconds!("udp_timeout_stream", |config| &config.timeouts.udp_stream),
    seconds!("icmp_timeout", |config| &config.timeouts.icmp),
    seconds!("icmpv6_timeout", |config| &config.timeouts.icmpv6),
    seconds!("sctp_timeout_closed", |config| config
        .timeouts
        .sctp
        .setting(Sctp::Closed)),
    seconds!("sctp_timeout_cookie_wait", |config| config
        .timeouts
        .sctp
        .setting(Sctp::CookieWait)),
    seconds!("sctp_timeout_cookie_echoed", |config| config
        .timeouts
        .sctp
        .setting(Sctp::CookieEchoed)),
    seconds!("sctp_timeout_established", |config| config
        .timeouts
        .sctp
        .setting(Sctp::Established)),
    seconds!("sctp_timeout_shutdown_sent", |config| config
        .timeouts
        .sctp
        .setting(Sctp::ShutdownSent)),
    seconds!("sctp_timeout_shutdown_recd", |config| config
        .timeouts
        .sctp
        .setting(Sctp::ShutdownReceived)),
    seconds!("sctp_timeout_shutdown_ack_sent", |config| config
        .timeouts
        .sctp
        .setting(Sctp::ShutdownAckSent)),
    seconds!("sctp_timeout_heartbeat_sent", |config| config
        .timeouts
        .sctp
        .setting(Sctp::HeartbeatSent)),
    seconds!("gre_timeout", |config| &config.timeouts.gre),
    seconds!("gre_timeout_stream", |config| &config.timeouts.gre_stream),
];
