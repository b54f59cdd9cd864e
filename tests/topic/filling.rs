//! New keys need no look-up after a restart either, and de-duplication stays exact while the
//! filters are filled: whatever is written, forgotten, invalidated or restarted meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::{Ack, Command, TopicName};
use tidelog::topic::{Session, Settings, Topics};

use crate::support::*;

/// Of each command its seq, and whether it was a duplicate.
async fn told(session: &mut Session, commands: Vec<Command>) -> Vec<(u64, bool)> {
    let outcome = session.submit(commands).await.expect("there is room").await;
    assert_eq!(outcome.failure, None);
    let told = outcome.receipts.iter().map(|receipt| {
        let Ack { version, duplicate } = receipt.acks[0];
        (version.seq.0, duplicate)
    });
    told.collect()
}

fn keys(prefix: &str, count: usize) -> Vec<Command> {
    (0..count).map(|n| write(&format!("{prefix}{n}"), "1")).collect()
}

#[actix_rt::test]
async fn new_keys_are_not_looked_up_for_ever_after_a_restart() {
    let store = FaultyStore::new();
    let writers =
        |store: &Arc<FaultyStore>| Topics::new(Arc::clone(store) as _, Settings::default());
    let (before, topic) = (writers(&store), topic());
    let old = told(&mut before.session(&topic).unwrap(), keys("old", 3_000)).await;
    assert_eq!(store.keys_looked_up.load(Ordering::SeqCst), 0, "it has seen all of them");

    let after = writers(&store);
    let mut session = after.session(&topic).unwrap();
    told(&mut session, keys("few", 500)).await;
    assert_eq!(store.pages.load(Ordering::SeqCst), 0, "a topic with few new keys does not pay");
    told(&mut session, keys("more", 1_000)).await;
    assert_eq!(store.keys_looked_up.load(Ordering::SeqCst), 1_500);
    // Nothing tells when it is done but that it is done.
    let filled = async {
        for n in 0.. {
            let looked_up = store.keys_looked_up.load(Ordering::SeqCst);
            told(&mut session, keys(&format!("poll{n}-"), 1)).await;
            if store.keys_looked_up.load(Ordering::SeqCst) == looked_up {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), filled).await.expect("it is filled");
    store.keys_looked_up.store(0, Ordering::SeqCst);
    assert!(told(&mut session, keys("new", 3_000)).await.iter().all(|(_, duplicate)| !duplicate));
    let wrong = store.keys_looked_up.load(Ordering::SeqCst);
    assert!(wrong < 100, "{wrong} of 3,000 new keys were looked up");
    let again = told(&mut session, keys("old", 3_000)).await;
    assert_eq!(again, old.iter().map(|(seq, _)| (*seq, true)).collect::<Vec<_>>());
}

/// What a topic has: of every key its versions, and whether they stand.
#[derive(Default)]
struct Model {
    versions: HashMap<String, Vec<(u64, String)>>,
    /// Of every transaction, which are of one event, the key; `None` of those that do not stand.
    transactions: Vec<Option<String>>,
}

impl Model {
    fn write(&mut self, key: &str, data: &str) -> (u64, bool) {
        let versions = self.versions.entry(key.to_owned()).or_default();
        let standing =
            versions.iter().rev().find(|(seq, _)| self.transactions[*seq as usize].is_some());
        if let Some((seq, _)) = standing.filter(|(_, own)| own == data) {
            return (*seq, true);
        }
        let seq = self.transactions.len() as u64;
        versions.push((seq, data.to_owned()));
        self.transactions.push(Some(key.to_owned()));
        (seq, false)
    }

    /// Nothing happens where it does not stand, or is an invalidation itself.
    fn invalidate(&mut self, transaction: usize) {
        if self.transactions[transaction].take().is_some() {
            self.transactions.push(None);
        }
    }
}

#[actix_rt::test]
async fn whatever_happens_while_filters_are_filled_every_answer_is_right() {
    let seed = std::env::var("TIDELOG_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let limits = |topic, total| Settings {
        keys_bytes_max: topic,
        keys_bytes_total_max: total,
        unfolded_events_max: 300,
        batch_events_max: 100,
        ..Settings::default()
    };
    // With room for filters of all keys, of some, and of none.
    for (limits, seed) in
        [limits(200_000, 300_000), limits(40_000, 60_000), limits(1, 1)].iter().zip(seed..)
    {
        println!("TIDELOG_SEED={seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let store = FaultyStore::new();
        let mut topics = Topics::new(Arc::clone(&store) as _, limits.clone());
        let names: Vec<TopicName> =
            ["a", "b"].map(|name| TopicName::parse(name).expect("a name")).to_vec();
        let mut models = [Model::default(), Model::default()];
        for round in 0..60 {
            if random.random_ratio(1, 6) {
                topics = Topics::new(Arc::clone(&store) as _, limits.clone());
            }
            // Filling goes on while batches are written, or waits until the round is over.
            let held = random.random_bool(0.5);
            let hold = if held { Some(store.reading.lock().await) } else { None };
            for (name, model) in names.iter().zip(&mut models) {
                let mut session = topics.session(name).unwrap();
                let (mut commands, mut expected) = (Vec::new(), Vec::new());
                for n in 0..random.random_range(1..400) {
                    let key = match random.random_range(0..4) {
                        0 => format!("hot{}", random.random_range(0..10)),
                        1 => format!("old{}", random.random_range(0..3_000)),
                        _ => format!("new{round}-{n}"),
                    };
                    let data = random.random_range(0..2).to_string();
                    expected.push(model.write(&key, &data));
                    commands.push(write(&key, &data));
                }
                assert_eq!(told(&mut session, commands).await, expected, "round {round}");
                if random.random_ratio(1, 3) {
                    let transaction = random.random_range(0..model.transactions.len());
                    let _ = topics.submit(name, invalidate(transaction as u64)).await;
                    model.invalidate(transaction);
                }
            }
            drop(hold);
        }
        for (name, model) in names.iter().zip(&models) {
            assert_eq!(store.log(name).await.len(), model.transactions.len());
        }
        assert!(store.pages.load(Ordering::SeqCst) > 0, "filters were filled, or not for long");
    }
}
