// SPDX-License-Identifier: GPL-2.0
//! Numbers of connections, which tell nothing of where they are.

use conntrack::tuple::{Direction, HashWords};
use kernel::sync::SetOnce;

use super::Conn;
use crate::siphash::HashKey;

/// The secret behind the numbers of connections; made at the first load.
static ID_KEY: SetOnce<HashKey> = SetOnce::new();

/// Makes the secret, if there is none.
pub(crate) fn make_numbers_secret() {
    ID_KEY.populate(HashKey::random());
}

impl Conn {
    /// A number that tells it from others and says nothing of its address.
    pub fn number(&self) -> u64 {
        let Some(key) = ID_KEY.as_ref() else {
            return 0; // Not reached: there is a key before there are connections.
        };
        // Not the address alone: another connection may come to have it.
        let address = core::ptr::from_ref(self) as u64;
        let fold = |hash, word: &u64| key.secret(hash, *word);
        match self.tuple(Direction::Original).hash_words(0) {
            HashWords::Ipv4(words) => words.iter().fold(address, fold),
            HashWords::Ipv6(words) => words.iter().fold(address, fold),
        }
    }

    /// The same, as users see it.
    pub fn id(&self) -> u32 {
        // CAST: a part of a hash is a hash.
        self.number() as u32
    }

    /// A number that tells what stands at an `address` from others of this connection.
    pub(crate) fn number_of(&self, address: u64) -> u64 {
        ID_KEY
            .as_ref()
            .map_or(0, |key| key.secret(address, self.number()))
    }
}
