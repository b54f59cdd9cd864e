//! The file: who may use it, what is refused at the start, what survives the end.

use std::fs;
use std::sync::Arc;

use tidelog::domain::Planner;
use tidelog::store::sqlite::{Config, SqliteStore};
use tidelog::store::{AppendError, EventSourceReader, EventSourceWriter, OpenError, StoreError};

use crate::support::{Place, Topic, content, name, write};

fn refusal(config: &Config) -> OpenError {
    match SqliteStore::open(config) {
        Ok(_) => panic!("{} was opened", config.path.display()),
        Err(error) => error,
    }
}

#[test]
fn the_log_mode_is_kept_in_the_file_and_a_commit_is_synced_before_it_is_acknowledged() {
    let place = Place::new();
    let store = place.open();
    let raw = place.raw();
    let mode: String = raw.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let id: i64 = raw.pragma_query_value(None, "application_id", |row| row.get(0)).unwrap();
    assert_eq!(id.to_be_bytes()[4..], *b"TIDE");
    drop(store);
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use_and_by_whom() {
    let place = Place::new();
    let store = place.open();
    let OpenError::InUse(text) = refusal(&place.config()) else { panic!("not in use") };
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains("stop that one"), "{text}");

    let alias = place.path().with_file_name("alias.db");
    std::os::unix::fs::symlink(place.path(), &alias).unwrap();
    assert!(matches!(refusal(&Config::new(alias)), OpenError::InUse(_)), "by another name");
    let hard = place.path().with_file_name("hard.db");
    std::fs::hard_link(place.path(), &hard).unwrap();
    assert!(matches!(refusal(&Config::new(&hard)), OpenError::InUse(_)), "by a hard link");
    std::fs::remove_file(hard).unwrap();
    drop(store);
    drop(place.open());
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_has_lost_its_name() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    store.append(topic.batch(&[write([content("k", "1")])])).await.expect("written");
    let next = topic.batch(&[write([content("k", "2")])]);
    let (path, aside) = (place.path(), place.path().with_extension("aside"));
    fs::rename(&path, &aside).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::copy(&aside, &path).unwrap();
        }
        let refused = store.append(Arc::clone(&next)).await;
        let Err(AppendError::NotWritten(error)) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("was moved, deleted or replaced"), "{error}");
        store.ping().await.expect_err("it cannot be written");
    }
    let copy = fs::read(&path).unwrap();
    assert_eq!(copy, fs::read(&aside).unwrap(), "and nothing to the other");
    fs::rename(&aside, &path).unwrap();
    store.append(next).await.expect("it is back");
    store.ping().await.expect("it can be written");
    drop(store);
    let opened = place.open().open(&name("t")).await.unwrap();
    assert_eq!(opened.head, topic.planner.head());
}

#[test]
fn a_schema_of_a_newer_version_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open());
    let newer = "INSERT INTO refinery_schema_history
        SELECT 1000, 'of_tomorrow', applied_on, checksum FROM refinery_schema_history
        WHERE version = 1";
    place.raw().execute(newer, []).unwrap();
    let OpenError::Newer(text) = refusal(&place.config()) else { panic!("not newer") };
    assert!(text.contains("of_tomorrow") && text.contains("newer"), "{text}");
}

#[test]
fn a_file_with_other_tables_is_refused_with_what_to_do() {
    let place = Place::new();
    drop(place.open());
    place.raw().execute("UPDATE refinery_schema_history SET checksum = '1'", []).unwrap();
    let OpenError::Unsuitable(text) = refusal(&place.config()) else { panic!("suitable") };
    assert!(text.contains("export it with that version"), "{text}");
}

#[test]
fn what_is_no_database_or_somebody_elses_is_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    let letter = "Dear reader, this is a letter. ".repeat(100);
    fs::write(place.path(), &letter).unwrap();
    assert!(matches!(refusal(&place.config()), OpenError::Unsuitable(_)));
    assert_eq!(fs::read_to_string(place.path()).unwrap(), letter);

    fs::remove_file(place.path()).unwrap();
    place.raw().execute_batch("CREATE TABLE address (name TEXT)").unwrap();
    let before = fs::read(place.path()).unwrap();
    let OpenError::Unsuitable(text) = refusal(&place.config()) else { panic!("suitable") };
    assert!(text.contains("another program"), "{text}");
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

