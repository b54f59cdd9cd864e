//! Random commands, planned once and given to a back-end and to the memory store, with folds,
//! new writers and restarts in between: every read must be the same.
//!
//! `TIDELOG_SEED=7 cargo test --test store model` replays one seed.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::{
    Batch, BatchMark, Command, Content, ContentHash, ContentType, Data, Epoch, EventType,
    IdempotencyKey, Key, Precondition, Seq, Timestamp, TransactionNo, Version,
};
use tidelog::store::memory::MemoryStore;
use tidelog::store::{Direction, KeyRange, Lines, Opened, Scan, SurfaceScan, Wanted};

use crate::backends::{Stand, Store};
use crate::make::{
    NOW, content, invalidate, json, key, line, named, on, producer, register, write,
};
use crate::writer::{Writer, as_given, open};

on_every_backend!(random_commands_are_read_as_from_the_memory_store);

const SEEDS: u64 = 8;
const STEPS: usize = 60;
const KEYS: [&str; 9] =
    ["a", "a\u{1}", "a%", "a_", "ab", "é", "\u{d7ff}", "\u{e000}", "\u{10ffff}\u{10ffff}"];
const NAMES: [&str; 4] = ["x", "y", "z", "never"];
const PRODUCERS: [&str; 3] = ["p", "q", "never"];

async fn random_commands_are_read_as_from_the_memory_store(mut stand: Stand) {
    let replay = std::env::var("TIDELOG_SEED").ok();
    let replay = replay.map(|text| text.parse::<u64>().expect("TIDELOG_SEED is a number"));
    for seed in replay.map_or(0..SEEDS, |seed| seed..seed + 1) {
        println!("TIDELOG_SEED={seed}");
        run(&mut stand, seed).await;
    }
}

struct Run {
    random: SmallRng,
    /// The memory store, and the same topic there.
    memory: Store,
    there: Opened,
    writer: Writer,
}

async fn run(stand: &mut Stand, seed: u64) {
    let topic = format!("topic-{seed}");
    let memory = Store::of(MemoryStore::default());
    let writer = Writer::open(&stand.store, &topic).await;
    let there = open(&*memory.writer, &writer.name).await;
    let random = SmallRng::seed_from_u64(seed);
    let mut run = Run { random, memory, there, writer };
    for _ in 0..STEPS {
        match run.random.random_range(0..20) {
            0 => {
                stand.reopen().await;
                run.take(&stand.store, &topic).await;
            }
            1 => run.take(&stand.store, &topic).await,
            2 => run.take(&stand.other().await, &topic).await,
            3..=5 => run.fold().await,
            _ => run.step().await,
        }
        run.compare().await;
    }
    assert!(run.writer.book.events.len() > STEPS, "the run did something");
    assert!(!run.writer.book.invalidations.is_empty());
}

impl Run {
    /// A new writer, on both sides.
    async fn take(&mut self, store: &Store, topic: &str) {
        let book = self.writer.book.clone();
        self.writer = Writer::take(store, topic, book).await;
        self.there = open(&*self.memory.writer, &self.writer.name).await;
        let (ours, there) = (&self.writer.opened, &self.there);
        assert_eq!((ours.head, &ours.frontier), (there.head, &there.frontier));
    }

    async fn fold(&mut self) {
        if let Some(head) = self.writer.planner.head() {
            let to = Seq(self.random.random_range(0..=head.seq.0));
            let folded = self.writer.fold(to).await;
            assert!(folded <= head.seq);
        }
    }

    /// Plans some commands, and writes those that are accepted on both sides.
    async fn step(&mut self) {
        let now = Timestamp(NOW.0 + self.random.random_range(-1_000_000_000..1_000_000_000));
        let mut batch = self.writer.planner.begin(now);
        for _ in 0..self.random.random_range(1..5) {
            let command = self.command();
            let Writer { planner, book, .. } = &mut self.writer;
            let _ = planner.decide(&command, book, &mut batch); // A rejection changes nothing.
            book.keep(&batch);
        }
        self.writer.planner.seal(&mut batch);
        let Opened { topic, epoch, .. } = self.there;
        let same = Batch { topic, epoch, ..batch.clone() };
        self.memory.writer.append(Arc::new(same)).await.expect("the memory store writes it");
        self.writer.send(&Arc::new(batch)).await.expect("the store writes it");
    }

    fn command(&mut self) -> Command {
        let newest = self.writer.planner.head().map_or(0, |head| head.transaction.0);
        let random = &mut self.random;
        match random.random_range(0..16) {
            0 | 1 => invalidate(random.random_range(0..=newest + 1)),
            2 => named(invalidate(random.random_range(0..=newest)), NAMES[0], 0),
            3 => register(PRODUCERS[0], random.random_range(0..4), random.random_range(0..4)),
            kind => {
                let events: Vec<_> =
                    (0..random.random_range(1..5)).map(|_| some_content(random)).collect();
                let command = write(events);
                match kind {
                    4 => {
                        named(command, NAMES[random.random_range(0..3)], random.random_range(0..2))
                    }
                    5..=7 => {
                        let of = PRODUCERS[random.random_range(0..2)];
                        line(command, of, random.random_range(0..4), random.random_range(0..9))
                    }
                    8 => on(Precondition::HeadIs(Seq(newest)), command),
                    _ => command,
                }
            }
        }
    }

    fn some_key(&mut self) -> Key {
        key(KEYS[self.random.random_range(0..KEYS.len())])
    }

    fn some_seq(&mut self, head: Version) -> Seq {
        Seq(self.random.random_range(0..=head.seq.0 + 3))
    }

