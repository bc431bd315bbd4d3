// SPDX-License-Identifier: GPL-2.0
//! Matches and targets of x_tables.
//!
//! x_tables is a module in most kernels, and the core links to the kernel proper alone. So what
//! calls x_tables here is generic: it is compiled into the modules that register something. What
//! calls the core's own C functions is not generic, for those are not exported.

mod register;
mod shims;

use core::ffi::CStr;

use conntrack::{
    rule::{Answer, Refused, Rule},
    tuple::Family,
};
use kernel::{error::code, prelude::*};

use crate::{
    log::limited,
    rule::{Home, Packet},
    skb::Skb,
};

pub use self::register::{match_of, target_of, Entry, Kind, Matches, Registered, Targets};

/// What matches and targets have in common.
pub trait Part: 'static {
    /// Its name in rules.
    const NAME: &'static CStr;
    /// Its revision.
    const REVISION: u8;
    /// What user space sends for a rule.
    type Rule: Rule;
    /// What is kept for a rule, behind a pointer that follows what user space sends; of size zero
    /// where the C structure has no room for one.
    type Kept: Send + Sync + 'static;

    /// Looks at a rule that is being made, and makes what is kept for it. What the rule itself
    /// says has passed [`Rule::check`]. May sleep.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn check(rule: &Self::Rule, place: &Place<'_>) -> Result<Self::Kept, Refused>;

    /// A rule goes, for which [`Part::check`] was called. May sleep.
    fn gone(_place: &Place<'_>) {}
}

/// A match.
pub trait Match: Part {
    /// Whether a packet is what the rule asks for. Softirq or process context.
    fn matches(rule: &Self::Rule, kept: &Self::Kept, packet: &Packet<'_>) -> Answer;
}

/// A target that lets the packet go on to the next rule.
pub trait Target: Part {
    /// The table that it may be used in; any, if there is none.
    const TABLE: Option<&'static CStr> = None;

    /// Does it to a packet. Softirq or process context.
    fn apply(rule: &Self::Rule, kept: &Self::Kept, skb: &mut Skb);
}

/// Where a rule is.
pub struct Place<'a> {
    /// The network protocol of its table.
    pub family: Family,
    /// The transport protocol that its packets have, if the rule names one. (Only of targets, and
    /// when the rule is made.)
    pub protocol: Option<u8>,
    /// The name of its table; empty when the rule goes.
    pub table: &'a CStr,
    /// Its namespace.
    pub home: Home<'a>,
}

/// The kernel's jhash of a word.
#[must_use]
pub fn jhash(word: u32, seed: u32) -> u32 {
    // SAFETY: a pure function of its arguments.
    unsafe { raw::ipct_jhash(word, seed) }
}

/// The error for a rule that was refused, with a line in the log that says why.
fn refuse(name: &CStr, why: Refused) -> Error {
    let (error, text) = match why {
        Refused::Malformed => (code::EINVAL, "malformed rule"),
        Refused::NotSupported => (
            code::EOPNOTSUPP,
            "the rule asks for what ip_conntrack does not do",
        ),
        Refused::WrongTable => (code::EINVAL, "not in this table"),
        Refused::NoSuchLabel => (code::ERANGE, "there are 128 labels"),
        Refused::TooManyNodes => (code::EINVAL, "there are clusters of up to 32 nodes"),
        Refused::NoSuchNode => (code::EDOM, "the cluster has no such node"),
        Refused::NameTooLong => (code::ENAMETOOLONG, "a name has no end"),
        Refused::NoProtocol => (code::ENOENT, "a helper needs a transport protocol (-p)"),
        Refused::NoHelper => (code::ENOENT, "no such helper for this protocol"),
        Refused::NoProtocolOfTimeouts => (
            code::EINVAL,
            "a timeout policy needs a transport protocol (-p)",
        ),
        Refused::NoTimeouts => (code::ENOENT, "no such timeout policy"),
        Refused::OtherTimeouts => (code::EINVAL, "the timeout policy is for other protocols"),
        Refused::NoMemory => return code::ENOMEM,
    };
    if !limited() {
        pr_info!("{}: {}\n", name.to_str().unwrap_or("?"), text);
    }
    error
}
