// SPDX-License-Identifier: GPL-2.0
//! Helpers: each reads the payload of one protocol, and learns from it of connections that the
//! two ends are about to open.
//!
//! A helper is a value of a type that implements [`Helper`]. It gets bytes and facts, and says
//! what it expects; it neither touches a table nor allocates, so that all of it runs on the host.

pub mod lines;
pub mod text;

use core::{ffi::CStr, num::NonZeroU16};

use crate::{
    seq::Seq,
    tuple::{Address, Direction, Family, Tuple},
};

/// What parsing some bytes has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// It is there, and this is what it says.
    Match(T),
    /// It may be there: the bytes end before that is certain.
    NeedMore,
    /// It is not there, whatever follows.
    NoMatch,
}

impl<T> Parsed<T> {
    /// What was found.
    #[must_use]
    pub fn found(self) -> Option<T> {
        match self {
            Self::Match(found) => Some(found),
            Self::NeedMore | Self::NoMatch => None,
        }
    }
}

/// How many expectations of a class a connection may have, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many at once; one more takes the place of the oldest.
    pub most: u32,
    /// How long each waits for its connection, in seconds.
    pub seconds: u32,
}

impl Policy {
    /// The most that a class may have at once.
    pub const MOST: u32 = 255;
    /// The longest that one may wait, in seconds: a day.
    pub const LONGEST: u32 = 24 * 60 * 60;

    /// Whether an expectation can come up by it, and goes again.
    #[must_use]
    pub fn is_sensible(&self) -> bool {
        (1..=Self::MOST).contains(&self.most) && (1..=Self::LONGEST).contains(&self.seconds)
    }
}

/// Reads a protocol.
pub trait Helper: Send + Sync + 'static {
    /// Its name in rules, at most 15 bytes.
    const NAME: &'static CStr;
    /// The transport protocols that it reads.
    const PROTOCOLS: &'static [u8];
    /// The port of its own, unless its module is told others.
    const PORT: u16;

    /// What it keeps of a connection between two packets: begins as its default, ends with the
    /// connection. `Copy`, so that it owns nothing: its size is all that a connection can cost.
    type Session: Copy + Default + Send + 'static;

    /// The limits of its classes of expectations: at least one class, at most [`CLASSES`], each
    /// [sensible](Policy::is_sensible).
    fn policies(&self) -> &[Policy];

    /// Reads a packet's payload, which is not empty, and says what it announces. Softirq or
    /// process context, never twice at once for one connection.
    ///
    /// Of TCP only connections that are ESTABLISHED come here.
    fn read(&self, session: &mut Self::Session, message: &Message<'_>, wanted: &mut Wanted);
}

/// How many classes of expectations a helper may have.
pub const CLASSES: usize = 4;

/// A packet's payload, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What follows the transport header.
    pub payload: &'a [u8],
    /// Its direction in the connection.
    pub direction: Direction,
    /// The connection's tuples, original and reply.
    pub tuples: [&'a Tuple; 2],
    /// Where the payload begins in the stream (TCP); zero of a datagram.
    pub seq: Seq,
    /// Where the stream of this direction begins (TCP), if its SYN was seen; otherwise the first
    /// payload that comes here may lie anywhere in it.
    pub begin: Option<Seq>,
}

impl Message<'_> {
    fn tuple(&self, direction: Direction) -> &Tuple {
        let [original, reply] = self.tuples;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// The network protocol.
    #[must_use]
    pub fn family(&self) -> Family {
        self.tuple(Direction::Original).family()
    }

    /// The address of the sender, as it knows itself.
    #[must_use]
    pub fn sender(&self) -> Address {
        self.tuple(self.direction).src()
    }

    /// The address of the receiver, as it knows itself.
    #[must_use]
    pub fn receiver(&self) -> Address {
        self.tuple(self.direction.other()).src()
    }

    /// The port that the payload comes from; `None` where that is zero.
    #[must_use]
    pub fn sender_port(&self) -> Option<Port> {
        Port::new(u16::from_be_bytes(self.tuple(self.direction).src_id()))
    }
}

