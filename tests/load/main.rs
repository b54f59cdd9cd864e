//! The load tests of `load-tests/`, with the real k6: on the built service they pass, and on a
//! service that breaks a promise they fail, and say which one.
//!
//! Correctness is judged as strictly as in any other run. Latency is not: this machine may be slow.
//! Not here: numbers (`docs/performance.md`).

mod k6;
mod liar;
#[path = "../support/plain.rs"]
mod plain;
mod service;

use actix_web::rt::System;

use crate::k6::{Run, run};
use crate::liar::{Lie, lying};
use crate::service::Tidelog;

/// Checks that the end of every script makes, however little its load was.
const CHECKED_AT_THE_END: [&str; 4] = [
    "reads have no gaps",
    "transactions are whole and numbered without gaps",
    "every version of a key is in the log, once and in order",
    "the surface is the newest event of each key",
];

/// A run passes only if these checks were made, and all checks held.
fn passes(run: &Run, checked: &[&str]) {
    assert_eq!(run.code, Some(0), "{}", run.output);
    for name in checked.iter().chain(&CHECKED_AT_THE_END) {
        assert!(run.says(&format!("✓ {name}")), "not checked: {name}\n{}", run.output);
    }
    assert!(!run.output.contains('✗'), "{}", run.output);
}

/// What the smoke test checks besides, always.
const CHECKED_IN_SMOKE: [&str; 11] = [
    "acks come in order, one a line",
    "versions rise",
    "duplicates are found, and only duplicates",
    "a duplicate has the version that is there",
    "the summary of a stream says what its acks say",
    "a transaction is acknowledged as one",
    "what was acknowledged can be read",
    "a stream sent again is answered as before",
    "a transaction sent again is answered as before",
    "an invalidated transaction is off the surface",
    "what is wrong is refused",
];

#[test]
fn the_smoke_test_passes() {
    let tidelog = Tidelog::start();
    passes(&run("smoke", &tidelog.url, &[("VUS", "2")]), &CHECKED_IN_SMOKE);
}

#[test]
fn a_short_mixed_load_passes() {
    let tidelog = Tidelog::start();
    let short = [("DURATION", "3s"), ("RATE", "150"), ("VUS", "5"), ("TOPICS", "3")];
    passes(&run("mixed", &tidelog.url, &short), &["versions rise"]);
}

#[test]
fn short_runs_of_the_other_scripts_pass() {
    let tidelog = Tidelog::start();
    let short = [("DURATION", "1s"), ("RATE", "100"), ("VUS", "5"), ("EVENTS", "10")];
    for script in ["single", "stream", "transactions", "soak"] {
        passes(&run(script, &tidelog.url, &short), &["versions rise"]);
    }
}

#[test]
fn a_service_that_is_not_there_is_no_success() {
    let run = run("smoke", "http://127.0.0.1:9", &[]);
    assert_ne!(run.code, Some(0), "{}", run.output);
    assert!(run.output.contains("Tidelog is not ready"), "{}", run.output);
}

#[test]
fn a_setting_that_makes_no_sense_is_no_success() {
    let run = run("mixed", "http://127.0.0.1:9", &[("DURATION", "soon")]);
    assert_ne!(run.code, Some(0), "{}", run.output);
    assert!(run.output.contains("DURATION=soon"), "{}", run.output);
}

/// Runs the smoke test on a service whose answers are tampered with on the way.
fn smoke(lie: Lie) -> Run {
    let tidelog = Tidelog::start();
    let url = tidelog.url.clone();
    System::new().block_on(async move {
        let liar = lying(lie, url).await;
        actix_web::rt::task::spawn_blocking(move || run("smoke", &liar, &[]))
            .await
            .expect("the run ends")
    })
}

/// A run fails by its thresholds (k6 exits with 99), and names what was broken.
fn notices(lie: Lie, broken: &str) {
    let run = smoke(lie);
    assert_eq!(run.code, Some(99), "{}", run.output);
    assert!(run.says(&format!("✗ {broken}")), "{}", run.output);
}

#[test]
fn answers_that_are_passed_on_as_they_are_pass() {
    passes(&smoke(Lie::None), &CHECKED_IN_SMOKE);
}

#[test]
fn acks_that_change_places_are_noticed() {
    notices(Lie::AcksSwapped, "acks come in order, one a line");
}

#[test]
fn versions_that_do_not_rise_are_noticed() {
    notices(Lie::SeqsSwapped, "versions rise");
}

#[test]
fn a_duplicate_that_is_called_new_is_noticed() {
    notices(Lie::NothingIsADuplicate, "duplicates are found, and only duplicates");
}

#[test]
fn a_duplicate_of_another_version_is_noticed() {
    notices(Lie::DuplicatesAreElsewhere, "a duplicate has the version that is there");
}

#[test]
fn an_ack_that_is_missing_is_noticed() {
    notices(Lie::AnAckIsMissing, "acks come in order, one a line");
}

#[test]
fn a_page_with_a_gap_is_noticed() {
    notices(Lie::APageHasAGap, "reads have no gaps");
}

#[test]
fn a_transaction_that_never_ends_is_noticed() {
    notices(Lie::TransactionsNeverEnd, "transactions are whole and numbered without gaps");
}

#[test]
fn a_surface_with_an_old_event_is_noticed() {
    notices(Lie::TheSurfaceIsOld, "the surface is the newest event of each key");
}

#[test]
fn a_surface_without_a_key_is_noticed() {
    notices(Lie::TheSurfaceLacksAKey, "the surface is the newest event of each key");
}

#[test]
fn an_error_is_noticed() {
    notices(Lie::Overloaded, "'rate==0' rate=");
}
