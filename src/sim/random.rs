//! The one source of chance in a world: what a seed decides, it decides by these numbers.

/// A generator of numbers that a seed determines (SplitMix64; Steele, Lea and Flood, 2014).
///
/// It is for choosing what happens in a test, and of no use where numbers must not be guessed.
///
/// ```
/// use whirligig::sim::Random;
///
/// let (mut one, mut other) = (Random::seeded(7), Random::seeded(7));
/// assert_eq!(one.number(), other.number());
/// assert!(one.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The unit of probabilities: so many in a million.
pub(super) const MILLION: u32 = 1_000_000;

impl Random {
    /// The numbers of `seed`. Seeds that are near each other give numbers that are not.
    #[must_use]
    pub fn seeded(seed: u64) -> Random {
        let mut random = Random(seed);
        let mixed = random.number() ^ seed.rotate_left(32);
        Random(mixed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is as good as even for bounds far below 2^64.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// An index of a list of `length`; 0 if that is 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True so many times in a million. It takes no number if that is 0.
    pub fn chance(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(MILLION.into()) < per_million.into()
    }

    /// A generator of its own, so that one part's use of chance leaves another's alone.
    #[must_use]
    pub fn fork(&mut self) -> Random {
        Random::seeded(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_take_every_value_about_as_often() {
        let mut random = Random::seeded(1);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[random.index(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
    }

    #[test]
    fn a_chance_is_met_as_often_as_it_says() {
        let mut random = Random::seeded(2);
        let met = (0..100_000).filter(|_| random.chance(250_000)).count();
        assert!((24_000..26_000).contains(&met), "{met}");
        assert!(!(0..1000).any(|_| random.chance(0)));
        assert!((0..1000).all(|_| random.chance(MILLION)));
    }
}
