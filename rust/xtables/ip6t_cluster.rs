// SPDX-License-Identifier: GPL-2.0
//! The match cluster for ip6tables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ip6t_cluster",
    "The match cluster for ip6tables, by ip_conntrack",
    Ipv6,
    Matches,
    match_of,
    [ip_conntrack::rules::Cluster]
);
