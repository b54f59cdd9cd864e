//! What a topic's actor remembers of keys, in bounded memory and always exact.
//!
//! The store answers for keys as of its fold's watermark. So every key written after the
//! watermark is *pinned* here: it is never forgotten before a fold has passed it. All others are
//! a cache, forgotten by second chance when memory is short; the store can be asked again.
//!
//! Keys never seen are the common case in loading, and a look-up of each would cost more than
//! writing it. So what is forgotten leaves a trace in a filter (`forgotten.rs`): what is neither
//! remembered nor in a complete filter was never written.
//!
//! Not here: when to fold, the rules, how much memory there is (`budget.rs`).

use std::collections::HashMap;

use super::budget::Share;
use super::forgotten::Forgotten;
use super::hasher::KeyHasher;
use super::remembered::Remembered;
use crate::domain::{Key, KeyState, Seq};
use crate::store::Touched;

/// The states of keys, as of the planned head.
pub(super) struct Keys {
    states: HashMap<Box<str>, Remembered, KeyHasher>,
    /// Memory of the keys' own bytes.
    text: usize,
    /// The surface of the store is exact up to here.
    folded: Option<Seq>,
    forgotten: Forgotten,
    fillings: u64,
    /// The last fold that was planned will cover this.
    planned: Option<Seq>,
    /// The keys that were written since.
    touched: Vec<Box<str>>,
    /// Memory of these keys' own bytes.
    touched_text: usize,
    /// Where the surface was when a sweep could not forget enough, because the rest was pinned:
    /// no other can before it has moved.
    in_vain: Option<Option<Seq>>,
    share: Share,
}

impl Keys {
    /// Begins with nothing but the store's surface. `empty` says that the topic has no event.
    pub(super) fn new(share: Share, folded: Option<Seq>, empty: bool) -> Self {
        Self {
            states: HashMap::default(),
            text: 0,
            folded,
            forgotten: Forgotten::of(empty),
            fillings: 0,
            planned: folded,
            touched: Vec::new(),
            touched_text: 0,
            in_vain: None,
            share,
        }
    }

    /// The same of a topic that begins again.
    pub(super) fn renewed(&self, folded: Option<Seq>, empty: bool) -> Self {
        Self::new(self.share.again(), folded, empty)
    }

    /// Whether [`Self::get`] has an answer. A key that is certainly new is remembered as such, so
    /// that the filters are asked but once.
    pub(super) fn knows(&mut self, key: &Key) -> bool {
        if self.states.contains_key(key.as_str()) {
            return true;
        }
        let new = self.forgotten.is_new(key.as_str());
        if new {
            self.insert(key.as_str(), Remembered::new(KeyState::default()));
        }
        new
    }

    /// The state of a key; `None` where the store has to be asked.
    pub(super) fn get(&mut self, key: &Key) -> Option<KeyState> {
        let remembered = self.states.get_mut(key.as_str())?;
        remembered.used = true;
        Some(remembered.state())
    }

