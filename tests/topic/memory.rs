//! De-duplication with bounded memory is exact: what the actor answers is what a model with all
//! events in view answers, however little the actor may remember.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::{Ack, Command, EventBody, ProducerId, ProducerLine, Write};
use tidelog::topic::{Settings, Topics, WriteError};

use crate::support::*;

/// The contract in a few lines: events in order, and which transactions do not stand.
#[derive(Default)]
struct Model {
    events: Vec<(u64, Option<(String, String)>)>,
    transactions: u64,
    invalidated: Vec<u64>,
}

impl Model {
    fn surface(&self, key: &str) -> Option<(u64, &str)> {
        self.events.iter().enumerate().rev().find_map(|(seq, (transaction, event))| {
            let (own, data) = event.as_ref()?;
            let stands = own == key && !self.invalidated.contains(transaction);
            stands.then_some((seq as u64, data.as_str()))
        })
    }

    /// The seq and whether it is a duplicate.
    fn write(&mut self, key: &str, data: &str) -> (u64, bool) {
        if let Some((seq, _)) = self.surface(key).filter(|(_, own)| *own == data) {
            return (seq, true);
        }
        self.events.push((self.transactions, Some((key.into(), data.into()))));
        self.transactions += 1;
        (self.events.len() as u64 - 1, false)
    }

    fn invalidate(&mut self, transaction: u64) -> bool {
        let target = self.events.iter().find(|(own, _)| *own == transaction);
        let valid = target.is_some_and(|(_, event)| event.is_some());
        if valid && !self.invalidated.contains(&transaction) {
            self.invalidated.push(transaction);
            self.events.push((self.transactions, None));
            self.transactions += 1;
        }
        valid
    }
}

#[actix_rt::test]
async fn with_little_memory_every_answer_is_the_same_as_with_all_events_in_view() {
    let seed = std::env::var("TIDELOG_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let tight = Settings {
        keys_bytes_max: 2_000,
        unfolded_events_max: 8,
        batch_events_max: 5,
        ..Settings::default()
    };
    for (limits, seed) in [(tight, seed), (Settings::default(), seed + 1)] {
        println!("TIDELOG_SEED={seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let store = FaultyStore::new();
        let topics = Topics::new(Arc::clone(&store) as _, limits);
        let (topic, mut model) = (topic(), Model::default());
        let mut session = topics.session(&topic).unwrap();
        for _ in 0..60 {
            if random.random_ratio(1, 40) {
                store.fail(random.random_range(0..4), Fault::UnknownLate);
            }
            let mut commands = Vec::new();
            let mut expected = Vec::new();
            for _ in 0..random.random_range(1..20) {
                let hot = random.random_ratio(1, 2);
                let key = format!("k{}", random.random_range(0..if hot { 4 } else { 200 }));
                let data = random.random_range(0..2).to_string();
                expected.push(model.write(&key, &data));
                commands.push(write(&key, &data));
            }
            let outcome = session.submit(commands).await.unwrap().await;
            assert_eq!(outcome.failure, None);
            let told = outcome.receipts.iter().map(|receipt| {
                let Ack { version, duplicate } = receipt.acks[0];
                (version.seq.0, duplicate)
            });
            assert_eq!(told.collect::<Vec<_>>(), expected);
            if model.transactions > 0 && random.random_ratio(1, 3) {
                let transaction = random.random_range(0..model.transactions);
                let told = topics.submit(&topic, invalidate(transaction)).await;
                assert_eq!(told.is_ok(), model.invalidate(transaction));
                assert!(matches!(told, Ok(_) | Err(WriteError::Rejected(_))));
            }
        }
        let log = store.log(&topic).await;
        assert_eq!(log.len(), model.events.len());
        for (read, (transaction, event)) in log.iter().zip(&model.events) {
            assert_eq!(read.event.version.transaction.0, *transaction);
            let key = match &read.event.body {
                EventBody::Content(content) => Some(content.key.as_str()),
                EventBody::Invalidation(_) => None,
            };
            assert_eq!(key, event.as_ref().map(|(key, _)| key.as_str()));
        }
    }
}

/// A producer's line.
fn line(line: u64, data: &str) -> Command {
    let Command::Write(write) = write(&format!("p{}", line % 7), data) else {
        unreachable!("it is a write")
    };
    let producer = ProducerId::parse("p").expect("a producer id");
    let producer = Some(ProducerLine { producer, epoch: 0, line });
    Command::Write(Write { producer, ..write })
}

#[actix_rt::test]
async fn lines_of_a_producer_that_are_sent_again_get_their_first_answers() {
    for fault in [None, Some(Fault::UnknownDone), Some(Fault::UnknownAfterFence)] {
        for call in 0..12 {
            let store = FaultyStore::new();
            let limits = Settings { batch_events_max: 3, ..Settings::default() };
            let topics = Topics::new(Arc::clone(&store) as _, limits);
            let topic = topic();
            if let Some(fault) = fault {
                store.fail(call, fault);
            }
            let mut first = topics.session(&topic).unwrap();
            let mut again = topics.session(&topic).unwrap();
            let lines = |from: u64| (from..20).map(|n| line(n, "1")).collect::<Vec<_>>();
            let a = first.submit(lines(0)).await.unwrap();
            let b = again.submit(lines(5)).await.unwrap();
            let (a, b) = futures::join!(a, b);
            assert_eq!((a.failure, b.failure), (None, None), "{fault:?} at {call}");
            for (one, other) in a.receipts[5..].iter().zip(&b.receipts) {
                assert_eq!(one.acks, other.acks, "{fault:?} at {call}");
                assert!(other.replayed);
            }
            assert_eq!(store.log(&topic).await.len(), 7, "each line once: {fault:?} at {call}");
        }
    }
}

/// Found by a review: the same was asked again and again, without a pause.
#[actix_rt::test]
async fn a_store_that_lost_the_answer_to_a_line_is_not_asked_for_it_without_end() {
    let store = FaultyStore::new();
    let write_timeout = Duration::from_millis(300);
    let topics =
        Topics::new(Arc::clone(&store) as _, Settings { write_timeout, ..Settings::default() });
    topics.submit(&topic(), line(0, "1")).await.expect("the store is there");
    *store.forgetful.lock() = true;
    store.lookups.store(0, Ordering::SeqCst);
    let topic = topic();
    let again = tokio::time::timeout(Duration::from_secs(10), topics.submit(&topic, line(0, "1")));
    assert_eq!(again.await.expect("an answer"), Err(WriteError::Unavailable));
    let lookups = store.lookups.load(Ordering::SeqCst);
    assert!(lookups < 20, "{lookups} look-ups");
}
