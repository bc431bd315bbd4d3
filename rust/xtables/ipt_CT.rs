// SPDX-License-Identifier: GPL-2.0
//! The target CT for iptables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ipt_CT",
    "The target CT for iptables, by ip_conntrack",
    Ipv4,
    Targets,
    target_of,
    [
        ip_conntrack::rules::Ct<conntrack::rule::ct::Revision0>,
        ip_conntrack::rules::Ct<conntrack::rule::ct::Revision1>,
        ip_conntrack::rules::Ct<conntrack::rule::ct::Revision2>
    ]
);
