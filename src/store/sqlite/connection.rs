//! Connections that give the guarantees, or none: every setting is made and then read back.
//!
//! Not here: whether the file is ours and of which version (`schema.rs`).

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};

use super::error::unavailable;
use crate::store::StoreError;

/// Prepared statements kept on each connection; there are fewer.
const STATEMENTS: usize = 64;

/// Settings of every connection. `busy_timeout`: milliseconds to wait while somebody else's tool
/// holds the database. `FULL` makes a commit durable before it is acknowledged; with
/// `NORMAL` a loss of power could take it back. No mapped memory: an I/O error there is a signal
/// that ends the process.
const SHARED: [(&str, i64); 5] = [
    ("busy_timeout", 5_000),
    ("synchronous", 2),
    ("foreign_keys", 1),
    ("mmap_size", 0),
    ("trusted_schema", 0),
];
/// Settings of the write connection. The cache is in KiB where negative; the log is brought back
/// into the database after so many pages, and cut to so many bytes afterwards.
const WRITING: [(&str, i64); 4] = [
    ("cache_size", -65_536),
    ("wal_autocheckpoint", 4_000),
    ("journal_size_limit", 67_108_864),
    ("temp_store", 2),
];
/// Settings of a read connection.
const READING: [(&str, i64); 2] = [("cache_size", -16_384), ("query_only", 1)];

/// Where the database is, and how connections to it are made.
#[derive(Clone, Debug)]
pub struct Place {
    /// The database file, by its real name.
    pub path: PathBuf,
    /// Pages that the file may have; `None` for SQLite's own limit.
    pub pages_max: Option<u32>,
}

impl Place {
    /// The write connection to a file that may not exist yet.
    pub fn create(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        self.open(flags)
    }

    /// Makes a connection fit for writing.
    pub fn make_writer(&self, conn: &Connection) -> Result<(), StoreError> {
        let mode: String =
            conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(unavailable(format!("journal_mode is `{mode}`, not `wal`")));
        }
        set(conn, &WRITING)?;
        match self.pages_max {
            Some(pages) => set(conn, &[("max_page_count", i64::from(pages))]),
            None => Ok(()),
        }
    }

    /// The write connection again, to the same file: one that has vanished is not made anew.
    pub fn reopen(&self) -> Result<Connection, StoreError> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.make_writer(&conn)?;
        Ok(conn)
    }

    /// A read connection.
    pub fn reader(&self) -> Result<Connection, StoreError> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        set(&conn, &READING)?;
        Ok(conn)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, StoreError> {
        let conn =
            Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        set(&conn, &SHARED)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(conn)
    }
}

/// Makes settings and proves that they are in force.
fn set(conn: &Connection, settings: &[(&str, i64)]) -> Result<(), StoreError> {
    for (name, wanted) in settings {
        conn.pragma_update(None, name, wanted)?;
        let found: i64 = conn.pragma_query_value(None, name, |row| row.get(0))?;
        if found != *wanted {
            return Err(unavailable(format!("{name} is {found}, not {wanted}")));
        }
    }
    Ok(())
}
