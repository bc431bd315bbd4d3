// SPDX-License-Identifier: GPL-2.0
//! The numbers of messages and attributes (linux/netfilter/nfnetlink_conntrack.h).

/// Messages about connections (`enum cntl_msg_types`).
pub mod message {
    /// The subsystem of these messages (NFNL_SUBSYS_CTNETLINK).
    pub const SUBSYSTEM: u8 = 1;
    /// Makes or changes a connection; the answer to GET.
    pub const NEW: u8 = 0;
    /// Asks for one, or for all.
    pub const GET: u8 = 1;
    /// Ends one, or many; an event's as well.
    pub const DELETE: u8 = 2;
    /// As GET, and sets what was counted to zero.
    pub const GET_CTRZERO: u8 = 3;
    /// Asks what each CPU has counted.
    pub const GET_STATS_CPU: u8 = 4;
    /// Asks how many connections there are, and may be.
    pub const GET_STATS: u8 = 5;
    /// Asks for those that are over, of which somebody is still to be told.
    pub const GET_DYING: u8 = 6;
    /// Asks for those whose first packet is on its way.
    pub const GET_UNCONFIRMED: u8 = 7;
    /// How many there are.
    pub const COUNT: usize = 8;
}

/// Messages about expectations (`enum ctnl_exp_msg_types`).
pub mod exp_message {
    /// The subsystem of these messages (NFNL_SUBSYS_CTNETLINK_EXP).
    pub const SUBSYSTEM: u8 = 2;
    /// Makes or changes an expectation; the answer to GET.
    pub const NEW: u8 = 0;
    /// Asks for one, or for all.
    pub const GET: u8 = 1;
    /// Ends one, or many; an event's as well.
    pub const DELETE: u8 = 2;
    /// Asks what each CPU has counted.
    pub const GET_STATS_CPU: u8 = 3;
    /// How many there are.
    pub const COUNT: usize = 4;
}

/// Of a connection (`enum ctattr_type`).
pub mod ct {
    /// The tuple of its first packet.
    pub const TUPLE_ORIG: u16 = 1;
    /// The tuple of answers.
    pub const TUPLE_REPLY: u16 = 2;
    /// Status bits.
    pub const STATUS: u16 = 3;
    /// The protocol's state.
    pub const PROTOINFO: u16 = 4;
    /// The helper.
    pub const HELP: u16 = 5;
    /// A translation of the source.
    pub const NAT_SRC: u16 = 6;
    /// The time left, in seconds.
    pub const TIMEOUT: u16 = 7;
    /// The firewall mark.
    pub const MARK: u16 = 8;
    /// What was counted in the original direction.
    pub const COUNTERS_ORIG: u16 = 9;
    /// What was counted of answers.
    pub const COUNTERS_REPLY: u16 = 10;
    /// How many hold it.
    pub const USE: u16 = 11;
    /// A number that tells it from others.
    pub const ID: u16 = 12;
    /// A translation of the destination.
    pub const NAT_DST: u16 = 13;
    /// The original tuple of the connection that has announced it.
    pub const TUPLE_MASTER: u16 = 14;
    /// By how much sequence numbers are shifted, original direction.
    pub const SEQ_ADJ_ORIG: u16 = 15;
    /// By how much sequence numbers of answers are shifted.
    pub const SEQ_ADJ_REPLY: u16 = 16;
    /// The zone, where it counts both ways.
    pub const ZONE: u16 = 18;
    /// The security context.
    pub const SECCTX: u16 = 19;
    /// When it began and ended.
    pub const TIMESTAMP: u16 = 20;
    /// Which bits of the mark are meant.
    pub const MARK_MASK: u16 = 21;
    /// Labels.
    pub const LABELS: u16 = 22;
    /// Which labels are meant.
    pub const LABELS_MASK: u16 = 23;
    /// What SYNPROXY keeps.
    pub const SYNPROXY: u16 = 24;
    /// Which parts of the tuples are meant.
    pub const FILTER: u16 = 25;
    /// Which status bits are meant.
    pub const STATUS_MASK: u16 = 26;
    /// When an event happened.
    pub const TIMESTAMP_EVENT: u16 = 27;
    /// Room for all of them (CTA_MAX + 1).
    pub const ROOM: usize = 28;
}

/// Of a tuple (`enum ctattr_tuple`).
pub mod tuple {
    /// Addresses.
    pub const IP: u16 = 1;
    /// Protocol and ports.
    pub const PROTO: u16 = 2;
    /// The zone, where it counts in this direction only.
    pub const ZONE: u16 = 3;
    /// Room for all of them.
    pub const ROOM: usize = 4;
}

/// Of addresses (`enum ctattr_ip`).
pub mod ip {
    /// IPv4 source.
    pub const V4_SRC: u16 = 1;
    /// IPv4 destination.
    pub const V4_DST: u16 = 2;
    /// IPv6 source.
    pub const V6_SRC: u16 = 3;
    /// IPv6 destination.
    pub const V6_DST: u16 = 4;
    /// Room for all of them.
    pub const ROOM: usize = 5;
}

/// Of protocol and ports (`enum ctattr_l4proto`).
pub mod proto {
    /// The transport protocol's number.
    pub const NUM: u16 = 1;
    /// Source port.
    pub const SRC_PORT: u16 = 2;
    /// Destination port.
    pub const DST_PORT: u16 = 3;
    /// ICMP identifier.
    pub const ICMP_ID: u16 = 4;
    /// ICMP type.
    pub const ICMP_TYPE: u16 = 5;
    /// ICMP code.
    pub const ICMP_CODE: u16 = 6;
    /// ICMPv6 identifier.
    pub const ICMPV6_ID: u16 = 7;
    /// ICMPv6 type.
    pub const ICMPV6_TYPE: u16 = 8;
    /// ICMPv6 code.
    pub const ICMPV6_CODE: u16 = 9;
    /// Room for all of them.
    pub const ROOM: usize = 10;
}

