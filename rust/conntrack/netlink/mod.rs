// SPDX-License-Identifier: GPL-2.0
//! ctnetlink: connections and expectations as netlink messages, and what users ask of them
//! (linux/netfilter/nfnetlink_conntrack.h).
//!
//! Bytes in, typed requests out ([`attr`], [`request`], [`filter`], [`tuple`]); entries in, bytes
//! out ([`write`], [`entry`], [`expectation`], [`stats`]). What is refused, and with which error,
//! is as the stock tracker has it, for programs look at it.

pub mod attr;
pub mod entry;
pub mod expectation;
pub mod filter;
pub mod kind;
pub mod policy;
pub mod request;
pub mod stats;
pub mod tuple;
pub mod write;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An attribute is missing or does not make sense (EINVAL).
    Invalid,
    /// A value is too long, too short or too large (ERANGE).
    Range,
    /// This is not done, or not to such a connection (EOPNOTSUPP).
    NotSupported,
    /// There is no such connection or expectation (ENOENT).
    NotFound,
    /// There is one already (EEXIST).
    Exists,
    /// This cannot be changed, or another is in the way (EBUSY).
    Busy,
    /// The same was said before, by another (EALREADY).
    Already,
    /// The connection does not let its time be changed (EPERM).
    Fixed,
    /// The connection is over (ETIME).
    Over,
    /// It has no room for this (ENOSPC).
    NoRoom,
    /// There are too many (EMFILE).
    TooMany,
    /// There is no memory for it (ENOMEM).
    NoMemory,
    /// Nobody knows what an address of this family is (EAFNOSUPPORT).
    Family,
    /// Packets of this family are not tracked (EPROTO).
    Untracked,
}

/// What this kernel knows, by its configuration: requests for the rest are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Zones.
    pub zones: bool,
    /// Firewall marks of connections.
    pub marks: bool,
    /// Their security marks.
    pub secmarks: bool,
    /// Labels.
    pub labels: bool,
}
