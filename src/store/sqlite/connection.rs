//! Connections that give the guarantees, or none: every setting is made and then read back.
//!
//! Not here: whether the file is ours and of which version (`schema.rs`).

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::unavailable;
use crate::store::StoreError;

/// Why there is no connection.
#[derive(Debug)]
pub enum Unfit {
    /// SQLite said so.
    Failed(rusqlite::Error),
    /// Something is not as it has to be, so that a guarantee would not hold.
    Setting(String),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unfit> for StoreError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Failed(error) => error.into(),
            Unfit::Setting(text) => unavailable(text),
        }
    }
}

/// Prepared statements kept on each connection; there are fewer.
const STATEMENTS: usize = 64;

/// Milliseconds to wait while somebody else's tool holds the database.
pub const BUSY_MS: u64 = 5_000;
/// Settings of every connection. `FULL` makes a commit durable before it is acknowledged; with
/// `NORMAL` a loss of power could take it back. No mapped memory: an I/O error there is a signal
/// that ends the process.
const SHARED: [(&str, i64); 5] = [
    ("busy_timeout", BUSY_MS as i64),
    ("synchronous", 2),
    ("foreign_keys", 1),
    ("mmap_size", 0),
    ("trusted_schema", 0),
];
/// Settings of the write connection. The cache is in KiB where negative; the log is cut to so many
/// bytes when it begins anew.
const WRITING: [(&str, i64); 3] =
    [("cache_size", -32_768), ("journal_size_limit", 67_108_864), ("temp_store", 2)];
/// Settings of a read connection.
const READING: [(&str, i64); 2] = [("cache_size", -16_384), ("query_only", 1)];

/// Where the database is, and how connections to it are made.
#[derive(Clone, Debug)]
pub struct Place {
    /// The database file, by its real name.
    pub path: PathBuf,
    /// Which file it was when it was taken: device and inode.
    file: (u64, u64),
    /// Pages that the file may have; `None` for SQLite's own limit.
    pages_max: Option<u32>,
}

/// Which file it is, whatever its name.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Place {
    /// The place of a file that has this real name.
    ///
    /// # Errors
    /// When the system says nothing about the file.
    pub fn new(path: PathBuf, file: &File, pages_max: Option<u32>) -> io::Result<Self> {
        Ok(Self { path, file: identity(&file.metadata()?), pages_max })
    }

    /// Whether the file still has its name. SQLite goes on writing one that has lost it, which nobody
    /// would ever find again; and a new connection would bring the log of the one into the other.
    ///
    /// # Errors
    /// What to do about it.
    pub fn check(&self) -> Result<(), Unfit> {
        let lost = match fs::metadata(&self.path) {
            Ok(found) => identity(&found) != self.file,
            Err(error) => error.kind() == io::ErrorKind::NotFound, // Else nobody knows.
        };
        if lost {
            return Err(Unfit::Setting(format!(
                "{} was moved, deleted or replaced while it was in use: nothing is written until it \
                 is back; to restore a copy, stop Tidelog first",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// The write connection to a file that may not exist yet.
    pub fn create(&self) -> Result<Connection, Unfit> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        self.open(flags)
    }

    /// Makes a connection fit for writing.
    pub fn make_writer(&self, conn: &Connection) -> Result<(), Unfit> {
        let mode: String =
            conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(Unfit::Setting(format!("journal_mode is `{mode}`, not `wal`")));
        }
        set(conn, &WRITING)?;
        match self.pages_max {
            Some(pages) => set(conn, &[("max_page_count", i64::from(pages))]),
            None => Ok(()),
        }
    }

    /// The write connection again, to the same file: one that has vanished is not made anew.
    pub fn reopen(&self) -> Result<Connection, Unfit> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.make_writer(&conn)?;
        Ok(conn)
    }

    /// A connection to bring the log back into the database with.
    pub fn checkpointer(&self) -> Result<Connection, Unfit> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Only who has read of the database knows that it has a log.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(conn)
    }

    /// A read connection.
    pub fn reader(&self) -> Result<Connection, Unfit> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        set(&conn, &READING)?;
        Ok(conn)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, Unfit> {
        self.check()?;
        let conn =
            Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        set(&conn, &SHARED)?;
        // Otherwise SQLite prepares a statement anew, each time, for the values that it is given.
        if !conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)? {
            return Err(Unfit::Setting("plans are not stable".into()));
        }
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(conn)
    }
}

/// Makes settings and proves that they are in force.
fn set(conn: &Connection, settings: &[(&str, i64)]) -> Result<(), Unfit> {
    for (name, wanted) in settings {
        conn.pragma_update(None, name, wanted)?;
        let found: i64 = conn.pragma_query_value(None, name, |row| row.get(0))?;
        if found != *wanted {
            return Err(Unfit::Setting(format!("{name} is {found}, not {wanted}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: PathBuf) -> Place {
        let file = File::create(&path).expect("a file");
        Place::new(path, &file, Some(1_000)).expect("it is there")
    }

    #[test]
    fn connections_have_the_settings_that_the_guarantees_need() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path().join("x.db"));
        let writer = place.create().expect("a connection");
        place.make_writer(&writer).expect("WAL");
        for conn in [writer, place.reopen().expect("again"), place.reader().expect("a reader")] {
            let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let mode = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            assert_eq!(conn.pragma_query_value(None, "journal_mode", mode).unwrap(), "wal");
            assert_eq!(number("synchronous").unwrap(), 2, "FULL");
            assert_eq!(number("foreign_keys").unwrap(), 1);
            assert_eq!(number("mmap_size").unwrap(), 0);
            let written = conn.execute_batch("CREATE TABLE IF NOT EXISTS t (x)").is_ok();
            assert_eq!(written, number("query_only").unwrap() == 0);
        }
    }

    #[test]
    fn a_connection_on_which_a_setting_is_not_in_force_is_refused() {
        let conn = Connection::open_in_memory().expect("a connection");
        let directory = tempfile::tempdir().expect("a directory");
        let unfit =
            place(directory.path().join("x.db")).make_writer(&conn).expect_err("no log in memory");
        assert!(matches!(unfit, Unfit::Setting(text) if text.contains("journal_mode")));
        let unfit = set(&conn, &[("page_count", 7)]).expect_err("cannot be set");
        assert!(matches!(unfit, Unfit::Setting(text) if text.contains("page_count")));
    }

    #[test]
    fn a_file_that_has_vanished_is_not_made_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path().join("x.db"));
        fs::remove_file(&place.path).expect("it was made");
        assert!(matches!(place.reopen(), Err(Unfit::Setting(text)) if text.contains("deleted")));
        assert!(!place.path.exists());
    }
}
