//! The schema: made and brought up to date at start, and the rights that the service needs in it.
//!
//! Invariants: one instance migrates at a time (an advisory lock of the session, which is why the
//! connection must be direct); a schema that is up to date needs no right to create anything.

use std::error::Error as _;

use tokio_postgres::Client;

use super::super::OpenError;

mod embedded {
    refinery::embed_migrations!("sql/postgres");
}

/// Any number that nobody else uses: "tidelog" in ASCII.
const LOCK: &str = "SELECT set_config('lock_timeout', '60s', false), \
    set_config('statement_timeout', '0', false), \
    pg_advisory_lock(32766977217687399)";
const RIGHTS: &str = "SELECT current_database()::text, current_user::text,
    to_regnamespace('tidelog') IS NOT NULL,
    has_database_privilege(current_database(), 'CREATE'),
    coalesce(has_schema_privilege(to_regnamespace('tidelog'), 'CREATE'), false),
    coalesce(has_schema_privilege(to_regnamespace('tidelog'), 'USAGE'), false)";
const APPLIED: &str = "SELECT version, checksum FROM refinery_schema_history ORDER BY version";
const TABLES: &str = "SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')
        AND (c.relkind = 'v' OR c.relname = 'refinery_schema_history'
            OR has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
            AND has_table_privilege(c.oid, 'DELETE'))), false)
    FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('tidelog') AND c.relkind IN ('r', 'v')";

struct Rights {
    database: String,
    user: String,
    schema: bool,
    create_in_database: bool,
    create_in_schema: bool,
    usage: bool,
}

/// How far the schema is.
#[derive(PartialEq, Eq)]
enum State {
    Missing,
    Behind,
    Current,
}

/// Makes the schema, or brings it up to date, where it is not; checks the rights to use it.
pub(super) async fn migrate(client: &mut Client) -> Result<(), OpenError> {
    let mut state = state(client).await?;
    if state != State::Current {
        client.query_one(LOCK, &[]).await.map_err(|error| failed(&error))?;
        // Another instance may have been first.
        state = self::state(client).await?;
    }
    if state != State::Current {
        create(client, &state).await?;
    }
    let row = client.query_one(TABLES, &[]).await.map_err(|error| failed(&error))?;
    if row.get(0) {
        return Ok(());
    }
    let Rights { user, .. } = rights(client).await?;
    Err(OpenError::MissingRights(format!(
        "user {user:?} may not read and write the tables of schema tidelog; as its owner: \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidelog TO {user:?}"
    )))
}

async fn state(client: &Client) -> Result<State, OpenError> {
    let rights = rights(client).await?;
    if !rights.schema {
        return Ok(State::Missing);
    }
    if !rights.usage {
        let user = rights.user;
        return Err(OpenError::MissingRights(format!(
            "user {user:?} may not use schema tidelog; as its owner: \
             GRANT USAGE ON SCHEMA tidelog TO {user:?}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidelog TO {user:?}"
        )));
    }
    let history = "SELECT to_regclass('tidelog.refinery_schema_history') IS NOT NULL";
    let row = client.query_one(history, &[]).await.map_err(|error| failed(&error))?;
    if !row.get::<_, bool>(0) {
        return Ok(State::Behind);
    }
    let applied = client.query(APPLIED, &[]).await.map_err(|error| failed(&error))?;
    compare(applied.iter().map(|row| (row.get(0), row.get(1))))
}

/// The migrations that were applied, against those of this program.
fn compare(applied: impl Iterator<Item = (i32, String)>) -> Result<State, OpenError> {
    let runner = embedded::migrations::runner();
    let mut own: Vec<_> = runner.get_migrations().iter().collect();
    own.sort_by_key(|migration| migration.version());
    let mut count = 0;
    for (version, checksum) in applied {
        let Some(migration) = own.iter().find(|own| own.version() == version) else {
            return Err(OpenError::Newer(format!(
                "the schema tidelog was made by a newer version of Tidelog (it has migration \
                 {version}): run that version, or a later one"
            )));
        };
        if migration.checksum().to_string() != checksum {
            return Err(OpenError::Unsuitable(format!(
                "migration {version} of the schema tidelog is not the one of this program: the \
                 schema belongs to another program, or to a version that was never released"
            )));
        }
        count += 1;
    }
    Ok(if count == own.len() { State::Current } else { State::Behind })
}

async fn create(client: &mut Client, state: &State) -> Result<(), OpenError> {
    let rights = rights(client).await?;
    if *state == State::Missing {
        if !rights.create_in_database {
            let Rights { database, user, .. } = rights;
            return Err(OpenError::MissingRights(format!(
                "user {user:?} may not create the schema tidelog in database {database:?}; as \
                 the database's owner: GRANT CREATE ON DATABASE {database:?} TO {user:?}, or: \
                 CREATE SCHEMA tidelog AUTHORIZATION {user:?}"
            )));
        }
        let made = client.batch_execute("CREATE SCHEMA IF NOT EXISTS tidelog").await;
        made.map_err(|error| failed(&error))?;
        tracing::info!(database = rights.database, "a new store, with nothing in it");
    } else if !rights.create_in_schema {
        let user = rights.user;
        return Err(OpenError::MissingRights(format!(
            "the schema tidelog has to be brought up to date, and user {user:?} may not: start \
             this version once as the schema's owner, or: GRANT CREATE ON SCHEMA tidelog TO \
             {user:?}"
        )));
    }
    // All or nothing: what was made and not noted could not be made again.
    let migrated = embedded::migrations::runner().set_grouped(true).run_async(client).await;
    migrated.map(|_| ()).map_err(|error| {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
                return failed(error);
            }
            source = cause.source();
        }
        OpenError::Unsuitable(format!("the schema could not be brought up to date: {error}"))
    })
}

async fn rights(client: &Client) -> Result<Rights, OpenError> {
    let row = client.query_one(RIGHTS, &[]).await.map_err(|error| failed(&error))?;
    Ok(Rights {
        database: row.get(0),
        user: row.get(1),
        schema: row.get(2),
        create_in_database: row.get(3),
        create_in_schema: row.get(4),
        usage: row.get(5),
    })
}

fn failed(error: &tokio_postgres::Error) -> OpenError {
    let Some(answer) = error.as_db_error() else {
        let message = format!("the connection was lost while looking at the schema: {error}");
        return OpenError::Unreachable(message);
    };
    let (code, message) = (answer.code().code(), answer.message());
    match code {
        "42501" => OpenError::MissingRights(format!(
            "a right is missing ({message}); as the owner of schema tidelog: GRANT USAGE ON \
             SCHEMA tidelog and SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidelog"
        )),
        "55P03" => OpenError::InUse(
            "another instance has been bringing the schema up to date for a minute: wait for \
             it, or see pg_stat_activity"
                .into(),
        ),
        _ => OpenError::Unsuitable(format!("the schema cannot be used: {message} ({code})")),
    }
}
