//! What PostgreSQL's errors prove.
//!
//! An error answer to a statement that is a transaction of its own proves that nothing of it is
//! there, unless the answer is about the session or the server rather than the statement: then,
//! and whenever there was no answer, the commit may have happened.

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};

use super::super::{Cause, StoreError};

/// What became of a statement that changes events.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing is written: the database cannot hold something in it.
    Data(Cause),
    /// Nothing is written: another session was in the way.
    Contended(StoreError),
    /// Nothing is written.
    NotWritten(StoreError),
    /// It may be there, or yet appear.
    Unknown(Cause),
}

/// What the failure of a statement that changes events proves.
pub(super) fn judge(error: Error) -> Verdict {
    let Some(answer) = error.as_db_error() else { return Verdict::Unknown(Cause::new(error)) };
    let code = answer.code().code().to_owned();
    if is_about_the_session(answer) {
        return Verdict::Unknown(Cause::new(error));
    }
    match (&code[..2], code.as_str()) {
        // The guard let it through, and yet an event is there already.
        (_, "23505") => Verdict::NotWritten(StoreError::Corrupt(Cause::new(error))),
        ("21" | "22" | "23" | "54", _) => Verdict::Data(Cause::new(error)),
        (_, "55P03" | "40001" | "40P01") => Verdict::Contended(store_error(error)),
        _ => Verdict::NotWritten(store_error(error)),
    }
}

fn is_about_the_session(answer: &DbError) -> bool {
    let code = answer.code().code();
    let fatal = answer.parsed_severity() != Some(Severity::Error);
    let vague = matches!(&code[..2], "08" | "58" | "F0" | "XX");
    fatal || vague || code == "40003" || code.starts_with("57P")
}

/// The failure of anything that changes no event.
pub(super) fn store_error(error: Error) -> StoreError {
    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    match code.as_str() {
        "53100" => StoreError::Full(Cause::new(error)),
        "25006" => StoreError::ReadOnly(Cause::new(error)),
        "XX001" | "XX002" => StoreError::Corrupt(Cause::new(error)),
        _ => StoreError::Unavailable(Cause::new(error)),
    }
}

/// No connection could be had.
pub(super) fn pool_error(error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => store_error(error),
        other => StoreError::Unavailable(Cause::new(other)),
    }
}

/// What is kept breaks a rule that the schema or the program should have kept.
pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(Cause::new(what.into()))
}
