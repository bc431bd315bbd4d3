// SPDX-License-Identifier: GPL-2.0
//! Connections that users make or change. What is looked at first decides which error a user gets:
//! the order is stock's.

use core::sync::atomic::Ordering;

use conntrack::{
    event::Events,
    netlink::{
        request::{status_to_set, Key, Request, Tuples},
        Error,
    },
    proto::State,
    status::Status,
    time::Ticks,
    tuple::{Direction, Tuple},
    zone::Zone,
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Extension, Extras, Net, NewConn, ReadSide, Session, Shifts, HZ};
use rcu_table::{Insert, Ref};

use super::{find, Namespace};
use crate::{
    counts::Event,
    events::{self, Cause},
    evict, helpers,
};

/// How often an expired entry may stand in the way of a new one.
const ROUNDS: usize = 4;

/// What may have become of a connection that a user has made or changed.
const TOLD: Events = Events::from_bits(
    Events::REPLY.bits()
        | Events::ASSURED.bits()
        | Events::HELPER.bits()
        | Events::PROTOINFO.bits()
        | Events::SEQADJ.bits()
        | Events::MARK.bits(),
);

/// Makes a connection of these tuples for somebody. May sleep.
///
/// # Errors
///
/// Why not.
pub fn create(
    net: &Net<Namespace>,
    request: &Request<'_>,
    tuples: &Tuples,
    cause: Cause,
) -> Result<(), Error> {
    let (Some(original), Some(reply)) = (tuples.original, tuples.reply) else {
        return Err(Error::Invalid);
    };
    if original.protocol() != reply.protocol() {
        return Err(Error::Invalid);
    }
    let conn = make(net, request, tuples.zone, [&original, &reply])?;
    let (handle, mut events) = (conn.clone(), TOLD | birth(&conn));
    insert(net, conn)?;
    // Whether it can have labels is not asked of who makes it.
    if matches!(set_labels(&handle, request), Ok(true)) {
        events = events | Events::LABEL;
    }
    events::report(&handle, events, cause);
    Ok(())
}

/// What is told of the begin.
fn birth(conn: &Conn) -> Events {
    if conn.status().contains(Status::EXPECTED) {
        Events::RELATED
    } else {
        Events::NEW
    }
}

/// A connection that only the caller knows.
fn make(
    net: &Net<Namespace>,
    request: &Request<'_>,
    zone: Zone,
    [original, reply]: [&Tuple; 2],
) -> Result<Ref<Conn>, Error> {
    let tracker = net.tracker();
    let hashes = tracker.shared.hashes(net, zone, [original, reply]);
    let full = net.census().len() >= tracker.max();
    if full && !make_room(net, hashes.0) {
        return Err(Error::NoMemory);
    }
    let seconds = request.timeout()?.ok_or(Error::Invalid)?;
    let mut status = Status::NONE;
    let mut extras = Extras {
        labels: tracker.has_labels(),
        ..Extras::default()
    };
    if let Some(name) = request.helper()? {
        extras.session = Some(begin_session(net, name, original.protocol())?);
        status = status | Status::HELPER;
    }
    if request.has_nat() {
        return Err(Error::NotSupported);
    }
    if let Some(wanted) = request.status()? {
        status = status | status_to_set(status | Status::CONFIRMED, wanted)?;
    }
    extras.shifts = shifts(request)?;
    if extras.shifts.is_some() {
        status = status | Status::SEQ_ADJUST;
    }
    let mut state = State::unseen(original);
    if let Some(change) = request.state(original.protocol())? {
        state.change(&change);
    }
    let mark = request.mark()?.map_or(0, |mark| mark.apply(0));
    extras.master = master(net, request, zone)?;
    if extras.master.is_some() {
        status = status | Status::EXPECTED;
    }
    let extension = Extension::new(extras).map_err(|_| Error::NoMemory)?;
    let new = NewConn {
        original: *original,
        reply: *reply,
        hashes,
        state: state.keep(),
        timeout: Ticks::from_secs(seconds, HZ),
        status,
        zone,
        marks: [mark, 0],
        features: tracker.wanted.features(),
    };
    net.new_conn(tracker.shared.cache(), new, extension)
        .ok_or(Error::NoMemory)
}

/// Room in a table that is full.
fn make_room(net: &Net<Namespace>, hash: u32) -> bool {
    let guard = rcu::read_lock();
    evict::make_room(net, hash, ReadSide::of(&guard))
}

/// What a helper is to keep of a new connection; the helper is loaded if need be.
fn begin_session(net: &Net<Namespace>, name: &[u8], protocol: u8) -> Result<KBox<Session>, Error> {
    let shared = &net.tracker().shared;
    // Its module is held until the session has begun: then it is the core's own.
    let (helper, _module) = helpers::for_rule(shared, name, protocol).ok_or(Error::NotSupported)?;
    let guard = rcu::read_lock();
    let session = Session::new(&helper, ReadSide::of(&guard)).map_err(|_| Error::NoMemory)?;
    session.ok_or(Error::NotSupported)
}

/// By how much sequence numbers are shifted, if it is said.
fn shifts(request: &Request<'_>) -> Result<Option<KBox<Shifts>>, Error> {
    let both = [
        request.shift(Direction::Original)?,
        request.shift(Direction::Reply)?,
    ];
    if both == [None; 2] {
        return Ok(None);
    }
    let shifts = Shifts::new(both.map(Option::unwrap_or_default));
    KBox::new(shifts, GFP_KERNEL)
        .map(Some)
        .map_err(|_| Error::NoMemory)
}

