// SPDX-License-Identifier: GPL-2.0
//! The match connbytes for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_connbytes",
    "The match connbytes for iptables, by ip_conntrack",
    Ipv4,
    Matches,
    match_of,
    [ip_conntrack::rules::Connbytes]
);
