//! `append` that does not come to its end, and again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::places::{Kind, Place};
use crate::run::{Done, tidelog};

on_every_place!(a_producer_goes_on_where_it_was, another_input_of_a_producer_is_refused);

const NAMED: [&str; 4] = ["append", "t", "--producer", "p"];

fn line(n: u64) -> String {
    format!("{{\"key\":\"k{}\",\"data\":{n}}}\n", n % 3)
}

fn lines(count: u64) -> String {
    (0..count).map(line).collect()
}

fn data(place: &Place) -> Vec<u64> {
    let events = place.run(&["read", "t"]).ok().json();
    events.iter().map(|event| event["data"].as_u64().expect("a number")).collect()
}

fn a_producer_goes_on_where_it_was(place: &Place) {
    let input = lines(5) + "nonsense\n" + &line(5);
    let done = place.feed(&NAMED, input).fails(65, "input:6: not JSON");
    assert!(done.err.contains("the same command again goes on"), "{}", done.err);
    let done = place.feed(&NAMED, lines(8)).ok();
    let summary = &done.json()[0];
    assert_eq!((&summary["skipped"], &summary["written"]), (&5.into(), &3.into()));
    let done = place.feed(&NAMED, lines(8)).ok();
    assert_eq!(done.json()[0]["written"], 0);
    assert_eq!(data(place), (0..8).collect::<Vec<_>>());
    // A second incarnation keeps the first one out.
    let second = [&NAMED[..], &["--producer-epoch", "1"]].concat();
    place.feed(&second, lines(9)).ok();
    place.feed(&NAMED, lines(10)).fails(1, "epoch 1");
    assert_eq!(data(place), (0..9).collect::<Vec<_>>());
}

fn another_input_of_a_producer_is_refused(place: &Place) {
    place.feed(&NAMED, lines(5)).ok();
    place.feed(&NAMED, lines(4)).fails(65, "has 4 lines, but the producer \"p\" has written 5");
    let other = lines(4) + "{\"key\":\"k1\",\"data\":99}\n" + &line(5);
    place.feed(&NAMED, other).fails(65, "input:5: is not what the producer");
    assert_eq!(data(place), (0..5).collect::<Vec<_>>());
}

/// An `append` that waits for more on standard input, after so many lines are written.
fn waiting(place: &Place, args: &[&str], count: u64) -> Child {
    let mut process = tidelog(&place.args(args)).stdin(Stdio::piped()).spawn().expect("it runs");
    let stdin = process.stdin.as_mut().expect("it is piped");
    stdin.write_all(lines(count).as_bytes()).expect("it reads");
    stdin.flush().expect("it reads");
    let follow = ["tail", "-f", "-n", "99", "t"];
    let mut reader = crate::run::Running(tidelog(&place.args(&follow)).spawn().expect("it runs"));
    let written = BufReader::new(reader.0.stdout.take().expect("it is piped")).lines();
    assert_eq!(written.take(count as usize).filter(Result::is_ok).count() as u64, count);
    process
}

#[test]
fn an_interruption_ends_in_order_and_is_gone_on_from() {
    for kind in [Kind::OnMemory, Kind::OnPostgres, Kind::Postgres] {
        for (signal, args) in [(Signal::SIGINT, &NAMED[..]), (Signal::SIGTERM, &NAMED[..2])] {
            let place = Place::new(kind);
            let mut process = waiting(&place, args, 7);
            let stdin = process.stdin.take();
            kill(Pid::from_raw(process.id() as i32), signal).expect("it is there");
            let done = Done::of(process.wait_with_output().expect("it ends"));
            drop(stdin);
            let summary = &done.json()[0];
            assert_eq!((&summary["lines"], &summary["complete"]), (&7.into(), &false.into()));
            let named = args.len() > 2;
            let how =
                if named { "the same command again" } else { "everything up to 7 is written" };
            done.fails(130, how);
            if named {
                place.feed(args, lines(10)).ok();
                assert_eq!(data(&place), (0..10).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn what_only_reads_ends_at_once_and_says_that_it_was_interrupted() {
    for kind in [Kind::OnMemory, Kind::Postgres] {
        let place = Place::new(kind);
        place.feed(&["append", "t"], lines(5_000)).ok();
        // One waits for more to come, the other for somebody to take what it has printed.
        for args in [&["tail", "-f", "t"][..], &["read", "t"], &["export", "t"]] {
            for signal in [Signal::SIGINT, Signal::SIGTERM] {
                let mut process = tidelog(&place.args(args)).spawn().expect("it runs");
                let mut out = process.stdout.take().expect("it is piped");
                out.read_exact(&mut [0; 100]).expect("it prints");
                kill(Pid::from_raw(process.id() as i32), signal).expect("it is there");
                let done = Done::of(process.wait_with_output().expect("it ends"));
                done.fails(130, "interrupted");
                drop(out);
            }
        }
    }
}

/// It waited for as long as the service did, and a second signal did not come.
#[test]
fn a_service_that_does_not_answer_does_not_keep_what_was_interrupted() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", service.local_addr().expect("an address"));
    for command in [&["append", "t"][..], &["invalidate", "t", "0"]] {
        let mut command = tidelog(&[command, &["--url", &url]].concat());
        let mut process = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = process.stdin.take().expect("it is piped");
        stdin.write_all(line(0).as_bytes()).expect("it reads, or has a pipe");
        let _connection = service.accept().expect("it connects");
        kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM).expect("it is there");
        let done = Done::of(process.wait_with_output().expect("it ends"));
        done.fails(130, "may be written all the same");
    }
}

#[test]
fn a_kill_is_gone_on_from_and_nothing_is_there_twice() {
    for kind in [Kind::OnSqlite, Kind::OnPostgres, Kind::Postgres] {
        let place = Place::new(kind);
        let count = 20_000;
        for killed_at in [1, 5_000] {
            let mut process = tidelog(&place.args(&NAMED)).stdin(Stdio::piped()).spawn();
            let process = process.as_mut().expect("it runs");
            let mut stdin = process.stdin.take().expect("it is piped");
            let feeding = std::thread::spawn(move || stdin.write_all(lines(count).as_bytes()));
            // Somewhere in the middle of it.
            let follow = place.args(&["tail", "-f", "-n", "20000", "t"]);
            let mut reader = crate::run::Running(tidelog(&follow).spawn().expect("it runs"));
            let written = BufReader::new(reader.0.stdout.take().expect("it is piped")).lines();
            assert_eq!(written.take(killed_at).filter(Result::is_ok).count(), killed_at);
            process.kill().expect("it is there");
            process.wait().expect("it ends");
            let _ = feeding.join();
        }
        place.feed(&NAMED, lines(count)).ok();
        assert_eq!(data(&place), (0..count).collect::<Vec<_>>(), "{kind:?}");
    }
}
