//! The first connection: whether there is a server, whether it lets us in, and whether it can
//! keep what we promise.

use tokio_postgres::Error;

use super::super::OpenError;
use super::migrate::migrate;
use super::session::{Connector, Server, Session};

/// The oldest server that has all that is used here.
const VERSION_MIN: i32 = 130_000;

/// Checks the server, and makes the schema or brings it up to date.
pub(super) async fn prepare(connector: &Connector) -> Result<(), OpenError> {
    let connecting = tokio::time::timeout(connector.patience(), connector.connect()).await;
    let shown = connector.target.shown();
    let session = match connecting {
        Ok(connected) => connected.map_err(|error| refused(&error, &shown))?,
        Err(_) => {
            return Err(OpenError::Unreachable(format!(
                "{shown} does not answer: are host and port right in --store, and does no firewall \
                 stand between?"
            )));
        }
    };
    let Session { mut client, task, server } = session;
    suitable(&server, &shown)?;
    let migrated = migrate(&mut client).await;
    drop(client);
    // The session's lock is free once the connection has ended.
    let _ = task.await;
    migrated
}

fn suitable(server: &Server, shown: &str) -> Result<(), OpenError> {
    let unsuitable = |why: &str| Err(OpenError::Unsuitable(format!("{shown}: {why}")));
    if server.version < VERSION_MIN {
        return unsuitable("the server is too old; PostgreSQL 13 or later is needed");
    }
    if server.encoding != "UTF8" {
        return unsuitable("the database's encoding is not UTF8: create one that is");
    }
    if server.read_only {
        return unsuitable(
            "the server takes no writes: it is a replica (name the primary instead, or all \
             servers, separated by commas), or default_transaction_read_only is on",
        );
    }
    if !server.fsync {
        return unsuitable("fsync is off, so an acknowledged event could be lost: set fsync = on");
    }
    if !server.full_page_writes {
        tracing::warn!(
            "full_page_writes is off: a crash can destroy data, unless the file system writes \
             pages whole"
        );
    }
    Ok(())
}

fn refused(error: &Error, shown: &str) -> OpenError {
    let Some(answer) = error.as_db_error() else {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        if why.contains("password missing") {
            return OpenError::MissingRights(format!(
                "{shown} wants a password: give it in PGPASSWORD, or in --store (special characters \
                 percent-encoded)"
            ));
        }
        let advice = if why.contains("TLS") {
            "choose another sslmode in --store, or see to the server's certificate"
        } else {
            "is the server running, and are host and port right in --store?"
        };
        return OpenError::Unreachable(format!("{shown} cannot be reached: {why}; {advice}"));
    };
    let message = answer.message();
    match answer.code().code() {
        "42501" => OpenError::MissingRights(format!(
            "{shown} refuses this user: {message}; as the database's owner: GRANT CONNECT ON \
             DATABASE … TO …"
        )),
        "3D000" => OpenError::Unsuitable(format!(
            "{shown}: there is no database of this name: create it (createdb, or CREATE DATABASE), \
             or name another in --store"
        )),
        "28P01" | "28000" => OpenError::MissingRights(format!(
            "{shown} does not let this program in: {message}; are user and password right in \
             --store, and does the server's pg_hba.conf allow them?"
        )),
        _ => OpenError::Unreachable(format!("{shown} does not let this program in: {message}")),
    }
}
