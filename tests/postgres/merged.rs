//! Batches of many topics in one statement: each has its own outcome (S10). And what the statement
//! for a batch that goes alone is not told for every event.

use std::sync::Arc;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::*;
use tidelog::store::{AppendError, Direction, EventSourceReader, EventSourceWriter, Scan};

use crate::cluster::Cluster;
use crate::plan::*;

const ALL: Scan = Scan {
    from: Seq(0),
    to: Seq(u64::MAX),
    limit: 10_000,
    bytes: usize::MAX,
    direction: Direction::Forward,
};

#[tokio::test]
async fn batches_that_are_ready_together_share_a_commit_and_nothing_else() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&url).await;
    let mut writers = Vec::new();
    for n in 0..200 {
        writers.push(Writer::open(&store, &format!("t{n}")).await);
    }
    let batches: Vec<_> =
        writers.iter_mut().map(|writer| writer.batch(&[one("k", "1"), one("l", "2")])).collect();
    let appends: Vec<_> = batches.iter().map(|batch| store.append(batch.clone())).collect();
    for (n, outcome) in join_all(appends).await.into_iter().enumerate() {
        outcome.unwrap_or_else(|error| panic!("topic {n}: {error}"));
    }
    for (n, batch) in batches.iter().enumerate() {
        let events = store.events(&name(&format!("t{n}")), ALL).await.expect("events");
        let read: Vec<_> = events.into_iter().map(|read| read.event).collect();
        assert_eq!(read, batch.events);
    }
    let commits = cluster.sql(&url, "SELECT count(DISTINCT xmin::text) FROM tidelog.event");
    assert!(commits.parse::<u32>().expect("a number") < 20, "{commits} commits for 200 batches");
}

/// One topic's batch is of a kind that fails the whole statement; there are further batches of
/// every topic right behind, in statements that are on their way already.
#[tokio::test]
async fn a_batch_that_the_database_cannot_hold_hurts_no_other_topic() {
    let store = connect(&Cluster::shared().database()).await;
    let mut writers = Vec::new();
    for n in 0..30 {
        writers.push(Writer::open(&store, &format!("t{n}")).await);
    }
    let mut appends = Vec::new();
    for round in 0..5 {
        for (n, writer) in writers.iter_mut().enumerate() {
            let batch = writer.batch(&[one("k", &format!("{round}"))]);
            let bad = n == 13 && round == 1;
            let batch = if bad { poison(&batch) } else { batch };
            appends.push((n, round, store.append(batch)));
        }
    }
    for (n, round, append) in appends {
        let outcome = append.await;
        match (n, round) {
            (13, 1) => assert!(matches!(outcome, Err(AppendError::Rejected(_))), "{outcome:?}"),
            (13, 2..) => assert!(matches!(outcome, Err(AppendError::Refused)), "{outcome:?}"),
            _ => assert!(outcome.is_ok(), "topic {n}, round {round}: {outcome:?}"),
        }
    }
    for n in 0..30 {
        let head = store.head(&name(&format!("t{n}"))).await.expect("a head");
        let last = if n == 13 { 0 } else { 4 };
        assert_eq!(head.map(|head| head.seq), Some(Seq(last)), "topic {n}");
    }
}

#[tokio::test]
async fn a_fenced_writer_is_refused_while_its_neighbours_commit() {
    let store = connect(&Cluster::shared().database()).await;
    let mut old = Writer::open(&store, "taken").await;
    let mut other = Writer::open(&store, "other").await;
    let mut new = Writer::open(&store, "taken").await;
    let appends =
        [store.append(old.batch(&[one("k", "1")])), store.append(other.batch(&[one("k", "1")]))];
    let [old_outcome, other_outcome] = join_all(appends).await.try_into().expect("two");
    assert!(matches!(old_outcome, Err(AppendError::Refused)), "{old_outcome:?}");
    other_outcome.expect("its neighbour commits");
    store.append(new.batch(&[one("k", "2")])).await.expect("the new writer's commits");
}

/// Somebody holds a lock on one topic's row: the others in the statement must not fail with it.
#[tokio::test]
async fn a_locked_topic_fails_alone_and_nothing_of_it_is_written() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let config = tidelog::store::postgres::Config {
        lock_timeout: std::time::Duration::from_millis(50),
        ..small(&url)
    };
    let store = tidelog::store::postgres::PostgresStore::connect(&config).await.expect("opens");
    let mut locked = Writer::open(&store, "locked").await;
    let mut free = Writer::open(&store, "free").await;
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    let sql = "BEGIN; SELECT FROM tidelog.topic WHERE name = 'locked' FOR UPDATE";
    client.batch_execute(sql).await.expect("locks");
    let appends: Vec<_> =
        [store.append(locked.batch(&[one("k", "1")])), store.append(free.batch(&[one("k", "1")]))]
            .into();
    let outcomes = join_all(appends).await;
    assert!(matches!(outcomes[0], Err(AppendError::NotWritten(_))), "{:?}", outcomes[0]);
    assert!(outcomes[1].is_ok(), "{:?}", outcomes[1]);
    let fence = store.open(&name("locked")).await;
    assert!(matches!(fence, Err(tidelog::store::StoreError::Unavailable(_))), "{fence:?}");
    client.batch_execute("ROLLBACK").await.expect("lets go");
    drop(client);
    driver.await.expect("no panic").expect("ends in peace");
    let opened = store.open(&name("locked")).await.expect("free again");
    assert_eq!(opened.head, None);
}

