// SPDX-License-Identifier: GPL-2.0
//! Talk as of 4.3BSD (protocols/talkd.h), also called ntalk: daemons on UDP port 518 bring two
//! users together, whose programs then have a TCP connection of their own.
//!
//! The caller's program asks the callee's daemon (LOOK_UP) whether the callee waits for it. If not,
//! it listens, and has that daemon announce it to the callee (ANNOUNCE). The callee's program then
//! asks the caller's daemon where the caller listens (LOOK_UP again), and connects to it.

use core::{
    ffi::CStr,
    net::{IpAddr, Ipv4Addr},
};

use conntrack::{
    helper::{text::UNPRIVILEGED, Helper, Message, Pinhole, Policy, Port, Wanted},
    tuple::{protocol, Address, Direction},
};
use zerocopy::{network_endian::U16, FromBytes};
use zerocopy_derive::FromBytes;

/// The daemon's port.
const DAEMON: u16 = 518;

/// TALK_VERSION.
const VERSION: u8 = 1;
/// The type of message that asks for an invitation.
const LOOK_UP: u8 = 1;
/// The type of message that has an invitation announced.
const ANNOUNCE: u8 = 3;
/// The answer of who has found what was asked for.
const SUCCESS: u8 = 0;
/// AF_INET, which all the systems that have talk number alike.
const INET: u16 = 2;

/// The class of calls to the other daemon.
const DAEMONS: u8 = 0;
/// The class of conversations.
const CONVERSATIONS: u8 = 1;

/// While the callee does not answer, the caller announces itself again every 30 s (RING_WAIT).
const POLICIES: [Policy; 2] = [Policy {
    most: 1,
    seconds: 300,
}; 2];

/// `struct osockaddr` of 4.3BSD, as an Internet address fills it.
#[derive(FromBytes)]
#[repr(C)]
struct SocketAddress {
    family: U16,
    port: U16,
    address: [u8; 4],
    zero: [u8; 8],
}

/// `CTL_RESPONSE`, from a daemon to a program. The other message begins in the same way.
#[derive(FromBytes)]
#[repr(C)]
struct Response {
    version: u8,
    kind: u8,
    answer: u8,
    pad: u8,
    id: [u8; 4],
    address: SocketAddress,
}

/// `CTL_MSG`, from a program to a daemon.
#[derive(FromBytes)]
#[repr(C)]
struct Request {
    begin: Response,
    control_address: SocketAddress,
    pid: [u8; 4],
    local_name: [u8; 12],
    remote_name: [u8; 12],
    remote_tty: [u8; 16],
}

/// Reads what programs and daemons say to each other.
#[derive(Clone, Copy, Debug)]
pub struct Talk;

impl Helper for Talk {
    const NAME: &'static CStr = c"talk";
    const PROTOCOLS: &'static [u8] = &[protocol::UDP];
    const PORT: u16 = 518;
    type Session = ();

    fn policies(&self) -> &[Policy] {
        &POLICIES
    }

    fn read(&self, (): &mut (), message: &Message<'_>, wanted: &mut Wanted) {
        match message.direction {
            Direction::Original => read_request(message, wanted),
            Direction::Reply => read_response(message, wanted),
        }
    }
}

/// A program that has itself announced waits for a call; the callee's program will ask the
/// caller's daemon first.
fn read_request(message: &Message<'_>, wanted: &mut Wanted) {
    let Ok((Request { begin, .. }, _)) = Request::read_from_prefix(message.payload) else {
        return;
    };
    if begin.kind != ANNOUNCE {
        return;
    }
    let (Some(conversation), Some(daemon)) = (conversation(&begin, message), Port::new(DAEMON))
    else {
        return;
    };
    wanted.open(Pinhole {
        class: DAEMONS,
        helped: true,
        ..Pinhole::to_sender(protocol::UDP, daemon)
    });
    wanted.open(conversation);
}

/// A daemon that has found an invitation says where the one who has left it waits.
fn read_response(message: &Message<'_>, wanted: &mut Wanted) {
    let Ok((response, _)) = Response::read_from_prefix(message.payload) else {
        return;
    };
    if (response.kind, response.answer) != (LOOK_UP, SUCCESS) {
        return;
    }
    if let Some(conversation) = conversation(&response, message) {
        wanted.open(conversation);
    }
}

/// The conversation that the sender of a message waits for. It waits itself: another's address
/// would make a hole to a host that has not asked for it.
fn conversation(begin: &Response, message: &Message<'_>) -> Option<Pinhole> {
    let SocketAddress {
        family,
        port,
        address,
        ..
    } = begin.address;
    let own = Address::from(IpAddr::V4(Ipv4Addr::from(address))) == message.sender();
    if begin.version != VERSION || family.get() != INET || !own || port.get() < UNPRIVILEGED {
        return None;
    }
    Some(Pinhole {
        class: CONVERSATIONS,
        ..Pinhole::to_sender(protocol::TCP, Port::new(port.get())?)
    })
}
