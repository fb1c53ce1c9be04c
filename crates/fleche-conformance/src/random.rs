//! `Random`: numbers that look random and follow from a seed, the same on every machine.

use std::hash::{BuildHasher, RandomState};

/// A generator, `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that follows from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence that nobody knows beforehand.
    pub fn any() -> Self {
        Self(RandomState::new().hash_one(()))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 where there is none. The bias towards small numbers is that of a remainder.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// A generator of its own, for the part of this number.
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
    fn the_sequence_is_that_of_the_publication() {
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
