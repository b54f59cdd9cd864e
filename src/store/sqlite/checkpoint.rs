//! Bringing SQLite's log back into the database beside the writer.
//!
//! SQLite's own way is that the commit which finds the log long enough does it, and all who wait
//! for the writer wait for thousands of pages and their sync. Here a thread does it with a
//! connection of its own, which keeps nobody from writing (`PASSIVE`). What was written meanwhile
//! is left to the writer, between two commits (`RESTART`): only a log of which nothing is left to be
//! done and that nobody reads begins anew, and one that is written to and read without a pause
//! would grow for ever (<https://sqlite.org/wal.html>, "checkpoint starvation"). It grows while
//! somebody reads one moment of the database for longer than [`READERS`].
//!
//! Invariants: one checkpoint at a time; one that fails leaves in the log what it did not bring
//! back, and is tried again when as many pages have come as make one due. A failed *fsync* ends the
//! process, as that of a commit does (`commit.rs`): a part that is not the last is not synced, and
//! SQLite would not bring it back again.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::commit::kept;
use super::connection::{BUSY_MS, Place};
use super::queue::Queue;
use crate::store::StoreError;

/// Pages in the log, since it began or since the last checkpoint, at which one is due.
const PAGES: i32 = 4_000;
/// For how long the writer waits for those who read the log. The store's own reads take less; others
/// may have a snapshot for hours.
const READERS: Duration = Duration::from_millis(20);

/// The thread, and what it waits for.
pub struct Checkpointer {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

/// Whether a checkpoint is due.
#[derive(Default)]
struct Watch {
    log: Mutex<Log>,
    changed: Condvar,
}

#[derive(Default)]
struct Log {
    /// Pages after the last commit.
    pages: i32,
    /// Pages after the last checkpoint.
    done: i32,
    state: State,
    ended: bool,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// The thread is to begin.
    Due,
    /// It has begun, and the writer has not ended it.
    Begun,
}

impl Checkpointer {
    /// Starts the thread, which leaves the end of each checkpoint to the writer of this queue.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(place: Place, queue: Arc<Queue>) -> std::io::Result<Self> {
        let watch = Arc::new(Watch::default());
        let mut link = Link { place, conn: None };
        let seen = Arc::clone(&watch);
        let run = move || {
            while seen.wait() {
                let turn = Turn(Arc::clone(&seen));
                report(link.checkpoint());
                let end = move |conn: Result<&mut Connection, StoreError>| {
                    report(conn.and_then(|conn| end(conn)));
                    drop(turn);
                    Ok(()) // Nothing that was to be written was not.
                };
                queue.job(true, Box::new(end));
            }
        };
        let thread = thread::Builder::new().name("sqlite-log".into()).spawn(run)?;
        Ok(Self { watch, thread: Some(thread) })
    }

    /// Learns of this connection's commits how long the log is.
    pub fn watch(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        let watch = Arc::clone(&self.watch);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            watch.committed(pages);
            Ok(())
        }))
    }
}

impl Drop for Checkpointer {
    /// Waits for a checkpoint that has begun.
    fn drop(&mut self) {
        self.watch.log.lock().ended = true;
        self.watch.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // That it panicked changes nothing about what is durable.
        }
    }
}

impl Watch {
    fn committed(&self, pages: i32) {
        let mut log = self.log.lock();
        log.pages = pages;
        if pages < log.done {
            log.done = 0; // It has begun anew.
        }
        if log.state == State::Idle && pages - log.done >= PAGES {
            log.state = State::Due;
            self.changed.notify_one();
        }
    }

    /// Waits until one is due; `false` when there will be none any more.
    fn wait(&self) -> bool {
        let mut log = self.log.lock();
        while log.state != State::Due && !log.ended {
            self.changed.wait(&mut log);
        }
        log.state = State::Begun;
        !log.ended
    }
}

/// A checkpoint that has begun; when it is dropped, the next can become due.
struct Turn(Arc<Watch>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut log = self.0.log.lock();
        log.state = State::Idle;
        log.done = log.pages;
    }
}

/// The thread's connection, made when it is first needed and anew after an error.
struct Link {
    place: Place,
    conn: Option<Connection>,
}

impl Link {
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let conn = self.conn.take().map_or_else(|| self.place.checkpointer(), Ok)?;
        checkpoint(&conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
        self.conn = Some(conn);
        Ok(())
    }
}

/// What has come meanwhile, and that the log begins anew.
fn end(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(READERS)?;
    let end = checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)");
    conn.busy_timeout(Duration::from_millis(BUSY_MS))?;
    end
}

/// As much as can be done. That somebody was in the way is no error.
fn checkpoint(conn: &Connection, how: &str) -> Result<(), StoreError> {
    Ok(conn.query_row(how, [], |_| Ok(())).map_err(kept)?)
}

fn report(end: Result<(), StoreError>) {
    if let Err(error) = end {
        tracing::warn!(%error, "the sqlite log could not be brought back into the database");
    }
}
