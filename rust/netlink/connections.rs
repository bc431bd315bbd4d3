// SPDX-License-Identifier: GPL-2.0
//! Messages about connections.

use core::{ffi::CStr, ops::ControlFlow};

use conntrack::netlink::{
    filter::Filter,
    kind::message,
    request::{self, Key, Request},
    stats,
    write::{flag, Header},
    Error,
};
use ip_conntrack::control::{self, Cursor, Namespace, View};
use kernel::prelude::*;
use netfilter::{
    nfnetlink::{self, Answer, Dump, Message, Outbox, Sender, Subsystem},
    Conn, Net,
};
use rcu_table::Ref;

use crate::{
    cause,
    cpus::{Cpus, Of},
    page::Page,
};

/// The subsystem.
pub(crate) struct Connections;

type Asked<'a> = nfnetlink::Request<'a, Namespace>;

impl Subsystem for Connections {
    type Tracker = Namespace;
    type Dump = List;
    type Module = crate::Edge;

    const NAME: &'static CStr = c"conntrack";
    const NUMBER: u8 = message::SUBSYSTEM;
    const MESSAGES: &'static [Message] = &[
        Message::with(&request::POLICY), // NEW
        Message::with(&request::POLICY), // GET
        Message::with(&request::POLICY), // DELETE
        Message::with(&request::POLICY), // GET_CTRZERO
        Message::PLAIN,                  // GET_STATS_CPU
        Message::PLAIN,                  // GET_STATS
        Message::PLAIN,                  // GET_DYING
        Message::PLAIN,                  // GET_UNCONFIRMED
    ];

    fn handle(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
        let dump = asked.has(flag::DUMP);
        match asked.message() {
            message::GET | message::GET_CTRZERO if dump => list(asked),
            message::GET | message::GET_CTRZERO => get(asked),
            message::NEW => new(asked),
            message::DELETE => delete(asked),
            message::GET_STATS_CPU if dump => {
                Cpus::new(Of::Connections).map(List::Cpus).map(Answer::Dump)
            }
            message::GET_STATS_CPU => Ok(Answer::Done),
            message::GET_STATS => get_stats(asked),
            message::GET_DYING if dump => list_dying(asked),
            // Before its confirmation a connection is its packet's alone.
            message::GET_UNCONFIRMED if dump => Ok(Answer::Dump(List::Nothing)),
            _ => Err(Error::NotSupported),
        }
    }
}

/// The request as the engine reads it.
fn read<'a>(asked: &'a Asked<'_>) -> Result<Request<'a>, Error> {
    Request::read(asked.attributes(), asked.family(), control::SUPPORT)
}

/// Whether what was counted begins anew.
fn takes_counters(asked: &Asked<'_>) -> bool {
    asked.message() == message::GET_CTRZERO
}

/// The header of a message that tells of a connection.
fn header(sender: Sender, conn: &Conn) -> Header {
    let original = conn.tuple(conntrack::tuple::Direction::Original);
    // CAST: both families fit.
    let family = original.family().number() as u8;
    sender.header(message::SUBSYSTEM, message::NEW, family)
}

fn get(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let key = read(asked)?.key()?.ok_or(Error::Invalid)?;
    let conn = control::find(asked.net(), &key).ok_or(Error::NotFound)?;
    let view = View {
        held: 0,
        take_counters: takes_counters(asked),
    };
    let header = header(asked.sender(), &conn);
    let mut page = Page::new()?;
    control::describe(&conn, view, &mut |entry| {
        page.write(&header, |out| entry.write_listed(out));
    });
    page.into_message().map(Answer::Message)
}

fn list(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let filter = Filter::read(&read(asked)?, asked.family())?;
    Ok(Answer::Dump(List::Connections(Table {
        filtered: filter.is_some(),
        which: Which::Live(filter),
        cursor: Cursor::default(),
        take_counters: takes_counters(asked),
        page: Page::new()?,
    })))
}

