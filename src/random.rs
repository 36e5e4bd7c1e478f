//! Randomness is handed in: tests and the simulation seed it, everybody else gets the operating system's.

use std::sync::Mutex;

use rand::{RngCore, SeedableRng, TryRngCore, rngs::OsRng, rngs::StdRng};
use uuid::Uuid;

/// Where random bytes come from.
pub trait RandomSource: Send + Sync {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// A random (version 4) UUID.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0_u8; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// `length` random bytes in lower-case hex.
    fn hex(&self, length: usize) -> String {
        let mut bytes = vec![0_u8; length];
        self.fill(&mut bytes);
        bytes.iter().fold(String::with_capacity(length * 2), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // The operating system's source fails only before it is seeded at boot; waiting for it is right.
        while OsRng.try_fill_bytes(buffer).is_err() {
            std::thread::yield_now();
        }
    }
}

/// A repeatable source for tests and the simulation. Never for secrets.
#[derive(Debug)]
pub struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    /// A source that gives the same bytes for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl RandomSource for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill_bytes(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(SeededRandom::new(7).uuid(), SeededRandom::new(7).uuid());
        assert_ne!(SystemRandom.uuid(), SystemRandom.uuid());
        assert_eq!(SystemRandom.hex(8).len(), 16);
    }
}
