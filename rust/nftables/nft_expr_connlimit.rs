// SPDX-License-Identifier: GPL-2.0
//! The expression ct count for nftables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::nftables_module!(
    "nft_expr_connlimit",
    "The expression ct count for nftables, by ip_conntrack",
    netfilter::nftables::stateful::Registered<ip_conntrack::rules::nftables::CtCount>
);
