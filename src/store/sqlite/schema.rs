//! From a path to a database that this process alone writes, with the schema of this program.
//!
//! Not here: the settings of connections (`connection.rs`).
//! Invariants: the lock is taken before the database is touched and kept while it is written;
//! nothing is changed in a file that is not Tidelog's.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use refinery::error::Kind;
use rusqlite::Connection;

use super::Config;
use super::connection::{Place, Unfit};
use crate::store::{OpenError, StoreError};

mod migrations {
    refinery::embed_migrations!("sql/sqlite");
}

/// "TIDE", as the first migration sets it.
const APPLICATION_ID: i64 = 0x5449_4445;
/// The first version without the bug that can corrupt a log which several connections use.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// A database that is ready.
pub struct Prepared {
    pub place: Place,
    /// Holds the file for this process, for as long as it lives.
    pub lock: Lock,
    pub writer: Connection,
}

/// Takes the database, making it where there is none, and brings its schema up to date.
pub fn prepare(config: &Config) -> Result<Prepared, OpenError> {
    let version = rusqlite::version_number();
    if version < SQLITE_VERSION_MIN {
        let version = rusqlite::version();
        let text = format!("SQLite {version} can corrupt its log; 3.51.3 or newer is needed");
        return Err(OpenError::Unsuitable(text));
    }
    let path = real_path(&config.path)?;
    let lock = take_lock(&path)?;
    let place = Place::new(path, &lock.database, config.pages_max);
    let place = place.map_err(|error| io_error(&config.path, &error))?;
    let failed = |unfit| unfit_error(&place.path, unfit);
    let mut writer = place.create().map_err(failed)?;
    claim(&writer, &place.path)?;
    place.make_writer(&writer).map_err(failed)?;
    migrate(&mut writer, &place.path)?;
    place.reader().map_err(failed)?;
    Ok(Prepared { place, lock, writer })
}

/// The file's one real name, so that two ways to it meet at one lock. Makes its directory.
fn real_path(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |error: io::Error| io_error(path, &error);
    if let Ok(real) = fs::canonicalize(path) {
        return Ok(real);
    }
    let Some(name) = path.file_name() else {
        let text = format!("{} does not name a file", path.display());
        return Err(OpenError::Unsuitable(text));
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(failed)?;
    Ok(fs::canonicalize(directory).map_err(failed)?.join(name))
}

/// What keeps other processes out, for as long as it lives.
pub struct Lock {
    _side: File,
    /// The database file itself, by whatever name: it may have another one (a hard link, a bind
    /// mount), beside which there is another side file. It must not be closed before SQLite has
    /// closed the file: that would drop SQLite's own locks.
    database: File,
}

fn take_lock(path: &Path) -> Result<Lock, OpenError> {
    let side = lock_side_file(path)?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let database = options.open(path).map_err(|error| io_error(path, &error))?;
    match database.try_lock() {
        Ok(()) => Ok(Lock { _side: side, database }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(format!(
            "{} is in use by another process, under another name of the same file. One process \
             writes a database file: stop that one, or give this one a file of its own",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot_lock(path, &error)),
    }
}

fn cannot_lock(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Unsuitable(format!(
        "{} cannot be locked ({error}). Keep it on a local file system that has locks",
        path.display()
    ))
}

fn lock_side_file(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = OsString::from(path);
    lock_path.push(".lock");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let mut lock = options.open(&lock_path).map_err(|error| io_error(path, &error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&lock_path).unwrap_or_default();
            let text = format!(
                "{} is in use by another process ({}). One process writes a database file: stop \
                 that one, or give this one a file of its own",
                path.display(),
                holder.trim()
            );
            return Err(OpenError::InUse(text));
        }
        Err(TryLockError::Error(error)) => return Err(cannot_lock(path, &error)),
    }
    // For the message above, and only for it: what counts is the lock.
    let holder = format!("process {}\n", std::process::id());
    let noted = lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes()));
    noted.map_err(|error| io_error(path, &error))?;
    Ok(lock)
}

/// Makes a file with nothing in it ours; refuses one that is no database, that cannot be written,
/// or that is somebody else's.
fn claim(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| open_error(path, error);
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(failed)?;
    let objects = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = conn.query_row(objects, [], |row| row.get(0)).map_err(failed)?;
    if conn.is_readonly("main").map_err(failed)? {
        let text = format!("{} is read-only: allow this user to write it", path.display());
        return Err(OpenError::MissingRights(text));
    }
    if application == APPLICATION_ID {
        return Ok(());
    }
    if objects > 0 {
        let text = format!("{} is a database of another program", path.display());
        return Err(OpenError::Unsuitable(text));
    }
    // Before anything else is made: whoever is killed in between has to find it his own.
    conn.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    tracing::info!(path = %path.display(), "a new store, with nothing in it");
    Ok(())
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    // All or nothing: what was made and not noted could not be made again.
    let result = migrations::migrations::runner().set_grouped(true).run(conn);
    let Err(error) = result else { return Ok(()) };
    let path = path.display();
    Err(match error.kind() {
        Kind::MissingVersion(unknown) => OpenError::Newer(format!(
            "{path} was made by a newer version of Tidelog (its schema has {unknown}): use that \
             version or a newer one"
        )),
        Kind::DivergentVersion(..) => OpenError::Unsuitable(format!(
            "{path} was made by a version of Tidelog with other tables ({error}): export it with \
             that version (`tidelog export`), and import it into a new file with this one"
        )),
        Kind::Connection(..) => {
            let text = format!("the schema of {path} could not be brought up to date: {error}");
            OpenError::Unreachable(text)
        }
        _ => OpenError::Unsuitable(format!("the schema of {path} is not Tidelog's: {error}")),
    })
}

fn unfit_error(path: &Path, unfit: Unfit) -> OpenError {
    match unfit {
        Unfit::Failed(error) => open_error(path, error),
        Unfit::Setting(text) => OpenError::Unsuitable(format!(
            "{} cannot be used safely: {text}. Keep it on a local file system",
            path.display()
        )),
    }
}

fn open_error(path: &Path, error: rusqlite::Error) -> OpenError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) {
        return OpenError::Unsuitable(format!(
            "{} is not a SQLite database: name another file with --store sqlite:PATH, or move this \
             one away",
            path.display()
        ));
    }
    let error = StoreError::from(error);
    let text = format!("{} cannot be opened: {error}", path.display());
    match error {
        StoreError::Unavailable(_) | StoreError::Full(_) => OpenError::Unreachable(text),
        StoreError::ReadOnly(_) => OpenError::MissingRights(text),
        StoreError::Corrupt(_) => OpenError::Unsuitable(text),
    }
}

fn io_error(path: &Path, error: &io::Error) -> OpenError {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::MissingRights(format!(
                "{path} cannot be written ({error}): allow this user to write its directory, or \
                 choose another"
            ))
        }
        ErrorKind::IsADirectory => OpenError::Unsuitable(format!(
            "{path} is a directory: name a file, such as sqlite:{path}/tidelog.db"
        )),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Unreachable(format!(
            "{path} cannot be made ({error}): make room, or choose another disk"
        )),
        _ => OpenError::Unreachable(format!(
            "{path} cannot be made ({error}): choose another path with --store sqlite:PATH"
        )),
    }
}
