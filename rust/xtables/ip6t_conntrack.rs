// SPDX-License-Identifier: GPL-2.0
//! The match conntrack for ip6tables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ip6t_conntrack",
    "The match conntrack for ip6tables, by ip_conntrack",
    Ipv6,
    Matches,
    match_of,
    [
        ip_conntrack::rules::Conntrack<conntrack::rule::conntrack::Revision1>,
        ip_conntrack::rules::Conntrack<conntrack::rule::conntrack::Revision2>,
        ip_conntrack::rules::Conntrack<conntrack::rule::conntrack::Revision3>
    ]
);