    /// Takes in what the store says of keys.
    pub(super) fn learn<'a>(&mut self, states: impl Iterator<Item = (&'a Key, KeyState)>) {
        let mut missed = 0;
        for (key, state) in states {
            missed += usize::from(state.newest.is_none());
            self.set(key, state);
        }
        self.forgotten.missed(missed);
    }

    /// Remembers the state of a key, be it new or what the store has said.
    pub(super) fn set(&mut self, key: &Key, state: KeyState) {
        let key = key.as_str();
        let written = state.newest > self.planned;
        if let Some(remembered) = self.states.get_mut(key) {
            remembered.set(state);
            if written && !remembered.listed {
                remembered.listed = true;
                self.touch(key);
            }
            return;
        }
        let mut remembered = Remembered::new(state);
        remembered.listed = written;
        self.insert(key, remembered);
        if written {
            self.touch(key);
        }
    }

    /// Remembers a key that is not remembered yet.
    fn insert(&mut self, key: &str, remembered: Remembered) {
        self.text += text_bytes(key);
        self.states.insert(key.into(), remembered);
    }

    fn touch(&mut self, key: &str) {
        self.touched_text += text_bytes(key);
        self.touched.push(key.into());
    }

    /// How many keys were written since the last fold was planned.
    pub(super) fn waiting(&self) -> usize {
        self.touched.len()
    }

    /// The keys written since the fold, for the next one, which will go up to and with `to`, the
    /// planned head.
    pub(super) fn plan_fold(&mut self, to: Seq) -> Touched {
        let mut keys = std::mem::take(&mut self.touched);
        self.touched_text = 0;
        if self.planned > self.folded {
            // The fold that was planned before has failed: its keys are not in the list.
            let behind = |remembered: &Remembered| remembered.newest() > self.folded;
            let pinned = self.states.iter().filter(|(_, remembered)| behind(remembered));
            keys = pinned.map(|(key, _)| key.clone()).collect();
        }
        self.planned = Some(to);
        let mut touched = Touched { after: self.folded, ..Touched::default() };
        for key in keys {
            let Some(remembered) = self.states.get_mut(&key) else { continue };
            remembered.listed = false;
            let newest = remembered.newest().filter(|newest| Some(*newest) > self.folded);
            let Some(newest) = newest else { continue };
            let new = remembered.first() > self.folded;
            let list = if new { &mut touched.new } else { &mut touched.known };
            list.push((Key::parse(String::from(key).into()).expect("it was one"), newest));
        }
        touched
    }

    /// The surface is exact up to `seq`, or further.
    pub(super) fn folded_to(&mut self, seq: Seq) {
        self.folded = self.folded.max(Some(seq));
        if self.folded > self.planned {
            // Somebody else has folded what was to be folded next, or some of it.
            self.planned = self.folded;
            self.touched_text = 0;
            for key in std::mem::take(&mut self.touched) {
                let Some(remembered) = self.states.get_mut(&key) else { continue };
                remembered.listed = remembered.newest() > self.folded;
                if remembered.listed {
                    self.touch(&key);
                }
            }
        }
    }

    /// How far the surface is exact.
    pub(super) fn folded(&self) -> Option<Seq> {
        self.folded
    }

    /// Keys fell back to earlier events, only the store knows to which: all are forgotten, and the
    /// surface has to be brought forward before any is looked up.
    pub(super) fn fell_back(&mut self) {
        let max = self.filters_max(self.share.allowed());
        for (key, remembered) in &self.states {
            if remembered.newest().is_some() {
                self.forgotten.add(key, max);
            }
        }
        (self.states, self.text) = (HashMap::default(), 0);
        (self.touched, self.touched_text) = (Vec::new(), 0);
        self.planned = self.folded;
        self.report();
    }

    /// Begins to fill filters, if they are worth it for a topic with so many events, and says
    /// under which number. The surface has to be forward: every key is in it, or pinned.
    pub(super) fn fill(&mut self, events: u64) -> Option<u64> {
        self.fillings += 1;
        self.forgotten.fill(events, self.fillings).then_some(self.fillings)
    }

    /// Adds keys of the store's surface, of which `last` says that there are no more; `false`
    /// where this filling is over.
    pub(super) fn filled(&mut self, number: u64, keys: &[Key], last: bool) -> bool {
        if !self.forgotten.is_filling(number) {
            return false;
        }
        let max = self.filters_max(self.share.allowed());
        keys.iter().for_each(|key| self.forgotten.add(key.as_str(), max));
        self.report();
        if !self.forgotten.is_filling(number) {
            return false;
        }
        if last {
            self.forgotten.filled();
        }
        !last
    }

    /// The store cannot be read.
    pub(super) fn not_filled(&mut self, number: u64) {
        if self.forgotten.is_filling(number) {
            self.forgotten.give_up();
        }
    }

    /// Whether the topic has more memory than it may have.
    pub(super) fn is_over(&self) -> bool {
        self.bytes() > self.share.allowed()
    }

    /// Whether the topic has so much that others may need some of it.
    pub(super) fn is_large(&self) -> bool {
        self.share.is_large()
    }

    /// Forgets so much that the topic keeps to its memory, if not more is pinned: first what was
    /// not asked for since the last sweep, then all that may be forgotten, at last the filters.
    pub(super) fn sweep(&mut self) {
        self.report();
        if self.sweep_to(self.share.allowed()) {
            self.report();
        }
    }

    /// Says whether it tried.
    fn sweep_to(&mut self, max: usize) -> bool {
        if !self.has_too_much(max) || self.in_vain == Some(self.folded) {
            return false;
        }
        let filters_max = self.filters_max(max);
        self.forget(filters_max, |remembered| std::mem::take(&mut remembered.used));
        let filters = self.forgotten.bytes();
        if self.bytes() > filters + max.saturating_sub(filters) / 4 * 3 {
            self.forget(filters_max, |_| false);
        }
        self.forgotten.keep_to(filters_max);
        self.in_vain = self.has_too_much(max).then_some(self.folded);
        true
    }

    /// Whether memory is short, now or with the next keys: a table that is full doubles.
    fn has_too_much(&self, max: usize) -> bool {
        let full = self.states.len() + self.states.len() / 16 >= self.states.capacity();
        self.bytes() + if full { self.table_bytes() } else { 0 } > max
    }

    fn forget(&mut self, filters_max: usize, mut keep: impl FnMut(&mut Remembered) -> bool) {
        let (folded, forgotten) = (self.folded, &mut self.forgotten);
        let mut freed = 0;
        self.states.retain(|key, remembered| {
            if remembered.newest() > folded || keep(remembered) {
                return true;
            }
            freed += text_bytes(key);
            if remembered.newest().is_some() {
                forgotten.add(key, filters_max);
            }
            false
        });
        self.text -= freed;
        let count = self.states.len();
        self.states.shrink_to(count + count / 4);
    }

    /// Filters serve many more keys than the states of keys would in the same memory. But those
    /// that have to be remembered need some.
    fn filters_max(&self, max: usize) -> usize {
        max / 4 * 3
    }

    /// Memory in use, filters included.
    fn bytes(&self) -> usize {
        let touched = self.touched.capacity() * size_of::<Box<str>>() + self.touched_text;
        self.table_bytes() + self.text + touched + self.forgotten.bytes()
    }

    /// A table has room for a power of two, uses seven eighths of it, and a byte more for each.
    fn table_bytes(&self) -> usize {
        let places = (self.states.capacity() * 8 / 7).next_power_of_two();
        let place = size_of::<(Box<str>, Remembered)>() + 1;
        if self.states.capacity() == 0 { 0 } else { places * place }
    }

    fn report(&mut self) {
        self.share.report(self.states.len(), self.bytes());
    }
}

