//! What an actor remembers of one key.
//!
//! Not here: which keys are remembered, and for how long (`keys.rs`).

use crate::domain::{Fingerprint, KeyState, Seq, Standing, TransactionNo, Version};

/// The state of a key in little space, because there are many: positions are below 2^53, so that
/// [`NONE`] stands for those that are not there.
pub(super) struct Remembered {
    newest: u64,
    first: u64,
    standing: u64,
    transaction: u64,
    hash: Fingerprint,
    /// Asked for since the last sweep.
    pub(super) used: bool,
    /// In the list for the next fold.
    pub(super) listed: bool,
}

const NONE: u64 = u64::MAX;

fn seq(number: u64) -> Option<Seq> {
    (number != NONE).then_some(Seq(number))
}

impl Remembered {
    /// Of a key that was not remembered.
    pub(super) fn new(state: KeyState) -> Self {
        let mut remembered = Self {
            newest: NONE,
            first: NONE,
            standing: NONE,
            transaction: NONE,
            hash: Fingerprint::Digest([0; 32]),
            used: false,
            listed: false,
        };
        remembered.set(state);
        remembered
    }

    /// The key has another state.
    pub(super) fn set(&mut self, KeyState { newest, standing }: KeyState) {
        self.newest = newest.map_or(NONE, |newest| newest.0);
        if self.first == NONE {
            self.first = self.newest;
        }
        self.standing = standing.map_or(NONE, |standing| standing.version.seq.0);
        if let Some(Standing { version, hash }) = standing {
            (self.transaction, self.hash) = (version.transaction.0, hash);
        }
    }

    /// What the rules ask for.
    pub(super) fn state(&self) -> KeyState {
        let transaction = TransactionNo(self.transaction);
        let standing = seq(self.standing)
            .map(|seq| Standing { version: Version { seq, transaction }, hash: self.hash });
        KeyState { newest: self.newest(), standing }
    }

    /// The key's newest event.
    pub(super) fn newest(&self) -> Option<Seq> {
        seq(self.newest)
    }

    /// The first event of the key that this actor knows of: later than the watermark only where
    /// the store's surface has nothing of the key.
    pub(super) fn first(&self) -> Option<Seq> {
        seq(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back_as_it_went_in() {
        let mut remembered = Remembered::new(KeyState::default());
        let version = Version { seq: Seq(7), transaction: TransactionNo(3) };
        for hash in [Fingerprint::Digest([1; 32]), Fingerprint::Text([2; 32])] {
            for newest in [None, Some(Seq(0)), Some(Seq((1 << 53) - 1))] {
                for standing in [None, Some(Standing { version, hash })] {
                    let state = KeyState { newest, standing };
                    remembered.set(state);
                    assert_eq!(remembered.state(), state);
                }
            }
        }
        assert_eq!(remembered.first(), Some(Seq(0)));
    }
}
