// SPDX-License-Identifier: GPL-2.0
//! States as words, for who keeps one with each connection: the protocol is known from the tuple.

use zerocopy::{transmute, transmute_mut};

use super::{
    sctp::Sctp,
    tcp::{EndsMut, Parts, Tcp},
    udp::Udp,
    State,
};
use crate::tuple::{protocol, Family, Tuple};

/// How many words a state takes.
pub const WORDS: usize = 13;

/// A state as words; all zero is a state too. One of no more than a word has that in the middle.
pub type Kept = [u32; WORDS];

/// Whether a state of this transport protocol takes more than a word.
#[inline(always)]
#[must_use]
pub const fn is_large(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::SCTP)
}

/// A state of a word.
#[inline(always)]
#[must_use]
pub const fn of_word(word: u32) -> Kept {
    [0, 0, 0, 0, 0, 0, 0, 0, word, 0, 0, 0, 0]
}

/// The word of a state that has no more.
#[inline(always)]
#[must_use]
pub const fn word_of(kept: &Kept) -> u32 {
    let [_, _, _, _, _, _, _, _, word, ..] = *kept;
    word
}

/// Where the words of a state are kept, which need not be in one place.
pub struct Places<'a> {
    /// The first.
    pub first: &'a mut [u32; 6],
    /// Those behind them.
    pub next: &'a mut [u32; 2],
    /// The one behind these.
    pub middle: &'a mut u32,
    /// The rest.
    pub last: &'a mut [u32; 4],
}

impl Places<'_> {
    /// The words.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> Kept {
        let [a, b, c, d, e, f] = *self.first;
        let [g, h] = *self.next;
        let [j, k, l, m] = *self.last;
        [a, b, c, d, e, f, g, h, *self.middle, j, k, l, m]
    }

    /// Changes them.
    #[inline(always)]
    pub fn set(&mut self, kept: &Kept) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m] = *kept;
        *self.first = [a, b, c, d, e, f];
        *self.next = [g, h];
        *self.middle = i;
        *self.last = [j, k, l, m];
    }
}

impl<'a> Parts<'a> {
    /// The state of a TCP connection where it is kept.
    #[inline(always)]
    pub(super) fn within(places: Places<'a>) -> Self {
        Self {
            ends: EndsMut::within(places.first, places.next, places.middle),
            recent: transmute_mut!(places.last),
        }
    }
}

impl Tcp {
    /// The state within words.
    #[inline]
    pub(super) fn within(kept: &mut Kept) -> &mut Self {
        transmute_mut!(kept)
    }
}

impl State {
    /// The state as words.
    #[inline]
    #[must_use]
    pub fn keep(&self) -> Kept {
        let mut kept = [0; WORDS];
        match self {
            Self::Tcp(tcp) => kept = transmute!(*tcp),
            Self::Udp(udp) => kept = of_word(udp.keep()),
            Self::Sctp(sctp) => {
                let [first, second, third, ..] = &mut kept;
                [*first, *second, *third] = sctp.keep();
            }
            Self::Icmp | Self::Icmpv6 | Self::Gre | Self::Generic => {}
        }
        kept
    }

    /// The state behind words that `keep` has made for a connection of this tuple.
    #[inline]
    #[must_use]
    pub fn kept(tuple: &Tuple, kept: Kept) -> Self {
        let [first, second, third, ..] = kept;
        match (tuple.protocol(), tuple.family()) {
            (protocol::TCP, _) => Self::Tcp(transmute!(kept)),
            (protocol::UDP, _) => Self::Udp(Udp::kept(word_of(&kept))),
            (protocol::SCTP, _) => Self::Sctp(Sctp::kept([first, second, third])),
            (protocol::GRE, _) => Self::Gre,
            (protocol::ICMP, Family::Ipv4) => Self::Icmp,
            (protocol::ICMPV6, Family::Ipv6) => Self::Icmpv6,
            _ => Self::Generic,
        }
    }

    /// The state behind words, of the same protocol as this one.
    pub(super) fn same_of(&self, kept: Kept) -> Self {
        let [first, second, third, ..] = kept;
        match self {
            Self::Tcp(_) => Self::Tcp(transmute!(kept)),
            Self::Udp(_) => Self::Udp(Udp::kept(word_of(&kept))),
            Self::Sctp(_) => Self::Sctp(Sctp::kept([first, second, third])),
            other => *other,
        }
    }
}