/// Memory of a key's own bytes, as the system's allocator gives it: a length before it, and all
/// in steps of 16.
fn text_bytes(key: &str) -> usize {
    (key.len() + 8).next_multiple_of(16).max(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::budget::Budget;

    fn key(n: u64) -> Key {
        Key::parse(format!("key-{n}").into()).expect("a key")
    }

    fn keys(folded: Option<Seq>, empty: bool) -> Keys {
        Keys::new(Budget::new(usize::MAX, usize::MAX).share(), folded, empty)
    }

    fn state(seq: u64) -> KeyState {
        KeyState { newest: Some(Seq(seq)), standing: None }
    }

    #[test]
    fn a_topic_that_began_empty_needs_no_store_for_keys_never_seen() {
        let mut keys = keys(None, true);
        assert!(keys.knows(&key(1)));
        assert_eq!(keys.get(&key(1)), Some(KeyState::default()));
        (0..100).for_each(|n| keys.set(&key(n), state(n)));
        keys.folded_to(Seq(99));
        keys.sweep_to(2_000);
        assert!(keys.bytes() <= 2_000 && keys.forgotten.bytes() > 0, "{}", keys.bytes());
        assert!((2..100).all(|n| !keys.knows(&key(n))), "forgotten, but not that they were there");
        assert!(keys.knows(&key(100)), "this was never there");
        assert_eq!(keys.get(&key(100)), Some(KeyState::default()));
        keys.sweep_to(0);
        assert_eq!(keys.bytes(), 0);
        assert!(!keys.knows(&key(101)), "there is no memory to know it");
    }

    #[test]
    fn what_falls_back_or_is_forgotten_while_filters_are_filled_is_in_them() {
        let mut keys = keys(Some(Seq(9)), false);
        let missing: Vec<_> = (1000..3000).map(key).collect();
        keys.learn(missing.iter().map(|key| (key, KeyState::default())));
        let number = keys.fill(10).expect("it is worth it");
        assert_eq!(keys.fill(10), None, "once is enough");
        (0..10).for_each(|n| keys.set(&key(n), state(n + 10)));
        keys.folded_to(Seq(14));
        keys.sweep_to(4_000);
        keys.fell_back();
        assert!(keys.filled(number, &[key(100)], false), "there is more");
        assert!(!keys.knows(&key(2000)), "not before the end");
        assert!(!keys.filled(number, &[key(101)], true));
        for known in (0..10).chain([100, 101]) {
            assert!(!keys.knows(&key(known)), "key {known}");
        }
        assert!(keys.knows(&key(2000)));
    }

    #[test]
    fn what_is_not_folded_is_never_forgotten() {
        let mut keys = keys(None, true);
        (0..100).for_each(|n| keys.set(&key(n), state(n)));
        keys.folded_to(Seq(49));
        keys.sweep_to(0);
        for n in 0..100 {
            assert_eq!(keys.get(&key(n)), (n > 49).then(|| state(n)), "key {n}");
            assert_eq!(keys.knows(&key(n)), n > 49, "key {n}");
        }
        keys.folded_to(Seq(99));
        keys.sweep_to(0);
        assert_eq!(keys.bytes(), 0, "nothing is pinned any more");
    }

    #[test]
    fn the_next_fold_gets_what_was_written_since_the_last_and_nothing_else() {
        let mut keys = keys(Some(Seq(9)), false);
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
    fn a_key_is_folded_once_whatever_becomes_of_folds_and_of_what_is_remembered() {
        let mut keys = keys(None, true);
        (0..10).for_each(|n| keys.set(&key(n), state(n)));
        assert_eq!(keys.plan_fold(Seq(9)).new.len(), 10);
        keys.set(&key(1), state(10));
        assert_eq!(keys.waiting(), 1);
        // That fold has failed.
        let again = keys.plan_fold(Seq(10));
        assert_eq!(again.new.len(), 10);
        assert!(again.new.contains(&(key(1), Seq(10))) && again.known.is_empty());
        keys.folded_to(Seq(10));
        // Somebody else folds further than was planned, and the key is forgotten and comes back.
        keys.set(&key(2), state(11));
        keys.folded_to(Seq(11));
        keys.sweep_to(0);
        keys.learn([(&key(2), state(11))].into_iter());
        keys.set(&key(2), state(12));
        assert_eq!(keys.plan_fold(Seq(12)).known, [(key(2), Seq(12))]);
        keys.folded_to(Seq(12));
        assert_eq!(keys.plan_fold(Seq(12)), Touched { after: Some(Seq(12)), ..Touched::default() });
    }

    #[test]
    fn what_was_asked_for_survives_what_was_not() {
        let mut keys = keys(Some(Seq(99)), false);
        (0..100).for_each(|n| keys.set(&key(n), state(n)));
        assert_eq!(keys.get(&key(7)), Some(state(7)));
        keys.sweep_to(keys.bytes() - 1);
        assert!(keys.knows(&key(7)));
        assert!(!keys.knows(&key(8)));
        keys.sweep_to(keys.bytes() - 1);
        assert!(!keys.knows(&key(7)), "one second chance, not more");
    }

    #[test]
    fn a_key_does_not_keep_the_buffer_of_its_request_alive() {
        let request = bytestring::ByteString::from("key".repeat(1000));
        let shared = Key::parse(request.slice_ref(&request[..3])).expect("a key");
        let mut keys = keys(None, true);
        keys.set(&shared, state(0));
        let kept = keys.states.keys().next().expect("one key");
        assert_ne!(kept.as_ptr(), shared.as_str().as_ptr());
    }
}