/// A process that was killed at its first start left a schema that was made and not noted, or a
/// file that was not known to be its own: neither could be opened again. Here room ends instead,
/// page by page.
#[test]
fn a_first_start_that_came_to_nothing_is_begun_again() {
    let (mut failed, mut opened) = (0, 0);
    for pages in 1..100 {
        let place = Place::new();
        match SqliteStore::open(&Config { pages_max: Some(pages), ..place.config() }) {
            Ok(_) => opened += 1,
            Err(_) => failed += 1,
        }
        drop(place.open());
    }
    assert!(failed > 10 && opened > 10, "{failed} failed, {opened} did not");
}

#[test]
fn a_directory_that_cannot_be_written_is_a_missing_right() {
    // Nobody makes directories here, not even root.
    let error = refusal(&Config::new("/sys/tidelog/tidelog.db"));
    assert!(matches!(error, OpenError::MissingRights(_)), "{error}");
}

#[test]
fn a_path_that_cannot_be_a_file_is_unsuitable() {
    let place = Place::new();
    fs::create_dir_all(place.path()).unwrap();
    assert!(matches!(refusal(&place.config()), OpenError::Unsuitable(_)), "a directory");
    assert!(matches!(refusal(&Config::new("/")), OpenError::Unsuitable(_)), "the root");
    let below = place.path().join("x/..");
    assert!(matches!(refusal(&Config::new(below)), OpenError::Unsuitable(_)), "no name");
}

#[tokio::test]
async fn everything_is_there_after_a_drop_and_after_a_close() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    let unpolled = store.append(topic.event("a", "1"));
    drop(unpolled);
    drop(store); // At once: what was queued is written first.

    let store = place.open();
    let opened = store.open(&name("t")).await.unwrap();
    assert_eq!((opened.head, opened.epoch.0), (topic.planner.head(), 2));
    store.close().await;
    assert!(!place.path().with_extension("db-wal").exists(), "one file is left behind");
    let closed = store.head(&name("t")).await;
    assert!(matches!(closed, Err(StoreError::Unavailable(_))), "{closed:?}");
    assert!(matches!(store.open(&name("t")).await, Err(StoreError::Unavailable(_))));

    let other = place.open(); // The lock went with the close.
    assert_eq!(other.head(&name("t")).await.unwrap(), opened.head);
}

#[tokio::test]
async fn a_tree_that_does_not_fit_its_head_is_corrupt() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    for event in 0..3 {
        store.append(topic.event(&format!("k{event}"), "1")).await.unwrap();
    }
    for spoil in [
        "UPDATE topic SET leaves = 3, frontier = zeroblob(32)",
        "UPDATE topic SET leaves = 3, frontier = zeroblob(64)",
        "UPDATE topic SET leaves = 1, frontier = zeroblob(32)",
        "UPDATE topic SET leaves = 4, frontier = zeroblob(32)",
        "UPDATE event SET key = 'other' WHERE seq = 1",
        "DELETE FROM event WHERE seq = 1",
    ] {
        let raw = place.raw();
        raw.execute_batch(&format!("SAVEPOINT whole; {spoil}; RELEASE whole")).expect(spoil);
        let opened = store.open(&name("t")).await;
        assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{spoil}: {opened:?}");
        let mend = "UPDATE topic SET leaves = 0, frontier = x'';
            UPDATE event SET key = 'k1' WHERE seq = 1";
        raw.execute_batch(mend).unwrap();
    }
}

#[tokio::test]
async fn a_topic_has_its_whole_tree_wherever_it_ends() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    for events in (1..=40).chain([1; 30]) {
        let commands: Vec<_> =
            (0..events).map(|key| write([content(&format!("k{key}"), "1")])).collect();
        let batch = topic.batch(&commands);
        store.append(std::sync::Arc::clone(&batch)).await.unwrap();
        let opened = store.open(&name("t")).await.unwrap();
        assert_eq!(opened.frontier, batch.frontier);
        topic.planner = Planner::new(opened.topic, opened.epoch, opened.head, opened.frontier);
    }
    let kept = "SELECT leaves FROM topic";
    let kept: i64 = place.raw().query_row(kept, [], |row| row.get(0)).unwrap();
    assert_eq!(kept as u64 / 64, topic.planner.head().unwrap().seq.0 / 64, "most of it is kept");
}

#[tokio::test]
async fn an_empty_topic_is_there_for_its_writer_only() {
    let place = Place::new();
    let store = place.open();
    let opened = store.open(&name("t")).await.unwrap();
    assert_eq!((opened.head, opened.folded, opened.epoch.0), (None, None, 1));
    assert_eq!(store.topics("", None, 10).await.unwrap(), []);
    assert_eq!(store.head(&name("t")).await.unwrap(), None);
    store.ping().await.unwrap();
}