fn list_dying(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    Ok(Answer::Dump(List::Connections(Table {
        filtered: false,
        which: Which::Dying(asked.family()),
        cursor: Cursor::default(),
        take_counters: false,
        page: Page::new()?,
    })))
}

/// Makes a connection, or changes the one that is there.
fn new(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let request = read(asked)?;
    let tuples = request.tuples()?;
    let tuple = tuples.original.or(tuples.reply);
    let found = tuple.and_then(|tuple| {
        let key = Key {
            zone: tuples.zone,
            tuple,
        };
        control::find(asked.net(), &key)
    });
    match found {
        Some(_) if asked.has(flag::EXCL) => return Err(Error::Exists),
        Some(conn) => control::change(asked.net(), &conn, &request, cause(asked))?,
        None if asked.has(flag::CREATE) => {
            control::create(asked.net(), &request, &tuples, cause(asked))?;
        }
        None => return Err(Error::NotFound),
    }
    Ok(Answer::Done)
}

fn delete(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let request = read(asked)?;
    // The zone is looked at in any case.
    request.zone()?;
    let key = if request.has_filter() {
        None
    } else {
        request.key()?
    };
    let Some(key) = key else {
        // Programs of old name a family and mean all.
        let family = if asked.version() != 0 || request.has_filter() {
            asked.family()
        } else {
            0
        };
        let filter = Filter::read(&request, family)?;
        control::delete_all(asked.net(), filter.as_ref(), cause(asked));
        return Ok(Answer::Done);
    };
    let conn = control::find(asked.net(), &key).ok_or(Error::NotFound)?;
    if request.id()?.is_some_and(|id| id != conn.id()) {
        return Err(Error::NotFound);
    }
    control::delete(asked.net(), &conn, cause(asked));
    Ok(Answer::Done)
}

fn get_stats(asked: &Asked<'_>) -> Result<Answer<List>, Error> {
    let (entries, max) = control::census(asked.net());
    let header = asked
        .sender()
        .header(message::SUBSYSTEM, message::GET_STATS, 0);
    let mut page = Page::new()?;
    page.write(&header, |out| stats::write_global(out, entries, max));
    page.into_message().map(Answer::Message)
}

/// A list that is being sent.
pub(crate) enum List {
    Connections(Table),
    Cpus(Cpus),
    Nothing,
}

impl Dump<Namespace> for List {
    fn is_filtered(&self) -> bool {
        matches!(self, Self::Connections(table) if table.filtered)
    }

    fn fill(&mut self, net: &Net<Namespace>, out: &mut Outbox<'_>) {
        match self {
            Self::Connections(table) => table.fill(net, out),
            Self::Cpus(cpus) => cpus.fill(net, out),
            Self::Nothing => {}
        }
    }
}

/// Which connections.
enum Which {
    /// Those that packets find, and a filter means.
    Live(Option<Filter>),
    /// Those that are over, of a network protocol.
    Dying(u8),
}

/// The connections of a namespace.
pub(crate) struct Table {
    which: Which,
    /// Whether not all are shown.
    filtered: bool,
    cursor: Cursor,
    take_counters: bool,
    page: Page,
}

impl Table {
    fn fill(&mut self, net: &Net<Namespace>, out: &mut Outbox<'_>) {
        if !self.page.send(out) {
            return;
        }
        let view = View {
            held: 1, // By the walk.
            take_counters: self.take_counters,
        };
        let (filtered, page) = (self.filtered, &mut self.page);
        let mut show = |conn: &Ref<Conn>| {
            let mut header = header(out.sender(), conn);
            if filtered {
                header.flags |= flag::FILTERED;
            }
            control::describe(conn, view, &mut |entry| {
                page.write(&header, |out| entry.write_listed(out));
            });
            if page.send(out) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(()) // It goes first the next time.
            }
        };
        let cursor = &mut self.cursor;
        match &self.which {
            Which::Live(filter) => control::connections(net, cursor, filter.as_ref(), &mut show),
            Which::Dying(family) => control::dying(net, cursor, *family, &mut show),
        }
    }
}
