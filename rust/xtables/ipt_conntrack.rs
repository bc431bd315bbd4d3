// SPDX-License-Identifier: GPL-2.0
//! The match conntrack for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_conntrack",
    "The match conntrack for iptables, by ip_conntrack",
    Ipv4,
    Matches,
    match_of,
    [ip_conntrack::rules::Conntrack<1>, ip_conntrack::rules::Conntrack<2>, ip_conntrack::rules::Conntrack<3>]
);
