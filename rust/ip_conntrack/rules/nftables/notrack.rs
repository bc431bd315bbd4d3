// SPDX-License-Identifier: GPL-2.0
//! The expression `notrack`: a packet is not to be tracked.

use core::ffi::CStr;

use conntrack::{netlink::Error, rule::nftables::Step};
use netfilter::{
    nfnetlink::Message,
    nftables::{AtHook, Attributes, Expression, Place, Register},
};

use crate::rules::set_untracked;

/// The expression.
#[derive(Clone, Copy)]
pub struct NoTrack;

impl Expression for NoTrack {
    const NAME: &'static CStr = c"notrack";
    const FORM: Message = Message::PLAIN;

    fn new(_: &Attributes<'_>, _: &Place<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn eval(&self, _: Register<'_>, at: &mut AtHook<'_>) -> Step {
        set_untracked(at.skb);
        Step::On
    }
}
