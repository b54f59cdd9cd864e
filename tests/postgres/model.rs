//! Random commands, planned once and given to the memory store and to PostgreSQL: every answer
//! of the two must be the same. `TIDELOG_SEED=…` replays a run.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::*;
use tidelog::store::memory::MemoryStore;
use tidelog::store::postgres::PostgresStore;
use tidelog::store::{
    Direction, EventSourceReader, EventSourceWriter, KeyRange, Lines, Scan, SurfaceScan, Wanted,
};

use crate::cluster::Cluster;
use crate::plan::*;

const KEYS: [&str; 8] =
    ["a", "a\u{1}", "ab", "b", "ä", "\u{D7FF}", "\u{E000}", "\u{10FFFF}\u{10FFFF}"];
const TOPIC: &str = "t";

struct Pair {
    memory: MemoryStore,
    postgres: PostgresStore,
    writer: Writer,
    /// The topic's number in PostgreSQL.
    topic: TopicId,
    /// The last version of every transaction.
    ends: Vec<Version>,
}

impl Pair {
    async fn open(&mut self) {
        let opened = self.memory.open(&name(TOPIC)).await.expect("opens");
        let other = self.postgres.open(&name(TOPIC)).await.expect("opens");
        assert_eq!((opened.epoch, opened.head), (other.epoch, other.head));
        assert_eq!(opened.frontier, other.frontier);
        self.topic = other.topic;
        self.writer = Writer::new(opened);
    }

    /// Plans some commands into a batch, gives it to both stores.
    async fn step(&mut self, rng: &mut SmallRng) {
        let mut batch = self.writer.planner.begin(now());
        for _ in 0..rng.random_range(1..4) {
            let command = self.command(rng);
            let names = wanted(&command).idempotency;
            let taken = |r: &IdempotencyRecord| names.contains(&r.key);
            if batch.idempotency.iter().any(taken) || !batch.invalidations.is_empty() {
                break; // As the topic's writer would: these wait for the next batch.
            }
            let unwritten = batch.events.len();
            if unwritten == 0 && batch.idempotency.is_empty() && batch.producers.is_empty() {
                self.writer.mind = Mind::default();
            }
            let mut learned = std::mem::take(&mut self.writer.mind);
            self.writer.learn(&self.memory, &command).await;
            // What was decided in this batch is newer than what the store says.
            let fresh = std::mem::take(&mut self.writer.mind);
            for (key, state) in fresh.keys {
                learned.keys.entry(key).or_insert(state);
            }
            for (producer, state) in fresh.producers {
                learned.producers.entry(producer).or_insert(state);
            }
            learned.targets.extend(fresh.targets);
            learned.idempotency.extend(fresh.idempotency);
            learned.replays.extend(fresh.replays);
            self.writer.mind = learned;
            let Writer { planner, mind, .. } = &mut self.writer;
            let _ = planner.decide(&command, mind, &mut batch);
        }
        self.writer.planner.seal(&mut batch);
        self.ends.extend(batch.events.iter().filter(|e| e.last).map(|e| e.version));
        let other = Batch { topic: self.topic, ..batch.clone() };
        self.memory.append(Arc::new(batch)).await.expect("memory takes it");
        self.postgres.append(Arc::new(other)).await.expect("postgres takes it");
        self.writer.mind = Mind::default();
    }

    fn command(&self, rng: &mut SmallRng) -> Command {
        let content = |rng: &mut SmallRng| {
            let key = KEYS[rng.random_range(0..KEYS.len())];
            match rng.random_range(0..10) {
                0 => rich(key),
                n => content(key, ["1", "\"é\\u0000\"", "{ \"a\": [1e400] }"][n % 3]),
            }
        };
        match rng.random_range(0..12) {
            0..=1 if !self.ends.is_empty() => {
                invalidate(rng.random_range(0..self.ends.len() as u64))
            }
            2 => named(content(rng), ["x", "y", "z"][rng.random_range(0..3)]),
            3..=4 => {
                let (epoch, number) = (rng.random_range(0..2), rng.random_range(0..6));
                line(content(rng), ["p", "q"][rng.random_range(0..2)], epoch, number)
            }
            _ => write((0..rng.random_range(1..5)).map(|_| content(rng)).collect()),
        }
    }

