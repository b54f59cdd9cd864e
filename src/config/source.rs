//! Where a value comes from, and what is wrong with it.

use std::fmt;
use std::sync::Arc;

use super::table::Setting;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nobody gave one.
    Default,
    /// A key of the file.
    File {
        /// The file, as it was named.
        path: Arc<str>,
        /// Line of the key, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable,
    /// A flag.
    Flag,
}

/// A value that one of the sources gives to a setting.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    /// The value as it was written; may hold a secret.
    pub(super) text: String,
    pub(super) source: Source,
}

impl Given {
    /// The source, named so that a person finds it.
    pub(super) fn origin(&self) -> String {
        match &self.source {
            Source::Default => "default".to_owned(),
            Source::File { path, line } => format!("{path}:{line}"),
            Source::Variable => self.setting.variable(),
            Source::Flag => format!("--{}", self.setting.flag()),
        }
    }

    /// Something is wrong with this value.
    pub(super) fn mistake(&self, what: impl fmt::Display) -> Mistake {
        let name = self.setting.name;
        let at = match &self.source {
            Source::Default => format!("{name} (default)"),
            Source::File { .. } => format!("{}: {name}", self.origin()),
            Source::Variable | Source::Flag => self.origin(),
        };
        Mistake::new(at, what)
    }

    /// The value as it may be shown.
    pub(super) fn shown(&self) -> String {
        (self.setting.shown)(&self.text)
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    at: String,
    what: String,
}

impl Mistake {
    pub(super) fn new(at: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { at: at.into(), what: what.to_string() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// All that is wrong with the configuration; never empty. Names no secret.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(pub Vec<Mistake>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration has a mistake: {only}"),
            all => {
                write!(f, "the configuration has {} mistakes:", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}
