// SPDX-License-Identifier: GPL-2.0
//! The helper for TFTP.
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

mod tftp;

use conntrack::tuple::protocol;

ip_conntrack::helper_module! {
    module: "ip_conntrack_tftp",
    description: "The helper of ip_conntrack for TFTP",
    name: c"tftp",
    protocols: [protocol::UDP],
    port: 69,
    helper: tftp::Tftp = tftp::Tftp,
    params: {},
}
