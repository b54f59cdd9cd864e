//! Memory for what is still arriving: bodies that are read as a whole, and lines of streams, whose end has
//! not come yet. Each may be as large as `body_bytes_max`, and there can be one for every connection; so what
//! is more than a little of each comes out of one bound.
//!
//! Who finds no room is refused, and does not wait: two that have half a body each would wait for each other. What
//! is small always has room, so that nobody who sends much, or slowly, keeps single events out.
//!
//! Not here: what has arrived and waits to be written (`topic/admission.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::problem::{ErrorCode, Problem};

/// Bytes of each body or line that are not counted.
const FREE: usize = 16 << 10;

/// The bound.
#[derive(Clone)]
pub struct Arriving(Arc<Counts>);

struct Counts {
    max: usize,
    taken: AtomicUsize,
}

impl Arriving {
    /// At most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Counts { max, taken: AtomicUsize::new(0) }))
    }

    /// For one body or line, of which nothing has come yet.
    pub(super) fn room(&self) -> Room {
        Room { of: self.clone(), taken: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let Counts { max, taken } = &*self.0;
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| taken <= max);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// What one body or line has of the bound; given back when it is dropped.
pub(super) struct Room {
    of: Arriving,
    taken: usize,
}

impl Room {
    /// Makes room for a body or line of so many bytes in all.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes.saturating_sub(FREE).saturating_sub(self.taken);
        if more > 0 && !self.of.take(more) {
            let max = self.of.0.max;
            let detail = format!(
                "too many large bodies are arriving: they may take {max} bytes (bodies_bytes_max)"
            );
            return Err(Problem::new(ErrorCode::Overloaded, detail));
        }
        self.taken += more;
        Ok(())
    }

    /// Gives back what is more than so many bytes need.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let less = self.taken.saturating_sub(bytes.saturating_sub(FREE));
        self.of.0.taken.fetch_sub(less, Ordering::Relaxed);
        self.taken -= less;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_the_bound_and_small_ones_always_have_room() {
        let arriving = Arriving::new(1000);
        let (mut one, mut other) = (arriving.room(), arriving.room());
        assert!(one.grow_to(FREE + 600).is_ok());
        assert!(other.grow_to(FREE + 400).is_ok());
        let refused = other.grow_to(FREE + 401).expect_err("there is no room");
        assert_eq!(refused.code, ErrorCode::Overloaded);
        assert!(other.grow_to(FREE + 400).is_ok(), "what it has it keeps");
        assert!(arriving.room().grow_to(FREE).is_ok());
        one.shrink_to(FREE + 500);
        assert!(other.grow_to(FREE + 500).is_ok());
        drop(other);
        assert!(one.grow_to(FREE + 1000).is_ok());
        assert!(one.grow_to(usize::MAX).is_err());
        drop(one);
        assert_eq!(arriving.0.taken.load(Ordering::Relaxed), 0);
    }
}
