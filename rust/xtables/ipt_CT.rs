// SPDX-License-Identifier: GPL-2.0
//! The target CT for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_CT",
    "The target CT for iptables, by ip_conntrack",
    Ipv4,
    Targets,
    target_of,
    [ip_conntrack::rules::Ct<0>, ip_conntrack::rules::Ct<1>, ip_conntrack::rules::Ct<2>]
);
