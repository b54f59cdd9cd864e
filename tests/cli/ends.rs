//! How commands end: exit codes, and what is said where.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use sha2::{Digest as _, Sha256};

use crate::cluster::port::nobody;
use crate::places::{Kind, Place};
use crate::run::{Done, Running, feed, run, tidelog};

#[test]
fn a_service_that_is_not_there_is_69_and_not_healthy() {
    let url = nobody();
    let at = ["--url", &url, "--retry", "0"];
    for command in [
        &["topics"][..],
        &["read", "t"],
        &["tail", "t"],
        &["surface", "t"],
        &["latest", "t", "k"],
        &["invalidate", "t", "0"],
        &["export", "t"],
        &["consumers", "list", "t"],
    ] {
        let done = run(&[command, &at].concat()).fails(69, &url);
        assert!(done.err.contains("cannot be reached: Connection refused"), "{}", done.err);
    }
    let done = feed(&[&["append", "t"][..], &at].concat(), "{\"key\":\"a\",\"data\":1}\n");
    assert_eq!(done.fails(69, &url).json()[0]["lines"], 0);
    run(&["health", "--url", &url]).fails(1, &url);
}

#[test]
fn where_and_who_can_come_from_the_environment() {
    let place = Place::new(Kind::OnMemory);
    place.feed(&["append", "t"], "{\"key\":\"a\",\"data\":1}\n").ok();
    let with = |url: &str, args: &[&str]| {
        Done::of(tidelog(args).env("TIDELOG_URL", url).output().expect("it runs"))
    };
    assert_eq!(with(&place.url, &["read", "t"]).ok().json().len(), 1);
    with(&nobody(), &["read", "t", "--url", &place.url]).ok();
    let store = Place::new(Kind::Sqlite);
    store.feed(&["append", "s"], "{\"key\":\"a\",\"data\":1}\n").ok();
    with(&place.url, &["read", "s", "--store", &store.url]).ok();
    run(&["read", "t", "--url", &place.url, "--store", "sqlite:x"]).fails(2, "--url and --store");
    for url in ["nonsense", "ftp://h", "http://h/?a=b"] {
        run(&["topics", "--url", url]).fails(2, "URL");
    }
}

#[test]
fn a_wrong_token_is_77() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tidelog.toml");
    let sha256 = hex::encode(Sha256::digest("secret"));
    let config = format!(
        "listen = \"127.0.0.1:0\"\nstore = \"memory:\"\nlog_format = \"json\"\n[[token]]\n\
         name = \"one\"\nsha256 = \"{sha256}\"\ntopics = [\"t\"]\naccess = \"read\"\n"
    );
    std::fs::write(&file, config).expect("it is ours");
    let path = file.to_str().expect("UTF-8");
    let mut service = Running(tidelog(&["serve", "--config", path]).spawn().expect("it runs"));
    let url = crate::serving::url(service.0.stderr.take().expect("it is piped"));
    let with = |token: Option<&str>, args: &[&str]| {
        let mut command = tidelog(args);
        command.args(["--url", &url]).envs(token.map(|token| ("TIDELOG_TOKEN", token)));
        Done::of(command.output().expect("it runs"))
    };
    let done = with(None, &["topics"]).fails(77, "unauthenticated");
    assert!(done.err.contains("the token is taken from TIDELOG_TOKEN"), "{}", done.err);
    with(Some("other"), &["topics"]).fails(77, "unauthenticated");
    with(Some("secret"), &["topics"]).ok();
    with(Some("secret"), &["read", "u"]).fails(77, "forbidden");
    with(Some("secret"), &["invalidate", "t", "0"]).fails(77, "forbidden");
    with(None, &["health"]).ok();
}

