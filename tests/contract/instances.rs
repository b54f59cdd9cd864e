//! Two services on one PostgreSQL database, both writing the same topic.
//!
//! Each write takes the topic over from the other service, so what one remembers is never what
//! the other may rely on.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";

async fn two(backend: &Backend) -> [Server; 2] {
    [Server::start(backend.config()).await, Server::start(backend.config()).await]
}

#[tokio::test]
async fn what_one_service_wrote_the_other_knows() {
    let backend = Backend::postgres();
    let [one, other] = two(&backend).await;
    for n in 0..10_u64 {
        let (first, second) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!(first.write("t", "k", &n.to_string()).await["seq"], n);
        let duplicate = second.write("t", "k", &n.to_string()).await;
        assert_eq!((&duplicate["seq"], &duplicate["duplicate"]), (&json!(n), &json!(true)));
        assert_eq!(second.read("/v1/topics/t/latest?key=k").await["data"], n);
    }
}

#[tokio::test]
async fn a_b_a_over_both_is_three_events() {
    let backend = Backend::postgres();
    let [one, other] = two(&backend).await;
    one.write("t", "k", "1").await;
    other.write("t", "k", "2").await;
    assert_eq!(one.write("t", "k", "1").await, json!({"seq":2,"transaction":2,"duplicate":false}));
}

#[tokio::test]
async fn a_condition_on_what_the_other_wrote_holds() {
    let backend = Backend::postgres();
    let [one, other] = two(&backend).await;
    one.write("t", "k", "1").await;
    other.write("t", "k", "2").await;
    let request = one.json(EVENTS, r#"{"key":"k","data":3}"#).header("If-Match", "\"1\"");
    assert_eq!(request.send().await.expect("an answer").status(), 201);
}

#[tokio::test]
async fn conditions_and_idempotency_keys_hold_over_both() {
    let backend = Backend::postgres();
    let servers = two(&backend).await;
    for round in 0..5 {
        let key = format!("i{round}");
        let body = format!("{{\"key\":\"k\",\"data\":{round}}}");
        let requests = (0..6).map(|n| {
            let request = servers[n % 2].json(EVENTS, &body);
            let request = request.header("Idempotency-Key", &key).send();
            async { request.await.expect("an answer") }
        });
        let mut fresh = 0;
        for answer in join_all(requests).await {
            assert_eq!(answer.status(), 201);
            fresh += u32::from(!answer.headers().contains_key("idempotency-replayed"));
            assert_eq!(answer.json::<Value>().await.expect("JSON")["seq"], round);
        }
        assert_eq!(fresh, 1);
    }
    let racing = (0..6).map(|n| {
        let request = servers[n % 2].json(EVENTS, &format!("{{\"key\":\"r{n}\",\"data\":1}}"));
        let request = request.header("If-Match", "\"4\"").send();
        async { request.await.expect("an answer").status().as_u16() }
    });
    let statuses = join_all(racing).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 5, "{statuses:?}");
}

#[tokio::test]
async fn streams_to_both_at_once_lose_nothing_and_repeat_nothing() {
    const LINES: u64 = 2000;
    let backend = Backend::postgres();
    let servers = two(&backend).await;
    let stream = async |producer: usize| {
        let name = format!("p{producer}");
        let mut acked: Vec<u64> = Vec::new();
        // A stream whose topic is taken over may end early; a producer then goes on.
        while (acked.len() as u64) < LINES {
            let from = acked.len() as u64;
            let body: String =
                (from..LINES).map(|n| format!("{{\"key\":\"{name}\",\"data\":{n}}}\n")).collect();
            let request = servers[producer % 2].lines(EVENTS, &body);
            let request = request.header("Producer-Id", &name).header("Producer-Seq", from);
            let answer = request.send().await.expect("an answer");
            if answer.status() != 200 {
                assert!(matches!(answer.status().as_u16(), 503 | 504), "{answer:?}");
                continue;
            }
            let lines = lines_of(answer).await;
            acked.extend(lines.iter().filter_map(|line| line["seq"].as_u64()));
        }
        acked
    };
    let all = join_all((0..4).map(stream));
    let all = tokio::time::timeout(std::time::Duration::from_secs(60), all).await;
    let all = all.expect("nobody starves");
    let log = servers[0].read_lines(EVENTS).await;
    assert_eq!(log.len() as u64, 4 * LINES);
    for (producer, acked) in all.iter().enumerate() {
        for (n, seq) in acked.iter().enumerate() {
            let event = &log[*seq as usize];
            assert_eq!(event["seq"], *seq);
            assert_eq!(
                (&event["key"], &event["data"]),
                (&json!(format!("p{producer}")), &json!(n))
            );
        }
    }
}
