//! The newest head of every topic, in the order in which they moved, while somebody asks for it.
//!
//! There is one board for all who ask, and it has every topic once, at its newest head. Who asks
//! remembers how far along it has come. So heads merge by themselves for whoever is slow, and
//! nobody has a queue.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{TopicName, Version};
use crate::store::TopicSummary;

/// See the module. Without readers it is empty and takes nothing.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    readers: usize,
    /// Counts the moves.
    last: u64,
    heads: HashMap<TopicName, (Version, u64)>,
    moves: BTreeMap<u64, TopicName>,
}

impl Board {
    /// Somebody says that this is the topic's head.
    pub(super) fn saw(&self, topic: &TopicName, head: Version) {
        let mut state = self.state.lock();
        if state.readers == 0 {
            return;
        }
        let number = state.last + 1;
        match state.heads.get_mut(topic) {
            Some((known, _)) if *known >= head => return,
            Some(place) => {
                let before = std::mem::replace(place, (head, number)).1;
                state.moves.remove(&before);
            }
            None => {
                state.heads.insert(topic.clone(), (head, number));
            }
        }
        state.last = number;
        state.moves.insert(number, topic.clone());
        drop(state);
        self.moved.send_replace(());
    }

    /// Somebody asks from now on; gives what tells of news.
    pub(super) fn join(&self) -> watch::Receiver<()> {
        self.state.lock().readers += 1;
        self.moved.subscribe()
    }

    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.readers -= 1;
        if state.readers == 0 {
            *state = State { last: state.last, ..State::default() };
        }
    }

    /// Whether somebody asks.
    pub(super) fn is_read(&self) -> bool {
        self.state.lock().readers > 0
    }

    /// At most `limit` heads that moved after the move `after`, and the last move among them.
    pub(super) fn moved_after(&self, after: u64, limit: usize) -> (Vec<TopicSummary>, u64) {
        let state = self.state.lock();
        let mut last = after;
        let moves = state.moves.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        let summary = |(number, topic): (&u64, &TopicName)| {
            last = *number;
            let (head, _) = state.heads.get(topic)?;
            Some(TopicSummary { name: topic.clone(), head: *head })
        };
        let summaries = moves.filter_map(summary).collect();
        (summaries, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Seq, TransactionNo};

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).expect("a name")
    }

    fn head(seq: u64) -> Version {
        Version { seq: Seq(seq), transaction: TransactionNo(seq) }
    }

    fn texts(summaries: Vec<TopicSummary>) -> Vec<String> {
        summaries.iter().map(|s| format!("{} {}", s.name, s.head.seq)).collect()
    }

    #[test]
    fn every_topic_is_there_once_at_its_newest_head() {
        let board = Board::default();
        board.saw(&name("a"), head(0));
        let _heard = board.join();
        assert_eq!(board.moved_after(0, 9), (vec![], 0), "nobody asked for it");
        for (topic, seq) in [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("c", 0)] {
            board.saw(&name(topic), head(seq));
        }
        let (all, end) = board.moved_after(0, 9);
        assert_eq!(texts(all), ["b 1", "a 2", "c 0"]);
        let (some, at) = board.moved_after(0, 2);
        assert_eq!(texts(some), ["b 1", "a 2"]);
        board.saw(&name("b"), head(5));
        assert_eq!(texts(board.moved_after(at, 9).0), ["c 0", "b 5"]);
        assert_eq!(texts(board.moved_after(end, 9).0), ["b 5"]);
        board.leave();
        assert_eq!(board.moved_after(0, 9).0, []);
    }
}
