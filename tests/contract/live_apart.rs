//! Live reads when writer, reader and store are not in one place, or do not stay: two services on
//! one PostgreSQL database, hints that are lost, a database that restarts, a service that is
//! killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::{
    Consumer, ConsumerName, Head, Key, ReadEvent, Seq, TopicName, TransactionNo,
};
use tidelog::server::open;
use tidelog::store::{EventSourceReader, Scan, StoreError, SurfaceScan, TopicSummary};

use crate::bad_days::Tidelog;
use crate::feed::Feed;
use crate::postgres::{Cluster, Stop};
use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";

/// A store whose hints do not arrive.
struct Deaf(Arc<dyn EventSourceReader>);

#[async_trait]
impl EventSourceReader for Deaf {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        self.0.topics(prefix, after, limit).await
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        self.0.head(topic).await
    }

    async fn heads(&self, topics: &[TopicName]) -> Result<Vec<Head>, StoreError> {
        self.0.heads(topics).await
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        self.0.events(topic, scan).await
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.0.history(topic, key, scan).await
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        self.0.transaction(topic, transaction).await
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.0.surface(topic, scan).await
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        self.0.consumer(topic, name).await
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        self.0.consumers(topic, prefix, after, limit).await
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        self.0.all_consumers(after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
}

async fn deaf(backend: &Backend) -> Server {
    let (writer, reader) = open(&backend.config()).await.expect("it opens");
    Server::on(backend.config(), (writer, Arc::new(Deaf(reader)))).await
}

#[tokio::test]
async fn a_reader_of_one_service_sees_at_once_what_the_other_wrote() {
    let backend = Backend::postgres();
    let one = Server::start(backend.config()).await;
    let other = Server::start(backend.config()).await;
    let mut feeds =
        [Feed::messages(one.get(EVENTS)).await, Feed::messages(other.get(EVENTS)).await];
    let mut heads = Feed::messages(other.get("/v1/notifications")).await;
    // Both listen, once the one has heard of what the other wrote.
    for seq in 0..2 {
        [&one, &other][seq].write("t", "k", &seq.to_string()).await;
        for feed in &mut feeds {
            feed.events(seq as u64, 1).await;
        }
    }
    let mut took = Vec::new();
    for seq in 2..202 {
        let server = if seq < 102 { &one } else { &other };
        server.write("t", "k", &seq.to_string()).await;
        let since = Instant::now();
        for feed in &mut feeds {
            feed.events(seq, 1).await;
        }
        took.push(since.elapsed());
    }
    took.sort();
    println!("from ack to both readers: p50 {:?}, p95 {:?}", took[100], took[190]);
    // Without hints it would be found within a second: half a second on average.
    assert!(took[100] < Duration::from_millis(250), "p50 {:?}", took[100]);
    while heads.expect_a("head").await.data["seq"] != 201 {}
}

async fn everything_is_seen(writer: &Server, reader: &Server, count: u64) {
    const READERS: usize = 8;
    let body: String = (0..count).map(|n| format!("{{\"key\":\"k{n}\",\"data\":{n}}}\n")).collect();
    let random = &mut SmallRng::seed_from_u64(count);
    let mut feeds = Vec::new();
    for n in 0..READERS {
        let from = if n == 0 { 0 } else { random.random_range(0..count) };
        let feed = Feed::messages(reader.get(&format!("{EVENTS}?from={from}"))).await;
        feeds.push((feed, from));
    }
    let writing = async {
        let request = writer.lines(&format!("{EVENTS}?acks=summary"), &body);
        let acks = lines_of(request.send().await.expect("an answer")).await;
        assert_eq!(acks[0]["summary"]["complete"], true, "{acks:?}");
    };
    let reading = feeds.iter_mut().map(|(feed, from)| feed.events(*from, count - *from));
    futures::join!(writing, join_all(reading));
}

#[tokio::test]
async fn readers_of_one_service_see_every_event_that_is_written_at_full_speed_to_the_other() {
    let backend = Backend::postgres();
    let one = Server::start(backend.config()).await;
    let other = Server::start(backend.config()).await;
    everything_is_seen(&one, &other, 40_000).await;
}

#[tokio::test]
async fn readers_see_every_event_although_no_hint_arrives() {
    let backend = Backend::postgres();
    let one = Server::start(backend.config()).await;
    let other = deaf(&backend).await;
    everything_is_seen(&one, &other, 20_000).await;
    let mut heads = Feed::messages(other.get("/v1/notifications")).await;
    assert_eq!(heads.expect_a("head").await.data["seq"], 19_999);
    for topic in ["t", "u"] {
        one.write(topic, "new", "1").await;
        assert_eq!(heads.expect_a("head").await.data["topic"], topic);
    }
}

#[tokio::test]
async fn readers_see_every_event_although_the_connections_for_hints_are_cut_all_the_time() {
    let backend = Backend::postgres();
    let one = Server::start(backend.config()).await;
    let other = Server::start(backend.config()).await;
    let over = Arc::new(AtomicBool::new(false));
    let (url, ended) = (backend.url.clone(), Arc::clone(&over));
    let cutting = tokio::task::spawn_blocking(move || {
        let mut cuts = 0;
        while !ended.load(Ordering::Relaxed) {
            let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE '%tidelog_heads%'
                    AND pid <> pg_backend_pid()";
            cuts += Cluster::shared().sql(&url, cut).parse::<usize>().expect("a number");
        }
        cuts
    });
    everything_is_seen(&one, &other, 20_000).await;
    let mut feed = Feed::messages(other.get(&format!("{EVENTS}?from=20000"))).await;
    for seq in 20_000..20_003 {
        one.write("t", "new", &seq.to_string()).await;
        feed.events(seq, 1).await;
    }
    over.store(true, Ordering::Relaxed);
    assert!(cutting.await.expect("it cuts") > 0);
}

#[tokio::test]
async fn a_database_that_restarts_under_a_reader_only_delays_it() {
    let cluster = Arc::new(Cluster::new(&[]));
    let backend = Backend::at(&cluster.database());
    let one = Server::start(backend.config()).await;
    let other = Server::start(backend.config()).await;
    for seq in 0..50 {
        one.write("t", "k", &seq.to_string()).await;
    }
    let mut feeds =
        [Feed::messages(one.get(EVENTS)).await, Feed::messages(other.get(EVENTS)).await];
    for feed in &mut feeds {
        feed.events(0, 50).await;
    }
    for (round, how) in [Stop::Fast, Stop::Immediate].into_iter().enumerate() {
        let restarted = Arc::clone(&cluster);
        let restart = tokio::task::spawn_blocking(move || {
            restarted.stop(how);
            restarted.start();
        });
        restart.await.expect("it starts again");
        let from = 50 + 20 * round as u64;
        for seq in from..from + 20 {
            // The first attempts may find connections that are lost.
            let body = format!("{{\"key\":\"k\",\"data\":{seq}}}");
            let write = async {
                while !one
                    .json(EVENTS, &body)
                    .send()
                    .await
                    .expect("an answer")
                    .status()
                    .is_success()
                {}
            };
            tokio::time::timeout(Duration::from_secs(60), write).await.expect("it is written");
        }
        for feed in &mut feeds {
            feed.events(from, 20).await;
        }
    }
}

/// Reads on from the last event that it has, whenever the connection is lost.
async fn resume(tidelog: &Tidelog, seqs: &mut Vec<u64>, until: u64) {
    let url = format!("{}{EVENTS}", tidelog.url);
    let mut request = tidelog.client.get(url);
    if let Some(last) = seqs.last() {
        request = request.header("Last-Event-ID", *last);
    }
    let mut feed = Feed::messages(request).await;
    while let Ok(Some(message)) = feed.try_next().await {
        seqs.extend(message.id);
        if message.id >= Some(until) {
            return;
        }
    }
}

async fn a_reader_resumes(backend: &Backend) {
    const EACH: u64 = 3000;
    let mut seqs = Vec::new();
    for round in 0..4 {
        let mut tidelog = Tidelog::start(&backend.url, &[]);
        let body: String =
            (0..EACH).map(|n| format!("{{\"key\":\"k{n}\",\"data\":{round}}}\n")).collect();
        let request = tidelog.client.post(format!("{}{EVENTS}", tidelog.url));
        let request = request.header("Content-Type", "application/x-ndjson").body(body);
        let writing = async { lines_of(request.send().await.expect("an answer")).await };
        // Killed while it reads, but for the last time.
        let until = if round == 3 { 4 * EACH - 1 } else { EACH * round + EACH / 2 };
        let (acks, ()) = futures::join!(writing, resume(&tidelog, &mut seqs, until));
        assert_eq!(acks.len() as u64, EACH + 1);
        tidelog.signal(Signal::SIGKILL);
        tidelog.wait();
    }
    assert_eq!(seqs, (0..4 * EACH).collect::<Vec<_>>(), "every event once, in order");
}

#[tokio::test]
async fn a_reader_of_sqlite_misses_nothing_when_the_service_is_killed() {
    a_reader_resumes(&Backend::sqlite()).await;
}

#[tokio::test]
async fn a_reader_of_postgres_misses_nothing_when_the_service_is_killed() {
    a_reader_resumes(&Backend::postgres()).await;
}

#[tokio::test]
async fn a_connection_of_http_2_without_a_request_keeps_nobody_from_ending() {
    let mut tidelog = Tidelog::start("memory:", &["--shutdown-timeout", "1h"]);
    let client = crate::plain::builder().http2_prior_knowledge().build().expect("a client");
    let answer = client.get(format!("{}/version", tidelog.url)).send().await.expect("an answer");
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    answer.text().await.expect("a body");
    tidelog.signal(Signal::SIGTERM);
    let code = tokio::task::spawn_blocking(move || tidelog.wait().code()).await.expect("it ends");
    assert_eq!(code, Some(0));
    drop(client); // It was open until here.
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_says_goodbye_to_its_readers_and_ends_at_once() {
    let mut tidelog = Tidelog::start("memory:", &["--shutdown-timeout", "1h"]);
    let get = |path: &str| tidelog.client.get(format!("{}{path}", tidelog.url));
    let mut feed = Feed::messages(get(EVENTS)).await;
    let mut lines = Feed::lines(get(&format!("{EVENTS}?follow=true"))).await;
    let mut heads = Feed::messages(get("/v1/notifications")).await;
    feed.expect_a("caught-up").await;
    tidelog.signal(Signal::SIGTERM);
    feed.expect_a("end").await;
    heads.expect_a("end").await;
    assert_eq!((feed.next().await, lines.line().await), (None, None));
    assert_eq!(tidelog.wait().code(), Some(0));
}
