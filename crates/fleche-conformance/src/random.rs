//! `Random`: a pseudorandom number generator that gives the same numbers for a seed on every machine.

use std::hash::{BuildHasher, RandomState};

/// The generator `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates a generator from a random seed.
    pub fn any() -> Self {
        Self(RandomState::new().hash_one(()))
    }

    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, or 0 if `end` is 0. It is a remainder, so small numbers are slightly more likely.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// Creates the `nth` of several independent generators with the same seed.
    pub fn part(seed: u64, nth: u64) -> Self {
        let mut own = Self(seed ^ nth.wrapping_mul(0xd1b5_4a32_d192_ed03));
        own.next_u64();
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_matches_published_values() {
        let mut random = Random::new(1_234_567);
        let numbers: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_stay_below_the_end() {
        let mut random = Random::part(7, 3);
        assert!((0..100).all(|_| random.below(10) < 10));
        assert_eq!(random.below(0), 0);
    }
}
