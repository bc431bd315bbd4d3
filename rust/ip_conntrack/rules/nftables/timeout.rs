// SPDX-License-Identifier: GPL-2.0
//! The object `ct timeout`: new connections of a rule have timeouts of their own.

use conntrack::{
    netlink::{
        policy::Protocol,
        write::{Writer, Written},
        Error,
    },
    rule::nftables::{timeout, Step},
    tuple::Direction,
};
use kernel::sync::Arc;
use netfilter::{
    nfnetlink::Message,
    nftables::{object::Object, AtHook, Attributes, Place},
    Policy, Share, HZ,
};

use super::check_family;
use crate::namespace::Namespace;

/// The object.
pub struct CtTimeout {
    what: timeout::Timeout,
    policy: Arc<Policy>,
    share: Share,
}

impl Object for CtTimeout {
    const NUMBER: u32 = timeout::NUMBER;
    const FORM: Message = Message::with(&timeout::POLICY);

    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error> {
        let (what, data) = timeout::Timeout::read(|kind| attributes.get(kind), place.family)?;
        let usual = place
            .home
            .with::<Namespace, _>(|net, _| net.tracker().config.timeouts.clone());
        let timeouts = usual.ok_or(Error::NotFound)?;
        what.protocol.set(&timeouts, &data, None, HZ)?;
        check_family(place)?;
        let policy = Policy::new(timeouts).map_err(|_| Error::NoMemory)?;
        Ok(Self {
            what,
            share: Share::of_rule(&policy),
            policy,
        })
    }

    fn eval(&self, at: &mut AtHook<'_>) -> Step {
        let Some(mut begun) = at.skb.begun() else {
            return Step::On;
        };
        let protocol = begun.conn().tuple(Direction::Original).protocol();
        if protocol != self.what.protocol.number() {
            return Step::On;
        }
        if begun.conn().timeouts().is_none() && begun.set_timeouts(self.share.lend()).is_err() {
            return Step::Drop;
        }
        // From its confirmation on it has as long as the first of its packets gives it.
        if let Some(timeouts) = begun.conn().timeouts() {
            let first = Protocol::of(protocol).first(timeouts);
            begun.conn().refresh(netfilter::now(), first);
        }
        Step::On
    }

    fn write(&self, out: &mut Writer<'_>) -> Written {
        self.what.write(out, self.policy.timeouts(), HZ)
    }
}

impl Drop for CtTimeout {
    /// Connections live on as others do.
    fn drop(&mut self) {
        self.policy.withdraw();
    }
}
