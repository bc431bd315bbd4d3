// SPDX-License-Identifier: GPL-2.0
//! Rules of iptables: the bytes that it sends, and what they ask for.

#[path = "../common/mod.rs"]
mod common;

mod conntrack_match;
mod ct;
mod marks;
mod others;
mod state;

use conntrack::rule::{Refused, Rule};

/// What user space sends, where the kernel would have put it.
struct Sent {
    words: Vec<u64>,
    len: usize,
}

impl Sent {
    fn new(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        Self {
            words: words.collect(),
            len: bytes.len(),
        }
    }

    fn rule<R: Rule>(&self) -> &R {
        R::of(&zerocopy::IntoBytes::as_bytes(&self.words[..])[..self.len]).unwrap()
    }
}

/// Numbers as user space has them in a structure of words.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Whether a rule may be.
fn check<R: Rule>(bytes: &[u8]) -> Result<(), Refused> {
    Sent::new(bytes).rule::<R>().check()
}

/// Fails unless bytes of this number, and of no other, are read.
fn is_of_size<R: Rule>(size: usize) {
    for len in [0, size - 1, size, size + 1] {
        let sent = Sent::new(&vec![0; len]);
        let found = R::of(&zerocopy::IntoBytes::as_bytes(&sent.words[..])[..len]);
        assert_eq!(found.err(), (len != size).then_some(Refused::Malformed));
    }
}

#[test]
fn sizes_are_those_of_the_c_structures() {
    use conntrack::rule;
    is_of_size::<rule::state::State>(4);
    is_of_size::<rule::conntrack::Revision1>(152);
    is_of_size::<rule::conntrack::Revision2>(156);
    is_of_size::<rule::conntrack::Revision3>(164);
    is_of_size::<rule::helper::Helper>(36);
    is_of_size::<rule::connmark::Connmark>(12);
    is_of_size::<rule::connmark::Target1>(16);
    is_of_size::<rule::connmark::Target2>(16);
    is_of_size::<rule::connbytes::Connbytes>(24);
    is_of_size::<rule::connlimit::Connlimit>(24);
    is_of_size::<rule::connlabel::Connlabel>(4);
    is_of_size::<rule::cluster::Cluster>(16);
    is_of_size::<rule::secmark::Connsecmark>(1);
    is_of_size::<rule::ct::Revision0>(32);
    is_of_size::<rule::ct::Revision1>(64);
    is_of_size::<rule::ct::Revision2>(64);
    assert!(rule::ct::NoTrack::of(&[]).is_ok());
}