/// A port in host order, never zero.
pub type Port = NonZeroU16;

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The sender of the message.
    Sender,
    /// Its receiver.
    Receiver,
    /// A third host: a hole that an attacker may choose. Only where the administrator has asked
    /// for it.
    Other(Address),
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The end of the master that does not listen; of a third host's port, the message's receiver.
    OtherEnd,
    /// Any host, where the protocol has calls from hosts that nobody can know before.
    Anyone,
}

/// A connection that is expected: from any port of `caller` to one port of `listener`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinhole {
    /// The transport protocol.
    pub protocol: u8,
    /// Who listens.
    pub listener: Listener,
    /// Where it listens.
    pub port: Port,
    /// Who may call.
    pub caller: Caller,
    /// Which of the helper's policies counts.
    pub class: u8,
    /// Whether more than one connection may come, until the time is over.
    pub permanent: bool,
    /// Whether the helper reads the expected connection too.
    pub helped: bool,
}

impl Pinhole {
    /// One connection from the receiver of the message to the sender's `port`.
    #[must_use]
    pub fn to_sender(protocol: u8, port: Port) -> Self {
        Self {
            protocol,
            listener: Listener::Sender,
            port,
            caller: Caller::OtherEnd,
            class: 0,
            permanent: false,
            helped: false,
        }
    }

    /// One connection from the sender of the message to the receiver's `port`.
    #[must_use]
    pub fn to_receiver(protocol: u8, port: Port) -> Self {
        Self {
            listener: Listener::Receiver,
            ..Self::to_sender(protocol, port)
        }
    }

    /// The tuple of the connection, from port zero; where anyone may call from address zero.
    #[must_use]
    pub fn tuple(&self, message: &Message<'_>) -> Tuple {
        let (caller, listener) = self.ends(message);
        let src = caller.map_or([0; 4], |caller| caller.words);
        let port = self.port.get().to_be_bytes();
        Tuple::new(
            listener.family,
            self.protocol,
            src,
            [0; 2],
            listener.words,
            port,
        )
    }

    /// Whether any host may call.
    #[must_use]
    pub fn is_for_anyone(&self) -> bool {
        self.caller == Caller::Anyone
    }

    /// The addresses that the connection of this pinhole has: its caller's, where that is known,
    /// and its listener's.
    #[must_use]
    pub fn ends(&self, message: &Message<'_>) -> (Option<Address>, Address) {
        // As the caller sees the listener: that is where its packets go.
        let seen_by_other = |direction: Direction| message.tuple(direction.other()).dst();
        let (caller, listener) = match self.listener {
            Listener::Sender => (message.receiver(), seen_by_other(message.direction)),
            Listener::Receiver => (message.sender(), seen_by_other(message.direction.other())),
            Listener::Other(address) => (message.receiver(), address),
        };
        match self.caller {
            Caller::OtherEnd => (Some(caller), listener),
            Caller::Anyone => (None, listener),
        }
    }
}

/// What a helper wants after a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pinholes: [Option<Pinhole>; Self::MOST],
    keep: Option<u32>,
}

impl Wanted {
    /// The most pinholes that one packet can open.
    pub const MOST: usize = 8;

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects a connection. Of more than [`Self::MOST`] the last count: they are the newest.
    pub fn open(&mut self, pinhole: Pinhole) {
        if self.pinholes.iter().all(Option::is_some) {
            self.pinholes.rotate_left(1);
            if let Some(last) = self.pinholes.last_mut() {
                *last = None;
            }
        }
        if let Some(place) = self.pinholes.iter_mut().find(|place| place.is_none()) {
            *place = Some(pinhole);
        }
    }

    /// Keeps the connection itself for at least so many seconds from now on.
    pub fn keep(&mut self, seconds: u32) {
        self.keep = self.keep.max(Some(seconds));
    }

    /// What is expected.
    pub fn pinholes(&self) -> impl Iterator<Item = &Pinhole> {
        self.pinholes.iter().flatten()
    }

    /// How long the connection is to be kept at least, in seconds.
    #[must_use]
    pub fn kept(&self) -> Option<u32> {
        self.keep
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keep.is_none() && self.pinholes().next().is_none()
    }
}
