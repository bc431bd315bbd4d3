// SPDX-License-Identifier: GPL-2.0
//! Keyed hashing by SipHash: without the key nobody can fill one bucket.

use core::mem::MaybeUninit;

use conntrack::siphash;

/// A secret key.
pub struct HashKey {
    key: raw::siphash_key_t,
    of_tables: siphash::Key,
}

impl HashKey {
    /// A key from the kernel's random numbers.
    pub fn random() -> Self {
        let mut key = MaybeUninit::<raw::siphash_key_t>::uninit();
        // SAFETY: `get_random_bytes` fills exactly the size given; every bit pattern is a key.
        let key = unsafe {
            raw::get_random_bytes(
                key.as_mut_ptr().cast(),
                core::mem::size_of::<raw::siphash_key_t>(),
            );
            key.assume_init()
        };
        Self {
            of_tables: siphash::Key::new(key.key),
            key,
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
        self.of_tables.hash(words)
    }
}
