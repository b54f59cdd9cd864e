//! Bringing SQLite's log back into the database beside the writer.
//!
//! SQLite's own way is that the commit which finds the log long enough does it, and all who wait
//! for the writer wait for thousands of pages and their sync. Here a thread does it with a
//! connection of its own, which keeps nobody from writing (`PASSIVE`). What was written meanwhile
//! is left to the writer, who does it between two commits: only a log of which nothing is left to
//! be done begins anew, and one that is written to without a pause would grow for ever
//! (<https://sqlite.org/wal.html>, "checkpoint starvation").
//!
//! Invariants: one checkpoint at a time; one that fails changes nothing about what is durable,
//! and is tried again when as many pages have come as make one due.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::connection::Place;
use super::queue::Queue;
use crate::store::StoreError;

/// Pages in the log, since it began or since the last checkpoint, at which one is due.
const PAGES: i32 = 4_000;

/// The thread, and what it waits for.
pub struct Checkpointer {
    due: Arc<Due>,
    thread: Option<JoinHandle<()>>,
}

/// Whether a checkpoint is due.
#[derive(Default)]
struct Due {
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
        let due = Arc::new(Due::default());
        let mut link = Link { place, conn: None };
        let seen = Arc::clone(&due);
        let run = move || {
            while seen.wait() {
                report(link.checkpoint());
                let seen = Arc::clone(&seen);
                let end = move |conn: Result<&mut Connection, StoreError>| {
                    report(conn.and_then(|conn| checkpoint(conn)));
                    seen.end();
                    Ok(()) // Nothing that was to be written was not.
                };
                queue.job(false, Box::new(end));
            }
        };
        let thread = thread::Builder::new().name("sqlite-log".into()).spawn(run)?;
        Ok(Self { due, thread: Some(thread) })
    }

    /// Learns of this connection's commits how long the log is.
    pub fn watch(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        let due = Arc::clone(&self.due);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            due.committed(pages);
            Ok(())
        }))
    }
}

impl Drop for Checkpointer {
    /// Waits for a checkpoint that has begun.
    fn drop(&mut self) {
        self.due.log.lock().ended = true;
        self.due.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // That it panicked changes nothing about what is durable.
        }
    }
}

impl Due {
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

    fn end(&self) {
        let mut log = self.log.lock();
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
        checkpoint(&conn)?;
        self.conn = Some(conn);
        Ok(())
    }
}

/// As much as can be done without keeping anybody from anything.
fn checkpoint(conn: &Connection) -> Result<(), StoreError> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}

fn report(end: Result<(), StoreError>) {
    if let Err(error) = end {
        tracing::warn!(%error, "the sqlite log could not be brought back into the database");
    }
}
