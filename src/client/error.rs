//! What can go wrong for a client, and what it may conclude.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tls::is_distrust;
use crate::domain::{Head, NameError, Version};
use crate::store::{Cause, StoreError};
use crate::wire::problem::ProblemJson;
use crate::wire::received::BadAnswer;
use crate::wire::submitted::BadInput;

/// What is certain about writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is written. (The answer came, but not whole.)
    Yes,
    /// It is not written, and will not be.
    No,
    /// It may or may not be written.
    Unknown,
}

/// A request that failed, after all that the client itself could do about it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Error {
    what: Arc<What>,
    retryable: bool,
    committed: Committed,
    line: Option<u64>,
    retry_after: Option<Duration>,
}

#[derive(Debug)]
enum What {
    /// The service said so.
    Problem(Box<ProblemJson<'static>>),
    /// The service could not be reached, or was lost.
    Connection(&'static str, String),
    /// Something answered that is not the service, or does not keep to the contract.
    Answer(String),
    /// What the program asked for cannot be asked.
    Usage(String),
}

impl Error {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.retryable
    }

    /// What is certain about writing; `No` for everything that writes nothing.
    #[must_use]
    pub fn committed(&self) -> Committed {
        self.committed
    }

    /// What the service said, where it was the service that refused.
    #[must_use]
    pub fn problem(&self) -> Option<&ProblemJson<'static>> {
        match &*self.what {
            What::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// The contract's code for the problem, for example `topic-not-found`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| &*problem.code)
    }

    /// The topic's head, where a condition on it did not hold.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.problem()?.head.map(|head| head.map(Version::from))
    }

    /// Of a stream: the number of the producer's line that failed. Nothing behind it is written,
    /// unless [`Self::committed`] says that this is unknown.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// How long the service wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(super) fn of_problem(problem: ProblemJson<'static>) -> Self {
        let committed = if problem.committed == "no" { Committed::No } else { Committed::Unknown };
        let retryable = problem.retryable;
        Self::new(What::Problem(Box::new(problem)), retryable, committed)
    }

    /// The connection failed. What was never sent is not written; else nobody knows.
    pub(super) fn connection(error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let committed = if unsent { Committed::No } else { Committed::Unknown };
        let retryable = !error.is_builder() && !is_distrust(&error);
        let what = if error.is_connect() {
            "the service cannot be reached"
        } else if error.is_timeout() {
            "the service does not answer"
        } else {
            "the connection to the service failed"
        };
        Self::new(What::Connection(what, root(&error.without_url())), retryable, committed)
    }

    /// An answer ended before its end.
    pub(super) fn cut_short(what: &str) -> Self {
        Self::new(What::Answer(format!("{what} ended early")), true, Committed::Unknown)
    }

    /// An answer of which only the status makes sense.
    pub(super) fn status(status: u16, text: &str) -> Self {
        // Not said by the service, but by something before it, which may have passed on what it
        // got: only what blames the request is certain.
        let retryable = status >= 500 || status == 408 || status == 429;
        let committed = if retryable { Committed::Unknown } else { Committed::No };
        let text = text.trim().chars().take(200).collect::<String>();
        Self::new(What::Answer(format!("status {status}: {text}")), retryable, committed)
    }

    pub(super) fn usage(why: impl Into<String>) -> Self {
        Self::new(What::Usage(why.into()), false, Committed::No)
    }

    fn new(what: What, retryable: bool, committed: Committed) -> Self {
        let what = Arc::new(what);
        Self { what, retryable, committed, line: None, retry_after: None }
    }

    pub(super) fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// The same without [`Self::line`], for who has other numbers for lines.
    #[must_use]
    pub fn without_line(self) -> Self {
        Self { line: None, ..self }
    }

    pub(super) fn on_line(self, line: u64) -> Self {
        Self { line: Some(line), ..self }
    }

    pub(super) fn with(self, committed: Committed) -> Self {
        Self { committed, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match &*self.what {
            What::Problem(problem) => {
                write!(f, "{}: {}", problem.code, problem.detail)?;
                problem.pointer.iter().try_for_each(|pointer| write!(f, " (at {pointer})"))
            }
            What::Connection(what, why) => write!(f, "{what}: {why}"),
            What::Answer(text) | What::Usage(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// What is behind all that libraries say around it.
fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

impl From<BadAnswer> for Error {
    fn from(error: BadAnswer) -> Self {
        Self::new(What::Answer(error.to_string()), false, Committed::Unknown)
    }
}

impl From<BadInput> for Error {
    fn from(bad: BadInput) -> Self {
        let place = bad.pointer.filter(|pointer| !pointer.is_empty());
        let place = place.map_or_else(String::new, |pointer| format!(" (at {pointer})"));
        Self::usage(format!("{}{place}", bad.detail))
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}

/// As a database's adapter would say it: what may pass by itself is `Unavailable`, as is a token
/// that is not taken; everything else does not make sense.
impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let refused = matches!(error.code(), Some("unauthenticated" | "forbidden"));
        let passes = error.retryable || refused;
        let cause = Cause::new(error);
        if passes { Self::Unavailable(cause) } else { Self::Corrupt(cause) }
    }
}
