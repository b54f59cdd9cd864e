//! A producer: what it sends, line by line, and what must be answered. It numbers its lines, so
//! what a take-over of the topic has cut off is sent again and nothing is lost.
//!
//! Most keys are the producer's own, so what every one of its lines must be answered is known
//! exactly. A few keys are shared with others: for these see `fold.rs`.

use futures::StreamExt as _;
use rand::Rng as _;
use rand::rngs::SmallRng;
use serde::Deserialize;

use crate::program::Service;

/// Keys that all producers of a topic write.
const SHARED: u32 = 40;
/// Lines of a body's piece.
const PIECE: usize = 500;
/// Requests for the same lines, at most: topics that are taken from each other cut them off.
const REQUESTS_MAX: usize = 1_000;

/// Whose a key is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyOf {
    Own(u32),
    All(u32),
}

/// A line that was made, and its answer.
pub struct Line {
    pub key: KeyOf,
    pub data: u8,
    /// For an own key: the line that this one is a duplicate of.
    of: Option<usize>,
    pub seq: u64,
    pub duplicate: bool,
    /// It was written and its transaction is not invalidated.
    stands: bool,
}

#[derive(Deserialize)]
struct Answer {
    seq: Option<u64>,
    transaction: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<Problem>,
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    retryable: bool,
}

#[derive(Deserialize)]
struct Summary {
    lines: usize,
    complete: bool,
}

/// See the module.
pub struct Producer {
    name: String,
    random: SmallRng,
    pub lines: Vec<Line>,
    /// How many lines are answered.
    answered: usize,
    /// Of each own key the lines that were not duplicates.
    versions: Vec<Vec<usize>>,
}

impl Producer {
    pub fn new(name: String, random: SmallRng) -> Self {
        Self { name, random, lines: Vec::new(), answered: 0, versions: Vec::new() }
    }

    /// The key as it is sent.
    pub fn key(&self, key: KeyOf) -> String {
        match key {
            KeyOf::Own(n) => format!("{}-{n}", self.name),
            KeyOf::All(n) => format!("all-{n}"),
        }
    }

    /// The line whose event is on the surface under an own key.
    fn standing(&self, key: usize) -> Option<usize> {
        self.versions[key].iter().rev().copied().find(|line| self.lines[*line].stands)
    }

    fn make(&mut self) {
        let die = self.random.random_range(0..100);
        let line = self.lines.len();
        let some = |random: &mut SmallRng, keys: usize| {
            // Half of them are of the newest tenth: some keys are hot, most are cold.
            let hot = random.random_bool(0.5);
            random.random_range(if hot { keys - keys.div_ceil(10) } else { 0 }..keys)
        };
        let (key, data, of) = if die < 2 {
            let key = KeyOf::All(self.random.random_range(0..SHARED));
            (key, self.random.random_range(0..3), None)
        } else if die < 61 && !self.versions.is_empty() {
            let key = some(&mut self.random, self.versions.len());
            let standing = self.standing(key);
            let data = standing.map_or(0, |line| self.lines[line].data);
            match standing {
                Some(of) if die < 31 => (KeyOf::Own(key as u32), data, Some(of)),
                _ => (KeyOf::Own(key as u32), (data + 1) % 3, None),
            }
        } else {
            self.versions.push(Vec::new());
            (KeyOf::Own(self.versions.len() as u32 - 1), self.random.random_range(0..3), None)
        };
        if let (KeyOf::Own(key), None) = (key, of) {
            self.versions[key as usize].push(line);
        }
        let stands = of.is_none();
        self.lines.push(Line { key, data, of, seq: 0, duplicate: false, stands });
    }

    /// Makes lines, sends them until all are answered, and checks every answer.
    pub async fn write(&mut self, service: &Service, topic: &str, count: usize) {
        (0..count).for_each(|_| self.make());
        for _ in 0..REQUESTS_MAX {
            if self.answered == self.lines.len() {
                return;
            }
            self.request(service, topic).await;
        }
        panic!("{} lines were never answered", self.lines.len() - self.answered);
    }

