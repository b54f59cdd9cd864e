//! Logging: readable lines on a terminal, JSON elsewhere, always on standard error. Panics are
//! log lines too.
//!
//! Not here: metrics (`metrics.rs`), what access lines say (`http/`).
//! Invariant: a standard error that is closed or full never stops the service.

mod gathered;
mod json;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use gathered::flush;

/// What libraries say of things that are told elsewhere or are nobody's business: bytes on a socket
/// that are no HTTP, connections of a pool that were lost. Shown where the filter's own level is
/// debug or trace, or where the filter names them.
const QUIET: &str = "actix_http=off,actix_server=warn,refinery_core=warn,deadpool=error";

/// The target of access lines.
const ACCESS: &str = "tidelog::http::access";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One readable line an event.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be understood; the text continues "the filter is …; ".
    #[error(
        "it must be a level (error, warn, info, debug, trace, off) or a list such as \
         info,tidelog::store=debug"
    )]
    Filter,
    /// The process has a logger already.
    #[error("logging was started twice")]
    Twice,
    /// The process may not have another thread.
    #[error("no thread to write the log can be started")]
    Thread,
}

/// Says whether a filter can be understood.
///
/// # Errors
/// [`TelemetryError::Filter`] where not.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    // A word that is no level would be taken as the name of a module, and silence all others:
    // "inof" is a typo, not a wish.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let clear = |part: &str| part.contains('=') || is_level(part);
    if !filter.split(',').all(clear) {
        return Err(TelemetryError::Filter);
    }
    let levels = filter.split(',').filter_map(|part| part.parse::<LevelFilter>().ok());
    let all = if levels.max() > Some(LevelFilter::INFO) {
        filter.to_owned()
    } else {
        format!("{QUIET},{filter}")
    };
    EnvFilter::builder().parse(all).map_err(|_| TelemetryError::Filter)
}

/// Starts logging for the whole process, panics included, and says which of the two formats the lines
/// have. Call once.
///
/// # Errors
/// [`TelemetryError::Filter`] where the filter cannot be understood; the others where the process
/// does not allow it.
pub fn init(format: LogFormat, filter: &str) -> Result<LogFormat, TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let writer = match terminal {
        true => BoxMakeWriter::new(io::stderr), // Somebody is watching.
        false => {
            gathered::start().map_err(|_| TelemetryError::Thread)?;
            BoxMakeWriter::new(gathered::Gathering)
        }
    };
    let lines = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_env_filter(parse_filter(filter)?)
        // Otherwise a failure to write is itself written to standard error, which panics.
        .log_internal_errors(false)
        .with_ansi(terminal && !plain);
    let text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    let started = if text {
        lines.compact().finish().try_init()
    } else {
        lines.json().event_format(json::Lines::new()).finish().try_init()
    };
    started.map_err(|_| TelemetryError::Twice)?;
    panic::set_hook(Box::new(log_panic));
    Ok(if text { LogFormat::Text } else { LogFormat::Json })
}

/// Replaces the standard hook, so that a panic is reported once.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("(not a text)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("(no name)");
    if !tracing::enabled!(target: "tidelog::panic", Level::ERROR) {
        let _ = writeln!(io::stderr(), "thread {thread} panicked at {location}: {message}");
        return;
    }
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        target: "tidelog::panic",
        {
            panic.message = message,
            panic.location = location,
            panic.backtrace = backtrace,
            thread.name = thread,
        },
        "a thread panicked"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_list_of_modules_with_levels() {
        for filter in [
            "info",
            "OFF",
            "info,tidelog::store=debug",
            "warn,actix=off",
            "tidelog[commit{topic=x}]=trace",
        ] {
            assert!(check_filter(filter).is_ok(), "{filter}");
        }
        for level in ["debug", "info,trace"] {
            assert!(!parse_filter(level).unwrap().to_string().contains("actix_http"), "{level}");
        }
        for filter in ["", "inof", "info,", "tidelog", "tidelog=loud", "info debug", "[=x"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
    }
}
