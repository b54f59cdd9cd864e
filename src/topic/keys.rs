//! What a topic's actor remembers of keys, in bounded memory and always exact.
//!
//! The store answers for keys as of its fold's watermark. So every key written after the
//! watermark is *pinned* here: it is never forgotten before a fold has passed it. All others are
//! a cache, forgotten by second chance when memory is short; the store can be asked again.
//!
//! Keys never seen are the common case in loading, and a look-up of each would cost more than
//! writing it. So a topic whose every key was seen by this actor leaves the forgotten ones in a
//! Bloom filter (`forgotten.rs`): what is in neither was never written.
//!
//! Not here: when to fold, the rules.

use std::collections::HashMap;

use ahash::RandomState;

use super::forgotten::Forgotten;
use crate::domain::{Key, KeyState, Seq};
use crate::metrics;
use crate::store::Touched;

/// Memory that one key takes besides its own bytes: its entry, and the map's spare room.
const ENTRY_BYTES: usize = 192;

struct Remembered {
    state: KeyState,
    /// The first event of the key that this actor knows of: later than the watermark only where
    /// the store's surface has nothing of the key.
    first: Option<Seq>,
    /// Asked for since the last sweep.
    used: bool,
}

/// The states of keys, as of the planned head.
pub(super) struct Keys {
    states: HashMap<Key, Remembered, RandomState>,
    bytes: usize,
    /// The surface of the store is exact up to here.
    folded: Option<Seq>,
    /// Which keys were forgotten since the topic was empty; `None` where that is not known.
    forgotten: Option<Forgotten>,
    /// The last fold that was planned will cover this; and how many keys were written since.
    planned: Option<Seq>,
    touched: usize,
    /// How many keys, and how much memory, the metrics have been told of.
    reported: (usize, usize),
}

impl Keys {
    /// Begins with nothing but the store's surface. `empty` says that the topic has no event.
    pub(super) fn new(folded: Option<Seq>, empty: bool) -> Self {
        let forgotten = empty.then(Forgotten::default);
        Self {
            states: HashMap::default(),
            bytes: 0,
            folded,
            forgotten,
            planned: folded,
            touched: 0,
            reported: (0, 0),
        }
    }

    /// Whether [`Self::get`] has an answer. A key that is certainly new is remembered as such, so
    /// that the filters are asked but once.
    pub(super) fn knows(&mut self, key: &Key) -> bool {
        if self.states.contains_key(key) {
            return true;
        }
        let new = self.is_new(key);
        if new {
            self.set(key, KeyState::default());
        }
        new
    }

    /// Whether the key was certainly never written.
    fn is_new(&self, key: &Key) -> bool {
        self.forgotten.as_ref().is_some_and(|forgotten| !forgotten.may_have(key))
    }

    /// The state of a key; `None` where the store has to be asked.
    pub(super) fn get(&mut self, key: &Key) -> Option<KeyState> {
        let remembered = self.states.get_mut(key)?;
        remembered.used = true;
        Some(remembered.state)
    }

    /// Remembers the state of a key, be it new or what the store has said.
    pub(super) fn set(&mut self, key: &Key, state: KeyState) {
        if let Some(remembered) = self.states.get_mut(key) {
            let before = remembered.state.newest;
            self.touched += usize::from(before <= self.planned && state.newest > self.planned);
            remembered.first = remembered.first.or(state.newest);
            remembered.state = state;
            return;
        }
        self.bytes += ENTRY_BYTES + key.as_str().len();
        self.touched += usize::from(state.newest > self.planned);
        let remembered = Remembered { state, first: state.newest, used: false };
        self.states.insert(key.detached(), remembered);
    }

    /// How many keys were written since the last fold was planned.
    pub(super) fn waiting(&self) -> usize {
        self.touched
    }

    /// The keys written since the fold, for the next one, which will go up to and with `to`, the
    /// planned head.
    pub(super) fn plan_fold(&mut self, to: Seq) -> Touched {
        (self.planned, self.touched) = (Some(to), 0);
        let mut touched = Touched { after: self.folded, ..Touched::default() };
        for (key, Remembered { state, first, .. }) in &self.states {
            let Some(newest) = state.newest.filter(|newest| Some(*newest) > self.folded) else {
                continue;
            };
            let list = if *first > self.folded { &mut touched.new } else { &mut touched.known };
            list.push((key.clone(), newest));
        }
        touched
    }

    /// The surface is exact up to `seq`, or further.
    pub(super) fn folded_to(&mut self, seq: Seq) {
        self.folded = self.folded.max(Some(seq));
        self.planned = self.planned.max(self.folded);
    }

    /// How far the surface is exact.
    pub(super) fn folded(&self) -> Option<Seq> {
        self.folded
    }

