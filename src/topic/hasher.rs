//! One hasher for the keys of all topics, seeded at random when it is first needed: with thousands of
//! topics each would otherwise look at seeds of its own, 32 bytes that are cold in memory.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use ahash::{AHasher, RandomState};

static SEEDED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Builds hashers that are all seeded alike within this process.
#[derive(Clone, Copy, Default)]
pub(super) struct KeyHasher;

impl BuildHasher for KeyHasher {
    type Hasher = AHasher;

    fn build_hasher(&self) -> AHasher {
        SEEDED.build_hasher()
    }
}
