//! Many batches in one transaction of the database, each with an outcome of its own (S10), or one
//! other change (S12), and what may be concluded when it fails (S3, S5).
//!
//! Until COMMIT is called nothing of a transaction can ever become durable: SQLite takes no frame
//! of its log for valid without the commit mark, which COMMIT writes. When COMMIT fails and the
//! transaction is still open (`SQLITE_BUSY`), the mark was not written, and rolling back is
//! certain. When it fails and the transaction is gone, the mark may be in the log, unsynced: this
//! process does not see it, but the next one might, after a crash. The next transaction is
//! written over it, and a topic's `open` is such a one: from then on the truth is what is read.
//!
//! A full disk is certain too: `SQLITE_FULL` is what writing a frame of the log answers, the mark is
//! in the last one, and none is written after it (the file system is taken to be safe against torn
//! overwrites, as by default, so frames are not padded).
//!
//! A failed *fsync* is the exception: what the kernel has dropped after it may still be read, and
//! trying again may wrongly succeed. There the process ends, and the next one reads the disk.

use std::sync::Arc;

use rusqlite::Connection;

use super::append;
use super::error::is_of_values;
use crate::domain::Batch;
use crate::metrics;
use crate::store::{AppendError, Cause, MoveError, StoreError};

/// The outcome of one batch.
pub type Fate = Result<(), AppendError>;

/// Commits what can be committed of a group of batches: their outcomes in order, and whether the
/// connection can be used further.
pub fn commit(conn: &Connection, batches: &[Arc<Batch>]) -> (Vec<Fate>, bool) {
    let outcome = attempt(conn, batches, together).or_else(|error| {
        if is_of_values(&error) && roll_back(conn) {
            attempt(conn, batches, apart)
        } else {
            Err(error)
        }
    });
    outcome.unwrap_or_else(|error| none_written(conn, batches.len(), error))
}

/// Writes a batch within a transaction.
///
/// # Errors
/// When the whole transaction is lost.
type Write = fn(&Connection, &Batch) -> rusqlite::Result<Fate>;

fn attempt(
    conn: &Connection,
    batches: &[Arc<Batch>],
    write: Write,
) -> rusqlite::Result<(Vec<Fate>, bool)> {
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let fates = batches.iter().map(|batch| write(conn, batch));
    let fates: Vec<_> = fates.collect::<rusqlite::Result<_>>()?;
    match finish(conn) {
        Ok(()) => {
            metrics::commits_merged(batches.iter().map(|batch| batch.events.len()).sum());
            Ok((fates, true))
        }
        Err(Failed::NotWritten(error)) => Err(error),
        Err(Failed::Unknown(error)) => Ok((lost(fates, error), false)),
    }
}

/// Why a transaction of the database was not committed, or may not have been.
enum Failed {
    NotWritten(rusqlite::Error),
    Unknown(rusqlite::Error),
}

/// Commits what has been written.
fn finish(conn: &Connection) -> Result<(), Failed> {
    let mut commit = conn.prepare_cached("COMMIT").map_err(Failed::NotWritten)?;
    match commit.execute([]) {
        Ok(_) => Ok(()),
        Err(error) if !conn.is_autocommit() || is_full(&error) => Err(Failed::NotWritten(error)),
        Err(error) => Err(Failed::Unknown(kept(error))),
    }
}

/// Does something that is no append, in a transaction of its own. After an error the connection is
/// not to be used further, which rolls back what is not committed.
pub fn alone<T>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, MoveError> {
    let begin = || Ok(conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?);
    let done = begin().and_then(|_| work(conn)).map_err(MoveError::NotMoved)?;
    match finish(conn) {
        Ok(()) => Ok(done),
        Err(Failed::NotWritten(error)) => Err(MoveError::NotMoved(error.into())),
        Err(Failed::Unknown(error)) => Err(MoveError::Unknown(Cause::new(error))),
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

fn is_failed_fsync(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}

/// Gives the error back, except that of a failed fsync, of the log or of the database: then it ends
/// the process, as `EX_IOERR` of sysexits.h. Everything that waits for an answer learns that its
/// outcome is unknown: by the end of its connection.
pub fn kept(error: rusqlite::Error) -> rusqlite::Error {
    if is_failed_fsync(&error) {
        tracing::error!(%error, "the disk did not keep what was written; ending at once");
        std::process::exit(74)
    }
    error
}

/// One batch, with which all others are lost where the database does not take its values.
fn together(conn: &Connection, batch: &Batch) -> rusqlite::Result<Fate> {
    Ok(if append::insert(conn, batch)? { Ok(()) } else { Err(AppendError::Refused) })
}

/// One batch, whole or not at all. A savepoint copies every page that the batch changes, which is
/// why batches are written without, until one of a group turns out to need it.
fn apart(conn: &Connection, batch: &Batch) -> rusqlite::Result<Fate> {
    conn.prepare_cached("SAVEPOINT batch")?.execute([])?;
    let fate = match together(conn, batch) {
        Ok(fate) => fate,
        Err(error) if is_of_values(&error) && !conn.is_autocommit() => {
            conn.prepare_cached("ROLLBACK TO batch")?.execute([])?;
            Err(AppendError::Rejected(Cause::new(error)))
        }
        Err(error) => return Err(error),
    };
    conn.prepare_cached("RELEASE batch")?.execute([])?;
    Ok(fate)
}

/// Every batch of a transaction that cannot have committed.
fn none_written(conn: &Connection, count: usize, error: rusqlite::Error) -> (Vec<Fate>, bool) {
    let error = AppendError::NotWritten(StoreError::from(error));
    // Where this fails the connection is closed, which rolls back just as certainly.
    (vec![Err(error); count], roll_back(conn))
}

/// Whether no transaction is open any more.
fn roll_back(conn: &Connection) -> bool {
    conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok()
}

fn lost(fates: Vec<Fate>, error: rusqlite::Error) -> Vec<Fate> {
    let unknown = AppendError::Unknown(Cause::new(error));
    fates.into_iter().map(|fate| fate.and(Err(unknown.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fsync_is_told_from_other_failures() {
        let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        assert!(is_failed_fsync(&error(rusqlite::ffi::SQLITE_IOERR_FSYNC)));
        assert!(!is_failed_fsync(&error(rusqlite::ffi::SQLITE_IOERR_WRITE)));
        assert!(!is_failed_fsync(&error(rusqlite::ffi::SQLITE_FULL)));
    }

    #[test]
    fn a_lost_commit_leaves_open_only_what_could_have_been_in_it() {
        let fates = lost(vec![Ok(()), Err(AppendError::Refused)], rusqlite::Error::InvalidQuery);
        assert!(matches!(fates[..], [Err(AppendError::Unknown(_)), Err(AppendError::Refused)]));
    }
}
