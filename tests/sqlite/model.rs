//! SQLite against the memory store: the same random commands, then the same answers.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::{
    Batch, Command, Idempotency, IdempotencyKey, IdempotencyRecord, Invalidate, Key, KeyState,
    Known, Planner, ProducerId, ProducerLine, ProducerState, Receipt, Seq, TargetState, Timestamp,
    TopicId, TransactionNo, Version, Write,
};
use tidelog::store::memory::MemoryStore;
use tidelog::store::sqlite::SqliteStore;
use tidelog::store::{
    Direction, EventSourceReader, EventSourceWriter, Facts, KeyRange, Lines, Scan, SurfaceScan,
    Wanted,
};

use crate::support::{Place, content, key, name};

const KEYS: [&str; 6] = ["a", "a/1", "a/2", "b", "ba", "é"];

/// What the rules look up, from the memory store and from what the batch did since.
struct Rules<'m> {
    memory: &'m MemoryStore,
    topic: TopicId,
    keys: HashMap<Key, KeyState>,
    producers: HashMap<ProducerId, ProducerState>,
    records: HashMap<IdempotencyKey, IdempotencyRecord>,
}

impl Rules<'_> {
    fn facts(&self, wanted: Wanted) -> Facts {
        let facts = self.memory.facts(self.topic, wanted);
        futures::executor::block_on(facts).expect("memory knows")
    }
}

impl Known for Rules<'_> {
    fn key(&mut self, key: &Key) -> KeyState {
        let wanted = Wanted { keys: vec![key.clone()], ..Wanted::default() };
        self.keys.get(key).copied().unwrap_or_else(|| self.facts(wanted).keys[0])
    }
    fn note_key(&mut self, key: &Key, state: KeyState) {
        self.keys.insert(key.clone(), state);
    }
    fn idempotency(&self, key: &IdempotencyKey) -> Option<&IdempotencyRecord> {
        self.records.get(key)
    }
    fn producer(&self, producer: &ProducerId) -> ProducerState {
        let wanted = Wanted { producers: vec![producer.clone()], ..Wanted::default() };
        self.producers.get(producer).copied().unwrap_or_else(|| self.facts(wanted).producers[0])
    }
    fn note_producer(&mut self, producer: &ProducerId, state: ProducerState) {
        self.producers.insert(producer.clone(), state);
    }
    fn replay(&self, line: &ProducerLine) -> Receipt {
        unreachable!("{line:?} is always the next one")
    }
    fn target(&self, transaction: TransactionNo) -> TargetState {
        let wanted = Wanted { targets: vec![transaction], ..Wanted::default() };
        self.facts(wanted).targets[0]
    }
}

/// Both stores and the random choices.
struct Pair {
    sqlite: SqliteStore,
    memory: MemoryStore,
    planner: Planner,
    /// The topic's id in SQLite; in the planner is memory's.
    id: TopicId,
    records: HashMap<IdempotencyKey, IdempotencyRecord>,
    random: SmallRng,
}

impl Pair {
    async fn new(place: &Place, seed: u64) -> Self {
        let (sqlite, memory) = (place.open(), MemoryStore::default());
        sqlite.open(&name("another")).await.unwrap();
        let taken = sqlite.open(&name("t")).await.unwrap();
        let opened = memory.open(&name("t")).await.unwrap();
        let planner = Planner::new(opened.topic, opened.epoch, opened.head, opened.frontier);
        let random = SmallRng::seed_from_u64(seed);
        Self { sqlite, memory, planner, id: taken.topic, records: HashMap::new(), random }
    }

    /// Takes the topic again, on both.
    async fn reopen(&mut self) {
        let taken = self.sqlite.open(&name("t")).await.unwrap();
        let opened = self.memory.open(&name("t")).await.unwrap();
        assert_eq!((taken.head, taken.epoch), (opened.head, opened.epoch));
        assert_eq!(taken.frontier, opened.frontier);
        self.planner = Planner::new(opened.topic, opened.epoch, opened.head, opened.frontier);
    }

