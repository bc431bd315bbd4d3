// SPDX-License-Identifier: GPL-2.0
//! What rules of nf_tables ask of the tracker (linux/netfilter/nf_tables.h): expressions that read and
//! write registers, and objects that rules refer to.

pub mod count;
pub mod ct;
pub mod expectation;
pub mod helper;
pub mod timeout;

/// How a rule goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// With its next expression.
    On,
    /// Not at all: the packet is not what it asks for (NFT_BREAK).
    Break,
    /// The packet goes no further.
    Drop,
}

/// The register of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The attribute that says which.
    pub kind: u16,
    /// How many bytes of it count.
    pub len: u8,
    /// Whether it is read; else it is written.
    pub is_source: bool,
}

/// Families of tables (NFPROTO_*), beside those of packets.
pub mod family {
    /// Of both IPv4 and IPv6.
    pub const INET: u8 = 1;
    /// IPv4.
    pub const IPV4: u8 = 2;
    /// IPv6.
    pub const IPV6: u8 = 10;
}
