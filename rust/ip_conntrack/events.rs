// SPDX-License-Identifier: GPL-2.0
//! Who is told what happens to connections, and to what is expected: the module of ctnetlink, while
//! it is loaded.
//!
//! What happens to a connection is noted with it, and told at the last hook of the packet that made
//! it happen, all in one; its death at once. Nothing is told under a lock of an entry or a bucket.

use conntrack::{
    event::{Events, Expected},
    status::Status,
};
use kernel::{prelude::*, sync::rcu};
use netfilter::{Conn, Expectation, Filled, ReadSide, Skb, Slot};
use rcu_table::Ref;

/// Who has made something happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The user's socket; zero for a packet, or the clock.
    pub port: u32,
    /// Whether that user wants to be told, too.
    pub echo: bool,
}

impl Cause {
    /// A packet, or the clock.
    pub const NOBODY: Self = Self {
        port: 0,
        echo: false,
    };
}

/// What has happened to a connection.
#[derive(Clone, Copy, Debug)]
pub struct News {
    /// What.
    pub events: Events,
    /// When (of several things, the first), in nanoseconds since 1970, where that is known.
    pub time: Option<u64>,
    /// By whom.
    pub cause: Cause,
}

/// Somebody could not be told who wants to miss nothing.
#[derive(Clone, Copy, Debug)]
pub struct Congested;

/// Who is told. Its functions are called in any context, and may not sleep.
pub trait Listener: Send + Sync {
    /// Something has happened to a connection.
    ///
    /// # Errors
    ///
    /// [`Congested`]: then it is told once more, later.
    fn connection(
        &self,
        conn: &Ref<Conn>,
        news: &News,
        read: ReadSide<'_>,
    ) -> Result<(), Congested>;

    /// Something has happened to an expectation.
    fn expectation(
        &self,
        expectation: &Ref<Expectation>,
        event: Expected,
        cause: Cause,
        read: ReadSide<'_>,
    );
}

static LISTENER: Slot<&'static dyn Listener> = Slot::new();

/// A module is told while this lives. To drop it may sleep; afterwards nobody is in the listener's
/// functions, so its module may go.
pub struct Listening {
    _place: Filled<&'static dyn Listener>,
}

/// Has a listener told from here on. May sleep.
///
/// # Errors
///
/// `EBUSY` where there is another; `ENOMEM`.
pub fn listen(listener: &'static dyn Listener) -> Result<Listening> {
    let _place = LISTENER.fill(listener)?;
    Ok(Listening { _place })
}

/// Tells what was noted of a packet's connection: the packet has come through.
#[cold]
pub(crate) fn deliver(skb: &Skb) {
    let Some((conn, _)) = skb.conn() else {
        return;
    };
    // Of a dead one only its death is told.
    if !conn.is_live() {
        return;
    }
    let news = News {
        events: conn.take_news(),
        time: conn.touched(),
        cause: Cause::NOBODY,
    };
    tell(&conn, &news);
}

/// Tells at once what a user has made of a connection.
pub fn report(conn: &Ref<Conn>, events: Events, cause: Cause) {
    // Of a dead one only its death is told.
    if !conn.is_listened() || !conn.is_live() {
        return;
    }
    conn.touch();
    let news = News {
        events: events | conn.take_missed(),
        time: conn.touched(),
        cause,
    };
    tell(conn, &news);
}

fn tell(conn: &Ref<Conn>, news: &News) {
    if pass_on(conn, news).is_err() {
        conn.missed(news.events);
    }
}

/// Tells that a connection is over.
///
/// # Errors
///
/// [`Congested`]: it has to be told later.
pub(crate) fn over(conn: &Ref<Conn>, cause: Cause) -> Result<(), Congested> {
    if !conn.is_listened() || !conn.status().contains(Status::CONFIRMED) {
        return Ok(());
    }
    let news = News {
        events: Events::DESTROY,
        time: conn.touched(),
        cause,
    };
    pass_on(conn, &news)
}

/// Tells the listener, if the connection's rule lets it.
fn pass_on(conn: &Ref<Conn>, news: &News) -> Result<(), Congested> {
    if !news.events.meets(mask(conn)) {
        return Ok(());
    }
    let guard = rcu::read_lock();
    let read = ReadSide::of(&guard);
    match LISTENER.get(read) {
        // Of a namespace that is going users do not hear any more.
        Some(listener) if !conn.census().is_silent() => listener.connection(conn, news, read),
        _ => Ok(()),
    }
}

/// Which events of a connection are told.
fn mask(conn: &Conn) -> Events {
    masks(conn).map_or(Events::ALL, |[mask, _]| mask)
}

fn masks(conn: &Conn) -> Option<[Events; 2]> {
    conn.extension()?.extras().masks
}

/// Tells of an expectation. Never under a lock of its bucket, or of its master.
pub(crate) fn expectation(expectation: &Ref<Expectation>, event: Expected, cause: Cause) {
    let master = expectation.master();
    let wanted = match masks(master) {
        Some([_, mask]) => event.is_in(mask),
        None => true,
    };
    if !wanted || !master.is_listened() {
        return;
    }
    let guard = rcu::read_lock();
    let read = ReadSide::of(&guard);
    match LISTENER.get(read) {
        Some(listener) if !master.census().is_silent() => {
            listener.expectation(expectation, event, cause, read);
        }
        _ => {}
    }
}
