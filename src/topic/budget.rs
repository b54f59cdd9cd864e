//! How much memory topics may use for what they know of keys: each for itself, and all together.
//!
//! A topic may have what the others leave, and an equal share in any case. So whoever has more
//! than an equal share makes room when memory runs short, and nobody else does; once all have done
//! so they are within the bound together.
//!
//! Not here: what is let go (`keys.rs`).
//! Invariants: no lock, and nothing is done per event: a topic reports once a batch. What a topic
//! reports leaves the sum when its [`Share`] is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics;

/// What all topics have.
pub(super) struct Budget {
    topic_max: usize,
    max: usize,
    used: AtomicUsize,
    topics: AtomicUsize,
}

impl Budget {
    /// At most `topic_max` bytes for each topic, and `max` for all.
    pub(super) fn new(topic_max: usize, max: usize) -> Arc<Self> {
        metrics::keys_limit(max);
        let (used, topics) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { topic_max, max, used, topics })
    }

    /// A further topic, which has nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        self.topics.fetch_add(1, Ordering::Relaxed);
        Share { budget: Arc::clone(self), keys: 0, bytes: 0 }
    }
}

/// What one topic has.
pub(super) struct Share {
    budget: Arc<Budget>,
    keys: usize,
    bytes: usize,
}

impl Share {
    /// The topic remembers so many keys, in so many bytes.
    pub(super) fn report(&mut self, keys: usize, bytes: usize) {
        if (keys, bytes) == (self.keys, self.bytes) {
            return;
        }
        let used = &self.budget.used;
        used.fetch_add(bytes, Ordering::Relaxed);
        used.fetch_sub(self.bytes, Ordering::Relaxed);
        metrics::keys_remembered(keys as i64 - self.keys as i64, bytes as i64 - self.bytes as i64);
        (self.keys, self.bytes) = (keys, bytes);
    }

    /// Most bytes that the topic may have now.
    pub(super) fn allowed(&self) -> usize {
        let others = self.budget.used.load(Ordering::Relaxed).saturating_sub(self.bytes);
        let left = self.budget.max.saturating_sub(others);
        left.max(self.equal()).min(self.budget.topic_max)
    }

    /// Whether the topic has more than is its own whatever the others do.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > self.equal()
    }

    fn equal(&self) -> usize {
        self.budget.max / self.budget.topics.load(Ordering::Relaxed).max(1)
    }

    /// The same for a topic that begins again.
    pub(super) fn again(&self) -> Self {
        self.budget.share()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.report(0, 0);
        self.budget.topics.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_have_what_the_others_leave_and_never_more_than_one_may() {
        let budget = Budget::new(60, 100);
        let mut one = budget.share();
        assert_eq!(one.allowed(), 60);
        let mut other = budget.share();
        other.report(1, 30);
        assert_eq!((one.allowed(), other.allowed()), (60, 60));
        other.report(1, 55);
        assert_eq!(one.allowed(), 50, "an equal share, although only 45 are left");
        one.report(1, 50);
        assert_eq!(other.allowed(), 50, "who has more makes room");
        assert!(other.is_large() && !one.is_large());
        drop(other);
        assert_eq!(one.allowed(), 60);
    }

    #[test]
    fn topics_that_all_keep_to_what_they_may_have_are_within_the_bound_together() {
        let budget = Budget::new(1000, 1000);
        let mut shares: Vec<Share> = (0..7).map(|_| budget.share()).collect();
        for round in 0..100_usize {
            for (n, share) in shares.iter_mut().enumerate() {
                let wants = share.bytes + (round * 31 + n * 17) % 97;
                share.report(1, wants);
            }
            for _ in 0..2 {
                for share in &mut shares {
                    let may_have = share.bytes.min(share.allowed());
                    share.report(1, may_have);
                }
            }
            let used = budget.used.load(Ordering::Relaxed);
            assert_eq!(used, shares.iter().map(|share| share.bytes).sum::<usize>());
            assert!(used <= 1000, "{used} in round {round}");
        }
        let most = shares.iter().map(|share| share.bytes).max();
        assert!(most >= Some(1000 / 7), "and memory is used: {most:?}");
    }
}
