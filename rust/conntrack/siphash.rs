// SPDX-License-Identifier: GPL-2.0
//! SipHash-1-3 (Aumasson, Bernstein 2012) of a fixed number of words, for hash tables.
//!
//! Who does not know the key cannot make many keys of a table that fall together. Nobody sees the
//! hashes, so one round for each word and three at the end are enough (as
//! Documentation/security/siphash.rst has it). All hashes of a table are of the same number of
//! words, or hold something that tells them apart: so the block that says the length is left out.

/// A secret key, as far as it can be worked in before there are words.
#[derive(Clone, Copy)]
pub struct Key([u64; 4]);

/// A secret key that makes two words of five: NH (RFC 4418, 5.2, with words of 64 bits; Krovetz 2007).
///
/// Of two different fives the twos are the same for one key in 2^64, whatever the fives are. Who sees
/// no more of them than a [`Key`]'s hash of them learns nothing of this key, so it need be no stronger.
#[derive(Clone, Copy)]
pub struct Fold([u64; 4]);

impl Fold {
    /// The key of four words.
    #[must_use]
    pub fn new(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// Two words for five.
    #[inline(always)]
    #[must_use]
    pub fn fold(&self, [a, b, c, d, e]: [u64; 5]) -> [u64; 2] {
        let [k, l, m, n] = self.0;
        let product = |a: u64, b: u64| -> u128 { u128::from(a).wrapping_mul(u128::from(b)) };
        let first = product(a.wrapping_add(k), b.wrapping_add(l));
        let second = product(c.wrapping_add(m), d.wrapping_add(n));
        let sum = first.wrapping_add(second);
        // CAST: the low half and the high half. NH is almost delta-universal: any one difference of two sums
        // is as unlikely as none, so the fifth word may be added.
        [sum as u64, ((sum >> u64::BITS) as u64).wrapping_add(e)]
    }
}

impl Key {
    /// The key of two words.
    #[must_use]
    pub fn new([first, second]: [u64; 2]) -> Self {
        // "somepseudorandomlygeneratedbytes"
        let [a, b] = quarter([
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
        ]);
        Self([
            a,
            b,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ])
    }

    /// The hash of words, of one number of them for each use.
    #[inline(always)]
    #[must_use]
    pub fn hash<const N: usize>(&self, words: [u64; N]) -> u32 {
        // CAST: a part of a hash is a hash.
        self.sip::<1, 3, N>(words) as u32
    }

    /// SipHash with `FOR_EACH` rounds for each word, and `LAST` at the end.
    #[inline(always)]
    fn sip<const FOR_EACH: usize, const LAST: usize, const N: usize>(
        &self,
        words: [u64; N],
    ) -> u64 {
        let mut v = self.0;
        for word in words {
            let [a, b, c, d] = v;
            let [a, b, c, d] = rounds::<FOR_EACH>([a, b, c, d ^ word]);
            let [a, b] = quarter([a ^ word, b]);
            v = [a, b, c, d];
        }
        let [a, b, c, d] = v;
        let [a, b, c, d] = rounds::<LAST>([a, b, c ^ 0xff, d]);
        a ^ b ^ c ^ d
    }
}

/// So many rounds, each from its second quarter on: the first one is done, and that of the round
/// behind the last is left.
#[inline(always)]
fn rounds<const COUNT: usize>(mut v: [u64; 4]) -> [u64; 4] {
    for at in 0..COUNT {
        let [a, b, c, d] = v;
        let [a, b] = if at == 0 { [a, b] } else { quarter([a, b]) };
        let c = c.wrapping_add(d);
        let d = d.rotate_left(16) ^ c;
        let a = a.wrapping_add(d);
        let d = d.rotate_left(21) ^ a;
        let c = c.wrapping_add(b);
        let b = b.rotate_left(17) ^ c;
        v = [a, b, c.rotate_left(32), d];
    }
    v
}

/// The first quarter of a round: what it does to the first two before these meet the others.
#[inline(always)]
fn quarter([a, b]: [u64; 2]) -> [u64; 2] {
    let a = a.wrapping_add(b);
    [a.rotate_left(32), b.rotate_left(13) ^ a]
}

#[cfg(test)]
#[allow(deprecated)]
mod tests {
    use super::*;
    use core::hash::{Hasher, SipHasher};
    use proptest::prelude::*;
    use std::hash::DefaultHasher;

    /// The last block of SipHash, of so many whole words.
    fn length(words: usize) -> u64 {
        (words as u64 * 8) << 56
    }

    fn of(mut hasher: impl Hasher, words: &[u64]) -> u64 {
        for word in words {
            hasher.write(&word.to_le_bytes());
        }
        hasher.finish()
    }

    // The standard library has SipHash-2-4 with any key, and SipHash-1-3 with the key zero.
    proptest! {
        #[test]
        fn as_the_standard_library_has_it(key: [u64; 2], two: [u64; 2], five: [u64; 5]) {
            let [a, b] = two;
            let [c, d, e, f, g] = five;
            let keyed = || SipHasher::new_with_keys(key[0], key[1]);
            prop_assert_eq!(Key::new(key).sip::<2, 4, 3>([a, b, length(2)]), of(keyed(), &two));
            prop_assert_eq!(Key::new(key).sip::<2, 4, 6>([c, d, e, f, g, length(5)]), of(keyed(), &five));
            let zero = Key::new([0; 2]).sip::<1, 3, 3>([a, b, length(2)]);
            prop_assert_eq!(zero, of(DefaultHasher::new(), &two));
            prop_assert_eq!(Key::new([0; 2]).hash([a, b, length(2)]), zero as u32);
            let zero = Key::new([0; 2]).sip::<1, 3, 6>([c, d, e, f, g, length(5)]);
            prop_assert_eq!(zero, of(DefaultHasher::new(), &five));
        }
    }

    /// What [`Fold`] is said to compute, step by step.
    #[test]
    fn a_fold_is_a_sum_of_products() {
        let key = [3, u64::MAX, 1 << 63, 7];
        let [a, b] = Fold::new(key).fold([5, 2, 1 << 62, 1, 9]);
        // (5 + 3) * (2 - 1) + (2^63 + 2^62) * (1 + 7)
        assert_eq!(u128::from(a) | (u128::from(b - 9) << 64), 8 + (3 << 65));
    }

    #[test]
    fn every_bit_of_five_words_counts() {
        let key = [3, 5, 7, 11].map(|prime: u64| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(prime));
        let words = [5, 6, 7, 8, 9];
        let mut seen = vec![Fold::new(key).fold(words)];
        for bit in 0..64 {
            for at in 0..5 {
                let mut other = words;
                other[at] ^= 1 << bit;
                seen.push(Fold::new(key).fold(other));
            }
        }
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn every_bit_of_key_and_words_counts() {
        let (key, words) = ([1, 2], [3, 4]);
        let mut seen = vec![Key::new(key).hash(words)];
        for bit in 0..64 {
            for at in 0..2 {
                let (mut other_key, mut other) = (key, words);
                other_key[at] ^= 1 << bit;
                other[at] ^= 1 << bit;
                seen.extend([Key::new(other_key).hash(words), Key::new(key).hash(other)]);
            }
        }
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
