//! The life of one topic: its producers' turns, and the checks at the end.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::fold::{Event, Fold};
use crate::producer::Producer;
use crate::program::Service;

/// How much is written, and how.
#[derive(Clone, Copy)]
pub struct Plan {
    pub topics: usize,
    /// How often the producers take turns, and how many lines each time.
    pub turns: usize,
    pub turn: usize,
    /// Lines of each producer at the end, when both write at once.
    pub at_once: usize,
}

impl Plan {
    /// Lines of a topic.
    pub fn lines(&self) -> usize {
        self.turns * self.turn + 2 * self.at_once
    }
}

/// See the module.
pub struct Topic {
    pub name: String,
    producers: [Producer; 2],
    /// Transactions that were invalidated, and by which.
    invalidated: BTreeMap<u64, u64>,
    surface: Vec<String>,
}

impl Topic {
    pub fn new(name: String, mut random: SmallRng) -> Self {
        let producers =
            ["a", "b"].map(|own| Producer::new(own.to_owned(), SmallRng::from_rng(&mut random)));
        Self { name, producers, invalidated: BTreeMap::new(), surface: Vec::new() }
    }

    pub fn lines(&self) -> usize {
        self.producers.iter().map(|producer| producer.lines.len()).sum()
    }

    pub fn duplicates(&self) -> usize {
        let lines = self.producers.iter().flat_map(|producer| &producer.lines);
        lines.filter(|line| line.duplicate).count()
    }

    /// Writes everything, beginning with the service `first`, and checks it.
    pub async fn live(mut self, plan: Plan, services: &[Service], first: usize) -> Self {
        let service = |n: usize| &services[n % services.len()];
        for turn in 0..plan.turns {
            let service = service(first + turn / 2);
            let producer = &mut self.producers[turn % 2];
            producer.write(service, &self.name, plan.turn).await;
            self.invalidated.extend([producer.invalidate(service, &self.name).await]);
        }
        let [a, b] = &mut self.producers;
        let a = a.write(service(first), &self.name, plan.at_once);
        let b = b.write(service(first + 1), &self.name, plan.at_once);
        futures::join!(a, b);
        self.check(service(first), service(first + 1)).await;
        self
    }

    /// The log and the surface, each by the service that it is told.
    async fn check(&mut self, log: &Service, surface: &Service) {
        let mut fold = Fold::default();
        self.read(log, "events", |line| {
            fold.add(serde_json::from_slice(line).expect("an event"), &self.invalidated);
        })
        .await;
        let written = self.lines() - self.duplicates() + self.invalidated.len();
        assert_eq!(fold.len(), written, "{}: each line once, and nothing else", self.name);
        for producer in &self.producers {
            fold.check(producer);
        }
        let mut found = Vec::new();
        self.read(surface, "surface", |line| {
            let Event { seq, key, data, .. } = serde_json::from_slice(line).expect("an event");
            let (key, data) = key.zip(data).expect("no invalidation is on a surface");
            found.push(format!("{key} {seq} {}", data.v));
        })
        .await;
        self.surface = fold.surface();
        assert!(found == self.surface, "{}: the surface is the fold of the log", self.name);
    }

    async fn read(&self, service: &Service, what: &str, mut line: impl FnMut(&[u8])) {
        let request = service.client.get(service.url(&format!("/v1/topics/{}/{what}", self.name)));
        let request = request.header("Accept", "application/x-ndjson");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let (mut text, mut body) = (Vec::new(), answer.bytes_stream());
        while let Some(piece) = body.next().await {
            text.extend_from_slice(&piece.expect("nobody cuts the connection"));
            let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
            let lines = text[..whole].split(|byte| *byte == b'\n');
            lines.filter(|text| !text.is_empty()).for_each(&mut line);
            text.drain(..whole);
        }
        assert!(text.is_empty(), "the last line is whole");
    }

    /// What SQL shows: the surface, and that every event names the version of its key before it.
    pub fn check_views(&self, sql: &impl Fn(&str) -> Vec<String>) {
        let topic = &self.name;
        let found = sql(&format!(
            "SELECT key || ' ' || seq || ' ' || (data ->> 'v') FROM VIEW.surface
             WHERE topic = '{topic}' ORDER BY key"
        ));
        assert!(found == self.surface, "{topic}: the view of the surface is the fold of the log");
        let wrong = sql(&format!(
            "SELECT 'event ' || seq FROM (
                 SELECT seq, coalesce(prev, -1) AS prev,
                     coalesce(lag(seq) OVER (PARTITION BY key ORDER BY seq), -1) AS before
                 FROM VIEW.events WHERE topic = '{topic}' AND key IS NOT NULL
             ) AS versions WHERE prev <> before"
        ));
        assert_eq!(wrong, Vec::<String>::new(), "{topic}: versions of a key are a chain");
    }
}
