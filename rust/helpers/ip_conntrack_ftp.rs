// SPDX-License-Identifier: GPL-2.0
//! The helper for FTP.
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

mod ftp;

ip_conntrack::helper_module! {
    module: "ip_conntrack_ftp",
    description: "The helper of ip_conntrack for FTP",
    helper: ftp::Ftp = ftp::Ftp { loose: module_parameters::loose.value() != 0 },
    params: {
        loose: u8 {
            default: 0,
            description: "1: data connections may go to third hosts",
        },
    },
}
