//! S9: surface and history are exact at the seq asked for, whatever has been folded so far; the
//! facts of keys are exact as of the fold's watermark.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::domain::{Command, Key, KeyState, Seq};
use tidelog::store::{KeyRange, SurfaceScan, Wanted};

use crate::backends::Stand;
use crate::make::{content, invalidate, key, one, write};
use crate::writer::{Writer, key_of};

on_every_backend!(
    a_surface_is_exact_before_any_fold_and_after_each,
    a_surface_as_of_an_event_has_nothing_later_in_it,
    what_was_invalidated_later_is_part_of_it_and_says_so,
    a_key_falls_back_over_all_that_does_not_stand,
    surfaces_are_in_byte_order_of_key,
    a_prefix_is_a_prefix_and_no_pattern,
    pages_of_a_surface_are_the_surface,
    facts_of_keys_are_as_of_the_watermark,
    invalidations_beyond_the_watermark_do_not_count_in_it,
    a_watermark_is_never_behind_what_was_said,
);

/// Writes, overwrites, and invalidations, also of what was folded long ago.
fn story(writer: &mut Writer, random: &mut SmallRng) -> Vec<Command> {
    let events: Vec<_> = (0..random.random_range(1..5))
        .map(|_| {
            let of = ["a", "b", "c", "d", "e"][random.random_range(0..5)];
            content(of, &random.random_range(0..4).to_string())
        })
        .collect();
    let mut commands = vec![write(events)];
    let transactions = writer.book.events.last().map_or(0, |event| event.version.transaction.0);
    let target = random.random_range(0..=transactions);
    let events = &writer.book.events;
    let is_invalidation = events.iter().any(|event| {
        event.version.transaction.0 == target
            && matches!(event.body, tidelog::domain::EventBody::Invalidation(_))
    });
    if !events.is_empty() && !is_invalidation && random.random_bool(0.3) {
        commands.push(invalidate(target));
    }
    commands
}

async fn a_surface_is_exact_before_any_fold_and_after_each(stand: Stand) {
    let mut random = SmallRng::seed_from_u64(9);
    let mut writer = Writer::open(&stand.store, "t").await;
    for round in 0..40 {
        let commands = story(&mut writer, &mut random);
        writer.write(commands).await;
        let head = writer.planner.head().expect("events").seq;
        if round % 3 == 1 {
            writer.fold(Seq(random.random_range(0..=head.0))).await;
        }
        if round % 4 == 2 {
            let ends = writer.book.events.iter().filter(|event| event.last);
            let ends: Vec<Seq> = ends.map(|event| event.version.seq).collect();
            for at in ends {
                let expected = writer.expected_surface(at);
                assert_eq!(writer.surface(at).await, expected, "round {round}, as of {at}");
            }
        }
    }
}

async fn a_surface_as_of_an_event_has_nothing_later_in_it(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([one("a", "1"), one("b", "1"), one("a", "2"), invalidate(1), one("c", "1")]).await;
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(key, seq)| ((*key).to_owned(), *seq)).collect()
    };
    for folded in [None, Some(2), Some(4)] {
        if let Some(to) = folded {
            writer.fold(Seq(to)).await;
        }
        assert_eq!(writer.surface(Seq(0)).await, pairs(&[("a", 0)]), "{folded:?}");
        assert_eq!(writer.surface(Seq(1)).await, pairs(&[("a", 0), ("b", 1)]), "{folded:?}");
        assert_eq!(writer.surface(Seq(2)).await, pairs(&[("a", 2), ("b", 1)]), "{folded:?}");
        assert_eq!(writer.surface(Seq(3)).await, pairs(&[("a", 2)]), "{folded:?}");
        assert_eq!(writer.surface(Seq(4)).await, pairs(&[("a", 2), ("c", 4)]), "{folded:?}");
    }
}