    async fn request(&mut self, service: &Service, topic: &str) {
        let pieces = self.lines[self.answered..].chunks(PIECE).map(|lines| {
            let lines = lines.iter().map(|Line { key, data, .. }| {
                format!("{{\"key\":\"{}\",\"data\":{{\"v\":{data}}}}}\n", self.key(*key))
            });
            Ok::<String, std::io::Error>(lines.collect())
        });
        let pieces: Vec<_> = pieces.collect();
        let request = service.client.post(service.url(&format!("/v1/topics/{topic}/events")));
        let request = request.header("Content-Type", "application/x-ndjson");
        let request = request.header("Producer-Id", &self.name);
        let request = request.header("Producer-Seq", self.answered);
        let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        let answer = request.body(body).send().await.expect("an answer");
        if answer.status() != 200 {
            let problem: Problem = answer.json().await.expect("a problem");
            assert!(problem.retryable, "{}", problem.code);
            return;
        }
        let (mut text, mut body, before) = (Vec::new(), answer.bytes_stream(), self.answered);
        let mut ended = false;
        while let Some(piece) = body.next().await {
            text.extend_from_slice(&piece.expect("nobody cuts the connection"));
            let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
            for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                assert!(!ended, "nothing comes after the summary");
                let answer: Answer = serde_json::from_slice(line).expect("an answer");
                ended = answer.summary.is_some();
                self.answer(answer, before);
            }
            text.drain(..whole);
        }
        assert!(ended && text.is_empty(), "a stream ends with its summary");
    }

    /// Takes in one answer of a request that began with the line `before`.
    fn answer(&mut self, answer: Answer, before: usize) {
        if let Some(Summary { lines, complete }) = answer.summary {
            assert_eq!(lines, self.answered - before);
            assert_eq!(complete, self.answered == self.lines.len());
            return;
        }
        if let Some(problem) = answer.error {
            assert!(problem.retryable, "{}", problem.code);
            return;
        }
        let (name, number) = (&self.name, self.answered);
        let seq = answer.seq.expect("it is an ack");
        assert_eq!(answer.transaction, Some(seq), "every event is a transaction");
        let line = &self.lines[number];
        if let KeyOf::Own(_) = line.key {
            let original = line.of.map(|of| self.lines[of].seq);
            assert_eq!(answer.duplicate, original.is_some(), "{name}, line {number}");
            assert!(original.is_none_or(|of| of == seq), "{name}, line {number}: {seq}");
        }
        let line = &mut self.lines[number];
        (line.seq, line.duplicate) = (seq, answer.duplicate);
        self.answered += 1;
    }

    /// Invalidates the transaction of a line of its own keys.
    pub async fn invalidate(&mut self, service: &Service, topic: &str) -> (u64, u64) {
        let stands = |line: &Line| line.stands && matches!(line.key, KeyOf::Own(_));
        let wrong = loop {
            let line = self.random.random_range(0..self.lines.len());
            if stands(&self.lines[line]) {
                break line;
            }
        };
        let transaction = self.lines[wrong].seq;
        let path = format!("/v1/topics/{topic}/transactions/{transaction}/invalidation");
        for _ in 0..REQUESTS_MAX {
            let request = service.client.post(service.url(&path)).body("{}");
            let request = request.header("Content-Type", "application/json");
            let answer = request.send().await.expect("an answer");
            // 200 where an attempt that was not answered as done was done after all.
            if matches!(answer.status().as_u16(), 200 | 201) {
                let answer: Answer = answer.json().await.expect("an ack");
                self.lines[wrong].stands = false;
                return (transaction, answer.seq.expect("an ack"));
            }
            let problem: Problem = answer.json().await.expect("a problem");
            assert!(problem.retryable, "{}", problem.code);
        }
        panic!("transaction {transaction} of {topic} was never invalidated");
    }
}
