//! Writes that are answered as a whole: transactions, single events, invalidations.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Backend, JSON, NDJSON, Place, Server};

const TRANSACTIONS: &str = "/v1/topics/t/transactions";

async fn a_transaction_is_written_whole_and_its_duplicates_are_not_written(backend: Backend) {
    let server = Server::start(backend, &[]).await;
    let body = r#"{"events":[{"key":"a","data":1},{"key":"b","data":2},{"key":"a","data":1}]}"#;
    let first = server.post(TRANSACTIONS, body).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("etag"), "\"1\"");
    assert_eq!(first.header("content-type"), "application/json");
    let ack = |seq: u64, duplicate: bool| json!({"seq":seq,"transaction":0,"duplicate":duplicate});
    let head = json!({"seq":1,"transaction":0});
    let events = json!([ack(0, false), ack(1, false), ack(0, true)]);
    let expected = json!({"topic":"t","transaction":0,"events":events,"head":head});
    assert_eq!(first.json(), expected);

    let again = server.post(TRANSACTIONS, body).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.header("etag"), "\"1\"");
    let events = json!([ack(0, true), ack(1, true), ack(0, true)]);
    let nothing = json!({"topic":"t","transaction":Value::Null,"events":events,"head":head});
    assert_eq!(again.json(), nothing);
    assert_eq!(server.log("t").await.len(), 2);
    server.stop().await;
}

on_every_backend! {
    a_transaction_is_written_whole_and_its_duplicates_are_not_written
}
