// SPDX-License-Identifier: GPL-2.0
//! The expression `ct count`: how many connections a rule has at once, or an element of its set.

use core::ffi::CStr;

use conntrack::{
    netlink::{
        write::{Writer, Written},
        Error,
    },
    rule::nftables::{count, Step},
};
use kernel::{alloc::Flags, prelude::*, sync::Arc};
use netfilter::{
    nfnetlink::Message,
    nftables::{stateful::Stateful, AtHook, Attributes, Place},
    Home,
};

use super::check_family;
use crate::{
    namespace::Namespace,
    rules::connlimit::{connections, Count, Early, LongOpen},
};

/// The expression.
pub struct CtCount {
    what: count::Count,
    count: Arc<Count>,
    early: Early,
}

impl CtCount {
    fn of(what: count::Count, flags: Flags) -> Result<Self> {
        Ok(Self {
            what,
            early: Early::new(flags)?,
            count: Count::new(flags)?,
        })
    }
}

impl Stateful for CtCount {
    const NAME: &'static CStr = c"connlimit";
    const FORM: Message = Message::with(&count::POLICY);

    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error> {
        let what = count::Count::read(|kind| attributes.get(kind))?;
        check_family(place)?;
        Self::of(what, GFP_KERNEL).map_err(|_| Error::NoMemory)
    }

    fn again(&self, flags: Flags) -> Result<Self> {
        Self::of(self.what, flags)
    }

    fn eval(&self, at: &mut AtHook<'_>) -> Step {
        let is_above = |connections| self.what.is_above(connections);
        let of = |_, _| Some(Count::take(&self.count));
        match connections(&at.packet(), &self.early, LongOpen::None, is_above, of) {
            Some(connections) if self.what.matches(connections) => Step::On,
            Some(_) => Step::Break,
            None => Step::Drop,
        }
    }

    fn is_idle(&self, home: &Home<'_>) -> bool {
        home.with::<Namespace, _>(|net, read| self.early.settle(net, read));
        self.count.is_idle()
    }

    fn write(&self, out: &mut Writer<'_>) -> Written {
        self.what.write(out)
    }
}

impl Drop for CtCount {
    fn drop(&mut self) {
        self.count.retire();
    }
}
