//! Logging of a whole process: panics are log lines, and a closed standard error stops nothing.
//!
//! Each test starts this program once more, to run one of the ignored tests below alone: logging
//! and the panic hook belong to a process. Not here: filters (`src/telemetry.rs`).

use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use tidelog::telemetry::{self, LogFormat};

fn start(test: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn panic_in_a_thread() {
    let ended = thread::Builder::new().name("worker".into()).spawn(|| panic!("broken claim"));
    assert!(ended.unwrap().join().is_err());
}

/// Lines on standard error of a child that logs and then panics.
fn lines(test: &str) -> Vec<String> {
    let output = start(test).wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_that_logs_requests() {
    telemetry::init(LogFormat::Json, "info").unwrap();
    macro_rules! log {
        ($target:literal) => {
            let (topic, none) = ("a\"\\\u{1}\u{e9}", None::<u64>);
            tracing::warn!(
                target: $target,
                topic, status = 201, ms = 1.5, lines = Some(7_u64), none, gone = true, less = -1,
                at = ?("x", 1), id = %"y",
                "request {}", "\"1\""
            );
        };
    }
    log!("tidelog::http::access");
    log!("tidelog::http");
    telemetry::flush();
}

#[test]
fn lines_of_requests_look_like_all_others() {
    let lines = lines("child_that_logs_requests");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let without_time = |line: &str| {
        let (begin, rest) = line.split_once("Z\",").expect("a time");
        let time = begin.strip_prefix("{\"timestamp\":\"").expect("it is the first member");
        assert_eq!(time.len(), "2026-11-25T07:00:00.000000".len(), "{time}");
        format!("{time}Z").parse::<jiff::Timestamp>().expect("it is a time");
        rest.to_owned()
    };
    let as_any_other = lines[0].replace("tidelog::http::access", "tidelog::http");
    assert_eq!(without_time(&as_any_other), without_time(&lines[1]));
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_that_logs_json() {
    telemetry::init(LogFormat::Auto, "info").unwrap();
    tracing::info!(topic.name = "orders", "topic opened");
    tracing::debug!("not to be seen");
    panic_in_a_thread();
    telemetry::flush();
}

#[test]
fn elsewhere_than_on_a_terminal_each_line_is_json_and_a_panic_is_one_line() {
    let lines = lines("child_that_logs_json");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let [opened, panicked] =
        [0, 1].map(|n| serde_json::from_str::<serde_json::Value>(&lines[n]).unwrap());
    assert_eq!(opened["message"], "topic opened");
    assert_eq!(opened["topic.name"], "orders");
    assert_eq!(panicked["level"], "ERROR");
    assert_eq!(panicked["panic.message"], "broken claim");
    assert_eq!(panicked["thread.name"], "worker");
    assert!(panicked["panic.location"].as_str().is_some_and(|at| at.contains("telemetry.rs:")));
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_whose_libraries_talk() {
    telemetry::init(LogFormat::Text, "info,actix_server=error").unwrap();
    tracing::error!(target: "actix_http::h1::dispatcher", "stream error: garbage");
    tracing::warn!(target: "actix_server::worker", "named in the filter");
    tracing::warn!(target: "deadpool.postgres", "lost");
    tracing::error!(target: "deadpool.postgres", "broken");
    tracing::info!("own words");
    telemetry::flush();
}

#[test]
fn garbage_on_a_socket_and_other_chatter_of_libraries_is_not_logged() {
    let lines = lines("child_whose_libraries_talk");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("broken") && lines[1].contains("own words"), "{lines:?}");
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_that_logs_text() {
    telemetry::init(LogFormat::Text, "info").unwrap();
    tracing::info!(topic.name = "orders", "topic opened");
    telemetry::flush();
}

#[test]
fn text_is_without_colours_where_there_is_no_terminal() {
    let lines = lines("child_that_logs_text");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("topic opened topic.name=\"orders\""), "{lines:?}");
    assert!(!lines[0].contains('\u{1b}'), "{lines:?}");
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_that_logs_nothing() {
    telemetry::init(LogFormat::Json, "off").unwrap();
    panic_in_a_thread();
}

#[test]
fn a_panic_is_reported_even_where_logging_is_off() {
    let lines = lines("child_that_logs_nothing");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("thread worker panicked at "), "{lines:?}");
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_with_a_closed_standard_error() {
    telemetry::init(LogFormat::Json, "info").unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    tracing::error!("nobody reads this");
    panic_in_a_thread();
    println!("still here");
}

#[test]
fn a_closed_standard_error_stops_nothing() {
    let mut child = start("child_with_a_closed_standard_error");
    drop(child.stderr.take());
    // Only now does the child go on to log.
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("still here"), "{text}");
}

#[test]
#[ignore = "runs in a process of its own, see below"]
fn child_that_nobody_listens_to() {
    telemetry::init(LogFormat::Json, "info").unwrap();
    let long = "x".repeat(1000);
    for _ in 0..3_000 {
        tracing::warn!(long, "more than a pipe takes, and more than is kept");
    }
    telemetry::flush();
    println!("still here");
}

/// A service whose log was not read stopped answering once the pipe was full.
#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let mut child = start("child_that_nobody_listens_to");
    let unread = child.stderr.take();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("still here"), "{text}");
    drop(unread);
}
