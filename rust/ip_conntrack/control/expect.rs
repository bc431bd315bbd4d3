// SPDX-License-Identifier: GPL-2.0
//! Expectations that users look at, make, change and end. The order in which things are looked at is
//! stock's.

use conntrack::{
    netlink::{expectation::Request, kind::expect as kind, request::Key, Error},
    time::Ticks,
    tuple::{SourceMask, Tuple},
    zone::Zone,
};
use kernel::sync::rcu;
use netfilter::{Conn, Expectation, Net, NewExpectation, ReadSide, Session, HZ};
use rcu_table::Ref;

use super::{find, Namespace};
use crate::{
    events::Cause,
    expect::{self, Refused},
};

/// The expectation that a connection of this tuple would meet.
pub fn find_expected(net: &Net<Namespace>, zone: Zone, tuple: &Tuple) -> Option<Ref<Expectation>> {
    let guard = rcu::read_lock();
    expect::find(net, zone, tuple, ReadSide::of(&guard))
}

/// Expects a connection for somebody.
///
/// # Errors
///
/// Why not.
pub fn expect(
    net: &Net<Namespace>,
    request: &Request<'_>,
    zone: Zone,
    cause: Cause,
) -> Result<(), Error> {
    let what = what(request)?;
    let key = Key {
        zone,
        tuple: request.tuple(kind::MASTER)?,
    };
    let master = find(net, &key).ok_or(Error::NotFound)?;
    expect_of(net, &master, what, request, cause)
}

/// Expects a connection for a program that has seen a packet of `master`.
///
/// # Errors
///
/// Why not.
pub(crate) fn expect_beside(
    net: &Net<Namespace>,
    master: &Ref<Conn>,
    request: &Request<'_>,
    cause: Cause,
) -> Result<(), Error> {
    if ![kind::TUPLE, kind::MASK]
        .into_iter()
        .all(|kind| request.has(kind))
    {
        return Err(Error::Invalid);
    }
    expect_of(net, master, what(request)?, request, cause)
}

/// The tuple and the mask of what is expected.
fn what(request: &Request<'_>) -> Result<(Tuple, SourceMask), Error> {
    Ok((request.tuple(kind::TUPLE)?, request.mask()?))
}

fn expect_of(
    net: &Net<Namespace>,
    master: &Ref<Conn>,
    (tuple, mask): (Tuple, SourceMask),
    request: &Request<'_>,
    cause: Cause,
) -> Result<(), Error> {
    // A helper that goes waits for this before it takes out what its connections expect.
    let guard = rcu::read_lock();
    let read = ReadSide::of(&guard);
    let helper = master.session().map(Session::helper);
    let helper = helper
        .filter(|helper| helper.is_alive())
        .ok_or(Error::NotSupported)?;
    // The class is one of the master's own helper, whatever name the user gives.
    let class = request.class()?;
    let policy = helper.policy(class).ok_or(Error::Invalid)?;
    let flags = request.flags()?;
    if request.has(kind::FN) {
        return Err(Error::Invalid); // There is nothing of that kind.
    }
    if request.has(kind::NAT) {
        return Err(Error::NotSupported);
    }
    let new = NewExpectation {
        master: master.clone(),
        tuple,
        mask,
        class,
        flags,
        helped: false,
        expires: netfilter::now(),
    };
    expect::put(net, new, policy, takes_place_of, cause, read).map_err(error)
}

/// Whether a user's expectation takes the place of another: one that says the same of the same
/// connection, or that is over.
fn takes_place_of(old: &Expectation, new: &Expectation) -> Result<(), Refused> {
    let (of, by) = (old.what(), new.what());
    let same = of.tuple == by.tuple
        && of.mask == by.mask
        && core::ptr::eq(&**old.master(), &**new.master());
    if old.expired(netfilter::now()) || old.is_over() {
        return Ok(());
    }
    match (same, of.class == by.class) {
        (true, true) => Ok(()),
        (true, false) => Err(Refused::OtherClass),
        (false, _) => Err(Refused::InTheWay),
    }
}

fn error(refused: Refused) -> Error {
    match refused {
        Refused::InTheWay => Error::Busy,
        Refused::OtherClass => Error::Already,
        Refused::TooMany => Error::TooMany,
        Refused::NoMemory => Error::NoMemory,
    }
}

/// Changes an expectation: how long it waits.
///
/// # Errors
///
/// What makes no sense.
pub fn change_expected(expectation: &Expectation, request: &Request<'_>) -> Result<(), Error> {
    if let Some(seconds) = request.timeout()? {
        let span = Ticks::from_secs(seconds, HZ);
        expectation.set_expires(netfilter::now().add(span));
    }
    Ok(())
}

/// Ends an expectation for somebody.
pub fn end_expected(net: &Net<Namespace>, expectation: &Expectation, cause: Cause) {
    drop(net.tracker().shared.expectations().end(expectation, cause));
}

/// Ends the expectations of a namespace, or those of one helper, for somebody.
pub fn end_all_expected(net: &Net<Namespace>, helper: Option<&[u8]>, cause: Cause) {
    if !expect::any(net) {
        return;
    }
    expect::sweep(&net.tracker().shared, cause, |expectation| {
        let master = expectation.master();
        master.in_namespace(net.census())
            && helper.is_none_or(|name| helper_of(master) == Some(name))
    });
}

/// The name of a connection's helper.
fn helper_of(conn: &Conn) -> Option<&[u8]> {
    let helper = conn.session()?.helper();
    helper.is_alive().then(|| helper.name())
}
