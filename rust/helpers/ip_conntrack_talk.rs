// SPDX-License-Identifier: GPL-2.0
//! The helper for talk.
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

mod talk;

ip_conntrack::helper_module! {
    module: "ip_conntrack_talk",
    description: "The helper of ip_conntrack for talk",
    helper: talk::Talk = talk::Talk,
    params: {},
}