    fn command(&mut self, rules: &Rules<'_>) -> Command {
        let random = &mut self.random;
        let count = random.random_range(1..4);
        let events = (0..count).map(|_| {
            let (of, data) = (random.random_range(0..KEYS.len()), random.random_range(0..3));
            content(KEYS[of], &data.to_string())
        });
        let events = events.collect();
        let idempotency = random.random_bool(0.2).then(|| Idempotency {
            key: IdempotencyKey::parse(&format!("i{}", random.random::<u64>())).unwrap(),
            request: random.random(),
        });
        let producer = random.random_bool(0.3).then(|| {
            let producer = ProducerId::parse(["p", "q"][random.random_range(0..2)]).unwrap();
            let state = rules.producer(&producer);
            let epoch = state.epoch + u64::from(random.random_bool(0.1));
            ProducerLine { producer, epoch, line: state.next_line }
        });
        Command::Write(Write { events, precondition: None, idempotency, producer })
    }

    /// Plans some writes, or an invalidation, and gives the batch to both stores.
    async fn step(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let topic = self.planner.begin(Timestamp(0)).topic;
        let records = self.records.clone();
        let mut rules = Rules {
            memory: &memory,
            topic,
            keys: HashMap::new(),
            producers: HashMap::new(),
            records,
        };
        let mut batch = self.planner.begin(Timestamp(self.random.random_range(0..1 << 50)));
        if self.random.random_bool(0.3) {
            let newest = self.planner.head().map_or(0, |head| head.transaction.0);
            let transaction = TransactionNo(self.random.random_range(0..newest + 2));
            let invalidate = Invalidate { transaction, reason: None, idempotency: None };
            // A rejection is as good: nothing is planned then.
            let _ = self.planner.decide(&Command::Invalidate(invalidate), &mut rules, &mut batch);
        } else {
            for _ in 0..self.random.random_range(1..5) {
                let command = self.command(&rules);
                self.planner.decide(&command, &mut rules, &mut batch).expect("accepted");
            }
        }
        self.planner.seal(&mut batch);
        self.memory = memory;
        self.records.extend(batch.idempotency.iter().map(|r| (r.key.clone(), r.clone())));
        let there = Arc::new(Batch { topic: self.id, ..batch.clone() });
        self.memory.append(Arc::new(batch)).await.unwrap();
        self.sqlite.append(there).await.unwrap();
    }

    fn head(&self) -> Option<Version> {
        self.planner.head()
    }

    /// Reads of everything there is, each at a random place.
    async fn compare_reads(&mut self) {
        let t = name("t");
        assert_eq!(self.sqlite.head(&t).await.unwrap(), self.memory.head(&t).await.unwrap());
        let topics = self.sqlite.topics("", None, 9).await.unwrap();
        assert_eq!(topics, self.memory.topics("", None, 9).await.unwrap());
        let Some(head) = self.head() else { return };
        for direction in [Direction::Forward, Direction::Backward] {
            let (x, y) = (self.random.random_range(0..=head.seq.0), self.random.random());
            let limit = self.random.random_range(1..20);
            let scan = Scan {
                from: Seq(x),
                to: Seq(x.saturating_add(y)),
                limit,
                direction,
                bytes: usize::MAX,
            };
            let scan = if y % 2 == 0 { Scan { from: Seq(0), to: Seq(x), ..scan } } else { scan };
            let clamped = Scan { to: scan.to.min(head.seq), ..scan };
            let events = self.memory.events(&t, clamped).await.unwrap();
            assert_eq!(self.sqlite.events(&t, scan).await.unwrap(), events, "{scan:?}");
            let of = key(KEYS[self.random.random_range(0..KEYS.len())]);
            let history = self.memory.history(&t, &of, clamped).await.unwrap();
            assert_eq!(self.sqlite.history(&t, &of, scan).await.unwrap(), history, "{scan:?}");
        }
        let n = TransactionNo(self.random.random_range(0..head.transaction.0 + 2));
        let range = self.memory.transaction(&t, n).await.unwrap();
        assert_eq!(self.sqlite.transaction(&t, n).await.unwrap(), range, "{n}");
        let at = range.map_or(head, |(_, last)| Version { seq: last, transaction: n });
        let keys = self.keys();
        let scan =
            SurfaceScan { at, keys, limit: self.random.random_range(1..8), bytes: usize::MAX };
        let surface = self.memory.surface(&t, &scan).await.unwrap();
        assert_eq!(self.sqlite.surface(&t, &scan).await.unwrap(), surface, "{scan:?}");
    }

