// SPDX-License-Identifier: GPL-2.0
//! The target CONNSECMARK for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_CONNSECMARK",
    "The target CONNSECMARK for iptables, by ip_conntrack",
    Ipv4,
    Targets,
    target_of,
    [ip_conntrack::rules::Connsecmark]
);
