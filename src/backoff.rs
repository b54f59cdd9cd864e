//! Pauses between attempts: doubling, with a random part, so that those who failed together do
//! not come back together.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The pauses of one run of failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

/// Between parts of one program and its database: from 5 ms to 1 s.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(5), Duration::from_secs(1))
    }
}

impl Backoff {
    /// Pauses whose bound doubles from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The next pause: between half and all of the bound.
    pub fn pause(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures += 1;
        let random = RandomState::new().hash_one(self.failures) as u32;
        bound / 2 + bound.mul_f64(f64::from(random) / f64::from(u32::MAX)) / 2
    }

    /// Ends the run of failures: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let (first, longest) = (Duration::from_millis(5), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= first);
        assert!(pauses.iter().all(|pause| *pause >= first / 2 && *pause <= longest));
        assert!(pauses[20..].iter().all(|pause| *pause >= longest / 2));
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
