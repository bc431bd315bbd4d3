// SPDX-License-Identifier: GPL-2.0
//! The helper for TFTP.
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

mod tftp;

ip_conntrack::helper_module! {
    module: "ip_conntrack_tftp",
    description: "The helper of ip_conntrack for TFTP",
    helper: tftp::Tftp = tftp::Tftp,
    params: {},
}
