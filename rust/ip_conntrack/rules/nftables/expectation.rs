// SPDX-License-Identifier: GPL-2.0
//! The object `ct expectation`: new connections of a rule announce others.

use conntrack::{
    netlink::{
        expectation::Flags,
        write::{Writer, Written},
        Error,
    },
    rule::nftables::{expectation, Step},
    tuple::{Direction, SourceMask},
};
use netfilter::{
    nfnetlink::Message,
    nftables::{object::Object, AtHook, Attributes, Place},
    NewExpectation,
};

use super::check_family;
use crate::{expect, namespace::Namespace};

/// The object.
pub struct CtExpectation(expectation::Expectation);

impl Object for CtExpectation {
    const NUMBER: u32 = expectation::NUMBER;
    const FORM: Message = Message::with(&expectation::POLICY);

    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error> {
        let what = expectation::Expectation::read(|kind| attributes.get(kind), place.family)?;
        check_family(place)?;
        Ok(Self(what))
    }

    /// As with stock, the rule goes on for the first packet of a connection alone, and of one that no helper reads.
    fn eval(&self, at: &mut AtHook<'_>) -> Step {
        let begun = at.skb.begun();
        let first = begun.filter(|begun| begun.conn().session().is_none());
        let Some(master) = first.and_then(|begun| begun.conn().hold()) else {
            return Step::Break;
        };
        let Some(tuple) = self.0.of(master.tuple(Direction::Reply)) else {
            return Step::On;
        };
        if let Some(net) = at.packet().net::<Namespace>() {
            let new = NewExpectation {
                master,
                tuple,
                mask: SourceMask::host(tuple.family()),
                class: 0,
                flags: Flags::default(),
                helped: false,
                expires: netfilter::now(),
            };
            // Where it cannot be, the packet goes on.
            let _ = expect::put_as_helper(net, new, self.0.limits(), at.read);
        }
        Step::On
    }

    fn write(&self, out: &mut Writer<'_>) -> Written {
        self.0.write(out)
    }
}
