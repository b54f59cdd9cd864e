//! How much an answer holds: it is bounded in bytes, whatever the sizes of events.

use tidelog::domain::{Event, Seq};
use tidelog::store::{Direction, KeyRange, Scan, SurfaceScan};

use crate::backends::Stand;
use crate::make::{key, one};
use crate::writer::{Writer, everything};

on_every_backend!(
    an_answer_ends_with_the_event_that_reaches_its_bytes,
    a_surface_ends_with_the_event_that_reaches_its_bytes,
    versions_are_the_seqs_of_a_history,
);

const BYTES: [usize; 6] = [1, 100, 300_000, 700_000, 1_500_000, usize::MAX];

/// Large events among small ones; keys take turns.
async fn uneven(stand: &Stand) -> Writer {
    let mut writer = Writer::open(&stand.store, "t").await;
    let sizes = [1, 50, 300_000, 2, 2, 2, 400_000, 400_000, 1, 1_000_000, 30, 1, 500_000];
    for (n, size) in sizes.into_iter().enumerate() {
        let of = ["a", "b", "c"][n % 3];
        writer.write([one(of, &format!("\"{n} {}\"", "x".repeat(size)))]).await;
    }
    writer
}

/// Those of the events that fit, as the trait says it.
fn fitting<'e>(events: impl IntoIterator<Item = &'e Event>, bytes: usize) -> Vec<u64> {
    let (mut seqs, mut taken) = (Vec::new(), 0);
    for event in events {
        if taken < bytes {
            taken += event.size();
            seqs.push(event.version.seq.0);
        }
    }
    seqs
}

async fn an_answer_ends_with_the_event_that_reaches_its_bytes(stand: Stand) {
    let writer = uneven(&stand).await;
    let reader = &stand.store.reader;
    for bytes in BYTES {
        for direction in [Direction::Forward, Direction::Backward] {
            for from in [0, 2, 5, 9].map(Seq) {
                let scan = Scan { from, bytes, direction, ..everything() };
                let mut all: Vec<&Event> = writer.book.events[from.0 as usize..].iter().collect();
                if direction == Direction::Backward {
                    all.reverse();
                }
                let found = reader.events(&writer.name, scan).await.expect("events");
                let found: Vec<u64> = found.iter().map(|read| read.event.version.seq.0).collect();
                assert_eq!(found, fitting(all.iter().copied(), bytes), "{scan:?}");
                let of_a = all.into_iter().filter(|event| event.version.seq.0 % 3 == 0);
                let found = reader.history(&writer.name, &key("a"), scan).await.expect("events");
                let found: Vec<u64> = found.iter().map(|read| read.event.version.seq.0).collect();
                assert_eq!(found, fitting(of_a, bytes), "{scan:?}");
            }
        }
    }
}

async fn a_surface_ends_with_the_event_that_reaches_its_bytes(stand: Stand) {
    let writer = uneven(&stand).await;
    for at in [12, 8] {
        let all: Vec<&Event> = writer
            .expected_surface(Seq(at))
            .iter()
            .map(|(_, seq)| &writer.book.events[*seq as usize])
            .collect();
        for bytes in BYTES {
            let keys = KeyRange::Prefix { prefix: String::new(), after: None };
            let scan = SurfaceScan { at: writer.version(Seq(at)), keys, limit: 100, bytes };
            let found = stand.store.reader.surface(&writer.name, &scan).await.expect("a surface");
            let found: Vec<u64> = found.iter().map(|read| read.event.version.seq.0).collect();
            assert_eq!(found, fitting(all.iter().copied(), bytes), "{at} {bytes}");
        }
    }
}

async fn versions_are_the_seqs_of_a_history(stand: Stand) {
    let writer = uneven(&stand).await;
    let reader = &stand.store.reader;
    for of in ["a", "b", "never"] {
        for from in 0..14 {
            for to in [0, 3, 4, 5, 9, 12, 13, 1 << 40] {
                for limit in [1, 2, 100] {
                    let stretch = (Seq(from), Seq(to));
                    let scan = Scan { from: stretch.0, to: stretch.1, limit, ..everything() };
                    let scan = Scan { direction: Direction::Backward, ..scan };
                    let history = reader.history(&writer.name, &key(of), scan).await;
                    let history = history.expect("a history");
                    let history: Vec<_> =
                        history.iter().map(|read| read.event.version.seq).collect();
                    let found = reader.versions(&writer.name, &key(of), stretch, limit).await;
                    assert_eq!(found.expect("versions"), history, "{of} {scan:?}");
                }
            }
        }
    }
}
