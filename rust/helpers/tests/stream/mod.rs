// SPDX-License-Identifier: GPL-2.0
//! A TCP connection between a client and a server, as a helper sees it.
#![allow(dead_code)] // Each test takes of it what it needs.

use std::net::IpAddr;

use conntrack::{
    helper::{Helper, Message, Pinhole, Wanted},
    seq::Seq,
    tuple::{protocol, Address, Direction, Tuple},
};
use Direction::{Original, Reply};

/// Where the client's and the server's bytes begin; both soon go round.
const BEGIN: [u32; 2] = [u32::MAX - 9, u32::MAX - 30];

/// One end of the connection, and bytes that it sends.
pub type Said = (Direction, Vec<u8>);

/// Bytes of the client.
pub fn client(bytes: impl AsRef<[u8]>) -> Said {
    (Original, bytes.as_ref().to_vec())
}

/// Bytes of the server.
pub fn server(bytes: impl AsRef<[u8]>) -> Said {
    (Reply, bytes.as_ref().to_vec())
}

/// A connection, and what the helper has found in it.
pub struct Stream<'a, H: Helper> {
    helper: &'a H,
    session: H::Session,
    tuples: [Tuple; 2],
    sent: [u32; 2],
    whole: bool,
    /// All that was expected.
    pub found: Vec<Pinhole>,
}

impl<'a, H: Helper> Stream<'a, H> {
    /// A connection from `client` to `server`, seen from its beginning.
    pub fn new(helper: &'a H, client: &str, server: &str) -> Self {
        let [client, server] =
            [client, server].map(|address| Address::from(address.parse::<IpAddr>().unwrap()));
        let tuple = Tuple::new(
            client.family,
            protocol::TCP,
            client.words,
            4000_u16.to_be_bytes(),
            server.words,
            21_u16.to_be_bytes(),
        );
        Self {
            helper,
            session: H::Session::default(),
            tuples: [tuple, tuple.invert().unwrap()],
            sent: [0; 2],
            whole: true,
            found: Vec::new(),
        }
    }

    /// The same, picked up somewhere in the middle.
    pub fn midstream(mut self) -> Self {
        self.whole = false;
        self
    }

    /// A segment that begins at byte `at` of its stream: what is expected after it.
    pub fn segment(&mut self, direction: Direction, at: u32, payload: &[u8]) -> Vec<Pinhole> {
        let [original, reply] = &self.tuples;
        let message = Message {
            payload,
            direction,
            tuples: [original, reply],
            seq: Seq::new(BEGIN[direction.index()]).add(at),
            begin: self.whole.then_some(Seq::new(BEGIN[direction.index()])),
        };
        let mut wanted = Wanted::new();
        self.helper.read(&mut self.session, &message, &mut wanted);
        assert_eq!(wanted.kept(), None);
        let new: Vec<Pinhole> = wanted.pinholes().copied().collect();
        self.found.extend(&new);
        new
    }

    /// The next bytes of one end: what is expected after them.
    pub fn send(&mut self, (direction, bytes): &Said) -> Vec<Pinhole> {
        let at = self.sent[direction.index()];
        self.sent[direction.index()] += bytes.len() as u32;
        self.segment(*direction, at, bytes)
    }

    /// Bytes that the helper does not get to see.
    pub fn lose(&mut self, (direction, bytes): &Said) {
        self.sent[direction.index()] += bytes.len() as u32;
    }

    /// The next bytes of the client.
    pub fn client(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Pinhole> {
        self.send(&client(bytes))
    }

    /// The next bytes of the server.
    pub fn server(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Pinhole> {
        self.send(&server(bytes))
    }

    /// A dialogue, one segment for each part, sent a second time where `again` says so.
    pub fn dialogue(mut self, dialogue: &[Said], again: bool) -> Vec<Pinhole> {
        for said in dialogue {
            let at = self.sent[said.0.index()];
            self.send(said);
            if again {
                assert_eq!(self.segment(said.0, at, &said.1), []);
            }
        }
        self.found
    }

    /// The same, each part cut into pieces of the sizes that `sizes` gives in turn.
    pub fn pieces(self, dialogue: &[Said], sizes: &[usize], again: bool) -> Vec<Pinhole> {
        let mut sizes = sizes.iter().cycle();
        let mut cut = Vec::new();
        for (direction, bytes) in dialogue {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                cut.push((*direction, piece.to_vec()));
                rest = others;
            }
        }
        self.dialogue(&cut, again)
    }
}

/// The first `len` bytes of a dialogue.
pub fn prefix(dialogue: &[Said], mut len: usize) -> Vec<Said> {
    let mut begin = Vec::new();
    for (direction, bytes) in dialogue {
        let part = bytes.len().min(len);
        len -= part;
        begin.push((*direction, bytes[..part].to_vec()));
    }
    begin.retain(|(_, bytes)| !bytes.is_empty());
    begin
}
