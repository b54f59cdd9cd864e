//! Clients that do everything a panel shows: events, duplicates, streams, transactions and their
//! replays, invalidations, refusals of several kinds, reads, a consumer; until they are told to stop. An
//! outage of the store stops nobody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::RequestBuilder;

use crate::service::Service;

const TOPICS: usize = 20;

/// The clients, and how far they are.
pub struct Load<'s> {
    service: &'s Service,
    over: AtomicBool,
    /// Requests that were answered as done.
    pub done: AtomicU64,
    /// Requests that were not.
    pub failed: AtomicU64,
}

impl<'s> Load<'s> {
    pub fn new(service: &'s Service) -> Self {
        Self {
            service,
            over: AtomicBool::new(false),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// All of it, until it is stopped.
    pub async fn run(&self) {
        let singles = futures::future::join_all((0..8).map(|client| self.singles(client)));
        futures::join!(singles, self.streams(), self.transactions(), self.refused(), self.reads());
    }

    fn rounds(&self) -> impl Iterator<Item = usize> {
        (0..).take_while(|_| !self.over.load(Ordering::Relaxed))
    }

    async fn send(&self, request: RequestBuilder) -> Option<u16> {
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_default();
        let whole = (200..300).contains(&status) && !text.contains("\"error\":");
        if whole { &self.done } else { &self.failed }.fetch_add(1, Ordering::Relaxed);
        Some(status)
    }

    fn post(&self, path: &str, media: &str, body: String) -> RequestBuilder {
        let request = self.service.client.post(self.service.url(path));
        request.header("Content-Type", media).body(body)
    }

    fn json(&self, path: &str, body: &str) -> RequestBuilder {
        self.post(path, "application/json", body.to_owned())
    }

    /// Each event twice.
    async fn singles(&self, client: usize) {
        for round in self.rounds() {
            let topic = format!("t{}", (client + round) % TOPICS);
            for _ in 0..2 {
                let body = format!("{{\"key\":\"k{}\",\"data\":{round}}}", round % 100);
                self.send(self.json(&format!("/v1/topics/{topic}/events"), &body)).await;
            }
        }
    }

    /// Long ones; one in ten ends with a line that is wrong.
    async fn streams(&self) {
        for round in self.rounds() {
            let lines = (0..2000).map(|n| format!("{{\"key\":\"s{n}\",\"data\":{round}}}\n"));
            let mut body: String = lines.collect();
            if round % 10 == 9 {
                body.push_str("{\"key\":1}\n");
            }
            self.send(self.post("/v1/topics/s/events", "application/x-ndjson", body)).await;
        }
    }

    /// Each transaction twice, by an idempotency key; then it is said to be wrong.
    async fn transactions(&self) {
        for round in self.rounds() {
            let body = format!(
                "{{\"events\":[{{\"key\":\"a\",\"data\":{round}}},{{\"key\":\"b\",\"data\":{round}}}]}}"
            );
            for _ in 0..2 {
                let write = self.json("/v1/topics/x/transactions", &body);
                self.send(write.header("Idempotency-Key", format!("round-{round}"))).await;
            }
            let path = format!("/v1/topics/x/transactions/{}/invalidation", round * 2);
            self.send(self.json(&path, "{}")).await;
        }
    }

    /// Against a rule, not JSON, not there, and too much at once.
    async fn refused(&self) {
        for _ in self.rounds() {
            let event = "{\"key\":\"k\",\"data\":1}";
            let conditional =
                self.json("/v1/topics/t0/events", event).header("If-Match", "\"99999999\"");
            self.send(conditional).await;
            self.send(self.json("/v1/topics/t0/events", "{")).await;
            self.send(self.service.client.get(self.service.url("/v1/topics/missing"))).await;
            let events = vec![event; 600].join(",");
            let body = format!("{{\"events\":[{events}]}}");
            let burst = (0..4).map(|_| self.send(self.json("/v1/topics/t1/transactions", &body)));
            futures::future::join_all(burst).await;
        }
    }

    async fn reads(&self) {
        for _ in self.rounds() {
            let paths = [
                "/v1/topics",
                "/v1/topics/s/surface?limit=100",
                "/v1/topics/s/latest?key=s1",
                "/v1/topics/t0/events?limit=100",
                "/health/ready",
            ];
            for path in paths {
                self.send(self.service.client.get(self.service.url(path))).await;
            }
            // A consumer that handles one event and no more.
            let path = self.service.url("/v1/topics/t0/consumers/slow");
            let put = self.service.client.put(path).header("Content-Type", "application/json");
            self.send(put.body("{\"seq\":0}")).await;
        }
    }
}