    /// Memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets so much that at most `max` bytes are left, if not more are pinned: first what
    /// was not asked for since the last sweep, then all that may be forgotten.
    pub(super) fn sweep(&mut self, max: usize) {
        self.report();
        if self.bytes <= max {
            return;
        }
        self.forget(|remembered| std::mem::take(&mut remembered.used));
        if self.bytes > max / 4 * 3 {
            self.forget(|_| false);
        }
    }

    fn forget(&mut self, mut keep: impl FnMut(&mut Remembered) -> bool) {
        let folded = self.folded;
        let mut freed = 0;
        let mut forgotten = self.forgotten.take();
        self.states.retain(|key, remembered| {
            if remembered.state.newest > folded || keep(remembered) {
                return true;
            }
            freed += ENTRY_BYTES + key.as_str().len();
            if let (Some(forgotten), Some(_)) = (&mut forgotten, remembered.state.newest) {
                forgotten.add(key);
            }
            false
        });
        self.bytes -= freed;
        self.forgotten = forgotten.filter(Forgotten::is_useful);
    }

    fn report(&mut self) {
        let filters = self.forgotten.as_ref().map_or(0, Forgotten::bytes);
        self.report_as((self.states.len(), self.bytes + filters));
    }

    fn report_as(&mut self, now: (usize, usize)) {
        let before = std::mem::replace(&mut self.reported, now);
        metrics::keys_remembered(now.0 as i64 - before.0 as i64, now.1 as i64 - before.1 as i64);
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.report_as((0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::parse(format!("key-{n}").into()).expect("a key")
    }

    fn state(seq: u64) -> KeyState {
        KeyState { newest: Some(Seq(seq)), standing: None }
    }

    #[test]
    fn a_topic_that_began_empty_needs_no_store_for_keys_never_seen() {
        let mut keys = Keys::new(None, true);
        assert!(keys.knows(&key(1)));
        assert_eq!(keys.get(&key(1)), Some(KeyState::default()));
        keys.set(&key(1), state(0));
        keys.folded_to(Seq(0));
        keys.sweep(0);
        assert_eq!(keys.bytes(), 0);
        assert!(!keys.knows(&key(1)), "forgotten, but not that it was there");
        assert!(keys.knows(&key(2)), "this was never there");
        assert_eq!(keys.get(&key(2)), Some(KeyState::default()));
    }

    #[test]
    fn what_is_not_folded_is_never_forgotten() {
        let mut keys = Keys::new(None, true);
        (0..100).for_each(|n| keys.set(&key(n), state(n)));
        keys.folded_to(Seq(49));
        keys.sweep(0);
        for n in 0..100 {
            assert_eq!(keys.get(&key(n)), (n > 49).then(|| state(n)), "key {n}");
            assert_eq!(keys.knows(&key(n)), n > 49, "key {n}");
        }
    }

    #[test]
    fn the_next_fold_gets_what_was_written_since_the_last_and_nothing_else() {
        let mut keys = Keys::new(Some(Seq(9)), false);
        keys.set(&key(1), state(4)); // Said by the store.
        keys.set(&key(2), state(7));
        keys.set(&key(3), KeyState::default());
        keys.set(&key(2), state(10));
        keys.set(&key(3), state(11));
        keys.set(&key(3), state(12));
        assert_eq!(keys.waiting(), 2);
        let (new, known) = (vec![(key(3), Seq(12))], vec![(key(2), Seq(10))]);
        assert_eq!(keys.plan_fold(Seq(12)), Touched { after: Some(Seq(9)), new, known });
        assert_eq!(keys.waiting(), 0);
        keys.set(&key(3), state(13));
        keys.set(&key(3), state(14));
        assert_eq!(keys.waiting(), 1);
        keys.folded_to(Seq(12));
        let (new, known) = (Vec::new(), vec![(key(3), Seq(14))]);
        assert_eq!(keys.plan_fold(Seq(14)), Touched { after: Some(Seq(12)), new, known });
    }

    #[test]
    fn what_was_asked_for_survives_what_was_not() {
        let mut keys = Keys::new(Some(Seq(99)), false);
        (0..100).for_each(|n| keys.set(&key(n), state(n)));
        assert_eq!(keys.get(&key(7)), Some(state(7)));
        keys.sweep(keys.bytes() - 1);
        assert!(keys.knows(&key(7)));
        assert!(!keys.knows(&key(8)));
        keys.sweep(keys.bytes() - 1);
        assert!(!keys.knows(&key(7)), "one second chance, not more");
    }

    #[test]
    fn a_key_does_not_keep_the_buffer_of_its_request_alive() {
        let request = bytestring::ByteString::from("key".repeat(1000));
        let shared = Key::parse(request.slice_ref(&request[..3])).expect("a key");
        let mut keys = Keys::new(None, true);
        keys.set(&shared, state(0));
        let kept = keys.states.keys().next().expect("one key");
        assert_ne!(kept.as_str().as_ptr(), shared.as_str().as_ptr());
    }
}
