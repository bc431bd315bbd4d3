// SPDX-License-Identifier: GPL-2.0
//! The object `ct helper`: new connections of a rule are read by a helper.

use conntrack::{
    netlink::{
        write::{Writer, Written},
        Error,
    },
    rule::nftables::{helper, Step},
    status::Status,
    tuple::Direction,
};
use kernel::sync::Arc;
use netfilter::{
    nfnetlink::Message,
    nftables::{object::Object, AtHook, Attributes, Place},
    Helper, ModuleRef, Session,
};

use super::check_family;
use crate::{helpers, namespace::NAMESPACES};

/// The object; the helper's module stays as long as it.
pub struct CtHelper {
    what: helper::Helper,
    helper: Arc<Helper>,
    _module: ModuleRef,
}

impl Object for CtHelper {
    const NUMBER: u32 = helper::NUMBER;
    const FORM: Message = Message::with(&helper::POLICY);

    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error> {
        let (what, name) = helper::Helper::read(|kind| attributes.get(kind), place.family)?;
        let shared = NAMESPACES.shared().ok_or(Error::NotFound)?;
        let found = helpers::for_rule(&shared, name, what.protocol);
        let (helper, module) = found.ok_or(Error::NotFound)?;
        check_family(place)?;
        Ok(Self {
            what,
            helper,
            _module: module,
        })
    }

    fn eval(&self, at: &mut AtHook<'_>) -> Step {
        // Where there is no memory, as where nobody reads it.
        let _ = at.skb.begun().map(|mut begun| {
            let conn = begun.conn();
            let tuple = conn.tuple(Direction::Original);
            let (family, protocol) = (tuple.family().number(), tuple.protocol());
            let has_one = conn.session().is_some() || conn.status().contains(Status::HELPER);
            if has_one || !self.what.covers(family, protocol) {
                return Ok(());
            }
            match Session::new(&self.helper, at.read)? {
                Some(session) => begun.set_session(session),
                None => Ok(()),
            }
        });
        Step::On
    }

    fn write(&self, out: &mut Writer<'_>) -> Written {
        self.what.write(out, self.helper.name())
    }
}