#[tokio::test]
async fn everything_that_a_batch_can_hold_comes_back_from_a_merged_statement() {
    let store = connect(&Cluster::shared().database()).await;
    let mut a = Writer::open(&store, "a").await;
    let mut b = Writer::open(&store, "b").await;
    let first = a.batch(&[named(rich("k"), "name"), line(content("l", "2"), "p", 3, 0)]);
    a.mind.targets.insert(TransactionNo(0), TargetState::Stands(Seq(0), Seq(0)));
    let second = a.batch(&[invalidate(0), line(content("l", "3"), "p", 4, 1)]);
    let plain = b.batch(&[one("k", "1")]);
    let appends = [&first, &plain, &second].map(|batch: &Arc<Batch>| store.append(batch.clone()));
    for outcome in join_all(appends).await {
        outcome.expect("written");
    }
    let read = store.events(&name("a"), ALL).await.expect("events");
    let events: Vec<_> = read.iter().map(|read| read.event.clone()).collect();
    assert_eq!(events, [first.events.clone(), second.events.clone()].concat());
    assert_eq!(read[0].invalidated_by, Some(TransactionNo(2)));
    let id = |text| ProducerId::parse(text).expect("visible");
    let wanted = tidelog::store::Wanted {
        idempotency: vec![IdempotencyKey::parse("name").expect("visible")],
        producers: vec![id("p"), id("q")],
        replays: vec![tidelog::store::Lines { producer: id("p"), first: 0, count: 2 }],
        targets: (0..5).map(TransactionNo).collect(),
        marks: (0..5).map(Seq).collect(),
        keys: vec![],
    };
    let facts = store.facts(a.topic, wanted).await.expect("facts");
    assert_eq!(facts.idempotency, [Some(first.idempotency[0].clone())]);
    let known = ProducerState { epoch: 4, next_line: 2 };
    assert_eq!(facts.producers, [known, ProducerState::default()]);
    let lines = [first.producers[0].receipts.clone(), second.producers[0].receipts.clone()];
    assert_eq!(facts.replays, [lines.concat()]);
    let by = second.events[0].version;
    let stands = |seq| TargetState::Stands(Seq(seq), Seq(seq));
    let invalidated = TargetState::Invalidated(by);
    let rest = [TargetState::Invalidation, stands(3), TargetState::Missing];
    assert_eq!(facts.targets, [[invalidated, stands(1)].as_slice(), &rest].concat());
    let mark = |batch: &Batch| Some(batch.mark());
    assert_eq!(facts.marks, [None, mark(&first), None, mark(&second), None]);
    assert_eq!(store.expire(now()).await.expect("expires"), 0);
    assert_eq!(store.expire(Timestamp(now().0 + 1)).await.expect("expires"), 1);
}

/// In a statement of its own what is the same for all events comes once, and columns end with their
/// last value: everything that some events say and others do not, in every place.
#[tokio::test]
async fn a_batch_that_goes_alone_keeps_what_its_events_say_and_what_they_leave_out() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&url).await;
    let mut writer = Writer::open(&store, "t").await;
    let mut rng = SmallRng::seed_from_u64(7);
    let mut written = Vec::new();
    for n in 0..100 {
        let often = [0.0, 0.1, 1.0][n % 3];
        let mut event = |key: usize| {
            let mut some = || rng.random_bool(often);
            let hash = some().then(|| ContentHash::parse(format!("h{n}").into()));
            let event_type = some().then(|| EventType::parse("changed".into()));
            let metadata = some().then(|| Json::from_valid("{\"a\": 1}".into()));
            let data = Data::Json(Json::from_valid(format!("{n}").into()).expect("shallow"));
            let hash = hash.transpose().expect("a hash");
            let event_type = event_type.transpose().expect("a type");
            let metadata = metadata.transpose().expect("JSON");
            Content::new(key_of(key % 7), hash, event_type, data, metadata)
        };
        let group = [1, 1, 3][n / 3 % 3];
        let commands: Vec<_> =
            (0..n % 5).map(|c| write((0..group).map(|g| event(c * group + g)).collect())).collect();
        let mut batch = Batch::clone(&writer.batch(&commands));
        if n % 4 == 3 {
            for (event, at) in batch.events.iter_mut().zip(0..) {
                event.recorded_at.0 += at; // As imported ones.
            }
        }
        store.append(Arc::new(batch.clone())).await.expect("written");
        let last = batch.events.last().map(|last| last.version.seq);
        let marks: Vec<_> = batch.events.iter().map(|event| event.version.seq).collect();
        let wanted = tidelog::store::Wanted { marks: marks.clone(), ..Default::default() };
        let facts = store.facts(writer.topic, wanted).await.expect("facts");
        let mark = |seq: &Seq| (Some(*seq) == last).then(|| batch.mark());
        assert_eq!(facts.marks, marks.iter().map(mark).collect::<Vec<_>>(), "batch {n}");
        written.extend(batch.events);
    }
    let read = store.events(&name("t"), ALL).await.expect("events");
    let read: Vec<_> = read.into_iter().map(|read| read.event).collect();
    assert_eq!(read, written);
    let groups = written.iter().filter(|event| !event.last).count();
    assert!(groups > 20 && written.len() > 200, "{groups} of {}", written.len());
    assert_eq!(cluster.sql(&url, UNSOUND), "");
    cluster.sql(&url, "UPDATE tidelog.event SET prev = seq WHERE seq = 3");
    cluster.sql(&url, "UPDATE tidelog.topic SET epoch = -1");
    assert_eq!(cluster.sql(&url, UNSOUND).lines().count(), 2, "it finds what is wrong");
}

fn key_of(n: usize) -> Key {
    key(&format!("k{n}"))
}
