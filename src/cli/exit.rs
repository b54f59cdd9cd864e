//! How a command ends: its exit code, and what it says on standard error.
//!
//! Invariant: [`TABLE`] is the one place where exit codes are explained; help, man pages and the
//! README repeat it (a test compares them).

use std::fmt;
use std::io;

use crate::client::{self, Committed};
use crate::config::ConfigError;
use crate::domain::{NameError, Rejection};
use crate::store::{Cause, OpenError, StoreError};
use crate::topic::WriteError;

/// Exit codes; those above 2 are of `sysexits.h`, where it has one, and of shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Asked and answered: no.
    Failed = 1,
    /// The command line makes no sense; clap exits with it too.
    Usage = 2,
    /// The input makes no sense.
    Data = 65,
    /// Not now.
    Unavailable = 69,
    /// A mistake of this program.
    Internal = 70,
    /// The disk lost what it was given; `store/sqlite/commit.rs` ends the process with it.
    NotKept = 74,
    /// Nobody knows whether it is written.
    Unknown = 75,
    /// Not with this token, or as this user.
    Permission = 77,
    /// The settings make no sense.
    Configuration = 78,
    /// Told to stop.
    Interrupted = 130,
}

/// What each exit code says.
pub const TABLE: [(Exit, &str); 11] = [
    (Exit::Done, "done"),
    (Exit::Failed, "no: not found, not healthy, a condition that does not hold, not the same"),
    (Exit::Usage, "wrong usage"),
    (Exit::Data, "bad input; what came before it is done, nothing behind it"),
    (Exit::Unavailable, "service, store or address not available; try again later"),
    (Exit::Internal, "internal error"),
    (
        Exit::NotKept,
        "SQLite's disk did not keep a write (a failed fsync); what was acknowledged is there",
    ),
    (Exit::Unknown, "the outcome of a write is not known; look, or repeat what can be repeated"),
    (Exit::Permission, "no or wrong token or password, or a missing right"),
    (Exit::Configuration, "wrong configuration, or a store that cannot be used as it is"),
    (
        Exit::Interrupted,
        "interrupted (Ctrl-C, SIGTERM); import, and append with --producer, go on when run again",
    ),
];

/// [`TABLE`] for `--help`.
#[must_use]
pub fn help() -> String {
    let row = |(exit, text): &(Exit, &str)| format!("\n  {:>3}  {text}", *exit as u8);
    format!("Exit codes:{}", TABLE.iter().map(row).collect::<String>())
}

/// Why a command is not done.
#[derive(Debug)]
pub struct Failure {
    /// What it means to a script.
    pub exit: Exit,
    /// What it means to people; empty where there is nothing to say.
    pub text: String,
}

impl Failure {
    /// Says what is wrong.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// Says of what it is true.
    pub fn of(self, what: impl fmt::Display) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// Says what to do about it.
    pub fn advice(self, advice: impl fmt::Display) -> Self {
        Self { text: format!("{}; {advice}", self.text), ..self }
    }

    /// Standard output cannot be written. A reader that has seen enough (`| head`) is no failure.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "");
        }
        Self::new(Exit::Unavailable, format!("the output cannot be written: {error}"))
    }

    /// A file cannot be read or written.
    pub fn file(name: impl fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::Failed,
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Unavailable,
        };
        Self::new(exit, format!("{name}: {error}"))
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let exit = match error.code() {
            Some("unauthenticated" | "forbidden") => Exit::Permission,
            _ if error.committed() == Committed::Unknown => Exit::Unknown,
            _ if error.retryable() => Exit::Unavailable,
            Some("malformed" | "invalid" | "too-large") => Exit::Data,
            _ => Exit::Failed,
        };
        let no_token = error.code() == Some("unauthenticated");
        let failure = Self::new(exit, error.without_line().to_string());
        if no_token { failure.advice("the token is taken from TIDELOG_TOKEN") } else { failure }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let cause: &Cause = error.cause();
        if let Some(error) = cause.get::<client::Error>() {
            return error.clone().into();
        }
        let exit = match error {
            StoreError::Unavailable(_) | StoreError::Full(_) => Exit::Unavailable,
            StoreError::ReadOnly(_) => Exit::Permission,
            StoreError::Corrupt(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<&OpenError> for Exit {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::MissingRights(_) => Exit::Permission,
            OpenError::Unreachable(_) | OpenError::InUse(_) => Exit::Unavailable,
            OpenError::Newer(_) | OpenError::Unsuitable(_) => Exit::Configuration,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new(Exit::from(&error), error.to_string())
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let exit = match &error {
            WriteError::Rejected(Rejection::InvalidationOfInvalidation)
            | WriteError::Unstorable => Exit::Data,
            WriteError::Rejected(_) => Exit::Failed,
            WriteError::Overloaded
            | WriteError::Unavailable
            | WriteError::Full
            | WriteError::ShuttingDown
            | WriteError::EarlierFailed => Exit::Unavailable,
            WriteError::ReadOnly => Exit::Permission,
            WriteError::OutcomeUnknown => Exit::Unknown,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error.to_string())
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

/// Of the service: an I/O error is taken for the address that cannot be listened on, or a device
/// that is not there.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let any = |is: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(is);
        let open = error.chain().find_map(|cause| cause.downcast_ref::<OpenError>());
        let exit = if any(|cause| cause.is::<ConfigError>()) {
            Exit::Configuration
        } else if let Some(open) = open {
            open.into()
        } else if any(|cause| cause.is::<io::Error>()) {
            Exit::Unavailable
        } else {
            Exit::Internal
        };
        Self::new(exit, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_failure_to_start_is_sorted_by_its_cause() {
        let in_use: Result<(), _> = Err(io::Error::from(io::ErrorKind::AddrInUse));
        let cases = [
            (ConfigError(Vec::new()).into(), Exit::Configuration),
            (anyhow::Error::from(OpenError::InUse("x".into())).context("start"), Exit::Unavailable),
            (OpenError::MissingRights("x".into()).into(), Exit::Permission),
            (OpenError::Unsuitable("x".into()).into(), Exit::Configuration),
            (in_use.context("cannot listen").unwrap_err(), Exit::Unavailable),
            (anyhow::anyhow!("anything else"), Exit::Internal),
        ];
        for (error, exit) in cases {
            assert_eq!(Failure::from(error).exit, exit);
        }
    }

    #[test]
    fn what_a_service_said_is_found_behind_the_reader_of_a_store() {
        let error = client::Client::new("ftp://h").expect_err("no URL");
        let text = error.to_string();
        let failure = Failure::from(StoreError::from(error));
        assert_eq!((failure.exit, failure.text), (Exit::Failed, text));
    }
}