    async fn compare(&mut self) {
        self.compare_topics().await;
        let Some(head) = self.writer.planner.head() else { return };
        self.compare_events(head).await;
        for _ in 0..3 {
            self.compare_surface(head).await;
        }
        self.compare_facts(head).await;
    }

    async fn compare_topics(&self) {
        let name = &self.writer.name;
        let (ours, memory) = (&self.writer.store.reader, &self.memory.reader);
        let (ours_head, memory_head) = (ours.head(name).await, memory.head(name).await);
        assert_eq!(ours_head.expect("a head"), memory_head.expect("a head"));
        let ours = ours.topics(name.as_str(), None, 9).await.expect("topics");
        assert_eq!(ours, memory.topics(name.as_str(), None, 9).await.expect("topics"));
    }

    async fn compare_events(&mut self, head: Version) {
        let scan = Scan {
            from: self.some_seq(head),
            to: self.some_seq(head),
            limit: self.random.random_range(1..20),
            direction: [Direction::Forward, Direction::Backward][self.random.random_range(0..2)],
            bytes: usize::MAX,
        };
        let key = self.some_key();
        let number = TransactionNo(self.random.random_range(0..head.transaction.0 + 3));
        let (ours, memory) = (&self.writer.store.reader, &self.memory.reader);
        let name = &self.writer.name;
        let expected = memory.events(name, scan).await.expect("events");
        assert_eq!(ours.events(name, scan).await.expect("events"), expected, "{scan:?}");
        let expected = memory.history(name, &key, scan).await.expect("a history");
        let found = ours.history(name, &key, scan).await.expect("a history");
        assert_eq!(found, expected, "{key:?} {scan:?}");
        let expected = memory.transaction(name, number).await.expect("an answer");
        let found = ours.transaction(name, number).await.expect("an answer");
        assert_eq!(found, expected, "{number}");
    }

    async fn compare_surface(&mut self, head: Version) {
        let ends = self.writer.book.events.iter().filter(|event| event.last);
        let ends: Vec<Version> = ends.map(|event| event.version).collect();
        let at = match self.random.random_range(0..3) {
            0 => head,
            _ => ends[self.random.random_range(0..ends.len())],
        };
        let keys = if self.random.random_bool(0.2) {
            KeyRange::Exactly(self.some_key())
        } else {
            let prefix = ["", "", "a", "a_", "\u{d7ff}", "\u{10ffff}"];
            let prefix = prefix[self.random.random_range(0..6)].to_owned();
            let after = self.some_key().as_str().to_owned();
            KeyRange::Prefix { prefix, after: self.random.random_bool(0.5).then_some(after) }
        };
        let scan =
            SurfaceScan { at, keys, limit: self.random.random_range(1..12), bytes: usize::MAX };
        let expected = self.memory.reader.surface(&self.writer.name, &scan).await;
        let found = self.writer.store.reader.surface(&self.writer.name, &scan).await;
        assert_eq!(found.expect("a surface"), expected.expect("a surface"), "{scan:?}");
    }

    async fn compare_facts(&mut self, head: Version) {
        let mut wanted = Wanted {
            targets: (0..=head.transaction.0 + 1).map(TransactionNo).collect(),
            idempotency: NAMES.map(|n| IdempotencyKey::parse(n).expect("visible")).to_vec(),
            producers: PRODUCERS.map(producer).to_vec(),
            marks: (0..=head.seq.0 + 1).map(Seq).collect(),
            ..Wanted::default()
        };
        if self.random.random_bool(0.3) {
            self.writer.fold(head.seq).await; // At the head, the facts of keys are exact.
            wanted.keys = KEYS.map(key).to_vec();
        }
        for of in &PRODUCERS[..2] {
            let state = self.writer.book.producers.get(&producer(of));
            let next = state.map_or(0, |(state, _)| state.next_line);
            if next > 0 {
                let first = self.random.random_range(0..next);
                let count = self.random.random_range(1..=next - first) as usize;
                wanted.replays.push(Lines { producer: producer(of), first, count });
            }
        }
        let expected = self.memory.writer.facts(self.there.topic, wanted.clone()).await;
        let mut expected = as_given(expected.expect("facts"));
        let mut found = self.writer.facts(wanted).await;
        // Epochs are each store's own.
        let root = |mark: BatchMark| BatchMark { epoch: Epoch(0), ..mark };
        for marks in [&mut expected.marks, &mut found.marks] {
            marks.iter_mut().for_each(|mark| *mark = mark.map(root));
        }
        assert_eq!(found, expected);
    }
}

fn some_content(random: &mut SmallRng) -> Content {
    let of = KEYS[random.random_range(0..KEYS.len())];
    let text = ["1", "[ 2 ]", "\"\\u0000\"", "{\"é\": 1e400}"][random.random_range(0..4)];
    if random.random_bool(0.8) {
        return content(of, text);
    }
    let hash = ContentHash::parse(text.into()).expect("a hash");
    let event_type = random.random_bool(0.5).then(|| EventType::parse(of.into()).expect("a type"));
    let data = match random.random_bool(0.5) {
        true => {
            let content_type = ContentType::parse("a/b".into()).expect("a type");
            Data::Binary(vec![0, 255, random.random_range(0..2)].into(), content_type)
        }
        false => Data::Json(json(text)),
    };
    let metadata = random.random_bool(0.5).then(|| json("{ \"by\" : null }"));
    Content::new(key(of), Some(hash), event_type, data, metadata)
}
