// SPDX-License-Identifier: GPL-2.0
//! The helper for Amanda, the network backup.
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

mod amanda;

ip_conntrack::helper_module! {
    module: "ip_conntrack_amanda",
    description: "The helper of ip_conntrack for Amanda",
    helper: amanda::Amanda = amanda::Amanda::new(module_parameters::master_timeout.value()),
    params: {
        master_timeout: u32 {
            default: 300,
            description: "How long the control connection lives after an answer, in seconds",
        },
    },
}
