//! What SQLite's errors mean to the store.
//!
//! Not here: what a failed COMMIT means (`commit.rs`): the code alone does not say it.

use rusqlite::ErrorCode;

use crate::store::{Cause, StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let code = error.sqlite_error_code();
        let unreadable = matches!(
            error,
            E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::Utf8Error(..)
        );
        let cause = Cause::new(error);
        match code {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(cause),
            Some(ErrorCode::DiskFull) => Self::Full(cause),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly(cause),
            _ if unreadable => Self::Corrupt(cause),
            _ => Self::Unavailable(cause),
        }
    }
}

/// Whether the error lies in the values of one batch, so that others need not share its fate.
pub fn is_of_values(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    let code = error.sqlite_error_code();
    matches!(code, Some(ConstraintViolation | TooBig | TypeMismatch))
        || matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
}

/// What the store keeps makes no sense.
pub fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(Cause::new(what.into()))
}

/// The store cannot be used now.
pub fn unavailable(why: impl Into<String>) -> StoreError {
    StoreError::Unavailable(Cause::new(why.into()))
}
