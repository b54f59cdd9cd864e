//! The read-only connections, used one read at a time on the runtime's blocking threads.
//!
//! Invariants: at most `count` reads at once; each in one read transaction, so that it sees one
//! moment of the database (S6), and ended before its answer leaves, so that no slow client keeps
//! the log from being checkpointed. A connection whose read failed is not used again.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::connection::Place;
use super::error::unavailable;
use crate::metrics;
use crate::store::StoreError;

/// The pool.
pub struct Readers {
    place: Place,
    count: usize,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Counted>>>,
}

/// A connection that the metrics know of.
struct Counted(Connection);

impl Counted {
    fn open(place: &Place) -> Result<Self, StoreError> {
        let conn = place.reader()?;
        metrics::store_connections("read", 1.0);
        Ok(Self(conn))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::store_connections("read", -1.0);
    }
}

impl Readers {
    /// A pool that opens its connections, at most `count`, when they are first needed.
    pub fn new(place: Place, count: usize) -> Self {
        let permits = Arc::new(Semaphore::new(count));
        Self { place, count, permits, idle: Arc::default() }
    }

    /// Reads something, all of it as of one moment during the call.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("the store is closed"))?;
        let (idle, place) = (Arc::clone(&self.idle), self.place.clone());
        let run = move || {
            // Held by the read itself: it goes on even if nobody waits for it any more.
            let _permit = permit;
            let conn = idle.lock().pop();
            let conn = conn.map_or_else(|| Counted::open(&place), Ok)?;
            let snapshot = conn.0.unchecked_transaction()?;
            let result = read(&snapshot);
            drop(snapshot); // Rolls back; there is nothing to commit.
            if result.is_ok() && conn.0.is_autocommit() {
                idle.lock().push(conn);
            }
            result
        };
        let result = tokio::task::spawn_blocking(run).await;
        result.unwrap_or_else(|error| Err(unavailable(format!("a read failed: {error}"))))
    }

    /// Waits for the reads that have begun and closes the connections.
    pub async fn close(&self) {
        // One by one: those that are taken are not given back, so no read begins any more.
        for _ in 0..self.count {
            let permit = self.permits.acquire().await;
            permit.into_iter().for_each(SemaphorePermit::forget);
        }
        self.permits.close();
        self.idle.lock().clear();
    }
}
