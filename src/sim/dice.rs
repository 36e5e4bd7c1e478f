//! Chance, all of it from one seed: separate streams for separate matters, so that one more throw here changes nothing there.

use crate::random::{RandomSource as _, SeededRandom};

/// A stream of throws.
#[derive(Debug)]
pub struct Dice(SeededRandom);

impl Dice {
    /// The stream of a matter. The same seed and matter give the same throws.
    pub fn of(seed: u64, matter: &str) -> Self {
        Self(SeededRandom::new(derived(seed, matter)))
    }

    fn next(&self) -> u64 {
        let mut bytes = [0_u8; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least.saturating_add(self.below(most.saturating_sub(least).saturating_add(1)))
    }

    /// True so many times in a thousand.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of them; None of nothing.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        let place = self.below(u64::try_from(from.len()).unwrap_or(0));
        from.get(usize::try_from(place).unwrap_or(0))
    }
}

/// A seed for one matter.
pub fn derived(seed: u64, matter: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(matter.as_bytes());
    let mut bytes = [0_u8; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matters_are_apart_and_repeat() {
        let throws = |seed, matter| {
            let dice = Dice::of(seed, matter);
            (0..4).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(throws(1, "a"), throws(1, "a"));
        assert_ne!(throws(1, "a"), throws(1, "b"));
        assert_ne!(throws(1, "a"), throws(2, "a"));
        let dice = Dice::of(3, "range");
        assert!((0..100).all(|_| (2..=4).contains(&dice.between(2, 4))));
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