/// The connection that has announced it, if it is said.
fn master(
    net: &Net<Namespace>,
    request: &Request<'_>,
    zone: Zone,
) -> Result<Option<Ref<Conn>>, Error> {
    match request.master()? {
        Some(tuple) => {
            let key = Key { zone, tuple };
            let master = find(net, &key).ok_or(Error::NotFound)?;
            // As with packets there are no chains of them: the end of the last would end the others one by one, a
            // grace period each.
            match master.master() {
                None => Ok(Some(master)),
                Some(_) => Err(Error::NotSupported),
            }
        }
        None => Ok(None),
    }
}

/// Puts a connection into the table.
fn insert(net: &Net<Namespace>, mut conn: Ref<Conn>) -> Result<(), Error> {
    let tracker = net.tracker();
    let shared = &tracker.shared;
    let guard = rcu::read_lock();
    for _ in 0..ROUNDS {
        match shared.insert(conn, ReadSide::of(&guard)) {
            Ok(()) => {
                tracker.counts.event(Event::Insert);
                return Ok(());
            }
            Err(Insert::Again(_)) => return Err(Error::Exists),
            Err(Insert::Clash(clash)) => match clash.other {
                Some(other) if !other.expired(netfilter::now()) => break,
                Some(other) => {
                    shared.kill(&other);
                    conn = clash.entry;
                }
                None => conn = clash.entry,
            },
        }
    }
    Err(Error::Exists)
}

/// Changes a connection for somebody. What was changed before an error stays. May sleep.
///
/// # Errors
///
/// Why not.
pub fn change(
    net: &Net<Namespace>,
    conn: &Ref<Conn>,
    request: &Request<'_>,
    cause: Cause,
) -> Result<(), Error> {
    // These are for new connections.
    if request.has_nat() || request.has_master() {
        return Err(Error::NotSupported);
    }
    check_helper(net, conn, request)?;
    set_timeout(net, conn, request)?;
    if let Some(wanted) = request.status()? {
        conn.set_status(status_to_set(conn.status(), wanted)?);
    }
    let original = conn.tuple(Direction::Original);
    if let Some(change) = request.state(original.protocol())? {
        Conn::lock(conn).change(&change);
    }
    set_mark(conn, request)?;
    set_shifts(conn, request)?;
    set_labels(conn, request)?;
    events::report(conn, TOLD | Events::LABEL, cause);
    Ok(())
}

/// A helper comes with the first packet or never: a user may only say it again.
///
/// # Errors
///
/// [`Error::Busy`] where another reads it; [`Error::NotSupported`] where none does, or there is none.
pub(crate) fn check_helper(
    net: &Net<Namespace>,
    conn: &Conn,
    request: &Request<'_>,
) -> Result<(), Error> {
    let Some(name) = request.helper()? else {
        return Ok(());
    };
    let its = conn.session().map(Session::helper);
    let same = its.is_some_and(|helper| helper.is_alive() && helper.name() == name);
    // Not even that is asked of those that were announced.
    if conn.master().is_some() {
        return if same { Ok(()) } else { Err(Error::Busy) };
    }
    let protocol = conn.tuple(Direction::Original).protocol();
    if !helpers::is_known(&net.tracker().shared, name, protocol) {
        return Err(Error::NotSupported);
    }
    match its {
        Some(_) if same => Ok(()),
        Some(_) => Err(Error::Busy),
        None => Err(Error::NotSupported),
    }
}

/// How long it lives from now on, or from its confirmation on.
///
/// # Errors
///
/// [`Error::Fixed`], [`Error::Over`].
pub(crate) fn set_timeout(
    net: &Net<Namespace>,
    conn: &Conn,
    request: &Request<'_>,
) -> Result<(), Error> {
    let Some(seconds) = request.timeout()? else {
        return Ok(());
    };
    let status = conn.status();
    if status.contains(Status::FIXED_TIMEOUT) {
        return Err(Error::Fixed);
    }
    if status.contains(Status::DYING) {
        return Err(Error::Over);
    }
    let timeout = Ticks::from_secs(seconds, HZ);
    let shared = &net.tracker().shared;
    shared.refresh(conn, netfilter::now(), timeout);
    Ok(())
}

/// The firewall mark.
///
/// # Errors
///
/// [`Error::Range`] where it is no number.
pub(crate) fn set_mark(conn: &Conn, request: &Request<'_>) -> Result<(), Error> {
    if let (Some(change), Some(mark)) = (request.mark()?, conn.mark()) {
        // Others change it too; what users say comes last.
        let _ = mark.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |mark| {
            Some(change.apply(mark))
        });
    }
    Ok(())
}

/// They are read in any case, and kept where the connection was made with some.
fn set_shifts(conn: &Conn, request: &Request<'_>) -> Result<(), Error> {
    for direction in [Direction::Original, Direction::Reply] {
        if let (Some(shift), Some(shifts)) = (request.shift(direction)?, conn.shifts()) {
            shifts.set(direction, shift);
            conn.set_status(Status::SEQ_ADJUST);
        }
    }
    Ok(())
}

/// Whether labels have changed.
///
/// # Errors
///
/// [`Error::NoRoom`] where it can have none.
pub(crate) fn set_labels(conn: &Conn, request: &Request<'_>) -> Result<bool, Error> {
    let Some(change) = request.labels()? else {
        return Ok(false);
    };
    let labels = conn.labels().ok_or(Error::NoRoom)?;
    Ok(labels.change(|at, word| match change.words().get(at) {
        Some(change) => change.apply(word),
        None => word,
    }))
}
