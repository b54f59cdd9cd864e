//! `tidelog tail`: what is there, and what comes.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use serde_json::{Value, json};
use tidelog::config::Config;
use tidelog::store::memory::MemoryStore;

use crate::cluster::port::{free_port, nobody};
use crate::places::{Kind, Place};
use crate::run::{Running, feed, tidelog};
use crate::service::Service;

on_every_place!(the_newest_events_come_in_order);

fn append(place: &Place, range: std::ops::Range<u64>) {
    let line = |n| format!("{{\"key\":\"k{}\",\"data\":{n}}}\n", n % 2);
    place.feed(&["append", "t"], range.map(line).collect::<String>()).ok();
}

fn data(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"].as_u64().expect("a number")).collect()
}

fn the_newest_events_come_in_order(place: &Place) {
    append(place, 0..20);
    let tail = |args: &[&str]| data(&place.run(&[&["tail", "t"][..], args].concat()).ok().json());
    assert_eq!(tail(&[]), (10..20).collect::<Vec<_>>());
    assert_eq!(tail(&["-n", "2"]), [18, 19]);
    assert_eq!(tail(&["-n", "99"]).len(), 20);
    assert_eq!(tail(&["-n", "0"]), [0; 0]);
    assert_eq!(tail(&["-n", "2", "--key", "k0"]), [16, 18]);
    place.run(&["tail", "none"]).fails(1, "no topic");
    place.run(&["tail", "t", "--key", "no"]).fails(1, "no events");
}

/// Follows, and reads so many events, each after `next` was called with how many have come.
fn follow(place: &Place, args: &[&str], count: u64, mut next: impl FnMut(u64)) -> Vec<u64> {
    let args = [&["tail", "-f", "t"][..], args].concat();
    let mut process = Running(tidelog(&place.args(&args)).spawn().expect("it runs"));
    let stdout = process.0.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let mut come = Vec::new();
    for n in 0..count {
        next(n);
        let line = lines.next().expect("it stays").expect("a line");
        come.extend(data(&[serde_json::from_str(&line).expect("JSON")]));
    }
    come
}

#[test]
fn what_comes_is_printed_as_it_comes() {
    for kind in [Kind::OnMemory, Kind::OnSqlite, Kind::OnPostgres, Kind::Postgres] {
        let place = Place::new(kind);
        // Not there yet.
        let come = follow(&place, &[], 3, |n| append(&place, n..n + 1));
        assert_eq!(come, [0, 1, 2], "{kind:?}");
        append(&place, 3..10);
        let come = follow(&place, &["-n", "2"], 5, |n| {
            if n >= 2 {
                append(&place, 8 + n..9 + n);
            }
        });
        assert_eq!(come, [8, 9, 10, 11, 12], "{kind:?}");
        let come = follow(&place, &["-n", "1", "--key", "k1"], 2, |n| {
            if n == 1 {
                append(&place, 13..16);
            }
        });
        assert_eq!(come, [11, 13], "{kind:?}");
    }
}

#[test]
fn a_service_that_is_not_there_is_told_before_it_is_given_up() {
    let url = nobody();
    for command in [&["read", "t"][..], &["tail", "-f", "t"], &["append", "t"]] {
        let args = [command, &["--url", &url, "--retry", "1"]].concat();
        let done = feed(&args, "{\"key\":\"k\",\"data\":1}\n").fails(69, &url);
        assert_eq!(done.err.matches("cannot be reached").count(), 2, "{}", done.err);
        assert_eq!(done.err.matches("trying again").count(), 1, "{}", done.err);
    }
}

#[test]
fn a_lost_service_is_told_once_and_found_again_without_missing_anything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let store = Arc::new(MemoryStore::default());
    let start = |port| {
        let config = Config::default();
        runtime.block_on(Service::start(config, store.clone(), store.clone(), port))
    };
    let port = free_port();
    let service = start(port);
    let url = service.url();
    let append = |n: u64| {
        let line = json!({"key": "k", "data": n}).to_string();
        feed(&["append", "t", "--url", &url], line).ok();
    };
    append(0);
    let args = ["tail", "-f", "t", "--url", &url];
    let mut process = Running(tidelog(&args).spawn().expect("it runs"));
    let mut lines = BufReader::new(process.0.stdout.take().expect("it is piped")).lines();
    let mut told = BufReader::new(process.0.stderr.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("it stays").expect("a line");
    assert!(next().contains("\"data\":0,"));
    drop(service);
    assert!(told.next().expect("it tells").expect("a line").contains("trying again"));
    let _service = start(port);
    append(1);
    assert!(next().contains("\"data\":1,"));
    assert!(told.next().expect("it tells").expect("a line").contains("connected again"));
}
