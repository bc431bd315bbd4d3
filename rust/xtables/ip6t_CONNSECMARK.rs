// SPDX-License-Identifier: GPL-2.0
//! The target CONNSECMARK for ip6tables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::xtables_module!(
    "ip6t_CONNSECMARK",
    "The target CONNSECMARK for ip6tables, by ip_conntrack",
    Ipv6,
    Targets,
    target_of,
    [ip_conntrack::rules::Connsecmark]
);
