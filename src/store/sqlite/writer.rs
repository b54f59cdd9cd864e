//! The one thread that writes, and the handle on it.
//!
//! Not here: the order of work (`queue.rs`), what is written (`append.rs`, `fold.rs`, `open.rs`),
//! when the log is brought back into the database (`checkpoint.rs`).
//! Invariants: everything that was taken into the queue is answered; the thread survives every
//! error and every panic of a job, and goes on with a new connection; once a write has failed
//! because of the store, `check` says so until one has succeeded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::checkpoint::Checkpointer;
use super::commit;
use super::connection::Place;
use super::error::unavailable;
use super::queue::{Append, Queue, Work};
use crate::domain::Batch;
use crate::metrics;
use crate::store::{AppendError, Cause, MoveError, StoreError};

/// When a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// In its turn among appends.
    InOrder,
    /// When there is nothing urgent, or soon after.
    Later,
}

/// Why the last write failed, until one succeeds.
type Trouble = Arc<Mutex<Option<StoreError>>>;

/// Takes room, more than most commits need, and gives it back.
const PROBE: &str = "INSERT OR REPLACE INTO probe VALUES (0, zeroblob(1048576)); DELETE FROM probe";

/// The handle. Dropping it lets the thread finish what is queued, and waits for that.
pub struct Writer {
    place: Place,
    queue: Arc<Queue>,
    trouble: Trouble,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread with a connection that is ready.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(place: Place, conn: Connection) -> Result<Self, StoreError> {
        let failed = |error| unavailable(format!("no thread: {error}"));
        let queue = Arc::new(Queue::default());
        let trouble = Trouble::default();
        let checkpointer = Checkpointer::start(place.clone(), Arc::clone(&queue));
        let checkpointer = checkpointer.map_err(failed)?;
        let mut link =
            Link { place: place.clone(), conn: None, trouble: Arc::clone(&trouble), checkpointer };
        link.take(conn)?;
        let taken = Arc::clone(&queue);
        let run = move || {
            metrics::store_connections("write", 1.0);
            while let Some(work) = taken.take() {
                link.perform(work);
            }
            link.end();
            metrics::store_connections("write", -1.0);
        };
        let thread = thread::Builder::new().name("sqlite-writer".into()).spawn(run);
        Ok(Self { place, queue, trouble, thread: Mutex::new(Some(thread.map_err(failed)?)) })
    }

    /// Queues a batch at once, whether or not the future is ever polled.
    pub fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        let (answer, fate) = oneshot::channel();
        let queued = self.queue.append(Append { batch, answer }).is_ok();
        async move {
            if !queued {
                return Err(AppendError::NotWritten(closed()));
            }
            let gone = || AppendError::Unknown(Cause::new("the writer thread ended"));
            fate.await.unwrap_or_else(|_| Err(gone()))
        }
        .boxed()
    }

    /// Does something with the write connection. It is done even if the future is dropped.
    pub async fn call<T: Send + 'static>(
        &self,
        due: Due,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = |conn: &mut Connection| work(conn).map_err(MoveError::NotMoved);
        self.change(due, work).await.map_err(plain)
    }

    /// The same, where it matters what an error says about what was written.
    pub async fn change<T: Send + 'static>(
        &self,
        due: Due,
        work: impl FnOnce(&mut Connection) -> Result<T, MoveError> + Send + 'static,
    ) -> Result<T, MoveError> {
        let (answer, result) = oneshot::channel();
        let job = move |conn: Result<&mut Connection, StoreError>| {
            let result = conn.map_err(MoveError::NotMoved).and_then(work);
            let end = result.as_ref().map(|_| ()).map_err(|error| plain(error.clone()));
            let _ = answer.send(result); // Nobody need be waiting any more.
            end
        };
        if !self.queue.job(due == Due::InOrder, Box::new(job)) {
            return Err(MoveError::NotMoved(closed()));
        }
        let gone = || MoveError::Unknown(Cause::new("a job of the writer failed"));
        result.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Whether the file can be written. Tries it where the last write failed.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.trouble.lock().is_none() {
            return Ok(self.place.check()?);
        }
        let trouble = Arc::clone(&self.trouble);
        let probe = move |conn: &mut Connection| {
            conn.execute_batch(PROBE)?;
            *trouble.lock() = None;
            Ok(())
        };
        self.call(Due::InOrder, probe).await
    }

    /// Ends the thread once everything queued has been done.
    pub async fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // The thread answers nobody after this; that it panicked cannot be: it catches all.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join(); // As in `close`.
        }
    }
}

/// An error without what it says about what was written.
fn plain(error: MoveError) -> StoreError {
    match error {
        MoveError::NotMoved(error) => error,
        MoveError::Unknown(cause) => StoreError::Unavailable(cause),
    }
}

fn closed() -> StoreError {
    unavailable("the store is closed")
}

