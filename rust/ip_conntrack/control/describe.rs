// SPDX-License-Identifier: GPL-2.0
//! A connection as messages tell it.

use conntrack::{
    netlink::{
        entry::{self, Entry},
        expectation::Expected,
    },
    status::Status,
    tuple::Direction,
};
use netfilter::{Account, Conn, Expectation, Labels, Shifts, HZ};
use rcu_table::Ref;

/// How a connection is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// How many of those who hold it do not count: the looker's own.
    pub held: u32,
    /// Whether what was counted begins anew.
    pub take_counters: bool,
}

/// Tells `tell` of a connection; callable from any context.
pub fn describe(conn: &Ref<Conn>, view: View, tell: &mut dyn FnMut(&Entry<'_>)) {
    // A copy, so that nothing is written under the lock.
    let state = *Conn::lock(conn);
    let status = conn.status();
    let left = if status.contains(Status::CONFIRMED) {
        conn.left().unwrap_or_default()
    } else {
        conn.pending_timeout()
    };
    let [mark, secmark] = conn.marks();
    let mut room = [0; entry::CONTEXT];
    let context = conn
        .secmark()
        .and_then(|_| netfilter::context_of(secmark, &mut room));
    let helper = conn.session().map(|session| session.helper());
    let counters = if view.take_counters {
        Account::take_counters
    } else {
        Account::counters
    };
    tell(&Entry {
        tuples: [
            conn.tuple(Direction::Original),
            conn.tuple(Direction::Reply),
        ],
        zone: conn.zone(),
        status,
        timeout: left.as_secs(HZ),
        state: &state,
        mark: conn.mark().is_some().then_some(mark),
        context: context.map(str::as_bytes),
        id: conn.id(),
        references: conn.references().saturating_sub(view.held),
        master: conn
            .master()
            .map(|master| master.tuple(Direction::Original)),
        counters: conn.counters().map(counters),
        stamps: conn.stamps(),
        helper: helper
            .filter(|helper| helper.is_alive())
            .map(|helper| helper.name()),
        labels: conn.labels().map(Labels::words),
        shifts: conn
            .shifts()
            .filter(|_| status.contains(Status::SEQ_ADJUST))
            .map(Shifts::get),
    });
}

/// Tells `tell` of an expectation; callable from any context.
pub fn describe_expected(expectation: &Expectation, tell: &mut dyn FnMut(&Expected<'_>)) {
    let what = expectation.what();
    let left = expectation.expires().remaining(netfilter::now());
    let helper = what.master.session().map(|session| session.helper());
    tell(&Expected {
        tuple: &what.tuple,
        mask: what.mask,
        master: what.master.tuple(Direction::Original),
        timeout: left.unwrap_or_default().as_secs(HZ),
        id: expectation.id(),
        flags: what.flags,
        class: what.class,
        helper: helper
            .filter(|helper| helper.is_alive())
            .map(|helper| helper.name()),
    });
}
