//! S6: a read sees all events of a committed batch or none.

use tidelog::domain::{EventBody, ReadEvent, Seq, TransactionNo, Version};
use tidelog::store::{Direction, Scan, SurfaceScan};

use crate::backends::{Stand, Store};
use crate::make::{content, name, write};
use crate::writer::{Writer, all_keys, everything};

on_every_backend!(readers_beside_a_writer_see_whole_batches);

const BATCHES: u64 = 60;
/// A batch is two transactions of three events; every transaction writes the same three keys.
const KEYS: [&str; 3] = ["a", "b", "c"];

async fn readers_beside_a_writer_see_whole_batches(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let stores = [stand.store.clone(), stand.other().await];
    let readers: Vec<_> = (0..4).map(|n| tokio::spawn(read(stores[n % 2].clone()))).collect();
    for batch in 0..BATCHES {
        let transactions =
            [2 * batch, 2 * batch + 1].map(|n| write(KEYS.map(|key| content(key, &n.to_string()))));
        writer.write(transactions).await;
    }
    for reader in readers {
        let seen = reader.await.expect("the reader saw nothing wrong");
        assert!(seen > 0);
    }
}

/// Reads until everything is there; says how many reads there were.
async fn read(store: Store) -> u64 {
    let topic = name("t");
    let (mut reads, mut seen) = (0, 0);
    loop {
        reads += 1;
        let events = store.reader.events(&topic, everything()).await.expect("events");
        whole(&events);
        assert!(events.len() >= seen, "what was seen stays");
        seen = events.len();
        let Some(head) = store.reader.head(&topic).await.expect("a head") else {
            tokio::task::yield_now().await;
            continue;
        };
        assert_eq!((head.seq.0 + 1) % 6, 0, "a head is the end of a batch");
        assert!(head.seq.0 + 1 >= seen as u64, "a head is not behind what was seen");
        backward(&store, head).await;
        surface(&store, head).await;
        if head.seq.0 + 1 == BATCHES * 6 {
            return reads;
        }
    }
}

fn whole(events: &[ReadEvent]) {
    assert_eq!(events.len() % 6, 0, "all events of a batch or none");
    for (n, read) in events.iter().enumerate() {
        let version = Version { seq: Seq(n as u64), transaction: TransactionNo(n as u64 / 3) };
        assert_eq!(read.event.version, version);
        assert_eq!(read.event.last, n % 3 == 2);
    }
}

async fn backward(store: &Store, head: Version) {
    let scan = Scan { limit: 4, direction: Direction::Backward, ..everything() };
    let events = store.reader.events(&name("t"), scan).await.expect("events");
    let newest = events[0].event.version.seq;
    assert!(newest >= head.seq && (newest.0 + 1) % 6 == 0);
    let range = store.reader.transaction(&name("t"), head.transaction).await.expect("a range");
    assert_eq!(range, Some((Seq(head.seq.0 - 2), head.seq)));
}

async fn surface(store: &Store, head: Version) {
    let scan = SurfaceScan { at: head, keys: all_keys(), limit: 10, bytes: usize::MAX };
    let events = store.reader.surface(&name("t"), &scan).await.expect("a surface");
    assert_eq!(events.len(), 3);
    let data: Vec<_> = events
        .into_iter()
        .map(|read| match read.event.body {
            EventBody::Content(content) => content.data.bytes(),
            EventBody::Invalidation(_) => panic!("on a surface"),
        })
        .collect();
    let expected = head.transaction.to_string();
    assert!(data.iter().all(|bytes| **bytes == *expected.as_bytes()), "{data:?}: {expected}");
}
