// SPDX-License-Identifier: GPL-2.0
//! What nftables' rules can ask for, for the modules that nf_tables loads by name.

mod count;
mod ct;
mod expectation;
mod helper;
mod notrack;
mod timeout;

use conntrack::{netlink::Error, rule::nftables::family};
use netfilter::nftables::Place;

pub use self::{
    count::CtCount, ct::Ct, expectation::CtExpectation, helper::CtHelper, notrack::NoTrack,
    timeout::CtTimeout,
};

/// Whether packets of a table's family are tracked.
///
/// # Errors
///
/// [`Error::Untracked`] where they are not.
fn check_family(place: &Place<'_>) -> Result<(), Error> {
    if [family::IPV4, family::IPV6, family::INET].contains(&place.family) {
        Ok(())
    } else {
        Err(Error::Untracked)
    }
}
