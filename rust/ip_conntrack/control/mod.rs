// SPDX-License-Identifier: GPL-2.0
//! What administrators see of connections and do to them, for the modules that talk to them.
//!
//! All of this runs in process context and may sleep, but for [`describe`].

pub(crate) mod change;
mod describe;
pub(crate) mod expect;
mod walk;

use conntrack::{
    netlink::{
        filter::{Candidate, Filter},
        request::Key,
        Support,
    },
    tuple::Direction,
};
use kernel::sync::rcu;
use netfilter::{Conn, Labels, Net, ReadSide};
use rcu_table::Ref;

use crate::{events::Cause, expire};

pub use self::{
    change::{change, create},
    describe::{describe, describe_expected, View},
    expect::{change_expected, end_all_expected, end_expected, expect, find_expected},
    walk::{connections, dying, expectations, Cursor},
};
pub use crate::{
    counts::{of_cpu, of_cpu_expected},
    namespace::Namespace,
    shared::Shared,
};

/// What this kernel knows.
pub const SUPPORT: Support = Support {
    zones: Conn::HAS_ZONES,
    marks: Conn::HAS_MARKS,
    secmarks: Conn::HAS_SECMARKS,
    labels: Labels::SUPPORTED,
};

/// The connection that a user means.
pub fn find(net: &Net<Namespace>, key: &Key) -> Option<Ref<Conn>> {
    let guard = rcu::read_lock();
    let shared = &net.tracker().shared;
    let (conn, _) = shared.find(net, key.zone, &key.tuple, ReadSide::of(&guard))?;
    Some(conn)
}

/// Ends a connection for somebody.
pub fn delete(net: &Net<Namespace>, conn: &Ref<Conn>, cause: Cause) {
    net.tracker().shared.end(conn, cause);
}

/// Ends the connections that a filter means, or all, for somebody.
pub fn delete_all(net: &Net<Namespace>, filter: Option<&Filter>, cause: Cause) {
    if net.census().is_empty() {
        return;
    }
    expire::sweep(&net.tracker().shared, cause, |conn| {
        conn.in_namespace(net.census())
            && conn.is_live()
            && filter.is_none_or(|filter| filter.matches(&candidate(conn)))
    });
}

/// How many connections a namespace has, and may have.
pub fn census(net: &Net<Namespace>) -> (u32, u32) {
    (net.census().len(), net.tracker().max())
}

/// What a filter looks at.
fn candidate(conn: &Conn) -> Candidate<'_> {
    let [mark, _] = conn.marks();
    Candidate {
        tuples: [
            conn.tuple(Direction::Original),
            conn.tuple(Direction::Reply),
        ],
        zone: conn.zone(),
        mark,
        status: conn.status(),
    }
}
