//! How far long work has come, on standard error: a bar on a terminal, else a line now and then.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);
/// How often a bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Adds the flag that silences it.
pub fn with_quiet(command: Command) -> Command {
    let quiet = Arg::new("quiet").long("quiet").short('q').action(ArgAction::SetTrue);
    command.arg(quiet.help("No progress and no remarks; only failures are told"))
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Events.
    Events,
}

/// See the module. Ends with the value.
pub struct Progress {
    shown: Shown,
    what: Cow<'static, str>,
}

enum Shown {
    Bar(ProgressBar),
    Lines { next: Instant },
    Nothing,
}

impl Progress {
    /// Begins; `total` where it is known.
    pub fn new(
        args: &ArgMatches,
        what: impl Into<Cow<'static, str>>,
        unit: Unit,
        total: Option<u64>,
    ) -> Self {
        let what = what.into();
        let shown = if args.get_flag("quiet") {
            Shown::Nothing
        } else if io::stderr().is_terminal() {
            Shown::Bar(bar(&what, unit, total))
        } else {
            Shown::Lines { next: Instant::now() + EVERY }
        };
        Self { shown, what }
    }

    /// It has come to `position`; `note` says so in words.
    pub fn at(&mut self, position: u64, note: impl FnOnce() -> String) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(position);
                bar.set_message(note());
            }
            Shown::Lines { next } if Instant::now() >= *next => {
                *next = Instant::now() + EVERY;
                say(&format!("{}: {}", self.what, note()));
            }
            Shown::Lines { .. } | Shown::Nothing => {}
        }
    }

    /// Says something beside it.
    pub fn remark(&self, text: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| say(text)),
            Shown::Lines { .. } => say(text),
            Shown::Nothing => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => {
            "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}"
        }
        (Unit::Bytes, None) => "{spinner} {prefix} {bytes} {bytes_per_sec} {msg}",
        (Unit::Events, Some(_)) => "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
        (Unit::Events, None) => "{spinner} {prefix} {human_pos} {per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template(template);
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar.with_prefix(what.to_owned())
}

/// `1 event`, `2 events`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A line on standard error. Where that is closed, nobody wants to know.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "tidelog: {text}");
}
