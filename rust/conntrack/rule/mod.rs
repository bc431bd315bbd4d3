// SPDX-License-Identifier: GPL-2.0
//! What iptables' rules ask of the tracker, and what a packet is to them.
//!
//! A rule's part is what user space sends, in the layout of the C structure (linux/netfilter/xt_*.h).
//! It is looked at once, when the rule is made ([`Rule::check`]), and read where it lies for each
//! packet.

pub mod cluster;
pub mod connbytes;
pub mod connlabel;
pub mod connlimit;
pub mod connmark;
pub mod conntrack;
pub mod ct;
pub mod helper;
pub mod nftables;
pub mod secmark;
pub mod state;

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Why a rule is refused when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The bytes are not of this revision.
    Malformed,
    /// It asks for what this tracker does not do.
    NotSupported,
    /// It may not stand in this table.
    WrongTable,
    /// There is no label of this number.
    NoSuchLabel,
    /// There are no clusters of so many nodes.
    TooManyNodes,
    /// The cluster has no such node.
    NoSuchNode,
    /// A name is too long.
    NameTooLong,
    /// It names a helper and no transport protocol.
    NoProtocol,
    /// It names a helper that is not there.
    NoHelper,
    /// It names a timeout policy and no transport protocol.
    NoProtocolOfTimeouts,
    /// It names a timeout policy that is not there.
    NoTimeouts,
    /// It names a timeout policy for other protocols.
    OtherTimeouts,
    /// There is no memory for it.
    NoMemory,
}

/// What user space sends for a match or a target, in the layout of the C structure.
pub trait Rule: FromBytes + Immutable + KnownLayout + 'static {
    /// Looks at a rule that is being made.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn check(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// A rule's bytes as what they mean.
    ///
    /// # Errors
    ///
    /// Where they are not as many, or lie where no such structure can.
    #[inline]
    fn of(bytes: &[u8]) -> Result<&Self, Refused> {
        Self::ref_from_bytes(bytes).map_err(|_| Refused::Malformed)
    }
}

/// What rules see of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Seen<F> {
    /// It has no connection: INVALID.
    Invalid,
    /// It is not tracked.
    Untracked,
    /// It has a connection.
    Flow(F),
}

/// The answer of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The packet is not what the rule asks for.
    No,
    /// It is.
    Yes,
    /// Nobody can tell: it goes no further.
    Drop,
}

impl From<bool> for Answer {
    #[inline]
    fn from(matches: bool) -> Self {
        if matches {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// A text that ends with its first zero.
///
/// # Errors
///
/// Where it has no end.
fn text(bytes: &[u8]) -> Result<&[u8], Refused> {
    let end = bytes.iter().position(|byte| *byte == 0);
    end.and_then(|end| bytes.get(..end))
        .ok_or(Refused::NameTooLong)
}