/// The thread's side: the connection, made anew whenever it cannot be trusted any more.
struct Link {
    place: Place,
    conn: Option<Connection>,
    trouble: Trouble,
    checkpointer: Checkpointer,
}

impl Link {
    fn take(&mut self, mut conn: Connection) -> Result<(), StoreError> {
        self.checkpointer.watch(&mut conn)?;
        self.conn = Some(conn);
        Ok(())
    }

    fn perform(&mut self, work: Work) {
        match work {
            Work::Group(appends) => self.commit(appends),
            Work::Job(job) => {
                let run = AssertUnwindSafe(|| job(self.connection()));
                let end = catch_unwind(run).unwrap_or_else(|_| {
                    tracing::error!("a job of the sqlite writer panicked");
                    Err(unavailable("a job of the writer panicked"))
                });
                if let Err(error) = &end {
                    self.note(error);
                }
                self.keep_if(end.is_ok());
            }
        }
    }

    fn commit(&mut self, appends: Vec<Append>) {
        let batches: Vec<_> = appends.iter().map(|append| Arc::clone(&append.batch)).collect();
        let run = AssertUnwindSafe(|| match self.connection() {
            Ok(conn) => commit::commit(conn, &batches),
            Err(error) => (vec![Err(AppendError::NotWritten(error)); batches.len()], true),
        });
        let (fates, usable) = catch_unwind(run).unwrap_or_else(|_| {
            // It may have been after the commit.
            let unknown = AppendError::Unknown(Cause::new("the sqlite writer panicked"));
            (vec![Err(unknown); batches.len()], false)
        });
        self.keep_if(usable);
        let failure = fates.iter().find_map(|fate| match fate {
            Err(AppendError::NotWritten(error)) => Some(error.clone()),
            Err(AppendError::Unknown(cause)) => Some(StoreError::Unavailable(cause.clone())),
            _ => None,
        });
        match failure {
            Some(error) => self.note(&error),
            None if fates.iter().any(Result::is_ok) => *self.trouble.lock() = None,
            None => {}
        }
        for (append, fate) in appends.into_iter().zip(fates) {
            let _ = append.answer.send(fate); // Nobody need be waiting any more.
        }
    }

    /// Something was not written. What makes no sense is not the file's as a whole.
    fn note(&self, error: &StoreError) {
        tracing::debug!(%error, "the sqlite writer failed");
        if !matches!(error, StoreError::Corrupt(_)) {
            *self.trouble.lock() = Some(error.clone());
        }
    }

    /// The connection, opened again where it was given up; none where the file is not where it was.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        self.place.check()?;
        if self.conn.is_none() {
            self.take(self.place.reopen()?)?;
            tracing::debug!("the sqlite write connection is open again");
        }
        self.conn.as_mut().ok_or_else(closed)
    }

    /// Gives the connection up if it may hold on to anything of a failed job.
    fn keep_if(&mut self, usable: bool) {
        let clean = self.conn.as_ref().is_none_or(Connection::is_autocommit);
        if !(usable && clean) {
            tracing::debug!("the sqlite write connection is given up after an error");
            self.conn = None;
        }
    }

    /// Leaves one file behind, where nobody else reads it just now.
    fn end(self) {
        drop(self.checkpointer);
        let Some(conn) = self.conn else { return };
        let end = conn.pragma_update(None, "wal_checkpoint", "TRUNCATE");
        if let Err(error) = end.map_err(commit::kept) {
            tracing::warn!(%error, "the sqlite log could not be checkpointed at the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_or_an_error_of_a_job_is_its_own_and_leaves_no_transaction_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.db");
        let file = std::fs::File::create(&path).expect("a file");
        let place = Place::new(path, &file, None).expect("it is there");
        let conn = place.create().expect("a connection");
        place.make_writer(&conn).expect("WAL");
        conn.execute_batch("CREATE TABLE t (x)").expect("a table");
        let writer = Writer::start(place, conn).expect("a thread");

        let begin = |conn: &mut Connection| {
            conn.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")?;
            Ok(())
        };
        let panic = move |conn: &mut Connection| -> Result<(), StoreError> {
            begin(conn)?;
            panic!("in a test");
        };
        let failed = writer.call(Due::InOrder, panic).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        let error = move |conn: &mut Connection| -> Result<(), StoreError> {
            begin(conn)?;
            Ok(conn.execute_batch("INSERT INTO nowhere VALUES (1)")?)
        };
        assert!(writer.call(Due::Later, error).await.is_err());
        writer.call(Due::InOrder, begin).await.expect("forgets to commit");

        let count = |conn: &mut Connection| {
            Ok(conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))?)
        };
        assert_eq!(writer.call(Due::InOrder, count).await.expect("a number"), 0);
        writer.close().await;
        assert!(writer.call(Due::InOrder, count).await.is_err(), "closed");
    }
}
