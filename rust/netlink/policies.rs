// SPDX-License-Identifier: GPL-2.0
//! Messages about timeout policies.

use core::ffi::CStr;

use conntrack::netlink::{
    policy::{message, Request, Shown, POLICY},
    write::{flag, Header},
    Error,
};
use ip_conntrack::{
    control::Namespace,
    policies::{self, Existing},
};
use kernel::prelude::*;
use netfilter::{
    nfnetlink::{self, Answer, Dump, Message, Outbox, Sender, Subsystem},
    Net, HZ,
};

use crate::page::Page;

/// The subsystem.
pub(crate) struct Policies;

type Asked<'a> = nfnetlink::Request<'a, Namespace>;

impl Subsystem for Policies {
    type Tracker = Namespace;
    type Module = crate::Edge;
    type Dump = List;

    const NAME: &'static CStr = c"conntrack_timeout";
    const NUMBER: u8 = message::SUBSYSTEM;
    const MESSAGES: &'static [Message] = &[Message::with(&POLICY); message::COUNT];

    fn handle(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
        let request = Request::read(asked.attributes())?;
        let net = asked.net();
        match asked.message() {
            message::NEW => policies::put(net, &request, existing(asked)).map(|()| Answer::Done),
            message::GET if asked.has(flag::DUMP) => Ok(Answer::Dump(List {
                last: 0,
                page: Page::new()?,
            })),
            message::GET => {
                let name = request.name().ok_or(Error::Invalid)?;
                let policy = policies::find(net, name).ok_or(Error::NotFound)?;
                answer(&header(asked.sender(), message::NEW), &policy.shown())
            }
            message::DELETE => policies::delete(net, request.name()).map(|()| Answer::Done),
            message::DEFAULT_SET => policies::set_defaults(net, &request).map(|()| Answer::Done),
            message::DEFAULT_GET => {
                let header = header(asked.sender(), message::DEFAULT_SET);
                answer(&header, &policies::defaults(net, &request)?)
            }
            _ => Err(Error::Invalid),
        }
    }
}

/// What is done to a policy that is there already.
fn existing(asked: &Asked<'_>) -> Existing {
    if asked.has(flag::EXCL) {
        Existing::Exists
    } else if asked.has(flag::REPLACE) {
        Existing::Replace
    } else {
        Existing::Busy
    }
}

fn header(sender: Sender, message: u8) -> Header {
    sender.header(message::SUBSYSTEM, message, 0)
}

fn answer(header: &Header, shown: &Shown<'_>) -> Result<Answer<List>, Error> {
    let mut page = Page::new()?;
    page.write(header, |out| shown.write(out, HZ));
    page.into_message().map(Answer::Message)
}

/// The policies of a namespace, as they are sent.
pub(crate) struct List {
    /// The number of the last that is on the page or was sent.
    last: u64,
    page: Page,
}

impl Dump<Namespace> for List {
    fn fill(&mut self, net: &Net<Namespace>, out: &mut Outbox<'_>) {
        let header = header(out.sender(), message::NEW);
        while self.page.send(out) {
            let Some(policy) = policies::behind(net, self.last) else {
                break;
            };
            self.last = policy.number();
            self.page
                .write(&header, |out| policy.shown().write(out, HZ));
        }
    }
}
