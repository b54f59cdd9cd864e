//! Memory for bodies that are read as a whole, while they arrive. Each may be as large as `body_bytes_max`,
//! and there can be any number of them; so what is more than a little of each comes out of one bound.
//!
//! Who finds no room is refused, and does not wait: two that have half a body each would wait for each other. What
//! is small always has room, so that nobody who sends much, or slowly, keeps it out.
//!
//! Not here: what has arrived and waits to be written (`topic/admission.rs`); lines of streams, of which each
//! stream has one at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::problem::{ErrorCode, Problem};
use crate::metrics;

/// Bytes of each body that are not counted.
const FREE: usize = 16 << 10;

/// The bound. Counts bytes that have come; their buffer may be twice as large while it grows.
pub struct Arriving {
    max: usize,
    taken: AtomicUsize,
}

impl Arriving {
    /// At most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        metrics::arriving_limit(max);
        Self { max, taken: AtomicUsize::new(0) }
    }

    /// For one body, of which nothing has come yet.
    pub(super) fn share(&self) -> Share<'_> {
        Share { of: self, taken: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// What one body has of the bound; given back when it is dropped.
pub(super) struct Share<'a> {
    of: &'a Arriving,
    taken: usize,
}

impl Share<'_> {
    /// Makes room for a body of so many bytes in all.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes.saturating_sub(FREE).saturating_sub(self.taken);
        if more == 0 {
            return Ok(());
        }
        if !self.of.take(more) {
            let max = self.of.max;
            let detail = format!(
                "too many large bodies are arriving: together they may have {max} bytes \
                 (body_bytes_total_max)"
            );
            return Err(Problem::new(ErrorCode::Overloaded, detail));
        }
        self.taken += more;
        metrics::arriving(more as f64);
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.of.taken.fetch_sub(self.taken, Ordering::Relaxed);
            metrics::arriving(-(self.taken as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_the_bound_and_small_ones_always_have_room() {
        let arriving = Arriving::new(1000);
        let (mut one, mut other) = (arriving.share(), arriving.share());
        assert!(one.grow_to(FREE + 600).is_ok());
        assert!(other.grow_to(FREE + 400).is_ok());
        let refused = other.grow_to(FREE + 401).expect_err("there is no room");
        assert_eq!(refused.code, ErrorCode::Overloaded);
        assert!(other.grow_to(FREE + 400).is_ok(), "what it has it keeps");
        assert!(arriving.share().grow_to(FREE).is_ok());
        drop(other);
        assert!(one.grow_to(FREE + 1000).is_ok());
        assert!(one.grow_to(usize::MAX).is_err());
        drop(one);
        assert_eq!(arriving.taken.load(Ordering::Relaxed), 0);
    }
}
