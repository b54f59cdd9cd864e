//! What is known of the keys that an actor does not remember: whether one of them was ever
//! written. Bloom filters, each for four times as many keys as the one before, so that they fit
//! topics of any size. No key that was added is ever denied.
//!
//! They are complete where the actor has seen the topic from its first event. Elsewhere they are
//! filled from the store in the background, once enough look-ups have found nothing; what is
//! forgotten meanwhile is added as well.
//!
//! Not here: the keys that are remembered (`keys.rs`), reading the store's (`actor/filling.rs`).
//! Invariants: only complete filters say that a key is new; filters never grow beyond the memory
//! that they are given, they are dropped instead.

use std::hash::BuildHasher as _;

use fastbloom::BloomFilter;

use super::hasher::KeyHasher;
use crate::metrics;

/// Keys of the first filter. Small, because ten thousand topics may each have one.
const FIRST: usize = 1 << 8;
/// Each filter takes two to the power of this times as many keys as the one before.
const GROWTH: u32 = 2;
/// Keys of a filter that is small: all that are together take a few MiB.
const SMALL: usize = 1 << 20;
/// How often a key that was not added is taken for one that was: in each small filter, 24 bits a key,
/// and in each of the others, 12 bits a key, so that two topics of 22 million keys have room for
/// theirs. Such a key is looked up, and holds up all behind it.
const FALSE_POSITIVES: f64 = 0.000_01;
const FALSE_POSITIVES_LARGE: f64 = 0.002_5;

/// Look-ups that found nothing after which filters are worth being filled, besides one for every
/// [`EVENTS_A_MISS`] events of the topic: a look-up costs as much as reading some keys.
const MISSES: u64 = 1_000;
const EVENTS_A_MISS: u64 = 64;

/// See the module.
pub(super) enum Forgotten {
    /// Nothing is known: every key that is not remembered has to be looked up.
    Unknown {
        /// Look-ups that found nothing.
        misses: u64,
        /// How often the filters were too large.
        given_up: u32,
    },
    /// Filters are being filled.
    Filling {
        filters: Filters,
        /// Tells one filling from an earlier one.
        number: u64,
        given_up: u32,
    },
    /// Every key that was ever written is remembered, or in here.
    Known(Filters),
}

impl Forgotten {
    /// Of a topic; `empty` says that it has no event.
    pub(super) fn of(empty: bool) -> Self {
        if empty {
            Self::Known(Filters::default())
        } else {
            Self::Unknown { misses: 0, given_up: 0 }
        }
    }

    /// Adds a key that is not remembered any more. The filters may take `max` bytes.
    pub(super) fn add(&mut self, key: &str, max: usize) {
        let fits = match self {
            Self::Unknown { .. } => true,
            Self::Filling { filters, .. } | Self::Known(filters) => filters.add(key, max),
        };
        if !fits {
            self.give_up();
        }
    }

    /// Whether a key that is not remembered was certainly never written.
    pub(super) fn is_new(&self, key: &str) -> bool {
        matches!(self, Self::Known(filters) if !filters.may_have(key))
    }

    /// Memory of the filters.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unknown { .. } => 0,
            Self::Filling { filters, .. } | Self::Known(filters) => filters.bytes,
        }
    }

    /// Drops filters that take more than `max` bytes.
    pub(super) fn keep_to(&mut self, max: usize) {
        if self.bytes() > max {
            self.give_up();
        }
    }

    /// Drops the filters. The next ones have to be worth twice as much.
    pub(super) fn give_up(&mut self) {
        let given_up = match self {
            Self::Unknown { .. } => return,
            Self::Filling { given_up, .. } => *given_up + 1,
            Self::Known(_) => 1,
        };
        metrics::key_filter("given_up");
        *self = Self::Unknown { misses: 0, given_up };
    }

    /// So many keys were looked up that were never written.
    pub(super) fn missed(&mut self, count: usize) {
        if let Self::Unknown { misses, .. } = self {
            *misses += count as u64;
        }
    }

    /// Begins to fill filters under this number, if they are worth it for a topic with so many
    /// events. Every key of the topic has to be remembered or be in the store's surface.
    pub(super) fn fill(&mut self, events: u64, number: u64) -> bool {
        let &mut Self::Unknown { misses, given_up } = self else { return false };
        if misses < (MISSES + events / EVENTS_A_MISS) << given_up.min(32) {
            return false;
        }
        *self = Self::Filling { filters: Filters::default(), number, given_up };
        true
    }

    /// Whether the filling of this number goes on.
    pub(super) fn is_filling(&self, wanted: u64) -> bool {
        matches!(self, Self::Filling { number, .. } if *number == wanted)
    }

    /// All keys of the store's surface have been added.
    pub(super) fn filled(&mut self) {
        if let Self::Filling { filters, .. } = self {
            metrics::key_filter("filled");
            *self = Self::Known(std::mem::take(filters));
        }
    }
}

