// SPDX-License-Identifier: GPL-2.0
//! The target CONNMARK for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_CONNMARK",
    "The target CONNMARK for iptables, by ip_conntrack",
    Ipv4,
    Targets,
    target_of,
    [
        ip_conntrack::rules::ConnmarkTarget<conntrack::rule::connmark::Target1>,
        ip_conntrack::rules::ConnmarkTarget<conntrack::rule::connmark::Target2>
    ]
);
