// SPDX-License-Identifier: GPL-2.0
//! How many buckets suit how many entries. All numbers of buckets and of locks are powers of two.

/// There are more buckets at more entries than this for each, ...
const FULL: u32 = 1;
/// ... and fewer at fewer than one for so many: half of what there are just after there are more.
const SPARSE: u32 = 4;

/// The number of buckets on the way to what suits so many entries, within bounds: twice as many, half as many,
/// or the same if they suit.
#[must_use]
pub fn next(buckets: u32, entries: u32, [least, most]: [u32; 2]) -> u32 {
    let double = buckets.saturating_mul(2);
    let half = buckets.checked_div(2).unwrap_or_default();
    let full = entries > buckets.saturating_mul(FULL) && double <= most;
    let sparse = entries < buckets.checked_div(SPARSE).unwrap_or_default() && half >= least;
    if buckets < least || full {
        double
    } else if sparse {
        half
    } else {
        buckets
    }
}

/// The most entries under one of `locks` before somebody looks whether there are enough buckets. At `most`
/// buckets nobody need look.
#[must_use]
pub fn limit(buckets: u32, most: u32, locks: u32) -> u32 {
    if buckets >= most {
        return u32::MAX;
    }
    let by_lock = buckets.checked_div(locks).unwrap_or_default();
    let usual = by_lock.saturating_mul(FULL);
    // By chance the fullest of a thousand locks has about four standard deviations more than that.
    let chance = usual.isqrt().saturating_add(1).saturating_mul(4);
    usual.saturating_add(chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: u32 = 1 << 24;

    /// What is arrived at.
    fn fitted(buckets: u32, entries: u32, least: u32) -> u32 {
        let mut at = buckets;
        for _ in 0..32 {
            match next(at, entries, [least, MOST]) {
                same if same == at => return at,
                other => at = other,
            }
        }
        panic!("{buckets} buckets, {entries} entries: no end");
    }

    /// Where it has grown it does not shrink until half of the entries are gone, and the other way round: a
    /// few that come and go do not make it do either again and again.
    #[test]
    fn it_does_not_go_to_and_fro() {
        for bits in 10..24 {
            let buckets = 1 << bits;
            let grown = fitted(buckets, buckets + 1, 1024);
            assert_eq!(grown, 2 * buckets);
            assert_eq!(fitted(grown, buckets / 2, 1024), grown);
            assert_eq!(fitted(grown, buckets / 2 - 1, 1024), buckets);
            // And back only at twice as many.
            assert_eq!(fitted(buckets, buckets, 1024), buckets);
        }
    }

    proptest! {
        #[test]
        fn what_is_arrived_at_suits(
            bits in 10..=24_u32, least in 10..=24_u32, entries in prop_oneof![0..1_u32 << 13, any::<u32>()],
        ) {
            let (buckets, least) = (1 << bits, 1 << least);
            let at = fitted(buckets, entries, least);
            prop_assert!(at.is_power_of_two() && (least..=MOST).contains(&at));
            prop_assert!(entries <= at || at == MOST);
            prop_assert!(entries >= at / 4 || at == least);
        }

        /// Each step is one that the table can take, and the next goes the same way.
        #[test]
        fn steps_go_one_way(bits in 10..=24_u32, least in 10..=24_u32, entries: u32) {
            let (buckets, bounds) = (1_u32 << bits, [1 << least, MOST]);
            let one = next(buckets, entries, bounds);
            let two = next(one, entries, bounds);
            prop_assert!(one.trailing_zeros().abs_diff(bits) <= 1);
            prop_assert!(two == one || (two > one) == (one > buckets));
        }
    }

    /// A table that is as full as it may be is not looked at for every entry: by chance some locks have more
    /// than their share. But one that is twice as full is.
    #[test]
    fn the_limit_is_beyond_chance() {
        // A linear congruential generator (Knuth, 3.3.4) gives the entries their locks.
        let (locks, mut state) = (1024_u32, 1_u64);
        for bits in 10..20 {
            let buckets = 1_u32 << bits;
            let limit = limit(buckets, MOST, locks);
            let mut held = vec![0_u32; locks as usize];
            let mut fill = |count: u32| -> u32 {
                for _ in 0..count {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    held[(state >> 54) as usize] += 1;
                }
                held.iter().copied().max().unwrap_or(0)
            };
            assert!(fill(buckets) <= limit, "{buckets}");
            assert!(fill(buckets * 4) > limit, "{buckets}");
        }
        assert_eq!(limit(MOST, MOST, locks), u32::MAX);
        assert_eq!(limit(1024, MOST, locks), 9);
    }
}
