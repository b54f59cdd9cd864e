//! Word from one instance to the others on the same store: which topics have moved, and where to.
//!
//! Hints make live reads quick and nothing else. Whoever listens must be right without them: a
//! hint may be lost, late, repeated or out of order, and the log says what is true.

use futures::stream::BoxStream;

use super::TopicSummary;
use crate::domain::{TopicName, Version};

/// What an instance hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Another instance says that this was the topic's durable head, a moment ago.
    Moved(TopicSummary),
    /// Hints may have been lost: ask for all heads that matter.
    Missed,
}

/// The instances of a store telling each other (S11 of the module `store`).
pub trait Hints: Send + Sync + 'static {
    /// Tells the other instances that the topic's durable head is `head`, as long as one of them
    /// listens. Returns at once: what is told within some milliseconds goes out together, of each
    /// topic the newest only.
    fn tell(&self, topic: &TopicName, head: Version);

    /// What other instances tell, without what this one tells. It begins with a [`Hint::Missed`], and
    /// there is another once somebody begins to tell, which is soon, or where the listener falls
    /// behind. It ends with the store. Listening costs those who write: only while it is of use.
    fn listen(&self) -> BoxStream<'static, Hint>;
}
