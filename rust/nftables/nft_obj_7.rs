// SPDX-License-Identifier: GPL-2.0
//! The object ct timeout for nftables, by ip_conntrack
#![forbid(unsafe_code)]

ip_conntrack::nftables_module!(
    "nft_obj_7",
    "The object ct timeout for nftables, by ip_conntrack",
    netfilter::nftables::object::Registered<ip_conntrack::rules::nftables::CtTimeout>
);
