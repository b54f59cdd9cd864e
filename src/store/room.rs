//! How much an answer may still hold: the one rule of where a read ends.

use crate::domain::ReadEvent;

/// Room for events in an answer: so many, and so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    /// Room for `events` events, and for another one until they have `bytes` bytes.
    #[must_use]
    pub fn new(events: usize, bytes: usize) -> Self {
        Self { events, bytes }
    }

    /// Takes an event in, which is part of the answer however large it is; says whether another
    /// one may follow.
    pub fn take(&mut self, read: &ReadEvent) -> bool {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(read.event.size());
        !self.is_full()
    }

    /// Whether no other event may follow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    /// So many events more.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    /// Takes events as long as there is room for them.
    pub fn fill<E>(
        mut self,
        events: impl IntoIterator<Item = Result<ReadEvent, E>>,
    ) -> Result<Vec<ReadEvent>, E> {
        let mut events = events.into_iter();
        let mut taken = Vec::new();
        while !self.is_full()
            && let Some(read) = events.next()
        {
            let read = read?;
            self.take(&read);
            taken.push(read);
        }
        Ok(taken)
    }
}
