//! Which keys an actor has forgotten: Bloom filters, each twice as large as the one before, so
//! that they fit topics of any size. No key that was added is ever denied.
//!
//! Not here: the keys that are remembered.

use fastbloom::BloomFilter;

use crate::domain::Key;

/// Keys of the first filter.
const FIRST: usize = 1 << 16;
/// How often a key that was not added is taken for one that was, in each filter.
const FALSE_POSITIVES: f64 = 0.002;
/// Most keys, about 18 bits each: beyond them every key is looked up.
const KEYS_MAX: usize = 1 << 24;

/// See the module.
#[derive(Default)]
pub(super) struct Forgotten {
    filters: Vec<BloomFilter>,
    /// Keys that the newest filter still takes.
    room: usize,
    count: usize,
}

impl Forgotten {
    /// Adds a key.
    pub(super) fn add(&mut self, key: &Key) {
        if self.room == 0 {
            let size = FIRST << self.filters.len();
            self.filters.push(BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(size));
            self.room = size;
        }
        let newest = self.filters.last_mut().expect("there is room");
        newest.insert(key.as_str());
        self.room -= 1;
        self.count += 1;
    }

    /// Whether the key may have been added; `false` is certain.
    pub(super) fn may_have(&self, key: &Key) -> bool {
        self.filters.iter().any(|filter| filter.contains(key.as_str()))
    }

    /// Memory of the filters.
    pub(super) fn bytes(&self) -> usize {
        self.filters.iter().map(|filter| filter.num_bits() / 8).sum()
    }

    /// Whether the filters are still worth their memory.
    pub(super) fn is_useful(&self) -> bool {
        self.count < KEYS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_never_denied_and_little_else_is_claimed() {
        let key = |n: usize| Key::parse(format!("key-{n}").into()).expect("a key");
        let mut forgotten = Forgotten::default();
        (0..FIRST * 4).for_each(|n| forgotten.add(&key(n)));
        assert!((0..FIRST * 4).all(|n| forgotten.may_have(&key(n))));
        let wrong = (FIRST * 4..FIRST * 5).filter(|n| forgotten.may_have(&key(*n))).count();
        assert!(wrong < FIRST / 50, "{wrong} of {FIRST}");
    }
}
