// SPDX-License-Identifier: GPL-2.0
//! The match connmark for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_connmark",
    "The match connmark for iptables, by ip_conntrack",
    Ipv4,
    Matches,
    match_of,
    [ip_conntrack::rules::Connmark]
);
