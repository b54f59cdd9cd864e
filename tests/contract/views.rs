//! The documented views, over events that came by HTTP: whatever these hold, the views can be
//! queried; and both databases show the same columns.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::postgres::Cluster;
use crate::support::*;

/// Data that JSON allows and some database does not like, and what `data ->> 'x'` finds in it.
const ODD: [(&str, &str, &str); 12] = [
    ("zero", r#"{"x":"a\u0000b"}"#, "a\u{fffd}b"),
    ("zeros", r#"{"x":"\u0000\u0000\\\u0000"}"#, "\u{fffd}\u{fffd}\\\u{fffd}"),
    ("high", r#"{"x":"\ud83d"}"#, "\u{fffd}"),
    ("high twice", r#"{"x":"\ud83d\uD83D\uDE00"}"#, "\u{fffd}😀"),
    ("low", r#"{"x":"\ude00!"}"#, "\u{fffd}!"),
    ("wrong order", r#"{"x":"\uDE00\ud83d"}"#, "\u{fffd}\u{fffd}"),
    ("pair", r#"{"x":"\ud83d\ude00"}"#, "😀"),
    ("escaped backslash", r#"{"x":"\\u0000 \\ud83d"}"#, r"\u0000 \ud83d"),
    ("escaped, then low", r#"{"x":"\\ud83d\ude00"}"#, "\\ud83d\u{fffd}"),
    ("elsewhere", r#"{"x":"found","\u0000":["\ud83d"]}"#, "found"),
    ("no object", "\"\\u0000\"", ""),
    ("numbers", r#"{"x":1e999999,"y":123456789012345678901234567890}"#, ""),
];

async fn fill(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (key, data, _) in ODD {
        server.write("t", key, data).await;
    }
    for body in [
        r#"{"key":"bytes","data_base64":"/wA=","content_type":"image/png"}"#,
        r#"{"key":"told","data":1,"metadata":{"x":"\u0000"}}"#,
    ] {
        let answer = server.json("/v1/topics/t/events", body).send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
}

#[tokio::test]
async fn no_event_breaks_the_views_of_postgres() {
    let cluster = Cluster::shared();
    let backend = Backend::postgres();
    fill(&backend).await;
    for view in ["events", "surface"] {
        let sql = |sql: &str| cluster.sql(&backend.url, &sql.replace("VIEW", view));
        let found =
            sql("SELECT key, data ->> 'x', data -> 'x', metadata ->> 'x' FROM tidelog.VIEW");
        assert_eq!(found.lines().count(), ODD.len() + 2, "{found}");
        for (key, data, x) in ODD.into_iter().filter(|(_, _, x)| !x.is_empty()) {
            let one = format!("SELECT data ->> 'x' FROM tidelog.VIEW WHERE key = '{key}'");
            assert_eq!(sql(&one), x, "{view}: {key}: {data}");
        }
        let bytes = "SELECT data IS NULL, data_binary FROM tidelog.VIEW WHERE key = 'bytes'";
        assert_eq!(sql(bytes), "t|\\xff00");
        let told = "SELECT metadata ->> 'x' FROM tidelog.VIEW WHERE key = 'told'";
        assert_eq!(sql(told), "\u{fffd}");
    }
    for (key, data, _) in ODD {
        let kept = format!("SELECT data FROM tidelog.event WHERE key = '{key}'");
        assert_eq!(cluster.sql(&backend.url, &kept), data, "the table has what was sent");
    }
    // Also for a session that reads escapes as in olden times.
    let old =
        "SET standard_conforming_strings = off; SELECT count(data ->> 'x') FROM tidelog.events";
    assert_eq!(cluster.sql(&backend.url, old), "11");
}

fn open(backend: &Backend) -> Connection {
    Connection::open(backend.url.trim_start_matches("sqlite:")).expect("a connection")
}

#[tokio::test]
async fn no_event_breaks_the_views_of_sqlite() {
    let backend = Backend::sqlite();
    fill(&backend).await;
    let raw = open(&backend);
    for view in ["events", "surface"] {
        let sql = format!("SELECT key, data ->> 'x', data -> 'x', data FROM {view}");
        let mut statement = raw.prepare(&sql).expect("a view");
        let mut rows = statement.query([]).expect("rows");
        let mut count = 0;
        while let Some(row) = rows.next().expect("every row can be shown") {
            let (key, data): (String, Value) = (row.get(0).unwrap(), row.get(3).unwrap());
            let sent = ODD.iter().find(|(odd, ..)| *odd == key).map(|(_, data, _)| *data);
            if let Some(sent) = sent {
                assert_eq!(data, Value::Text(sent.into()), "{key}");
            }
            count += 1;
        }
        assert_eq!(count, ODD.len() + 2);
        let bytes = format!("SELECT data IS NULL, data_binary FROM {view} WHERE key = 'bytes'");
        let bytes = raw.query_row(&bytes, [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(bytes, Ok((true, vec![255_u8, 0])));
    }
}

/// Topic `t` with four events; one consumer in the middle, one at the end, one before the first.
async fn consume(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for n in 0..4 {
        server.write("t", "k", &n.to_string()).await;
    }
    for (name, seq) in [("middle", "1"), ("end", "3"), ("begin", "null")] {
        let put = server.request(reqwest::Method::PUT, &format!("/v1/topics/t/consumers/{name}"));
        let put = put.header("Content-Type", "application/json");
        let answer = put.body(format!("{{\"seq\":{seq}}}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
}

/// What the view of consumers shows of them, in order of name.
const CONSUMERS: &str = "SELECT topic, consumer, seq, head_seq, lag_events, lag_seconds < 600,
    lag_seconds > 0 OR waiting_since IS NULL, waiting_since IS NULL
    FROM consumers ORDER BY consumer";

#[tokio::test]
async fn consumers_are_shown_with_their_lag() {
    let backend = Backend::postgres();
    consume(&backend).await;
    let sql = CONSUMERS.replace("FROM consumers", "FROM tidelog.consumers");
    let expected = "t|begin||3|4|t|t|f\nt|end|3|3|0|t|t|t\nt|middle|1|3|2|t|t|f";
    assert_eq!(Cluster::shared().sql(&backend.url, &sql), expected);

    let backend = Backend::sqlite();
    consume(&backend).await;
    let raw = open(&backend);
    let mut statement = raw.prepare(CONSUMERS).expect("a view");
    let row = |row: &rusqlite::Row<'_>| {
        let text = |index: usize| {
            row.get::<_, Value>(index).map(|value| match value {
                Value::Null => String::new(),
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        };
        Ok((0..8).map(text).collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    };
    let rows: Vec<String> =
        statement.query_map([], row).expect("rows").map(Result::unwrap).collect();
    assert_eq!(rows, ["t|begin||3|4|1|1|0", "t|end|3|3|0|1|1|1", "t|middle|1|3|2|1|1|0"]);
    let times = "SELECT recorded_at = waiting_since FROM consumers c JOIN events e
        ON e.topic = c.topic AND e.seq = 2 WHERE consumer = 'middle'";
    assert_eq!(raw.query_row(times, [], |row| row.get(0)), Ok(true));
}

#[tokio::test]
async fn both_databases_have_the_same_views_with_the_same_columns() {
    let (lite, server) = (Backend::sqlite(), Backend::postgres());
    drop(Server::start(lite.config()).await);
    drop(Server::start(server.config()).await);
    let columns = "SELECT v.name || '.' || c.name FROM sqlite_schema v, pragma_table_info(v.name) c
        WHERE v.type = 'view' ORDER BY v.name, c.cid";
    let raw = open(&lite);
    let mut statement = raw.prepare(columns).expect("it is SQL");
    let found: Vec<String> =
        statement.query_map([], |row| row.get(0)).expect("rows").map(Result::unwrap).collect();
    let columns = "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a
        ON a.attrelid = c.oid WHERE c.relnamespace = 'tidelog'::regnamespace AND c.relkind = 'v'
        AND a.attnum > 0 ORDER BY c.relname, a.attnum";
    let expected = Cluster::shared().sql(&server.url, columns);
    assert_eq!(found.join("\n"), expected);
    assert!(found.len() > 30, "{found:?}");
}
