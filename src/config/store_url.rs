//! Where events are kept: `memory:`, `sqlite:PATH` or a PostgreSQL URL.
//!
//! Not here: connecting, and what a PostgreSQL URL may say (`store/`).
//! Invariant: nothing in this file prints a password, not even when the URL is wrong.

use std::fmt;
use std::path::PathBuf;

use super::form::Form;

/// Which store, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// In the process; gone when it ends.
    Memory,
    /// A SQLite database file; a relative path is relative to the working directory.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(SecretUrl),
}

impl std::str::FromStr for StoreUrl {
    /// What is wrong, as the end of a sentence; never with the text itself.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Store::parse(text)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

/// A URL that may hold a password. `Display` and `Debug` mask it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL with its password; for connecting only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL with `***` for its passwords. Rather masks too much than too little, because passwords
/// are often not percent-encoded as they should be: from the first colon to the last `@` counts
/// as one, and where the `@` comes after a `?`, nothing is shown at all.
fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (credentials, location) = match rest.rsplit_once('@') {
        Some((credentials, _)) if credentials.contains('?') => return format!("{scheme}://***"),
        Some((credentials, location)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), location),
            None => (format!("{credentials}@"), location),
        },
        None => (String::new(), rest),
    };
    let Some((address, query)) = location.split_once('?') else {
        return format!("{scheme}://{credentials}{location}");
    };
    let options: Vec<String> = query.split('&').map(masked_option).collect();
    format!("{scheme}://{credentials}{address}?{}", options.join("&"))
}

fn masked_option(option: &str) -> String {
    match option.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
        _ => option.to_owned(),
    }
}

/// The form of [`StoreUrl`].
pub(super) struct Store;

impl Form for Store {
    type Value = StoreUrl;
    const PLACEHOLDER: &'static str = "URL";

    fn parse(text: &str) -> Result<StoreUrl, String> {
        let expected =
            "must be sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or memory:";
        let Some((scheme, rest)) = text.split_once(':') else { return Err(expected.into()) };
        match (scheme, rest) {
            ("memory", "") => Ok(StoreUrl::Memory),
            ("sqlite", ":memory:") => Err("says sqlite::memory:; write memory: instead".into()),
            ("sqlite", "") => Err("names no file; write sqlite:PATH".into()),
            ("sqlite", path) => sqlite(path),
            ("postgres" | "postgresql", rest) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(StoreUrl::Postgres(SecretUrl(text.to_owned())))
            }
            _ => Err(expected.into()),
        }
    }

    fn shown(text: &str) -> String {
        Self::parse(text).map_or_else(|_| "***".to_owned(), |store| store.to_string())
    }
}

/// `sqlite:///var/x` is an absolute path too; `sqlite://x` could be a host or a file.
fn sqlite(path: &str) -> Result<StoreUrl, String> {
    match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => Ok(StoreUrl::Sqlite(absolute.into())),
        Some(_) => Err("is not clear after sqlite://; write sqlite:PATH".into()),
        None => Ok(StoreUrl::Sqlite(path.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_told_apart_by_their_scheme() {
        assert_eq!(Store::parse("memory:"), Ok(StoreUrl::Memory));
        assert_eq!(Store::parse("sqlite:a/b.db"), Ok(StoreUrl::Sqlite("a/b.db".into())));
        assert_eq!(Store::parse("sqlite:/a.db"), Ok(StoreUrl::Sqlite("/a.db".into())));
        assert_eq!(Store::parse("sqlite:///a.db"), Ok(StoreUrl::Sqlite("/a.db".into())));
        let url = "postgresql://u:p@h/db";
        assert_eq!(Store::parse(url), Ok(StoreUrl::Postgres(SecretUrl(url.into()))));
        for text in [
            "",
            "memory",
            "memory:x",
            "sqlite:",
            "sqlite::memory:",
            "sqlite://a.db",
            "postgres:",
            "postgres://",
            "mysql://h/db",
        ] {
            assert!(Store::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let cases = [
            ("postgres://u:s3cret@h:5432/db", "postgres://u:***@h:5432/db"),
            ("postgres://u@h:5432/db?sslmode=require", "postgres://u@h:5432/db?sslmode=require"),
            (
                "postgres://h/db?user=u&password=s3cret&a=b",
                "postgres://h/db?user=u&password=***&a=b",
            ),
            ("postgres://u:s3@cret@h/db", "postgres://u:***@h/db"),
            ("postgres://u:s3?cret@h/db", "postgres://***"),
            ("postgres://h:1/db?password=s3@cret", "postgres://***"),
            ("postgres://u:s3/cret@h/db", "postgres://u:***@h/db"),
            ("postgres://:s3cret@h/db", "postgres://:***@h/db"),
            ("postgres://h:5432/db", "postgres://h:5432/db"),
        ];
        for (url, expected) in cases {
            let store = Store::parse(url).unwrap();
            assert_eq!(store.to_string(), expected);
            assert!(!format!("{store:?}").contains("s3"), "{store:?}");
            assert_eq!(Store::shown(url), expected);
        }
        for wrong in ["mysql://u:s3cret@h/db", "postgres:u:s3cret@h"] {
            assert!(Store::parse(wrong).is_err_and(|why| !why.contains("s3cret")));
            assert!(!Store::shown(wrong).contains("s3cret"));
        }
    }
}
