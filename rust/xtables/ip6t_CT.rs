// SPDX-License-Identifier: GPL-2.0
//! The target CT for ip6tables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ip6t_CT",
    "The target CT for ip6tables, by ip_conntrack",
    Ipv6,
    Targets,
    target_of,
    [
        ip_conntrack::rules::Ct<conntrack::rule::ct::Revision0>,
        ip_conntrack::rules::Ct<conntrack::rule::ct::Revision1>,
        ip_conntrack::rules::Ct<conntrack::rule::ct::Revision2>
    ]
);
