//! `export` and `import`: whole topics from every place to every other, and what is not a whole
//! topic.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::places::{Kind, Place};
use crate::run::{Done, run, tidelog};

const KINDS: [Kind; 5] =
    [Kind::Sqlite, Kind::Postgres, Kind::OnMemory, Kind::OnSqlite, Kind::OnPostgres];

/// Fills two topics with all that an event can be: transactions of several events, duplicates
/// among them, invalidations, binary data, texts that no other database likes.
fn fill(place: &Place) {
    let lines = concat!(
        "{\"events\":[{\"key\":\"a\",\"data\":1},{\"key\":\"ü/😀\",\"data\":{ \"a\":1,\"a\" : 2 }}]}\n",
        "{\"key\":\"a\",\"data\":\"\\u0000\\ud800\",\"type\":\"t\\n\",\"metadata\":{\"m\":1,\"m\":[ ]}}\n",
        "{\"key\":\"b\\n\",\"data_base64\":\"AAr/DQ==\",\"content_type\":\"image/png\"}\n",
        "{\"key\":\"a\",\"hash\":\"\\\"own\",\"data\":1.0e+2}\n",
        "{\"events\":[{\"key\":\"a\",\"hash\":\"\\\"own\",\"data\":0},{\"key\":\"c\",\"data\":null}]}\n",
    );
    place.feed(&["append", "t"], lines).ok();
    // Line breaks inside the data: no line could have them.
    let broken = "[{\"id\":\"x\",\n\t\"v\":[ 1\r\n]},{\"id\":\"y\"}]";
    place.feed(&["append", "t", "--format", "json", "--key", "id"], broken).ok();
    place.run(&["invalidate", "t", "1", "--reason", "wrong \"ü\"\n"]).ok();
    place.run(&["invalidate", "t", "5"]).ok();
    place.feed(&["append", "t"], "{\"key\":\"x\",\"data\":1}\n{\"key\":\"a\",\"data\":1}\n").ok();
    let many = (0..3_000).map(|n| format!("{{\"key\":\"k{}\",\"data\":{n}}}\n", n % 700));
    place.feed(&["append", "u"], many.collect::<String>()).ok();
    place.run(&["invalidate", "u", "2999"]).ok();
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn export(place: &Place) -> String {
    place.run(&["export", "--all"]).ok().out
}

/// What an export says but for times, and for roots, which cover them.
fn timeless(export: &str) -> String {
    let without = |line: &str, member: &str| match line.split_once(member) {
        Some((before, rest)) => {
            let (_, after) = rest.split_once('"').expect("the value ends");
            format!("{before}{after}\n")
        }
        None => format!("{line}\n"),
    };
    let lines = export.lines().map(|line| without(line, ",\"recorded_at\":\""));
    lines.map(|line| without(line.trim_end_matches('\n'), ",\"root\":\"")).collect()
}

/// What people see of the topics beside the log: surfaces, histories, now and before.
fn views(place: &Place) -> Vec<String> {
    let questions: [&[&str]; 7] = [
        &["topics"],
        &["surface", "t"],
        &["surface", "t", "--as-of", "4"],
        &["surface", "u"],
        &["read", "t", "--key", "a"],
        &["read", "u", "--key", "k7", "--backward"],
        &["read", "t", "--backward"],
    ];
    questions.iter().map(|question| timeless(&place.run(question).ok().out)).collect()
}

fn round_trips(from: Kind) {
    let source = Place::new(from);
    fill(&source);
    let files = Files::new();
    let (plain, compressed) = (files.path("all.ndjson"), files.path("all.ndjson.zst"));
    let told = source.run(&["export", "--all", "--to", text(&plain)]).ok().err;
    assert_eq!(told.contains("which the store has too"), !source.is_service(), "{told}");
    source.run(&["export", "t", "u", "--to", text(&compressed)]).ok();
    let exported = std::fs::read_to_string(&plain).expect("it is there");
    assert_eq!(export(&source), exported);
    assert!(std::fs::metadata(&compressed).expect("it is there").len() < exported.len() as u64 / 3);
    let expected = views(&source);
    for to in KINDS {
        let target = Place::new(to);
        let path = if to == Kind::Postgres { &compressed } else { &plain };
        let told = target.run(&["import", text(path)]).ok().err;
        let again = export(&target);
        if target.is_service() {
            assert_eq!(timeless(&again), timeless(&exported), "{from:?} to {to:?}");
        } else {
            assert_eq!(again, exported, "{from:?} to {to:?}");
            for root in exported.lines().filter_map(|line| line.split_once("\"root\":\"")) {
                assert!(told.contains(&root.1[..64]), "{told}");
            }
        }
        assert_eq!(views(&target), expected, "{from:?} to {to:?}");
        // All is there already; and writing goes on.
        let told = target.run(&["import", text(path)]).ok().err;
        assert!(told.contains("3001 events, 3001 of which were there"), "{told}");
        let line = "{\"key\":\"x\",\"data\":1}\n{\"key\":\"k1\",\"data\":\"new\"}\n";
        let done = target.feed(&["append", "t"], line).ok();
        assert_eq!(done.json()[0]["written"], 1, "the surface is known: {}", done.out);
        target.run(&["import", text(path)]).fails(1, "t has more events than the file");
    }
}

#[test]
fn from_sqlite_to_everywhere() {
    round_trips(Kind::Sqlite);
}

#[test]
fn from_postgres_to_everywhere() {
    round_trips(Kind::Postgres);
}

#[test]
fn from_a_service_to_everywhere() {
    round_trips(Kind::OnSqlite);
}

#[test]
fn what_is_not_a_whole_export_is_refused_before_anything_is_written() {
    let source = Place::new(Kind::Sqlite);
    fill(&source);
    let exported = source.run(&["export", "t"]).ok().out;
    let files = Files::new();
    let path = files.path("t.ndjson");
    let lines: Vec<&str> = exported.split_inclusive('\n').collect();
    let count = lines.len();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat();
    let mut low: Value = serde_json::from_str(lines[0]).expect("a header");
    low["head"] = json!({"seq": 0, "transaction": 0});
    let low = format!("{low}\n");
    let cases = [
        (String::new(), "line 1: is empty"),
        ("nonsense\n".to_owned(), "line 1: "),
        (exported.clone() + "\n", "EOF while parsing a value"),
        ("{\"key\":\"k\",\"data\":1}\n".to_owned(), "line 1: not a header, an event or a trailer"),
        (exported[..exported.len() / 2].to_owned(), "was cut"),
        (exported[..exported.len() - 1].to_owned(), "was cut"),
        (without(count - 1), "the file ends before its trailer"),
        (without(0), "line 1: no header"),
        (without(2), "line 3: event 1 of transaction 0 is expected"),
        (swapped, "is expected"),
        (exported.replacen("\"data\":1}", "\"data\":2}", 1), "another Merkle root"),
        (exported.replacen("\"key\":\"c\"", "\"key\":\"d\"", 1), "another Merkle root"),
        (exported.replacen("\"invalidates\":1", "\"invalidates\":2", 1), "another Merkle root"),
        (exported.replacen("tidelog_export\":1", "tidelog_export\":2", 1), "another version"),
        (low + &exported[lines[0].len()..], "an event behind the head"),
        (exported.clone() + "x", "was cut"),
        (exported.clone() + lines[1], "no header"),
    ];
    let both = source.run(&["export", "t", "u"]).ok().out;
    let (first, second) =
        both.split_at(both.find("{\"tidelog_export\":1,\"topic\":\"u").expect("u"));
    let other = source.run(&["export", "u", "t"]).ok().out;
    let others = &other[other.find("{\"tidelog_export\":1,\"topic\":\"t").expect("t")..];
    let more = [
        (first.to_owned(), "topic 2 of 2 is missing; the file was cut"),
        (second.to_owned(), "line 1: topic 2 of 2, and those before it are missing"),
        (first.to_owned() + &both, "topic 2 of 2 of the export is missing here"),
        (first.to_owned() + &exported, "topic 2 of 2 of the export is missing here"),
        (first.to_owned() + others, "topic 2 of 2 of the export is missing here"),
        (format!("{second}{first}"), "line 1: topic 2 of 2"),
    ];
    let target = Place::new(Kind::Sqlite);
    for (text_of, why) in cases.iter().chain(&more) {
        assert_ne!(*text_of, exported, "{why}");
        std::fs::write(&path, text_of).expect("it is ours");
        target.run(&["import", text(&path)]).fails(65, why);
        run(&["import", "--check", text(&path)]).fails(65, why);
    }
    assert!(!Path::new(target.url.trim_start_matches("sqlite:")).exists());
    // What comes over a pipe is checked before anything is written as well.
    let done = target.feed(&["import"], &exported[..exported.len() * 3 / 4]).fails(65, "was cut");
    assert!(done.err.contains("standard input"), "{}", done.err);
    let packed = files.path("t.ndjson.zst");
    source.run(&["export", "t", "--to", text(&packed)]).ok();
    let whole = std::fs::read(&packed).expect("it is there");
    std::fs::write(&packed, &whole[..whole.len() - 1]).expect("it is ours");
    target.run(&["import", text(&packed)]).fails(65, "t.ndjson.zst: is no whole zstd file");
    assert!(!Path::new(target.url.trim_start_matches("sqlite:")).exists());
    target.feed(&["import"], &exported).ok();
    assert_eq!(target.run(&["export", "t"]).ok().out, exported);
    std::fs::write(&path, both.clone() + &exported).expect("it is ours");
    run(&["import", "--check", text(&path)]).ok(); // Whole exports, one behind the other.
    run(&["import", "--check", text(&path), "--store", "memory:"]).fails(2, "--store"); // It would look at none.
    let told = run(&["import", "--check", "/missing"]).fails(1, "/missing");
    assert_eq!(told.out, "");
}

/// Two exports to one file wrote into one `.part` file: one of them said that it was whole.
#[test]
fn an_export_writes_into_no_file_but_its_own() {
    let source = Place::new(Kind::Sqlite);
    fill(&source);
    let files = Files::new();
    let (path, other) = (files.path("t.ndjson"), files.path("t.ndjson.part"));
    std::fs::write(&other, "of another export").expect("it is ours");
    source.run(&["export", "t", "--to", text(&path)]).ok();
    assert_eq!(std::fs::read_to_string(&other).expect("it is there"), "of another export");
    run(&["import", "--check", text(&path)]).ok();
    let left = std::fs::read_dir(files.0.path()).expect("a directory").count();
    assert_eq!(left, 2, "nothing unfinished stays");
}

/// A device was replaced by a file of its name.
#[test]
fn what_is_no_file_is_written_to_as_it_is() {
    let source = Place::new(Kind::Sqlite);
    fill(&source);
    let files = Files::new();
    let pipe = files.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
    let read = pipe.clone();
    let reading = std::thread::spawn(move || std::fs::read_to_string(read).expect("it is read"));
    source.run(&["export", "t", "--to", text(&pipe)]).ok();
    assert_eq!(reading.join().expect("it is read"), source.run(&["export", "t"]).ok().out);
    assert!(!std::fs::metadata(&pipe).expect("it is there").is_file());
    source.run(&["export", "t", "--to", text(files.0.path())]).fails(69, "directory");
}

#[test]
fn a_topic_that_has_anything_else_is_left_alone() {
    let source = Place::new(Kind::Sqlite);
    fill(&source);
    let files = Files::new();
    let path = files.path("t.ndjson");
    source.run(&["export", "t", "--to", text(&path)]).ok();
    for kind in KINDS {
        let target = Place::new(kind);
        target.feed(&["append", "t"], "{\"key\":\"a\",\"data\":1}\n").ok();
        target.run(&["import", text(&path)]).fails(1, "t has other events than the file");
        assert_eq!(target.run(&["read", "t"]).ok().json().len(), 1, "{kind:?}");
    }
    source.run(&["export", "none"]).fails(1, "no topic none");
    source.run(&["export", "--prefix", "x"]).fails(1, "no such topic");
    source.run(&["export"]).fails(2, "--all");
    source.run(&["export", "none", "--to", text(&files.path("none"))]).fails(1, "");
    let left: Vec<_> = std::fs::read_dir(files.0.path()).expect("a directory").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// It said `producer-gap`, and not what that means.
#[test]
fn a_beginning_in_a_service_that_no_import_wrote_is_told() {
    let line = |n| format!("{{\"key\":\"a\",\"data\":{n}}}\n");
    let source = Place::new(Kind::Sqlite);
    source.feed(&["append", "t"], (0..4).map(line).collect::<String>()).ok();
    let exported = source.run(&["export", "t"]).ok().out;
    let target = Place::new(Kind::OnSqlite);
    target.feed(&["append", "t"], (0..2).map(line).collect::<String>()).ok();
    target.feed(&["import"], &exported).fails(1, "not from an import of this file");
    assert_eq!(target.run(&["read", "t"]).ok().json().len(), 2);
}

/// An import that has begun to write.
fn begun(target: &Place, input: &str) -> std::process::Child {
    let mut command: Command = tidelog(&target.args(&["import"]));
    let mut process = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    while target.run(&["topics"]).ok().json().is_empty() {
        assert!(process.try_wait().expect("it is there").is_none(), "it ended too soon");
    }
    process
}

#[test]
fn an_import_that_was_interrupted_or_killed_goes_on() {
    let source = Place::new(Kind::Sqlite);
    let many = (0..40_000).map(|n| format!("{{\"key\":\"k{}\",\"data\":{n}}}\n", n % 700));
    source.feed(&["append", "u"], many.collect::<String>()).ok();
    source.run(&["invalidate", "u", "17"]).ok();
    let exported = source.run(&["export", "u"]).ok().out;
    for kind in [Kind::Postgres, Kind::OnMemory, Kind::OnPostgres] {
        for signal in [Signal::SIGINT, Signal::SIGKILL] {
            let target = Place::new(kind);
            let mut process = begun(&target, &exported);
            kill(Pid::from_raw(process.id() as i32), signal).expect("it is there");
            if signal == Signal::SIGINT {
                let done = Done::of(process.wait_with_output().expect("it ends"));
                done.fails(130, "the same command again goes on");
            } else {
                process.wait().expect("it ends");
            }
            let there = target.run(&["topics"]).ok().json();
            assert!(there[0]["events"].as_u64().expect("a number") < 40_001);
            target.feed(&["import"], &exported).ok();
            let again = target.run(&["export", "u"]).ok().out;
            assert_eq!(timeless(&again), timeless(&exported), "{kind:?} {signal}");
        }
    }
}