#[test]
fn a_store_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = format!("sqlite:{}", dir.path().join("no.db").display());
    for args in [&["topics"][..], &["health"], &["consumers", "list", "t"], &["export", "--all"]] {
        run(&[args, &["--store", &missing]].concat()).fails(1, "there is no file");
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    run(&["topics", "--store", "memory:"]).fails(2, "memory:");
    let done = run(&["topics", "--store", "mysql://u:s3cret@h"]).fails(2, "must be sqlite:PATH");
    assert!(!done.err.contains("s3cret"), "{}", done.err);
    let url = "postgres://u:s3cret@127.0.0.1:1/db";
    let done = run(&["topics", "--store", url]);
    assert!(done.code == 69 && !done.err.contains("s3cret"), "{} {}", done.code, done.err);
    let place = Place::new(Kind::OnSqlite);
    let open = dir.path().join("open.db");
    let path = format!("sqlite:{}", open.display());
    let args = ["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--store", &path];
    let mut service = Running(tidelog(&args).spawn().expect("it runs"));
    let url = crate::serving::url(service.0.stderr.take().expect("it is piped"));
    run(&["topics", "--store", &path]).fails(69, "or ask the service that has it, with --url");
    run(&["topics", "--url", &url]).ok();
    drop(place);
}

/// A server that wants a password in the clear, and says which it was given
/// (<https://www.postgresql.org/docs/15/protocol-message-formats.html>).
fn asked_for_a_password(run: impl FnOnce(&str) -> Done) -> (Done, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    let told = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut message = |tagged: bool| {
            let mut head = vec![0; if tagged { 5 } else { 4 }];
            stream.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes(head[head.len() - 4..].try_into().expect("four"));
            let mut body = vec![0; length as usize - 4];
            stream.read_exact(&mut body).ok()?;
            // AuthenticationCleartextPassword, after the startup message.
            if !tagged {
                stream.write_all(b"R\0\0\0\x08\0\0\0\x03").ok()?;
            }
            Some(body)
        };
        message(false);
        let password = message(true).unwrap_or_default();
        String::from_utf8_lossy(&password).trim_end_matches('\0').to_owned()
    });
    let done = run(&format!("127.0.0.1:{port}/db?sslmode=disable"));
    (done, told.join().expect("it does not panic"))
}

#[test]
fn a_password_of_the_database_can_be_kept_off_the_command_line() {
    let with = |user: &str, address: &str| {
        let mut command = tidelog(&["topics", "--store", &format!("postgres://{user}@{address}")]);
        command.env("PGPASSWORD", "s3cret");
        Done::of(command.output().expect("it runs"))
    };
    assert_eq!(asked_for_a_password(|at| with("u", at)).1, "s3cret");
    assert_eq!(asked_for_a_password(|at| with("u:own", at)).1, "own", "the nearer one");
    let without = |at: &str| run(&["topics", "--store", &format!("postgres://u@{at}")]);
    let (done, password) = asked_for_a_password(without);
    done.fails(77, "PGPASSWORD");
    assert_eq!(password, "");
}

#[test]
fn nobody_waits_for_what_cannot_come() {
    let place = Place::new(Kind::Sqlite);
    place.feed(&["append", "t"], "{\"key\":\"a\",\"data\":1}\n").ok();
    place.run(&["tail", "-f", "t"]).fails(2, "follow the service");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::new(Kind::Sqlite);
    let lines: String =
        (0..20_000).map(|n| format!("{{\"key\":\"k{n}\",\"data\":{n}}}\n")).collect();
    place.feed(&["append", "t"], lines).ok();
    for args in
        [&["read", "t"][..], &["surface", "t"], &["export", "t"], &["tail", "t", "-n", "9999"]]
    {
        let mut process = tidelog(&place.args(args)).spawn().expect("it runs");
        let mut stdout = process.stdout.take().expect("it is piped");
        stdout.read_exact(&mut [0; 10]).expect("some of it");
        drop(stdout);
        let done = Done::of(process.wait_with_output().expect("it ends")).ok();
        assert_eq!(done.err, "", "{args:?}");
    }
}
