//! The same again: idempotency keys and numbered lines, where the first time was unusual.

use futures::future::join_all;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";
const TRANSACTIONS: &str = "/v1/topics/t/transactions";

on_every_backend!(
    an_answer_that_wrote_nothing_is_given_again_too,
    single_events_and_invalidations_are_given_again_as_well,
    what_failed_is_not_remembered,
    the_same_key_at_once_writes_once,
    a_key_is_for_one_kind_of_request_and_one_topic,
    a_producer_sends_again_with_more,
    groups_of_a_producer_are_given_again,
    a_newer_producer_ends_the_stream_of_the_older,
    a_producer_with_a_bad_line_goes_on_from_it,
);

/// Status, whether it was replayed, entity tag, body.
type Told = (u16, bool, String, String);

async fn told(request: RequestBuilder) -> Told {
    let answer = request.send().await.expect("an answer");
    let header = |name: &str| {
        let value = answer.headers().get(name).map(|value| value.to_str().expect("ASCII"));
        value.unwrap_or_default().to_owned()
    };
    let (status, tag) = (answer.status().as_u16(), header("etag"));
    let replayed = header("idempotency-replayed") == "true";
    (status, replayed, tag, answer.text().await.expect("a body"))
}

fn again(first: Told) -> Told {
    (first.0, true, first.2, first.3)
}

/// The service, after a restart where the store outlives it.
async fn restarted(server: Server, backend: &Backend) -> Server {
    if backend.url.starts_with("memory") {
        return server;
    }
    drop(server);
    Server::start(backend.config()).await
}

