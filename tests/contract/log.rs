//! What the log says of requests and of the store: a line a request, when it has ended.

use std::io::Error;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::bad_days::Tidelog;
use crate::postgres::{Cluster, Stop};

const EVENTS: &str = "/v1/topics/t/events";

type Line = Result<String, Error>;

fn line(n: u64) -> Line {
    Ok(format!("{{\"key\":\"k{n}\",\"data\":{n}}}\n"))
}

/// A stream whose lines are sent one by one.
async fn begin(tidelog: &Tidelog) -> (mpsc::Sender<Line>, reqwest::Response) {
    let (lines, body) = mpsc::channel(1);
    let request = tidelog.client.post(format!("{}{EVENTS}", tidelog.url));
    let request = request.header("Content-Type", "application/x-ndjson");
    let body = reqwest::Body::wrap_stream(ReceiverStream::new(body));
    let sending = tokio::spawn(request.body(body).send());
    lines.send(line(0)).await.expect("it is taken");
    (lines, sending.await.expect("it ends").expect("an answer"))
}

fn check(logged: &Value, expected: &[(&str, Value)]) {
    for (field, value) in expected {
        assert_eq!(logged[field], *value, "{field}: {logged}");
    }
}

#[tokio::test]
async fn the_line_of_a_stream_is_written_at_its_end_and_says_how_it_ended() {
    let mut tidelog = Tidelog::start("memory:", &[]);
    let began = Instant::now();
    let (lines, mut answer) = begin(&tidelog).await;
    assert!(answer.chunk().await.expect("it goes on").is_some());
    let held = Instant::now();
    while held.elapsed() < Duration::from_millis(50) {
        tokio::task::yield_now().await;
    }
    for n in 1..3 {
        lines.send(line(n)).await.expect("it is taken");
    }
    drop(lines);
    assert!(answer.text().await.expect("a body").contains("\"complete\":true"));
    let took = began.elapsed().as_secs_f64() * 1e3;
    let logged = tidelog.logged("request").await;
    check(&logged, &[("lines", json!(3)), ("written", json!(3)), ("end", json!("complete"))]);
    let ms = logged["ms"].as_f64().expect("a number");
    assert!((50.0..=took).contains(&ms), "{ms} of {took}");

    let (lines, mut answer) = begin(&tidelog).await;
    assert!(answer.chunk().await.expect("it goes on").is_some());
    lines.send(Ok("nonsense\n".into())).await.expect("it is taken");
    assert!(answer.text().await.expect("a body").contains("malformed"));
    let logged = tidelog.logged("request").await;
    check(&logged, &[("lines", json!(1)), ("written", json!(0)), ("end", json!("malformed"))]);

    let (lines, mut answer) = begin(&tidelog).await;
    assert!(answer.chunk().await.expect("it goes on").is_some());
    drop((lines.send(Err(Error::other("cut"))).await, answer));
    let logged = tidelog.logged("request").await;
    assert!(logged["end"] != "complete", "{logged}");

    let request = tidelog.client.get(format!("{}{EVENTS}", tidelog.url));
    let read = request.header("Accept", "application/x-ndjson").send().await.expect("an answer");
    read.text().await.expect("a body");
    let logged = tidelog.logged("request").await;
    check(&logged, &[("lines", json!(3)), ("end", json!("complete")), ("status", json!(200))]);
}

#[tokio::test]
async fn an_outage_is_a_few_lines_of_the_log_and_a_stop_is_none() {
    let cluster = Cluster::new(&[]);
    let mut tidelog = Tidelog::start(&cluster.database(), &["--write-timeout", "200ms"]);
    let write = |topic: u64, n: u64| {
        let request = tidelog.client.post(format!("{}/v1/topics/t{topic}/events", tidelog.url));
        let request = request.header("Content-Type", "application/json");
        request.body(json!({"key": "k", "data": n}).to_string()).send()
    };
    let all = async |n| futures::future::join_all((0..8).map(|topic| write(topic, n))).await;
    all(0).await;
    cluster.stop(Stop::Immediate);
    for n in 1..4 {
        for answer in all(n).await {
            assert!(answer.expect("an answer").status().is_server_error());
        }
    }
    cluster.start();
    while write(0, 9).await.expect("an answer").status() != 201 {}
    // Reading may have failed as well, and is only known to work once something was read.
    let ready = || tidelog.client.get(format!("{}/health/ready", tidelog.url)).send();
    while ready().await.expect("an answer").status() != 200 {}
    tidelog.signal(Signal::SIGTERM);
    assert_eq!(tidelog.wait().code(), Some(0));
    let log = tidelog.rest_of_log().await;
    let others: Vec<&String> = log.iter().filter(|line| !line.contains("http::access")).collect();
    let count = |text: &str| others.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("the store fails"), 1, "{others:#?}");
    assert_eq!(count("the store works again"), 1, "{others:#?}");
    assert_eq!(count("WARN") + count("ERROR"), 1 + count("still fails"), "{others:#?}");
}
