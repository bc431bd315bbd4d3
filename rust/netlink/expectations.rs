// SPDX-License-Identifier: GPL-2.0
//! Messages about expectations.

use core::{ffi::CStr, ops::ControlFlow};

use conntrack::netlink::{
    expectation::{Request, POLICY},
    kind::{exp_message, expect},
    request::Key,
    write::{flag, Header},
    Error,
};
use ip_conntrack::control::{self, Cursor, Namespace};
use kernel::prelude::*;
use netfilter::{
    nfnetlink::{self, Answer, Dump, Message, Outbox, Sender, Subsystem},
    Expectation, Net,
};
use rcu_table::Ref;

use crate::{
    cause,
    cpus::{Cpus, Of},
    page::Page,
};

/// The subsystem.
pub(crate) struct Expectations;

type Asked<'a> = nfnetlink::Request<'a, Namespace>;

impl Subsystem for Expectations {
    type Tracker = Namespace;
    type Dump = List;
    type Module = crate::Edge;

    const NAME: &'static CStr = c"conntrack_expect";
    const NUMBER: u8 = exp_message::SUBSYSTEM;
    const MESSAGES: &'static [Message] = &[
        Message::with(&POLICY), // NEW
        Message::with(&POLICY), // GET
        Message::with(&POLICY), // DELETE
        Message::PLAIN,         // GET_STATS_CPU
    ];

    fn handle(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
        let dump = asked.has(flag::DUMP);
        match asked.message() {
            exp_message::NEW => new(asked),
            exp_message::GET if dump => list(asked),
            exp_message::GET => get(asked),
            exp_message::DELETE => delete(asked),
            exp_message::GET_STATS_CPU if dump => Cpus::new(Of::Expectations)
                .map(List::Cpus)
                .map(Answer::Dump),
            exp_message::GET_STATS_CPU => Ok(Answer::Done),
            _ => Err(Error::NotSupported),
        }
    }
}

/// The request as the engine reads it.
fn read<'a>(asked: &'a Asked<'_>) -> Result<Request<'a>, Error> {
    Request::read(asked.attributes(), asked.family(), control::SUPPORT)
}

/// The header of a message that tells of an expectation.
fn header(sender: Sender, expectation: &Expectation) -> Header {
    // CAST: both families fit.
    let family = expectation.what().tuple.family().number() as u8;
    sender.header(exp_message::SUBSYSTEM, exp_message::NEW, family)
}

fn write(page: &mut Page, header: &Header, expectation: &Expectation) {
    control::describe_expected(expectation, &mut |expected| {
        page.write(header, |out| expected.write(out));
    });
}

/// The expectation of a tuple, if it has the number that the user says.
fn find(asked: &Asked<'_>, request: &Request<'_>, kind: u16) -> Result<Ref<Expectation>, Error> {
    let zone = request.zone()?;
    let tuple = request.tuple(kind)?;
    let found = control::find_expected(asked.net(), zone, &tuple).ok_or(Error::NotFound)?;
    match request.id()? {
        Some(id) if id != found.id() => Err(Error::NotFound),
        _ => Ok(found),
    }
}

fn get(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let request = read(asked)?;
    // As stock has it, the tuple of a master is taken for one that is expected.
    let kind = if request.has(expect::TUPLE) {
        expect::TUPLE
    } else {
        expect::MASTER
    };
    let found = find(asked, &request, kind)?;
    let mut page = Page::new()?;
    write(&mut page, &header(asked.sender(), &found), &found);
    page.into_message().map(Answer::Message)
}

fn list(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let request = read(asked)?;
    let mut master = None;
    if request.has(expect::MASTER) {
        let tuple = request.tuple(expect::MASTER)?;
        let key = Key {
            zone: request.zone()?,
            tuple,
        };
        let conn = control::find(asked.net(), &key).ok_or(Error::NotFound)?;
        if conn.session().is_none() {
            return Ok(Answer::Done); // It expects nothing, ever.
        }
        master = Some(conn.number());
    }
    Ok(Answer::Dump(List::Expectations(Table {
        family: asked.family(),
        master,
        cursor: Cursor::default(),
        page: Page::new()?,
    })))
}

/// Makes an expectation, or changes the one that is there.
fn new(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let request = read(asked)?;
    let needed = [expect::TUPLE, expect::MASK, expect::MASTER];
    if !needed.into_iter().all(|kind| request.has(kind)) {
        return Err(Error::Invalid);
    }
    let zone = request.zone()?;
    let tuple = request.tuple(expect::TUPLE)?;
    match control::find_expected(asked.net(), zone, &tuple) {
        Some(_) if asked.has(flag::EXCL) => return Err(Error::Exists),
        Some(found) => control::change_expected(&found, &request)?,
        None if asked.has(flag::CREATE) => {
            control::expect(asked.net(), &request, zone, cause(asked))?;
        }
        None => return Err(Error::NotFound),
    }
    Ok(Answer::Done)
}

fn delete(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let request = read(asked)?;
    if request.has(expect::TUPLE) {
        let found = find(asked, &request, expect::TUPLE)?;
        control::end_expected(asked.net(), &found, cause(asked));
    } else {
        control::end_all_expected(asked.net(), request.helper(), cause(asked));
    }
    Ok(Answer::Done)
}

/// A list that is being sent.
pub(crate) enum List {
    Expectations(Table),
    Cpus(Cpus),
}

impl Dump<Namespace> for List {
    fn fill(&mut self, net: &Net<Namespace>, out: &mut Outbox<'_>) {
        match self {
            Self::Expectations(table) => table.fill(net, out),
            Self::Cpus(cpus) => cpus.fill(net, out),
        }
    }
}

/// The expectations of a namespace, or of one connection.
pub(crate) struct Table {
    family: u8,
    /// The number of the connection that has announced them.
    master: Option<u64>,
    cursor: Cursor,
    page: Page,
}

impl Table {
    fn fill(&mut self, net: &Net<Namespace>, out: &mut Outbox<'_>) {
        if !self.page.send(out) {
            return;
        }
        let page = &mut self.page;
        let mut show = |expectation: &Ref<Expectation>| {
            write(page, &header(out.sender(), expectation), expectation);
            if page.send(out) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(()) // It goes first the next time.
            }
        };
        control::expectations(net, &mut self.cursor, self.family, self.master, &mut show);
    }
}
