// SPDX-License-Identifier: GPL-2.0
//! What programs behind NFQUEUE and NFLOG are told of a packet's connection, and what they may do
//! to it with their verdict.

use conntrack::{
    event::Events,
    netlink::{
        entry::{self, Entry},
        expectation,
        request::Request,
        write::{Writer, Written},
        Error,
    },
    status::Status,
    tuple::Direction,
};
use netfilter::{Beside, Conn, Net};
use rcu_table::Ref;

use crate::{
    control::{self, change, View, SUPPORT},
    events::Cause,
    namespace::Namespace,
};

impl Beside for Namespace {
    fn room(conn: &Conn) -> usize {
        let [_, secmark] = conn.marks();
        entry::room_beside_packet(secmark != 0)
    }

    fn tell(conn: &Ref<Conn>, out: &mut Writer<'_>) -> Written {
        let mut written = Ok(());
        let [_, secmark] = conn.marks();
        control::describe(conn, View::default(), &mut |entry| {
            let entry = Entry {
                context: entry.context.filter(|_| secmark != 0),
                ..*entry
            };
            written = entry.write_beside_packet(out);
        });
        written
    }

    fn change(net: &Net<Self>, conn: &Ref<Conn>, attributes: &[u8]) -> Result<(), Error> {
        let original = conn.tuple(Direction::Original);
        // CAST: both families fit.
        let family = original.family().number() as u8;
        let request = Request::read(attributes, family, SUPPORT)?;
        change::set_timeout(net, conn, &request)?;
        change_status(conn, &request)?;
        change::check_helper(net, conn, &request)?;
        if change::set_labels(conn, &request)? {
            conn.note(Events::LABEL);
        }
        change::set_mark(conn, &request)
    }

    fn expect(
        net: &Net<Self>,
        conn: &Ref<Conn>,
        attributes: &[u8],
        [port, echo]: [u32; 2],
    ) -> Result<(), Error> {
        let original = conn.tuple(Direction::Original);
        // CAST: both families fit.
        let family = original.family().number() as u8;
        let request = expectation::Request::read(attributes, family, SUPPORT)?;
        let echo = echo != 0;
        control::expect::expect_beside(net, conn, &request, Cause { port, echo })
    }
}

/// Programs send back the bits that they were told, some changed: of those that are not theirs
/// nothing is said, and those that are may be taken back, but for what was seen.
fn change_status(conn: &Conn, request: &Request<'_>) -> Result<(), Error> {
    let Some(wanted) = request.status()? else {
        return Ok(());
    };
    let seen = conn.status().bits() & (Status::SEEN_REPLY | Status::ASSURED).bits();
    if !wanted.contains(Status::from_bits(seen)) {
        return Err(Error::Busy);
    }
    let on = wanted.changeable();
    conn.clear_status(Status::from_bits(!on.bits()).changeable());
    conn.set_status(on);
    Ok(())
}
