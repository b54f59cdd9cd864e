//! Every metric: its buckets, and one function for each observation. Names and meanings are in
//! `table.rs`.
//!
//! Any layer above `domain` may call this module; it calls none.
//!
//! Invariant: label values come from closed sets, never from topics, keys, tokens or paths. So what
//! a scrape costs does not depend on how many topics there are. The one exception are the lags of
//! consumers, which are bounded in number (`lags.rs`).

pub mod lags;
pub mod table;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use ahash::RandomState;
use metrics::{Counter, Gauge, Histogram};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use table::{Kind, METRICS};

const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
/// Deciding takes no look-up and no I/O.
const DECIDE_SECONDS: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005,
    0.01, 0.025, 0.05,
];
const EVENTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];

/// Makes the metrics of this process recordable and describes them. Once a process; before it,
/// observations go nowhere.
///
/// # Errors
/// When a recorder is there already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let decide = Matcher::Full("tidelog_decide_duration_seconds".into());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(decide, DECIDE_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".into()), EVENTS)?
        .install_recorder()?;
    describe();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("rust", env!("CARGO_PKG_RUST_VERSION"))];
    gauge!("tidelog_build_info", &labels).set(1.0);
    Ok(handle)
}

/// Describes every metric, and exposes from the start those whose series are known.
fn describe() {
    for metric in METRICS {
        let (name, help) = (metric.name, metric.help);
        match metric.kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
        match (metric.kind, metric.labels) {
            (Kind::Counter, []) => counter!(name).increment(0),
            (Kind::Gauge, []) => gauge!(name).increment(0.0),
            (Kind::Histogram, []) => drop(histogram!(name)),
            (Kind::Counter, [label]) => {
                label.values.iter().for_each(|v| counter!(name, label.name => *v).increment(0));
            }
            _ => {}
        }
    }
    // Known as well, though by hand.
    ["events", "heads"].into_iter().for_each(|of| live_readers(of, 0.0));
}

/// Handles that the write path keeps, so that an observation costs no look-up.
struct Handles {
    events: Counter,
    transactions: Counter,
    duplicates: Counter,
    invalidations: Counter,
    bytes: Counter,
    replayed: Counter,
    queue_events: Gauge,
    queue_bytes: Gauge,
    arriving: Gauge,
    in_flight: Gauge,
    unfolded: Gauge,
    remembered: Gauge,
    remembered_bytes: Gauge,
    actors: Gauge,
    commit_duration: Histogram,
    queue_wait: Histogram,
    admission_wait: Histogram,
    decide_duration: Histogram,
    batch_events: Histogram,
    committed: Counter,
    merged: Counter,
    merged_events: Histogram,
    keys_decided: Counter,
    keys_looked_up: Counter,
    http_active: Gauge,
}

static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    events: counter!("tidelog_events_written_total"),
    transactions: counter!("tidelog_transactions_written_total"),
    duplicates: counter!("tidelog_events_duplicate_total"),
    invalidations: counter!("tidelog_invalidations_written_total"),
    bytes: counter!("tidelog_written_bytes_total"),
    replayed: counter!("tidelog_commands_replayed_total"),
    queue_events: gauge!("tidelog_queue_events"),
    queue_bytes: gauge!("tidelog_queue_bytes"),
    arriving: gauge!("tidelog_arriving_bytes"),
    in_flight: gauge!("tidelog_commits_in_flight"),
    unfolded: gauge!("tidelog_unfolded_events"),
    remembered: gauge!("tidelog_remembered_keys"),
    remembered_bytes: gauge!("tidelog_remembered_bytes"),
    actors: gauge!("tidelog_topic_actors"),
    commit_duration: histogram!("tidelog_commit_duration_seconds"),
    queue_wait: histogram!("tidelog_queue_wait_seconds"),
    admission_wait: histogram!("tidelog_admission_wait_seconds"),
    decide_duration: histogram!("tidelog_decide_duration_seconds"),
    batch_events: histogram!("tidelog_batch_events"),
    committed: counter!("tidelog_commits_total", "outcome" => "committed"),
    merged: counter!("tidelog_commits_merged_total"),
    merged_events: histogram!("tidelog_commit_merged_events"),
    keys_decided: counter!("tidelog_keys_decided_total"),
    keys_looked_up: counter!("tidelog_keys_looked_up_total"),
    http_active: gauge!("tidelog_http_requests_active"),
});

