//! How much one fetch asks of the store: few events at first, then as many as make a fetch of
//! fitting size.
//!
//! Invariant: a fetch holds at most [`BYTES_MAX`] and one event, whatever the sizes of events.

use crate::domain::ReadEvent;
use crate::store::Room;

/// Events of the first fetch, and of the largest.
const EVENTS: (usize, usize) = (16, 1024);
/// Bytes that a fetch should have.
const BYTES: usize = 1 << 20;
/// Bytes at which the store is to stop. Well above, because to stop a database in the middle of
/// its answer is not free.
pub const BYTES_MAX: usize = 4 * BYTES;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    events: usize,
}

impl Default for Fetch {
    fn default() -> Self {
        Self { events: EVENTS.0 }
    }
}

impl Fetch {
    /// Events that the next fetch asks for.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    /// The next fetch asks for at most so many events.
    pub fn at_most(&mut self, events: usize) {
        self.events = self.events.min(events.max(1));
    }

    /// Learns from what a fetch for `asked` events brought. Says whether there may be more: an
    /// answer that has room left is the last.
    pub fn learn(&mut self, asked: usize, found: &[ReadEvent]) -> bool {
        let mut room = Room::new(asked, BYTES_MAX);
        found.iter().for_each(|read| _ = room.take(read));
        let bytes: usize = found.iter().map(|read| read.event.size()).sum();
        self.events = if bytes > BYTES {
            (found.len() * BYTES / bytes).max(1)
        } else if bytes < BYTES / 2 {
            (self.events * 4).min(EVENTS.1)
        } else {
            self.events
        };
        room.is_full()
    }
}