/// The filters.
#[derive(Default)]
pub(super) struct Filters {
    filters: Vec<BloomFilter>,
    /// Keys that the newest filter still takes.
    room: usize,
    bytes: usize,
}

impl Filters {
    /// `false` where there is no room for the key, and may be none for more memory.
    fn add(&mut self, key: &str, max: usize) -> bool {
        if self.room == 0 {
            let size = FIRST << (GROWTH as usize * self.filters.len());
            let wrong = if size <= SMALL { FALSE_POSITIVES } else { FALSE_POSITIVES_LARGE };
            let filter = BloomFilter::with_false_pos(wrong).expected_items(size);
            let bytes = self.bytes + filter.num_bits() / 8;
            if bytes > max {
                return false; // Nothing has been written to its memory, so nobody has given it.
            }
            self.filters.push(filter);
            (self.room, self.bytes) = (size, bytes);
        }
        let newest = self.filters.last_mut().expect("there is room");
        newest.insert_hash(KeyHasher.hash_one(key));
        self.room -= 1;
        true
    }

    /// Whether the key may have been added; `false` is certain.
    fn may_have(&self, key: &str) -> bool {
        let hash = KeyHasher.hash_one(key);
        self.filters.iter().rev().any(|filter| filter.contains_hash(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> String {
        format!("key-{n}")
    }

    #[test]
    fn what_was_added_is_never_denied_and_little_else_is_claimed() {
        const ADDED: usize = 300_000;
        let mut filters = Filters::default();
        assert!((0..ADDED).all(|n| filters.add(&key(n), usize::MAX)));
        assert!((0..ADDED).all(|n| filters.may_have(&key(n))));
        let wrong = (ADDED..ADDED * 2).filter(|n| filters.may_have(&key(*n))).count();
        assert!(wrong < ADDED / 5_000, "{wrong} of {ADDED}");
        assert!(filters.bytes < ADDED * 8, "{} bytes", filters.bytes);
    }

    #[test]
    fn filters_are_dropped_rather_than_that_they_take_too_much() {
        let max = 3_000;
        let mut forgotten = Forgotten::of(true);
        let mut most = 0;
        for n in 0..FIRST * 10 {
            forgotten.add(&key(n), max);
            most = most.max(forgotten.bytes());
        }
        assert!(most > 0 && most <= max, "{most}");
        assert_eq!(forgotten.bytes(), 0);
        assert!((0..FIRST * 20).all(|n| !forgotten.is_new(&key(n))), "nothing is known");
    }

    #[test]
    fn filling_begins_when_it_is_worth_it_and_twice_as_late_after_it_was_in_vain() {
        let mut forgotten = Forgotten::of(false);
        let events = 64_000;
        let worth = MISSES as usize + 1_000;
        forgotten.missed(worth - 1);
        assert!(!forgotten.fill(events, 1));
        forgotten.missed(1);
        assert!(forgotten.fill(events, 1) && forgotten.is_filling(1) && !forgotten.is_filling(0));
        assert!(!forgotten.is_new(&key(1)), "not before all keys are there");
        forgotten.give_up();
        assert!(!forgotten.is_filling(1));
        forgotten.missed(worth * 2 - 1);
        assert!(!forgotten.fill(events, 2));
        forgotten.missed(1);
        assert!(forgotten.fill(events, 2));
        forgotten.add(&key(1), usize::MAX);
        forgotten.filled();
        assert!(!forgotten.is_new(&key(1)) && forgotten.is_new(&key(2)));
    }
}
