// SPDX-License-Identifier: GPL-2.0
//! The match cluster for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_cluster",
    "The match cluster for iptables, by ip_conntrack",
    Ipv4,
    Matches,
    match_of,
    [ip_conntrack::rules::Cluster]
);
