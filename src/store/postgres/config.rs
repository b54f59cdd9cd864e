//! What an operator says about the database, and the connection string, parsed.
//!
//! Not here: connecting (`session.rs`). Invariant: nothing in this file prints a password.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::super::OpenError;

/// How to reach the database, and how much to ask of it.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database?sslmode=…`, or the `key=value` form. Beyond
    /// what tokio-postgres knows: `sslmode=verify-full` and, in a URL, `sslrootcert=<file>`. A
    /// password that it does not have is taken from `PGPASSWORD`, as libpq does.
    pub url: String,
    /// Connections that append; a topic keeps to one of them. At least 1.
    pub lanes: usize,
    /// Most connections that read. At least 1.
    pub readers: usize,
    /// How long connecting, or waiting for a free connection, may take.
    pub connect_timeout: Duration,
    /// How long an append may take: after this, the connection of what has been sent is given up,
    /// and what has not been sent is refused somewhat earlier.
    pub append_timeout: Duration,
    /// How long the server may work on one statement.
    pub statement_timeout: Duration,
    /// How long a statement may wait for another session's lock.
    pub lock_timeout: Duration,
}

impl Config {
    /// The usual settings for a database.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            lanes: 1,
            readers: 8,
            connect_timeout: Duration::from_secs(5),
            append_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
        }
    }

    /// Whether the connection string is one.
    ///
    /// # Errors
    /// `Unsuitable`, which says what is wrong with it.
    pub fn check(&self) -> Result<(), OpenError> {
        Target::parse(self).map(drop)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &"***")
            .field("lanes", &self.lanes)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// Whose certificate the server must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    /// Anybody's: encrypted, as libpq's `prefer` and `require` are.
    Nobody,
    /// One for the server's name, from an authority in this file, or else known to the system.
    Full(Option<PathBuf>),
}

/// A parsed connection string.
pub(super) struct Target {
    pub(super) postgres: tokio_postgres::Config,
    pub(super) verify: Verify,
}

impl Target {
    pub(super) fn parse(config: &Config) -> Result<Self, OpenError> {
        let (url, verify) = split_verify(&config.url);
        let invalid = "the connection string of the PostgreSQL store is not valid; it should \
            look like postgres://user@host:5432/database?sslmode=prefer (special characters in \
            user and password percent-encoded)";
        if has_bare_at(&url) {
            return Err(OpenError::Unsuitable(format!("{invalid}; a bare @ is written %40")));
        }
        let mut postgres = url.parse::<tokio_postgres::Config>().map_err(|error| {
            let why = wrong_option(&url, &error).unwrap_or_default();
            OpenError::Unsuitable(format!("{invalid}{why}"))
        })?;
        if postgres.get_password().is_none()
            && let Some(password) = std::env::var_os("PGPASSWORD")
        {
            postgres.password(password.into_encoded_bytes());
        }
        if postgres.get_hosts().is_empty() && postgres.get_hostaddrs().is_empty() {
            postgres.host("localhost");
        }
        if postgres.get_hosts().len() > 1 {
            postgres.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if matches!(verify, Verify::Full(_)) {
            postgres.ssl_mode(SslMode::Require);
        }
        postgres
            .application_name("tidelog")
            .connect_timeout(config.connect_timeout)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30));
        Ok(Self { postgres, verify })
    }

    /// The server and database, for messages to the operator.
    pub(super) fn shown(&self) -> String {
        let ports = self.postgres.get_ports();
        let hosts: Vec<String> = self
            .postgres
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(n, host)| {
                let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{} (port {port})", path.display()),
                }
            })
            .collect();
        let database = self.postgres.get_dbname().or(self.postgres.get_user()).unwrap_or("?");
        format!("PostgreSQL at {}, database {database:?}", hosts.join(", "))
    }
}

/// Whether user and password of a URL have an `@` that is not encoded: what follows it would be taken for
/// the host, and shown.
fn has_bare_at(url: &str) -> bool {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    is_url && url.split('?').next().is_some_and(|address| address.matches('@').count() > 1)
}

/// Which parameter of a URL is wrong; nothing where it could be a piece of a password.
fn wrong_option(url: &str, error: &tokio_postgres::Error) -> Option<String> {
    let (_, query) = url.split_once('?').filter(|(_, query)| !query.contains('@'))?;
    let why = std::error::Error::source(error)?.to_string();
    let (_, name) = why.split_once('`')?;
    let name = name.split_once('`')?.0;
    let named = query.split('&').any(|option| option.split('=').next() == Some(name));
    named.then(|| format!("; its parameter {name:?} is unknown, or has a wrong value"))
}

/// Takes what tokio-postgres does not know out of the connection string.
fn split_verify(url: &str) -> (String, Verify) {
    let Some((address, query)) = url.split_once('?') else {
        let plain = url.replace("sslmode=verify-full", "sslmode=require");
        let verify = if plain == url { Verify::Nobody } else { Verify::Full(None) };
        return (plain, verify);
    };
    let (mut full, mut authority, mut rest) = (false, None, Vec::new());
    for option in query.split('&') {
        match option.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => full = true,
            Some(("sslrootcert", path)) => authority = Some(PathBuf::from(path)),
            _ => rest.push(option),
        }
    }
    let full = full || authority.is_some();
    let verify = if full { Verify::Full(authority) } else { Verify::Nobody };
    let query = rest.join("&");
    let separator = if query.is_empty() { "" } else { "?" };
    (format!("{address}{separator}{query}"), verify)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(&Config::new(url)).expect("a connection string")
    }

    #[test]
    fn verification_is_asked_for_by_name_and_never_by_accident() {
        let plain = target("postgres://u@h/db?sslmode=require");
        assert_eq!(plain.verify, Verify::Nobody);
        let full = target("postgres://u@h/db?connect_timeout=3&sslmode=verify-full");
        assert_eq!(full.verify, Verify::Full(None));
        assert_eq!(full.postgres.get_ssl_mode(), SslMode::Require);
        let own = target("postgres://u@h/db?sslmode=verify-full&sslrootcert=/ca.pem");
        assert_eq!(own.verify, Verify::Full(Some("/ca.pem".into())));
        assert_eq!(target("host=h user=u sslmode=verify-full").verify, Verify::Full(None));
    }

    #[test]
    fn a_wrong_parameter_is_named_unless_it_may_be_a_password() {
        let why = |url: &str| {
            let wrong = Target::parse(&Config::new(url));
            wrong.err().map_or_else(String::new, |error| error.to_string())
        };
        assert!(why("postgres://u@h/db?foo=bar").contains("parameter \"foo\""));
        assert!(why("postgres://u@h/db?a=b&connect_timeout=x").contains("parameter \"a\""));
        assert!(
            why("postgres://u@h/db?connect_timeout=x").contains("parameter \"connect_timeout\"")
        );
        assert!(!why("postgres://u:s3?cret=1@h/db").contains("cret"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = "postgres://me:s3cret@db.example:6000/log";
        let shown = target(url).shown();
        assert_eq!(shown, "PostgreSQL at db.example:6000, database \"log\"");
        assert!(!format!("{:?}", Config::new(url)).contains("s3cret"));
        for url in [
            "postgres://me:s3cret@db:port/x?nonsense=1",
            "postgres://me:a@s3cret@db/x",
            "postgres://me:a@s3cret/b:c@db/x?sslmode=require",
        ] {
            let message = Config::new(url).check().expect_err("it is wrong").to_string();
            assert!(!message.contains("s3cret"), "{message}");
        }
        Config::new("postgres://db/x?user=me@there&password=a@b").check().expect("it is right");
    }
}