async fn what_was_invalidated_later_is_part_of_it_and_says_so(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([one("a", "1"), one("a", "2")]).await;
    writer.write([invalidate(1)]).await;
    let read = async |writer: &Writer, at| {
        let keys = KeyRange::Exactly(key("a"));
        let scan = SurfaceScan { at: writer.version(Seq(at)), keys, limit: 1, bytes: usize::MAX };
        let events = writer.store.reader.surface(&writer.name, &scan).await.expect("a surface");
        (events[0].event.version.seq.0, events[0].invalidated_by.map(|by| by.0))
    };
    assert_eq!(read(&writer, 1).await, (1, Some(2)));
    assert_eq!(read(&writer, 2).await, (0, None));
    assert_eq!(writer.history("a").await, [0, 1], "a history has both");
}

async fn a_key_falls_back_over_all_that_does_not_stand(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    for n in 0..30 {
        writer.write([one("a", &n.to_string()), one("b", &n.to_string())]).await;
    }
    writer.fold(Seq(59)).await;
    for n in (2..60).rev() {
        writer.write([invalidate(n)]).await;
        if n % 7 == 0 {
            let head = writer.head().seq;
            writer.fold(head).await;
            assert_eq!(writer.surface(head).await, writer.expected_surface(head));
        }
    }
    let head = writer.head().seq;
    assert_eq!(writer.surface(head).await, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    writer.write([invalidate(0), invalidate(1)]).await;
    assert!(writer.surface(writer.head().seq).await.is_empty());
    writer.write([one("a", "0")]).await;
    assert_eq!(writer.surface(writer.head().seq).await.len(), 1);
    assert_eq!(writer.history("a").await.len(), 31);
}

/// Lowest to highest byte, with keys that locales and UTF-16 sort in other ways.
const SORTED: [&str; 20] = [
    "\u{1}",
    " ",
    "%",
    "-",
    "0",
    "10",
    "9",
    "A",
    "Z",
    "_",
    "a",
    "a\u{1}",
    "a%b",
    "a_b",
    "ab",
    "b",
    "é",
    "\u{d7ff}",
    "\u{ffff}",
    "\u{10ffff}",
];

async fn sorted(stand: &Stand) -> Writer {
    assert!(SORTED.is_sorted());
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write(SORTED.iter().rev().map(|of| one(of, "1"))).await;
    writer.write([one("\u{10ffff}\u{10ffff}", "1"), one("a\u{10ffff}b", "1")]).await;
    writer
}

async fn page(writer: &Writer, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let keys = KeyRange::Prefix { prefix: prefix.to_owned(), after: after.map(str::to_owned) };
    let scan = SurfaceScan { at: writer.head(), keys, limit, bytes: usize::MAX };
    let events = writer.store.reader.surface(&writer.name, &scan).await.expect("a surface");
    events.iter().map(|read| key_of(&read.event)).collect()
}

fn keys(writer: &Writer) -> Vec<String> {
    let mut keys: Vec<String> = writer.book.events.iter().map(key_of).collect();
    keys.sort();
    keys
}

async fn surfaces_are_in_byte_order_of_key(stand: Stand) {
    let writer = sorted(&stand).await;
    assert_eq!(page(&writer, "", None, 100).await, keys(&writer));
    assert_eq!(page(&writer, "", None, 3).await, keys(&writer)[..3]);
}

async fn a_prefix_is_a_prefix_and_no_pattern(stand: Stand) {
    let writer = sorted(&stand).await;
    let all = keys(&writer);
    let mut prefixes: Vec<&str> = SORTED.to_vec();
    prefixes.extend(["a\u{10ffff}", "\u{10ffff}\u{10ffff}", "a%", "a_", "__", "%%", "x", "aé"]);
    for prefix in &prefixes {
        let afters = all.iter().map(String::as_str).chain(["", "a0", "\u{0}", "zz"]);
        for after in std::iter::once(None).chain(afters.map(Some)) {
            let wanted = |of: &&String| {
                of.starts_with(prefix) && after.is_none_or(|after| of.as_str() > after)
            };
            let expected: Vec<_> = all.iter().filter(wanted).cloned().collect();
            let found = page(&writer, prefix, after, 100).await;
            assert_eq!(found, expected, "prefix {prefix:?} after {after:?}");
        }
    }
}

async fn pages_of_a_surface_are_the_surface(stand: Stand) {
    let mut writer = sorted(&stand).await;
    writer.write([invalidate(3), invalidate(4), invalidate(5), invalidate(11)]).await;
    let surface = page(&writer, "", None, 100).await;
    assert_eq!(surface.len(), SORTED.len() + 2 - 4);
    for limit in [1, 2, 7] {
        let mut pages: Vec<String> = Vec::new();
        loop {
            let next = page(&writer, "", pages.last().map(String::as_str), limit).await;
            let full = next.len() == limit;
            pages.extend(next);
            if !full {
                break;
            }
        }
        assert_eq!(pages, surface, "pages of {limit}");
    }
}

/// What the store says of the keys is what is true at some seq between `low` and the head.
async fn check_facts(writer: &Writer, low: Option<Seq>) {
    let keys: Vec<Key> = ["a", "b", "c", "d", "e", "never"].map(key).to_vec();
    let wanted = Wanted { keys: keys.clone(), ..Wanted::default() };
    let found = writer.facts(wanted).await.keys;
    let head = writer.planner.head().expect("events").seq;
    let as_of = |at: Seq| -> Vec<KeyState> {
        keys.iter().map(|key| writer.book.state(key, Some(at))).collect()
    };
    let nothing = low.is_none() && found.iter().all(|state| *state == KeyState::default());
    let true_at = |at: &u64| as_of(Seq(*at)) == found;
    let somewhere = (low.map_or(0, |low| low.0)..=head.0).any(|at| true_at(&at));
    assert!(nothing || somewhere, "not true at any seq from {low:?} to {head}: {found:?}");
}

async fn facts_of_keys_are_as_of_the_watermark(stand: Stand) {
    let mut random = SmallRng::seed_from_u64(99);
    let mut writer = Writer::open(&stand.store, "t").await;
    let mut folded = None;
    for _ in 0..60 {
        let commands = story(&mut writer, &mut random);
        writer.write(commands).await;
        let head = writer.planner.head().expect("events").seq;
        if random.random_bool(0.4) {
            let to = Seq(random.random_range(0..=head.0));
            folded = folded.max(Some(writer.fold(to).await));
        }
        check_facts(&writer, folded).await;
    }
    let head = writer.head().seq;
    assert_eq!(writer.fold(head).await, head, "it cannot be beyond the head");
    check_facts(&writer, Some(head)).await;
}

async fn invalidations_beyond_the_watermark_do_not_count_in_it(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write((0..4).map(|n| one("a", &n.to_string()))).await;
    // Of the newest version, and of one further down the chain; between them, other keys move.
    writer.write([invalidate(1), one("b", "1"), invalidate(3), one("c", "1")]).await;
    writer.write([invalidate(2), one("d", "1"), invalidate(0), one("e", "1")]).await;
    for to in 4..12 {
        let folded = writer.fold(Seq(to)).await;
        check_facts(&writer, Some(folded)).await;
    }
}

async fn a_watermark_is_never_behind_what_was_said(mut stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write((0..20).map(|n| one(["a", "b"][n % 2], &n.to_string()))).await;
    let said = writer.fold(Seq(11)).await;
    assert!(writer.fold(Seq(3)).await >= Seq(3), "asking for less does no harm");
    check_facts(&writer, Some(said)).await;
    let mut writer = Writer::take(&stand.other().await, "t", writer.book.clone()).await;
    assert!(writer.opened.folded >= Some(said), "{:?}", writer.opened.folded);
    if stand.reopen().await {
        writer = Writer::take(&stand.store, "t", writer.book.clone()).await;
        assert!(writer.opened.folded >= Some(said), "{:?}", writer.opened.folded);
    }
    check_facts(&writer, writer.opened.folded).await;
    let (one, two) = (writer.fold(Seq(19)), writer.fold(Seq(15)));
    let (one, two) = futures::join!(one, two);
    assert!(one == Seq(19) && two >= Seq(15), "any may fold at any time");
    check_facts(&writer, Some(Seq(19))).await;
}
