//! Consumers: readers of a topic whose position is kept for them under a name.
//!
//! Not here: where positions are kept (`store/`), and who may move them (`http/`).
//! Invariants: a position is that of an event that was handled, so reading goes on behind it; the
//! revision is another one after every move, and no revision comes twice, so that who expects one
//! cannot be mistaken about what happened in between.

use super::event::Timestamp;
use super::names::{ConsumerName, TopicName};
use super::position::{Seq, Version};

/// Tells the moves of consumers apart. Below 2^53; larger than that of every earlier move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A consumer of a topic, and how far behind the topic it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name; it means something only together with the topic.
    pub name: ConsumerName,
    /// The last event that it has handled; `None` while it has handled none.
    pub seq: Option<Seq>,
    /// Which move brought it there.
    pub revision: Revision,
    /// When it was moved there.
    pub updated_at: Timestamp,
    /// The topic's head.
    pub head: Version,
    /// When the first event that it has not handled was recorded; `None` where it has handled all.
    pub waiting_since: Option<Timestamp>,
}

impl Consumer {
    /// The first event that it has not handled.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.seq.map_or(Seq(0), Seq::next)
    }

    /// How many events it has not handled.
    #[must_use]
    pub fn lag_events(&self) -> u64 {
        self.head.seq.next().0.saturating_sub(self.next().0)
    }

    /// For how many seconds the first event that it has not handled has been there; 0 where it has
    /// handled all.
    #[must_use]
    pub fn lag_seconds(&self, now: Timestamp) -> f64 {
        let waited = self.waiting_since.map_or(0, |since| now.0.saturating_sub(since.0));
        (waited.max(0) as f64) / 1e6
    }
}

/// What must be kept of a consumer for it to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the consumer is new.
    Nothing,
    /// This revision.
    Revision(Revision),
}

/// A consumer is to be moved, or to come into being.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The topic that it reads.
    pub topic: TopicName,
    /// Its name.
    pub name: ConsumerName,
    /// The last event that it has handled; not beyond the topic's head.
    pub seq: Option<Seq>,
    /// On what condition; `None` for none.
    pub expected: Option<Expected>,
    /// When.
    pub at: Timestamp,
}

/// What a move came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The consumer, as it was just after it.
    pub consumer: Consumer,
    /// Whether it came into being.
    pub made: bool,
}

#[cfg(test)]
mod tests {
    use super::super::position::TransactionNo;
    use super::*;

    fn consumer(seq: Option<u64>, waiting_since: Option<i64>) -> Consumer {
        Consumer {
            name: ConsumerName::parse("c").expect("a name"),
            seq: seq.map(Seq),
            revision: Revision(1),
            updated_at: Timestamp(0),
            head: Version { seq: Seq(9), transaction: TransactionNo(4) },
            waiting_since: waiting_since.map(Timestamp),
        }
    }

    #[test]
    fn lag_is_what_lies_between_the_position_and_the_head() {
        let fresh = consumer(None, Some(1_000_000));
        assert_eq!((fresh.next(), fresh.lag_events()), (Seq(0), 10));
        assert_eq!(fresh.lag_seconds(Timestamp(3_500_000)).to_string(), "2.5");
        // Another machine's clock may be behind.
        assert_eq!(fresh.lag_seconds(Timestamp(0)).to_string(), "0");
        let done = consumer(Some(9), None);
        assert_eq!((done.next(), done.lag_events()), (Seq(10), 0));
        assert_eq!(done.lag_seconds(Timestamp(i64::MAX)).to_string(), "0");
        // A topic that was restored from a backup may end before its consumers.
        assert_eq!(consumer(Some(100), None).lag_events(), 0);
    }
}
