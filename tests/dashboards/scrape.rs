//! What a scrape costs, and that it does not depend on how many topics there are.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use rand::distr::Alphanumeric;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::prometheus::promtool;
use crate::service::Service;
use crate::table;

/// What a scrape may cost.
const COST_MAX: Duration = Duration::from_millis(5);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes an event to each of some topics.
async fn write_topics(service: &Service, from: usize, to: usize) {
    let writes = futures::stream::iter(from..to).map(async |n| {
        let status = service.write(&format!("topic-{n}"), "k", n).await;
        assert_eq!(status, Some(201), "topic {n}");
    });
    writes.buffer_unordered(64).collect::<Vec<()>>().await;
}

/// The series of a metric.
fn of<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect()
}

#[tokio::test]
async fn consumers_have_no_more_series_than_the_setting_says() {
    let service = Service::start("memory:", &["--consumer-series-max", "3"]);
    for n in 0..5 {
        assert_eq!(service.write("t", "k", n).await, Some(201));
    }
    for n in 0..9 {
        let put = service.client.put(service.url(&format!("/v1/topics/t/consumers/c{n}")));
        let put = put.header("Content-Type", "application/json").body("{\"seq\":2}");
        assert_eq!(put.send().await.expect("an answer").status(), 201);
    }
    let begin = service.client.put(service.url("/v1/topics/t/consumers/z"));
    let begin = begin.header("Content-Type", "application/json").body("{\"seq\":null}");
    assert_eq!(begin.send().await.expect("an answer").status(), 201);
    // They are looked at every five seconds.
    let other = "tidelog_consumer_lag_events{topic=\"(other)\",consumer=\"(other)\"} 5";
    let text = seen(&service, other).await;
    table::check(&text, false);
    let events = of(&text, "tidelog_consumer_lag_events");
    let own =
        (0..3).map(|n| format!("tidelog_consumer_lag_events{{topic=\"t\",consumer=\"c{n}\"}} 2"));
    assert_eq!(events, own.chain([other.to_owned()]).collect::<Vec<_>>());
    assert_eq!(of(&text, "tidelog_consumer_lag_seconds").len(), 4);
    promtool(&["check", "metrics"], &text).expect("it is as Prometheus wants");
}

/// The first scrape from now that has a line.
async fn seen(service: &Service, line: &str) -> String {
    let scrapes = async {
        loop {
            let text = service.metrics().await;
            if text.lines().any(|found| found == line) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = tokio::time::timeout(PATIENCE, scrapes).await;
    text.unwrap_or_else(|_| panic!("{line} is not seen"))
}

#[tokio::test]
async fn bodies_that_arrive_are_seen_until_they_have_or_their_client_is_gone() {
    let service = Service::start("memory:", &["--body-bytes-total-max", "64MiB"]);
    seen(&service, "tidelog_arriving_bytes_max 67108864").await;
    let head = "POST /v1/topics/t/events HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n";
    for the_rest_comes in [true, false] {
        let mut stream = TcpStream::connect(&service.address).await.expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        stream.write_all(&[b' '; 100_000]).await.expect("it is sent");
        seen(&service, "tidelog_arriving_bytes 83616").await;
        if the_rest_comes {
            stream.write_all(&[b' '; 100_000]).await.expect("it is sent");
            seen(&service, "tidelog_arriving_bytes 0").await;
        }
    }
    seen(&service, "tidelog_arriving_bytes 0").await;
}

/// On HTTP/1.1 the kernel ends the connection; on HTTP/2 such a stream was kept for as long as that. (Of those
/// that were compressed what compresses took the pieces, and only the live ones were cut at all.)
#[tokio::test]
async fn answers_that_nobody_reads_are_seen_to_be_cut_and_their_connection_goes_on() {
    let service = Service::start("memory:", &["--read-stall-timeout", "1s"]);
    let client = crate::plain::builder().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(1 << 16).build().expect("a client");
    let post = |topic: &str, body: reqwest::Body| {
        let request = client.post(service.url(&format!("/v1/topics/{topic}/events"))).body(body);
        request.header("Content-Type", "application/x-ndjson").send()
    };
    let line = "{\"key\":\"k\",\"data\":1}\n";
    let lines = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(line.repeat(100)));
    let mut unread = vec![post("t", reqwest::Body::wrap_stream(lines)).await.expect("an answer")];
    let mut random = SmallRng::seed_from_u64(17);
    for _ in 0..200 {
        let data: String = (0..20_000).map(|_| random.sample(Alphanumeric) as char).collect();
        let event = format!("{{\"key\":\"k\",\"data\":\"{data}\"}}");
        let ack = post("large", event.into()).await.expect("an answer").text().await;
        assert!(ack.expect("a body").contains("\"complete\":true"));
    }
    for query in ["", "?follow=true"] {
        for encoding in ["identity", "gzip", "zstd"] {
            let get = client.get(service.url(&format!("/v1/topics/large/events{query}")));
            let get = get.header("Accept", "application/x-ndjson");
            let answer = get.header("Accept-Encoding", encoding).send().await;
            unread.push(answer.expect("an answer"));
        }
    }
    seen(&service, &format!("tidelog_answers_cut_total {}", unread.len())).await;
    let other = post("other", line.into()).await.expect("an answer");
    assert!(other.text().await.expect("a body").contains("\"complete\":true"));
    for answer in unread {
        let read = tokio::time::timeout(PATIENCE, answer.bytes()).await.expect("it has an end");
        assert!(read.is_err(), "it was reset, and is not over");
    }
}

fn series(text: &str) -> usize {
    table::exposed(text).values().map(|metric| metric.series.len()).sum()
}

#[tokio::test]
async fn a_scrape_is_as_small_and_as_cheap_with_10_000_topics_as_with_one() {
    let service = Service::start("memory:", &["--topic-idle", "1h"]);
    write_topics(&service, 0, 1).await;
    let _first = service.metrics().await;
    let one = series(&service.metrics().await);
    write_topics(&service, 1, 10_000).await;
    let text = service.metrics().await;
    assert!(text.contains("\ntidelog_topic_actors 10000\n"), "{text}");
    assert_eq!(series(&text), one, "{text}");
    // The cheapest of many: what others do on this machine at the same time is not its cost.
    let mut cost = Duration::MAX;
    for _ in 0..200 {
        let began = Instant::now();
        service.metrics().await;
        cost = cost.min(began.elapsed());
    }
    assert!(cost < COST_MAX, "a scrape costs {cost:?}");
}
