// SPDX-License-Identifier: GPL-2.0
//! The helper for IRC: transfers and chats from client to client (DCC).
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

mod irc;

ip_conntrack::helper_module! {
    module: "ip_conntrack_irc",
    description: "The helper of ip_conntrack for IRC",
    helper: irc::Irc = irc::Irc::new(
        module_parameters::max_dcc_channels.value(),
        module_parameters::dcc_timeout.value(),
    ),
    params: {
        max_dcc_channels: u32 {
            default: 8,
            description: "How many offers of a connection wait at once",
        },
        dcc_timeout: u32 {
            default: 300,
            description: "How long an offer waits, in seconds",
        },
    },
}
