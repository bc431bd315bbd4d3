// SPDX-License-Identifier: GPL-2.0
//! The match connbytes for ip6tables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ip6t_connbytes",
    "The match connbytes for ip6tables, by ip_conntrack",
    Ipv6,
    Matches,
    match_of,
    [ip_conntrack::rules::Connbytes]
);
