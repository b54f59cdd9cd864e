//! What is checked, made and said when a store is opened.

use futures::future::join_all;
use tidelog::store::postgres::PostgresStore;
use tidelog::store::{EventSourceReader, EventSourceWriter, OpenError};

use crate::cluster::Cluster;
use crate::plan::*;

async fn refused(url: &str) -> OpenError {
    match PostgresStore::connect(&small(url)).await {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

/// The URL of the same database for another user.
fn as_user(url: &str, user: &str) -> String {
    url.replace("postgres@", &format!("{user}:s3cret@"))
}

#[tokio::test]
async fn eight_instances_may_start_at_once_on_an_empty_database() {
    let url = Cluster::shared().database();
    let stores = join_all((0..8).map(|_| connect(&url))).await;
    for (n, store) in stores.iter().enumerate() {
        store.open(&name(&format!("t{n}"))).await.expect("it works");
    }
}

#[tokio::test]
async fn unix_sockets_and_tls_are_ways_in() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&cluster.socket(&url)).await;
    store.ping().await.expect("over the socket");
    connect(&cluster.socket_url(&url)).await.ping().await.expect("over the socket");
    connect(&format!("{url}?sslmode=prefer")).await.ping().await.expect("without TLS there");
    let error = refused(&format!("{url}?sslmode=require")).await;
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_the_password_is_not() {
    let error = refused("postgres://me:s3cret@127.0.0.1:1/db").await;
    let message = error.to_string();
    assert!(matches!(error, OpenError::Unreachable(_)), "{message}");
    assert!(message.contains("127.0.0.1:1") && !message.contains("s3cret"), "{message}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_to_be_missing() {
    let error = refused(&Cluster::shared().url("nothing_here")).await;
    assert!(matches!(&error, OpenError::Unsuitable(m) if m.contains("createdb")), "{error}");
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_grant_helps() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    cluster.sql(&url, "CREATE ROLE poor LOGIN");
    let poor = as_user(&url, "poor");
    let error = refused(&poor).await;
    let advice = "GRANT CREATE ON DATABASE";
    assert!(matches!(&error, OpenError::MissingRights(m) if m.contains(advice)), "{error}");

    connect(&url).await;
    let error = refused(&poor).await;
    let advice = "GRANT USAGE ON SCHEMA tidelog";
    assert!(matches!(&error, OpenError::MissingRights(m) if m.contains(advice)), "{error}");
    cluster.sql(&url, "GRANT USAGE ON SCHEMA tidelog TO poor");
    let error = refused(&poor).await;
    assert!(matches!(&error, OpenError::MissingRights(_)), "{error}");
    cluster
        .sql(&url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidelog TO poor");
    let store = connect(&poor).await;
    let mut writer = Writer::open(&store, "t").await;
    store.append(writer.batch(&[one("k", "1")])).await.expect("no right to create is needed");
    store.fold(writer.topic, tidelog::domain::Seq(0), None).await.expect("nor to fold");
}

#[tokio::test]
async fn everything_in_the_schema_says_what_it_is() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    connect(&url).await;
    let sql = |query: &str| cluster.sql(&url, query);
    let ours = "relnamespace = 'tidelog'::regnamespace AND relkind IN ('r', 'v')";
    let columns = format!(
        "pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        WHERE {ours} AND relname <> 'refinery_schema_history'"
    );
    let silent = "obj_description(c.oid) IS NULL";
    assert_eq!(sql(&format!("SELECT relname FROM pg_class c WHERE {ours} AND {silent}")), "");
    let silent = "col_description(c.oid, attnum) IS NULL";
    assert_eq!(sql(&format!("SELECT relname, attname FROM {columns} AND {silent}")), "");
    assert_eq!(sql(&format!("SELECT count(*) > 50 FROM {columns}")), "t", "they are looked at");
}

#[tokio::test]
async fn a_schema_of_a_newer_version_or_of_another_program_is_refused() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    connect(&url).await;
    let history = "tidelog.refinery_schema_history";
    let newer = format!("INSERT INTO {history} VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
    cluster.sql(&url, &newer);
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Newer(_)), "{error}");
    cluster.sql(&url, &format!("DELETE FROM {history} WHERE version = 99"));
    connect(&url).await;
    cluster.sql(&url, &format!("UPDATE {history} SET checksum = '1'"));
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Unsuitable(_)), "{error}");
}

#[tokio::test]
async fn a_database_that_cannot_keep_the_promises_is_refused() {
    let cluster = Cluster::shared();
    cluster.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let error = refused(&cluster.url("latin")).await;
    assert!(matches!(&error, OpenError::Unsuitable(m) if m.contains("UTF8")), "{error}");

    let url = cluster.database();
    cluster.sql(&url, "CREATE ROLE reader LOGIN SUPERUSER");
    cluster.sql(&url, "ALTER ROLE reader SET default_transaction_read_only = on");
    let error = refused(&as_user(&url, "reader")).await;
    assert!(matches!(&error, OpenError::Unsuitable(m) if m.contains("no writes")), "{error}");

    let risky = Cluster::new(&["fsync=off"]);
    let error = refused(&risky.database()).await;
    assert!(matches!(&error, OpenError::Unsuitable(m) if m.contains("fsync")), "{error}");
}

#[tokio::test]
async fn a_weaker_synchronous_commit_of_the_server_is_overruled() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    cluster.sql(&url, "CREATE ROLE hasty LOGIN SUPERUSER");
    cluster.sql(&url, "ALTER ROLE hasty SET synchronous_commit = off");
    let hasty = as_user(&url, "hasty");
    let store = connect(&hasty).await;
    let mut writer = Writer::open(&store, "t").await;
    cluster.sql(
        &url,
        "CREATE FUNCTION tidelog.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.type := current_setting('synchronous_commit'); RETURN NEW; END $$;
        CREATE TRIGGER spy BEFORE INSERT ON tidelog.event FOR EACH ROW
            EXECUTE FUNCTION tidelog.spy()",
    );
    store.append(writer.batch(&[one("k", "1")])).await.expect("written");
    assert_eq!(cluster.sql(&url, "SELECT type FROM tidelog.event"), "on");
}