    fn keys(&mut self) -> KeyRange {
        if self.random.random_bool(0.2) {
            return KeyRange::Exactly(key(KEYS[self.random.random_range(0..KEYS.len())]));
        }
        let prefix = ["", "a", "a/", "b", "c", "é"][self.random.random_range(0..6)].to_owned();
        let after = ["a", "a/1", "b", "zz"][self.random.random_range(0..4)].to_owned();
        KeyRange::Prefix { prefix, after: self.random.random_bool(0.5).then_some(after) }
    }

    /// Brings the surface forward, maybe not to the head: key facts are as of where it is then.
    async fn fold_somewhere(&mut self, head: Version) {
        let to = Seq(self.random.random_range(0..=head.seq.0));
        let folded = self.sqlite.fold(self.id, to, None).await.unwrap();
        assert!((to..=head.seq).contains(&folded));
        let keys: Vec<_> = KEYS.iter().map(|k| key(k)).collect();
        let wanted = Wanted { keys: keys.clone(), ..Wanted::default() };
        let states = self.sqlite.facts(self.id, wanted).await.unwrap().keys;
        for (of, state) in keys.into_iter().zip(states) {
            let at = Version { seq: folded, ..head };
            let scan = SurfaceScan { at, keys: KeyRange::Exactly(of), limit: 1, bytes: usize::MAX };
            let surface = self.memory.surface(&name("t"), &scan).await.unwrap();
            let expected = surface.first().map(|read| read.event.version);
            assert_eq!(state.standing.map(|standing| standing.version), expected, "{scan:?}");
        }
    }

    async fn compare_facts(&mut self) {
        let Some(head) = self.head() else { return };
        assert_eq!(self.sqlite.fold(self.id, head.seq, None).await.unwrap(), head.seq);
        let producers = ["p", "q", "nobody"].map(|p| ProducerId::parse(p).unwrap());
        let mut wanted = Wanted {
            keys: KEYS.iter().chain(&["new"]).map(|k| key(k)).collect(),
            targets: (0..head.transaction.0 + 2).map(TransactionNo).collect(),
            idempotency: self.records.keys().cloned().collect(),
            producers: producers.to_vec(),
            replays: Vec::new(),
            marks: (0..head.seq.0 + 2).map(Seq).collect(),
        };
        wanted.idempotency.push(IdempotencyKey::parse("never").unwrap());
        let memory_id = self.planner.begin(Timestamp(0)).topic;
        let states = self.memory.facts(memory_id, wanted.clone()).await.unwrap().producers;
        for (producer, state) in producers.into_iter().zip(states) {
            if state.next_line > 0 {
                let first = self.random.random_range(0..state.next_line);
                let count = self.random.random_range(1..=(state.next_line - first)) as usize;
                wanted.replays.push(Lines { producer, first, count });
            }
        }
        let expected = self.memory.facts(memory_id, wanted.clone()).await.unwrap();
        let found = self.sqlite.facts(self.id, wanted).await.unwrap();
        assert_eq!(replayed(found), replayed(expected));
    }
}

/// Receipts that are read from bytes say that they are replayed.
fn replayed(mut facts: Facts) -> Facts {
    let kept = facts.idempotency.iter_mut().flatten().map(|record| &mut record.receipt);
    kept.chain(facts.replays.iter_mut().flatten()).for_each(|receipt| receipt.replayed = true);
    facts
}

