// SPDX-License-Identifier: GPL-2.0
//! Keyed hashing with the kernel's SipHash: without the key nobody can fill one bucket.

use core::mem::{size_of, size_of_val, MaybeUninit};

const _: () = assert!(size_of::<raw::siphash_key_t>() == size_of::<raw::hsiphash_key_t>());

/// A secret key.
pub struct HashKey(raw::siphash_key_t);

impl HashKey {
    /// A key from the kernel's random numbers.
    pub fn random() -> Self {
        let mut key = MaybeUninit::<raw::siphash_key_t>::uninit();
        // SAFETY: `get_random_bytes` fills exactly the size given; every bit pattern is a key.
        unsafe {
            raw::get_random_bytes(
                key.as_mut_ptr().cast(),
                core::mem::size_of::<raw::siphash_key_t>(),
            );
            Self(key.assume_init())
        }
    }

    /// The hash of two words, to be shown to others.
    #[inline]
    pub fn secret(&self, first: u64, second: u64) -> u64 {
        // SAFETY: a pure function of its arguments.
        unsafe { raw::siphash_2u64(first, second, &self.0) }
    }

    /// The same key for SipHash-1-3, which is enough for tables: nobody sees their hashes
    /// (Documentation/security/siphash.rst).
    #[inline]
    fn of_tables(&self) -> *const raw::hsiphash_key_t {
        (&raw const self.0).cast()
    }

    /// The hash of two words, for tables.
    #[inline]
    pub fn two(&self, words: [u64; 2]) -> u32 {
        // CAST: each word in two halves.
        let [[a, b], [c, d]] = words.map(|word| [word as u32, (word >> 32) as u32]);
        // SAFETY: a pure function of its arguments; both kinds of key are two words.
        unsafe { raw::hsiphash_4u32(a, b, c, d, self.of_tables()) }
    }

    /// The hash of five words, for tables. (Not inline: the kernel's function is reached in the core.)
    #[inline(never)]
    pub fn five(&self, words: [u64; 5]) -> u32 {
        // SAFETY: as above.
        unsafe { raw::ipct_hsiphash(words.as_ptr().cast(), size_of_val(&words), self.of_tables()) }
    }
}
