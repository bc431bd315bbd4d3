// SPDX-License-Identifier: GPL-2.0
//! Keyed hashing by SipHash: without the key nobody can fill one bucket.

use core::mem::size_of;

use conntrack::siphash;

/// A secret key.
pub struct HashKey {
    key: raw::siphash_key_t,
    of_tables: siphash::Key,
    fold: siphash::Fold,
}

/// Words from the kernel's random numbers.
fn random<const N: usize>() -> [u64; N] {
    let mut words = [0; N];
    // SAFETY: room for so many bytes, any of which make words.
    unsafe { raw::get_random_bytes(words.as_mut_ptr().cast(), size_of::<[u64; N]>()) };
    words
}

impl HashKey {
    /// A key that nobody knows.
    pub fn random() -> Self {
        let key = random();
        Self {
            of_tables: siphash::Key::new(key),
            fold: siphash::Fold::new(random()),
            key: raw::siphash_key_t { key },
        }
    }

    /// The hash of two words, to be shown to others.
    #[inline]
    pub fn secret(&self, first: u64, second: u64) -> u64 {
        // SAFETY: a pure function of its arguments.
        unsafe { raw::siphash_2u64(first, second, &self.key) }
    }

    /// The hash of two words, for tables.
    #[inline(always)]
    pub fn two(&self, words: [u64; 2]) -> u32 {
        self.of_tables.hash(words)
    }

    /// The hash of five words, for tables.
    #[inline(always)]
    pub fn five(&self, words: [u64; 5]) -> u32 {
        self.of_tables.hash(self.fold.fold(words))
    }
}