/// Of a protocol's state (`enum ctattr_protoinfo`).
pub mod protoinfo {
    /// TCP's.
    pub const TCP: u16 = 1;
    /// SCTP's.
    pub const SCTP: u16 = 3;
    /// Room for all of them.
    pub const ROOM: usize = 4;
}

/// Of TCP's state (`enum ctattr_protoinfo_tcp`).
pub mod tcp {
    /// The state.
    pub const STATE: u16 = 1;
    /// By how many bits the client's windows are shifted.
    pub const WSCALE_ORIGINAL: u16 = 2;
    /// By how many bits the server's windows are shifted.
    pub const WSCALE_REPLY: u16 = 3;
    /// What is known of the client.
    pub const FLAGS_ORIGINAL: u16 = 4;
    /// What is known of the server.
    pub const FLAGS_REPLY: u16 = 5;
    /// Room for all of them.
    pub const ROOM: usize = 6;
}

/// Of SCTP's state (`enum ctattr_protoinfo_sctp`).
pub mod sctp {
    /// The state.
    pub const STATE: u16 = 1;
    /// The tag of packets in the original direction.
    pub const VTAG_ORIGINAL: u16 = 2;
    /// The tag of answers.
    pub const VTAG_REPLY: u16 = 3;
    /// Room for all of them.
    pub const ROOM: usize = 4;
}

/// Of what was counted (`enum ctattr_counters`).
pub mod counters {
    /// Packets.
    pub const PACKETS: u16 = 1;
    /// Bytes.
    pub const BYTES: u16 = 2;
}

/// Of points in time (`enum ctattr_tstamp`), in nanoseconds since 1970.
pub mod timestamp {
    /// Its begin.
    pub const START: u16 = 1;
    /// Its end.
    pub const STOP: u16 = 2;
}

/// Of sequence numbers that are shifted (`enum ctattr_seqadj`).
pub mod seqadj {
    /// From where on.
    pub const CORRECTION_POS: u16 = 1;
    /// By how much before.
    pub const OFFSET_BEFORE: u16 = 2;
    /// By how much after.
    pub const OFFSET_AFTER: u16 = 3;
    /// Room for all of them.
    pub const ROOM: usize = 4;
}

/// Of a helper (`enum ctattr_help`).
pub mod help {
    /// Its name.
    pub const NAME: u16 = 1;
    /// Room for all of them.
    pub const ROOM: usize = 3;
}

/// Of a security context (`enum ctattr_secctx`).
pub mod secctx {
    /// Its text.
    pub const NAME: u16 = 1;
}

/// Of a filter (`enum ctattr_filter`).
pub mod filter {
    /// Which parts of the original tuple are meant.
    pub const ORIG_FLAGS: u16 = 1;
    /// Which parts of the reply tuple are meant.
    pub const REPLY_FLAGS: u16 = 2;
    /// Room for all of them.
    pub const ROOM: usize = 3;
}

/// Of an expectation (`enum ctattr_expect`).
pub mod expect {
    /// The original tuple of the connection that has announced it.
    pub const MASTER: u16 = 1;
    /// What is expected.
    pub const TUPLE: u16 = 2;
    /// Which parts of the tuple count.
    pub const MASK: u16 = 3;
    /// The time left, in seconds.
    pub const TIMEOUT: u16 = 4;
    /// A number that tells it from others.
    pub const ID: u16 = 5;
    /// The name of the helper.
    pub const HELP_NAME: u16 = 6;
    /// The zone.
    pub const ZONE: u16 = 7;
    /// See [`super::super::expectation::Flags`].
    pub const FLAGS: u16 = 8;
    /// The class of its policy.
    pub const CLASS: u16 = 9;
    /// A translation of what is expected.
    pub const NAT: u16 = 10;
    /// What is done when it comes.
    pub const FN: u16 = 11;
    /// Room for all of them (CTA_EXPECT_MAX + 1).
    pub const ROOM: usize = 12;
}

/// Of what a CPU has counted (`enum ctattr_stats_cpu`).
pub mod stats {
    /// Packets that have found their connection.
    pub const FOUND: u16 = 2;
    /// INVALID packets.
    pub const INVALID: u16 = 4;
    /// Connections that users have put into the table.
    pub const INSERT: u16 = 8;
    /// Connections that did not get into the table.
    pub const INSERT_FAILED: u16 = 9;
    /// Packets that were dropped.
    pub const DROP: u16 = 10;
    /// Connections that have made room for others.
    pub const EARLY_DROP: u16 = 11;
    /// ICMP errors that were INVALID.
    pub const ERROR: u16 = 12;
    /// Look-ups that had to begin anew.
    pub const SEARCH_RESTART: u16 = 13;
    /// Connections that were made one.
    pub const CLASH_RESOLVE: u16 = 14;
    /// Connections whose chain was too long.
    pub const CHAIN_TOOLONG: u16 = 15;
}

/// Of what all have (`enum ctattr_stats_global`).
pub mod global {
    /// How many connections there are.
    pub const ENTRIES: u16 = 1;
    /// How many there may be.
    pub const MAX_ENTRIES: u16 = 2;
}

/// Of what a CPU has counted of expectations (`enum ctattr_expect_stats`).
pub mod exp_stats {
    /// Connections that were expected and came.
    pub const NEW: u16 = 1;
    /// Connections that were announced.
    pub const CREATE: u16 = 2;
    /// Expectations that have ended.
    pub const DELETE: u16 = 3;
}