/// What a durable batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events written, invalidations included.
    pub events: u64,
    /// Transactions written.
    pub transactions: u64,
    /// Events that were duplicates.
    pub duplicates: u64,
    /// Invalidations written.
    pub invalidations: u64,
    /// Size of the events written, in bytes.
    pub bytes: u64,
    /// Commands answered with an earlier answer.
    pub replayed: u64,
}

/// A batch's commands have been acknowledged.
pub fn acknowledged(written: Written) {
    HANDLES.events.increment(written.events);
    HANDLES.transactions.increment(written.transactions);
    HANDLES.duplicates.increment(written.duplicates);
    HANDLES.invalidations.increment(written.invalidations);
    HANDLES.bytes.increment(written.bytes);
    HANDLES.replayed.increment(written.replayed);
}

/// Commands were not done.
pub fn commands_failed(reason: &'static str, count: u64) {
    counter!("tidelog_commands_failed_total", "reason" => reason).increment(count);
}

/// Commands have to be decided again.
pub fn commands_replanned(count: usize) {
    counter!("tidelog_commands_replanned_total").increment(count as u64);
}

/// How much may be admitted to the queues, in events and in bytes.
pub fn queue_limits(events: usize, bytes: usize) {
    gauge!("tidelog_queue_events_max").set(events as f64);
    gauge!("tidelog_queue_bytes_max").set(bytes as f64);
}

/// How much there may be of bodies that arrive, in bytes.
pub fn arriving_limit(bytes: usize) {
    gauge!("tidelog_arriving_bytes_max").set(bytes as f64);
}

/// What there is of bodies that arrive changed by so many bytes.
pub fn arriving(change: f64) {
    HANDLES.arriving.increment(change);
}

/// A piece of a stream found room in the queues after this long.
pub fn admitted(waited: Duration) {
    HANDLES.admission_wait.record(waited.as_secs_f64());
}

/// Something was admitted to the queues.
pub fn queued(events: usize, bytes: usize) {
    HANDLES.queue_events.increment(events as f64);
    HANDLES.queue_bytes.increment(bytes as f64);
}

/// Something admitted has been answered.
pub fn dequeued(events: usize, bytes: usize) {
    HANDLES.queue_events.decrement(events as f64);
    HANDLES.queue_bytes.decrement(bytes as f64);
}

/// A batch was decided, and in it so many events compared with the states of their keys.
pub fn decided(events: usize, took: Duration) {
    HANDLES.keys_decided.increment(events as u64);
    HANDLES.decide_duration.record(took.as_secs_f64());
}

/// A batch goes to the store; its oldest command waited this long.
pub fn commit_sent(events: usize, waited: Duration) {
    HANDLES.in_flight.increment(1.0);
    HANDLES.batch_events.record(events as f64);
    HANDLES.queue_wait.record(waited.as_secs_f64());
}

/// A batch is durable.
pub fn commit_succeeded(took: Duration) {
    HANDLES.in_flight.decrement(1.0);
    HANDLES.commit_duration.record(took.as_secs_f64());
    HANDLES.committed.increment(1);
}

/// A batch is not durable, or not known to be.
pub fn commit_failed() {
    HANDLES.in_flight.decrement(1.0);
    counter!("tidelog_commits_total", "outcome" => "failed").increment(1);
}

/// The store did not take a batch, for this reason.
pub fn append_error(kind: &'static str) {
    counter!("tidelog_append_errors_total", "kind" => kind).increment(1);
}

/// A back-end put the batches of some topics into one database transaction.
pub fn commits_merged(events: usize) {
    HANDLES.merged.increment(1);
    HANDLES.merged_events.record(events as f64);
}

/// A topic was opened again after a failure.
pub fn topic_recovered() {
    counter!("tidelog_topic_recoveries_total").increment(1);
}

/// A topic actor started.
pub fn actor_started() {
    counter!("tidelog_topic_actors_started_total").increment(1);
    HANDLES.actors.increment(1.0);
}

/// A topic actor ended, for whatever reason.
pub fn actor_stopped() {
    HANDLES.actors.decrement(1.0);
}

/// A topic actor ended because nobody needed it.
pub fn actor_retired() {
    counter!("tidelog_topic_actors_retired_total").increment(1);
}

/// A topic actor was found dead.
pub fn actor_lost() {
    counter!("tidelog_topic_actors_lost_total").increment(1);
}

