//! S13: all keys of a topic can be read, page by page, while the topic is written.

use tidelog::domain::{Key, Seq};

use crate::backends::{Stand, Store};
use crate::make::content;
use crate::make::{invalidate, key, one, write};
use crate::writer::Writer;

on_every_backend!(
    pages_of_keys_are_the_keys_in_byte_order,
    keys_are_those_of_the_topic_whatever_became_of_their_events,
    a_key_written_before_the_reading_is_not_missed_while_others_are_written,
);

/// All keys in pages of `limit`, with something done after each page.
async fn read(
    store: &Store,
    writer: &mut Writer,
    limit: usize,
    mut meanwhile: impl AsyncFnMut(&mut Writer),
) -> Vec<String> {
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let page = store.writer.keys(writer.id(), keys.last(), limit).await.expect("keys");
        let more = page.len() == limit;
        assert!(page.len() <= limit);
        keys.extend(page);
        if !more {
            return keys.iter().map(|key| key.as_str().to_owned()).collect();
        }
        meanwhile(writer).await;
    }
}

async fn pages_of_keys_are_the_keys_in_byte_order(stand: Stand) {
    let sorted = ["\u{1}", "%", "0", "10", "9", "A", "a", "a\u{1}", "ab", "é", "\u{10ffff}"];
    let mut writer = Writer::open(&stand.store, "t").await;
    assert!(read(&stand.store, &mut writer, 10, async |_| ()).await.is_empty());
    writer.write(sorted.iter().rev().map(|of| one(of, "1"))).await;
    writer.fold(writer.head().seq).await;
    for limit in 1..=sorted.len() + 1 {
        assert_eq!(read(&stand.store, &mut writer, limit, async |_| ()).await, sorted);
    }
    let after = stand.store.writer.keys(writer.id(), Some(&key("a0")), 2).await.expect("keys");
    assert_eq!(after, [key("ab"), key("é")], "after a key that is not there");
}

async fn keys_are_those_of_the_topic_whatever_became_of_their_events(stand: Stand) {
    let mut other = Writer::open(&stand.store, "other").await;
    other.write([one("x", "1")]).await;
    other.fold(Seq(0)).await;
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([one("a", "1"), one("a", "2"), write(vec![content("b", "1")])]).await;
    writer.write([invalidate(2), invalidate(1), invalidate(0)]).await;
    writer.fold(writer.head().seq).await;
    assert_eq!(read(&stand.store, &mut writer, 10, async |_| ()).await, ["a", "b"]);
}

async fn a_key_written_before_the_reading_is_not_missed_while_others_are_written(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write((0..40).map(|n| one(&format!("k{n:02}"), "1"))).await;
    writer.fold(writer.head().seq).await;
    // The next instance relies on what this one has folded.
    let other = stand.other().await;
    let mut writer = Writer::take(&other, "t", writer.book.clone()).await;
    let mut written = 0;
    let keys = read(&other, &mut writer, 3, async |writer| {
        let (before, behind) = (format!("a{written}"), format!("z{written}"));
        written += 1;
        writer.write([one(&before, "1"), one(&behind, "1"), one("k05", &behind)]).await;
        writer.fold(writer.head().seq).await;
    })
    .await;
    assert!(keys.is_sorted());
    assert!((0..40).all(|n| keys.contains(&format!("k{n:02}"))), "{keys:?}");
    let has = |of: &String| writer.book.state(&key(of), None) != Default::default();
    assert!(keys.iter().all(has), "{keys:?}");
}