async fn an_answer_that_wrote_nothing_is_given_again_too(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    let send = |server: &Server| {
        let request = server.json(TRANSACTIONS, r#"{"events":[{"key":"k","data":1}]}"#);
        told(request.header("Idempotency-Key", "i"))
    };
    let first = send(&server).await;
    assert_eq!((first.0, first.1), (200, false));
    // Now it would be written, if it were not the same request.
    server.write("t", "k", "2").await;
    assert_eq!(send(&server).await, again(first.clone()));
    let server = restarted(server, backend).await;
    assert_eq!(send(&server).await, again(first));
    assert_eq!(server.read("/v1/topics/t").await["events"], 2);
}

async fn single_events_and_invalidations_are_given_again_as_well(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let event = |server: &Server| {
        let request = server.json(EVENTS, r#"{"key":"k","data":1}"#);
        told(request.header("Idempotency-Key", "event"))
    };
    let invalidation = |server: &Server| {
        let request = server.json(&format!("{TRANSACTIONS}/0/invalidation"), "{}");
        told(request.header("Idempotency-Key", "invalidation"))
    };
    let first = (event(&server).await, invalidation(&server).await);
    assert_eq!((first.0.0, first.1.0), (201, 201));
    let server = restarted(server, backend).await;
    assert_eq!(event(&server).await, again(first.0));
    assert_eq!(invalidation(&server).await, again(first.1));
    assert_eq!(server.read("/v1/topics/t").await["events"], 2);
}

async fn what_failed_is_not_remembered(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let send = |condition: &'static str| {
        let request = server.json(EVENTS, r#"{"key":"k","data":1}"#);
        told(request.header("Idempotency-Key", "i").header("If-Match", condition))
    };
    assert_eq!(send("\"0\"").await.0, 412);
    server.write("t", "other", "1").await;
    let (status, replayed, ..) = send("\"0\"").await;
    assert_eq!((status, replayed), (201, false));
    // From here on it is the first answer that counts, not the condition.
    let (status, replayed, ..) = send("\"77\"").await;
    assert_eq!((status, replayed), (201, true));
}

async fn the_same_key_at_once_writes_once(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for round in 0..5 {
        let body = format!(r#"{{"events":[{{"key":"k","data":{round}}}]}}"#);
        let requests = (0..8).map(|_| {
            told(server.json(TRANSACTIONS, &body).header("Idempotency-Key", format!("i{round}")))
        });
        let answers = join_all(requests).await;
        let first: Vec<&Told> = answers.iter().filter(|(_, replayed, ..)| !replayed).collect();
        assert_eq!(first.len(), 1, "{answers:?}");
        let (status, _, tag, body) = first[0];
        for answer in &answers {
            assert_eq!((&answer.0, &answer.2, &answer.3), (status, tag, body));
        }
    }
    assert_eq!(server.read("/v1/topics/t").await["events"], 5);
}

async fn a_key_is_for_one_kind_of_request_and_one_topic(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let event = r#"{"key":"k","data":1}"#;
    let keyed = |request: RequestBuilder| request.header("Idempotency-Key", "i");
    assert_eq!(told(keyed(server.json(EVENTS, event))).await.0, 201);
    for other in [
        server.json(EVENTS, r#"{"key":"k","data": 1}"#),
        server.lines(TRANSACTIONS, event),
        server.json(&format!("{TRANSACTIONS}/0/invalidation"), ""),
    ] {
        problem(keyed(other), expect(422, "idempotency-mismatch")).await;
    }
    assert_eq!(told(keyed(server.json("/v1/topics/u/events", event))).await.0, 201);
    let upper = server.json(EVENTS, event).header("Idempotency-Key", "I");
    assert!(!told(upper).await.1, "keys are compared byte for byte");
    assert_eq!(server.read("/v1/topics/t").await["events"], 1);
}

async fn stream(server: &Server, body: &str, producer: &str, epoch: u64, seq: u64) -> Vec<Value> {
    let request = server.lines(EVENTS, body).header("Producer-Id", producer);
    let request = request.header("Producer-Epoch", epoch).header("Producer-Seq", seq);
    lines_of(request.send().await.expect("an answer")).await
}

/// Lines of one key whose data alternates, so that de-duplication hides nothing.
fn alternating(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{{\"key\":\"k\",\"data\":{}}}\n", n % 2)).collect()
}

async fn a_producer_sends_again_with_more(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    stream(&server, &alternating(0..300), "p", 0, 0).await;
    let server = restarted(server, backend).await;
    let acks = stream(&server, &alternating(200..500), "p", 0, 200).await;
    let (summary, acks) = acks.split_last().expect("a summary");
    assert_eq!(acks.len(), 300);
    for (ack, seq) in acks.iter().zip(200_u64..) {
        assert_eq!((&ack["seq"], &ack["line"]), (&json!(seq), &json!(seq - 199)));
        assert_eq!(ack["replayed"] == true, seq < 300, "{ack}");
    }
    let summary = &summary["summary"];
    assert_eq!((&summary["lines"], &summary["written"]), (&json!(300), &json!(200)));
    let server = restarted(server, backend).await;
    let request = server.lines(EVENTS, "").header("Producer-Id", "p");
    let gap = problem(request.header("Producer-Seq", 501), expect(409, "producer-gap"));
    assert_eq!(gap.await["expected"], 500);
    // Another producer's lines are numbered on their own.
    assert_eq!(stream(&server, "{\"key\":\"q\",\"data\":1}", "q", 0, 0).await[0]["seq"], 500);
}

async fn groups_of_a_producer_are_given_again(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body = "{\"events\":[{\"key\":\"a\",\"data\":1},{\"key\":\"b\",\"data\":1}]}\n\n\
                {\"events\":[{\"key\":\"b\",\"data\":1}]}\n{\"key\":\"a\",\"data\":1}\n";
    let mut first = stream(&server, body, "p", 3, 0).await;
    assert_eq!(first[0]["transaction"], 0);
    assert_eq!((&first[1]["transaction"], &first[1]["line"]), (&json!(null), &json!(3)));
    server.write("t", "a", "2").await;
    server.write("t", "b", "2").await;
    let server = restarted(server, backend).await;
    let second = stream(&server, body, "p", 3, 0).await;
    assert_eq!(second[3]["summary"]["written"], 0);
    first.truncate(3);
    for (first, second) in first.iter_mut().zip(second) {
        first["replayed"] = json!(true);
        assert_eq!(*first, second);
    }
    assert_eq!(server.read("/v1/topics/t").await["events"], 4);
}

async fn a_newer_producer_ends_the_stream_of_the_older(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let (lines, body) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let older = server.post(EVENTS, "application/x-ndjson", body);
    let older = older.header("Producer-Id", "p").header("Producer-Seq", 0).send();
    lines.send(Ok(alternating(0..1))).await.expect("it is read");
    let mut older = older.await.expect("an answer");
    let ack = older.chunk().await.expect("an ack").expect("an ack");
    assert!(ack.starts_with(b"{\"line\":1,\"seq\":0,"), "{ack:?}");
    let newer = stream(&server, &alternating(1..2), "p", 1, 1).await;
    assert_eq!(newer[0]["seq"], 1);
    lines.send(Ok(alternating(1..3))).await.expect("it is read");
    let mut rest = Vec::new();
    while let Some(piece) = older.chunk().await.expect("it goes on") {
        rest.extend_from_slice(&piece);
    }
    let rest = String::from_utf8(rest).expect("it is text");
    let rest: Vec<Value> =
        rest.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rest[0]["error"]["code"], "producer-fenced", "{rest:?}");
    assert_eq!((&rest[0]["line"], &rest[0]["error"]["epoch"]), (&json!(2), &json!(1)));
    assert_eq!(rest[1]["summary"]["complete"], false);
    assert_eq!(server.read("/v1/topics/t").await["events"], 2);
}

async fn a_producer_with_a_bad_line_goes_on_from_it(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body = format!("{}nonsense\n{}", alternating(0..2), alternating(3..4));
    let failed = stream(&server, &body, "p", 0, 0).await;
    assert_eq!(failed[2]["line"], 3);
    // The bad line has not used its number.
    let mended = stream(&server, &alternating(2..4), "p", 0, 2).await;
    assert_eq!((&mended[0]["seq"], &mended[1]["seq"]), (&json!(2), &json!(3)));
}
