// SPDX-License-Identifier: GPL-2.0
//! Keyed hashing with the kernel's SipHash: without the key nobody can fill one bucket.

use core::mem::MaybeUninit;

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

    /// The hash of two words.
    #[inline]
    pub fn two(&self, first: u64, second: u64) -> u64 {
        // SAFETY: a pure function of its arguments.
        unsafe { raw::siphash_2u64(first, second, &self.0) }
    }

    /// The hash of five words.
    #[inline]
    pub fn five(&self, [a, b, c, d, e]: [u64; 5]) -> u64 {
        // SAFETY: as above.
        let four = unsafe { raw::siphash_4u64(a, b, c, d, &self.0) };
        self.two(four, e)
    }
}