/// The store was asked for the states of keys.
pub fn keys_looked_up(count: usize) {
    HANDLES.keys_looked_up.increment(count as u64);
}

/// The number of keys that a topic actor remembers, and the memory they take, changed.
pub fn keys_remembered(change: i64, bytes: i64) {
    HANDLES.remembered.increment(change as f64);
    HANDLES.remembered_bytes.increment(bytes as f64);
}

/// How much memory topic actors may use for keys, in bytes.
pub fn keys_limit(bytes: usize) {
    gauge!("tidelog_remembered_bytes_max").set(bytes as f64);
}

/// What became of the filling of a topic's filters.
pub fn key_filter(outcome: &'static str) {
    counter!("tidelog_key_filters_total", "outcome" => outcome).increment(1);
}

/// The number of events that a surface is behind its topic changed.
pub fn unfolded(change: i64) {
    HANDLES.unfolded.increment(change as f64);
}

/// Look-ups ahead of a batch are done.
pub fn facts_found(took: Duration) {
    histogram!("tidelog_facts_duration_seconds").record(took.as_secs_f64());
}

/// A surface was brought forward over some events.
pub fn folded(events: u64, took: Duration) {
    counter!("tidelog_folded_events_total").increment(events);
    histogram!("tidelog_fold_duration_seconds").record(took.as_secs_f64());
}

/// A topic's writing waited this long for its surface.
pub fn fold_waited(took: Duration) {
    histogram!("tidelog_fold_wait_seconds").record(took.as_secs_f64());
}

/// The store answered, or did not.
pub fn store_up(up: bool) {
    gauge!("tidelog_store_up").set(if up { 1.0 } else { 0.0 });
}

/// An error of the store.
pub fn store_error(kind: &'static str) {
    counter!("tidelog_store_errors_total", "kind" => kind).increment(1);
}

/// The number of connections to the store changed.
pub fn store_connections(used_for: &'static str, change: f64) {
    gauge!("tidelog_store_connections", "use" => used_for).increment(change);
}

/// Heads that other instances were told of.
pub fn hints_told(count: usize) {
    counter!("tidelog_hints_total", "direction" => "told").increment(count as u64);
}

/// A head that another instance told of.
pub fn hint_heard() {
    counter!("tidelog_hints_total", "direction" => "heard").increment(1);
}

/// The number of live readers of a kind changed.
pub fn live_readers(of: &'static str, change: f64) {
    gauge!("tidelog_live_readers", "of" => of).increment(change);
}

/// Events go to a live reader.
pub fn live_events(from: &'static str, count: usize) {
    counter!("tidelog_live_events_total", "from" => from).increment(count as u64);
}

/// A client did not read its answer for too long.
pub fn answer_cut() {
    counter!("tidelog_answers_cut_total").increment(1);
}

/// How much is held for live readers.
pub fn live_bytes(bytes: usize) {
    gauge!("tidelog_live_bytes").set(bytes as f64);
}

/// So many requests have an answer that has not ended.
pub fn http_active(count: usize) {
    HANDLES.http_active.set(count as f64);
}

/// The series of answers, by method, route and status.
type Answers = HashMap<(&'static str, &'static str, u16), (Counter, Histogram), RandomState>;

thread_local! {
    /// Finding a series by its labels costs more than a microsecond.
    static ANSWERS: RefCell<Answers> = RefCell::default();
}

/// A request has ended.
pub fn http_answered(method: &'static str, route: &'static str, status: u16, took: Duration) {
    ANSWERS.with_borrow_mut(|answers| {
        let (counter, histogram) =
            answers.entry((method, route, status)).or_insert_with(|| answer(method, route, status));
        counter.increment(1);
        histogram.record(took.as_secs_f64());
    });
}

fn answer(method: &'static str, route: &'static str, status: u16) -> (Counter, Histogram) {
    let status = status.to_string();
    let requests = counter!(
        "tidelog_http_requests_total",
        "method" => method, "route" => route, "status" => status
    );
    let duration = histogram!(
        "tidelog_http_request_duration_seconds", "method" => method, "route" => route
    );
    (requests, duration)
}

/// Problems of this code are told to clients; none, to expose the code from the start.
pub fn http_problems(code: &'static str, count: u64) {
    counter!("tidelog_http_problems_total", "code" => code).increment(count);
}