/// The view `surface`, computed by the database however far the fold is.
fn surface_view(place: &Place) -> Vec<(String, u64)> {
    let raw = place.raw();
    let sql = "SELECT key, seq FROM surface WHERE topic = 't' ORDER BY key";
    let mut statement = raw.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)));
    rows.unwrap().map(Result::unwrap).collect()
}

async fn run(seed: u64) {
    let place = Place::new();
    let mut pair = Pair::new(&place, seed).await;
    for _ in 0..30 {
        for _ in 0..pair.random.random_range(1..6) {
            pair.step().await;
        }
        if let Some(head) = pair.head() {
            let keys = KeyRange::Prefix { prefix: String::new(), after: None };
            let scan = SurfaceScan { at: head, keys, limit: 100, bytes: usize::MAX };
            let surface = pair.memory.surface(&name("t"), &scan).await.unwrap();
            let surface = surface.iter().map(|read| match &read.event.body {
                tidelog::domain::EventBody::Content(content) => {
                    (content.key.as_str().to_owned(), read.event.version.seq.0)
                }
                other => panic!("{other:?} on a surface"),
            });
            assert_eq!(surface_view(&place), surface.collect::<Vec<_>>(), "before any fold");
            if pair.random.random_bool(0.3) {
                pair.fold_somewhere(head).await;
            }
        }
        pair.compare_reads().await;
        if pair.random.random_bool(0.2) {
            pair.compare_facts().await;
        }
        if pair.random.random_bool(0.1) {
            pair.reopen().await;
        }
    }
    pair.compare_facts().await;
    pair.compare_reads().await;
    let before = Timestamp(1 << 49); // Half of all the times there are.
    let expired = pair.memory.expire(before).await.unwrap();
    assert_eq!(pair.sqlite.expire(before).await.unwrap(), expired);
    pair.compare_facts().await;
}

#[tokio::test]
async fn sqlite_answers_as_the_memory_store_does() {
    for seed in 0..24 {
        println!("seed {seed}");
        run(seed).await;
    }
}

#[tokio::test]
async fn a_surface_of_many_steps_is_the_same_surface() {
    let place = Place::new();
    let mut pair = Pair::new(&place, 7).await;
    let memory_id = pair.planner.begin(Timestamp(0)).topic;
    for round in 0..13_u64 {
        let memory = std::mem::take(&mut pair.memory);
        let mut rules = Rules {
            memory: &memory,
            topic: memory_id,
            keys: HashMap::new(),
            producers: HashMap::new(),
            records: HashMap::new(),
        };
        let mut batch = pair.planner.begin(Timestamp(1));
        if round == 4 || round == 9 || round == 10 {
            let transaction = TransactionNo(round - 2);
            let invalidate = Invalidate { transaction, reason: None, idempotency: None };
            let command = Command::Invalidate(invalidate);
            pair.planner.decide(&command, &mut rules, &mut batch).expect("accepted");
        }
        let events = (0..1_500).map(|n| content(&format!("k{}", n % 900), &format!("{round}{n}")));
        let command = crate::support::write(events);
        rules.keys.clear();
        if round != 4 && round != 9 && round != 10 {
            pair.planner.decide(&command, &mut rules, &mut batch).expect("accepted");
        }
        pair.planner.seal(&mut batch);
        pair.memory = memory;
        let there = Arc::new(Batch { topic: pair.id, ..batch.clone() });
        pair.memory.append(Arc::new(batch)).await.unwrap();
        pair.sqlite.append(there).await.unwrap();
    }
    let keys = KeyRange::Prefix { prefix: String::new(), after: None };
    let scan = SurfaceScan { at: pair.head().unwrap(), keys, limit: 2_000, bytes: usize::MAX };
    let surface = pair.memory.surface(&name("t"), &scan).await.unwrap();
    assert_eq!(surface.len(), 900);
    assert_eq!(pair.sqlite.surface(&name("t"), &scan).await.unwrap(), surface);
    pair.compare_facts().await;
}