    async fn compare(&self, rng: &mut SmallRng) {
        let topic = &name(TOPIC);
        let Some(head) = self.memory.head(topic).await.expect("a head") else { return };
        assert_eq!(self.postgres.head(topic).await.expect("a head"), Some(head));
        self.compare_surface(rng, head).await;
        let scan = Scan {
            from: Seq(rng.random_range(0..=head.seq.0)),
            to: Seq(rng.random_range(0..head.seq.0 + 3)),
            limit: rng.random_range(1..20),
            bytes: rng.random_range(1..100),
            direction: if rng.random() { Direction::Forward } else { Direction::Backward },
        };
        let ours = self.postgres.events(topic, scan).await.expect("events");
        assert_eq!(ours, self.memory.events(topic, scan).await.expect("events"), "{scan:?}");
        let key = &key(KEYS[rng.random_range(0..KEYS.len())]);
        let ours = self.postgres.history(topic, key, scan).await.expect("history");
        let theirs = self.memory.history(topic, key, scan).await.expect("history");
        assert_eq!(ours, theirs, "{key:?} {scan:?}");
        let number = TransactionNo(rng.random_range(0..self.ends.len() as u64 + 2));
        let ours = self.postgres.transaction(topic, number).await.expect("a transaction");
        assert_eq!(ours, self.memory.transaction(topic, number).await.expect("a transaction"));
        self.compare_facts(rng, head).await;
    }

    async fn compare_surface(&self, rng: &mut SmallRng, head: Version) {
        let at = match rng.random_range(0..3) {
            0 => head,
            _ => self.ends[rng.random_range(0..self.ends.len())],
        };
        let after = rng.random::<bool>().then(|| KEYS[rng.random_range(0..KEYS.len())].into());
        let prefix = ["", "a", "\u{10FFFF}", "\u{D7FF}"][rng.random_range(0..4)].into();
        let keys = match rng.random_range(0..4) {
            0 => KeyRange::Exactly(key(KEYS[rng.random_range(0..KEYS.len())])),
            _ => KeyRange::Prefix { prefix, after },
        };
        let scan = SurfaceScan { at, keys, limit: rng.random_range(1..10), bytes: usize::MAX };
        let ours = self.postgres.surface(&name(TOPIC), &scan).await.expect("a surface");
        let theirs = self.memory.surface(&name(TOPIC), &scan).await.expect("a surface");
        assert_eq!(ours, theirs, "{scan:?}");
    }

    async fn compare_facts(&self, rng: &mut SmallRng, head: Version) {
        let mut wanted = Wanted {
            targets: (0..self.ends.len() as u64 + 1).map(TransactionNo).collect(),
            marks: (0..=head.seq.0).map(Seq).collect(),
            ..Wanted::default()
        };
        wanted.idempotency =
            ["x", "y", "z", "w"].map(|text| IdempotencyKey::parse(text).expect("visible")).to_vec();
        wanted.producers =
            ["p", "q", "r"].map(|text| ProducerId::parse(text).expect("visible")).to_vec();
        if rng.random_range(0..3) == 0 {
            // Facts of keys are as of the fold.
            self.postgres.fold(self.topic, head.seq, None).await.expect("folds");
            wanted.keys = KEYS.map(key).to_vec();
        }
        let theirs = self.memory.facts(self.writer.topic, wanted.clone()).await.expect("facts");
        let ours = self.postgres.facts(self.topic, wanted.clone()).await.expect("facts");
        assert_eq!(ours, theirs);
        let mut replays = Wanted::default();
        for (producer, state) in wanted.producers.iter().zip(&theirs.producers) {
            if state.next_line > 0 {
                let first = rng.random_range(0..state.next_line);
                let count = rng.random_range(1..=state.next_line - first) as usize;
                replays.replays.push(Lines { producer: producer.clone(), first, count });
            }
        }
        let theirs = self.memory.facts(self.writer.topic, replays.clone()).await.expect("facts");
        let ours = self.postgres.facts(self.topic, replays.clone()).await.expect("facts");
        assert_eq!(ours, theirs, "{replays:?}");
    }
}

#[tokio::test]
async fn random_commands_leave_the_same_topic_in_memory_and_in_postgres() {
    let replay = std::env::var("TIDELOG_SEED").ok().map(|text| text.parse().expect("a number"));
    let seeds = replay.map_or(0..6_u64, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!("TIDELOG_SEED={seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let memory = MemoryStore::default();
        let cluster = Cluster::shared();
        let url = cluster.database();
        let postgres = connect(&url).await;
        let writer = Writer::open(&memory, TOPIC).await;
        let topic = Writer::open(&postgres, TOPIC).await.topic;
        let mut pair = Pair { memory, postgres, writer, topic, ends: Vec::new() };
        for _ in 0..80 {
            if rng.random_range(0..15) == 0 {
                pair.open().await;
            }
            pair.step(&mut rng).await;
            pair.compare(&mut rng).await;
        }
        assert!(pair.ends.len() > 20, "the run did something");
        assert_eq!(cluster.sql(&url, UNSOUND), "");
    }
}
