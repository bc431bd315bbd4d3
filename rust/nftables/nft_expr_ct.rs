// SPDX-License-Identifier: GPL-2.0
//! The expression ct for nftables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::nftables_module!(
    "nft_expr_ct",
    "The expression ct for nftables, by ip_conntrack",
    netfilter::nftables::Registered<ip_conntrack::rules::nftables::Ct>
);
