// SPDX-License-Identifier: GPL-2.0
//! What happens to connections and to what is expected, as messages to who listens.

use conntrack::{
    event::{Events, Expected},
    netlink::{
        entry::Entry,
        kind::{exp_message, message},
        write::{flag, Header},
    },
    tuple::{Direction, Tuple},
};
use ip_conntrack::{
    control::{self, View},
    events::{Cause, Congested, Listener, News},
};
use netfilter::{
    multicast::{Group, Message, Size},
    Conn, Expectation, ReadSide,
};
use rcu_table::Ref;

/// Tells by messages.
pub(crate) struct Teller;

/// Nothing is longer than a security context, three IPv6 tuples and all the rest.
const MOST: usize = 1536;
/// With two tuples and a protocol's state; and what was counted.
const USUAL: usize = 256;
const USUAL_COUNTED: usize = 384;

impl Listener for Teller {
    fn connection(
        &self,
        conn: &Ref<Conn>,
        news: &News,
        read: ReadSide<'_>,
    ) -> Result<(), Congested> {
        let events = news.events;
        let (group, number, flags) = if events.meets(Events::DESTROY) {
            (Group::Destroy, message::DELETE, 0)
        } else if events.meets(Events::NEW | Events::RELATED) {
            (Group::New, message::NEW, flag::CREATE | flag::EXCL)
        } else {
            (Group::Update, message::NEW, 0)
        };
        let original = conn.tuple(Direction::Original);
        let message = Message {
            group,
            header: header(message::SUBSYSTEM, number, flags, original, news.cause),
            echo: news.cause.echo,
            size: Size {
                usual: if conn.counters().is_some() {
                    USUAL_COUNTED
                } else {
                    USUAL
                },
                most: MOST,
            },
        };
        let [_, secmark] = conn.marks();
        let sent = message.send(
            conn,
            |out| {
                let mut written = Ok(());
                control::describe(conn, View::default(), &mut |entry| {
                    // Of no mark the security module has a text, too.
                    let marked = events.meets(Events::SECMARK) || secmark != 0;
                    let entry = Entry {
                        context: entry.context.filter(|_| marked),
                        ..*entry
                    };
                    written = entry.write_event(out, events, news.time);
                });
                written
            },
            read,
        );
        sent.map_err(|_| Congested)
    }

    fn expectation(
        &self,
        expectation: &Ref<Expectation>,
        event: Expected,
        cause: Cause,
        read: ReadSide<'_>,
    ) {
        let (group, number, flags) = match event {
            Expected::New => (
                Group::NewExpected,
                exp_message::NEW,
                flag::CREATE | flag::EXCL,
            ),
            Expected::Destroy => (Group::DestroyExpected, exp_message::DELETE, 0),
        };
        let tuple = &expectation.what().tuple;
        let message = Message {
            group,
            header: header(exp_message::SUBSYSTEM, number, flags, tuple, cause),
            echo: cause.echo,
            size: Size {
                usual: USUAL_COUNTED,
                most: MOST,
            },
        };
        // Who misses it will not be told: stock tells nobody twice, either.
        let _ = message.send(
            expectation.master(),
            |out| {
                let mut written = Ok(());
                control::describe_expected(expectation, &mut |entry| written = entry.write(out));
                written
            },
            read,
        );
    }
}

fn header(subsystem: u8, message: u8, flags: u16, tuple: &Tuple, cause: Cause) -> Header {
    Header {
        subsystem,
        message,
        flags,
        seq: 0,
        port: cause.port,
        // CAST: both families fit.
        family: tuple.family().number() as u8,
        resource: 0,
    }
}
