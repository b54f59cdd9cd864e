//! The table of metrics: what `/metrics` exposes, described once. `dashboards/README.md` repeats it
//! for people, and `tests/dashboards/` checks that it does.
//!
//! Not here: observations.
//!
//! Invariants: names end as Prometheus wants them and are in base units; labels have few values,
//! never keys, tokens or paths, and topics and consumers only so many (`lags.rs`).

use Kind::{Counter, Gauge, Histogram};

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How its values are to be read.
    pub kind: Kind,
    /// What is counted or measured, in the plural; `1` for a yes or no.
    pub unit: &'static str,
    /// What tells its series apart.
    pub labels: &'static [Label],
    /// What it means.
    pub help: &'static str,
}

/// How values are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the process ends.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

/// A label.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All values, each exposed from the start, so that the first failure is seen as a rise from
    /// zero. Empty where the values are others' (routes, codes of problems, names) or of one
    /// back-end.
    pub values: &'static [&'static str],
}

const fn label(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values }
}

const fn row(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help }
}

/// Why commands are not done.
const REASONS: &[&str] = &[
    "earlier_failed",
    "full",
    "idempotency_mismatch",
    "outcome_unknown",
    "overloaded",
    "precondition_failed",
    "producer_fenced",
    "producer_gap",
    "read_only",
    "rejected",
    "shutting_down",
    "unavailable",
    "unstorable",
];
/// What a call of the store says when it fails (the first four), or what was being done.
const STORE_ERRORS: &[&str] = &[
    "corrupt",
    "full",
    "read_only",
    "unavailable",
    "append",
    "connect",
    "hints",
    "lost",
    "read",
    "rewound",
];
const APPEND_ERRORS: &[&str] = &["not_written", "refused", "rejected", "unknown"];

const BUILD: &[Label] = &[label("version", &[]), label("rust", &[])];
const CONSUMER: &[Label] = &[label("topic", &[]), label("consumer", &[])];
const CODE: &[Label] = &[label("code", &[])];
const ROUTE: &[Label] = &[label("method", &[]), label("route", &[])];
const STATUS: &[Label] = &[label("method", &[]), label("route", &[]), label("status", &[])];
const USE: &[Label] = &[label("use", &[])];

/// Every metric that is exposed.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    row(Counter, "tidelog_events_written_total", "events", &[], "Events written and acknowledged, invalidations included."),
    row(Counter, "tidelog_events_duplicate_total", "events", &[], "Events acknowledged and not written, because they were there: duplicates."),
    row(Counter, "tidelog_transactions_written_total", "transactions", &[], "Transactions written."),
    row(Counter, "tidelog_invalidations_written_total", "events", &[], "Transactions invalidated."),
    row(Counter, "tidelog_written_bytes_total", "bytes", &[], "Size of the events written: key, data, type and metadata."),
    row(Counter, "tidelog_commands_replayed_total", "commands", &[], "Commands answered as once before: an idempotency key or a producer's line sent again."),
    row(Counter, "tidelog_commands_replanned_total", "commands", &[], "Commands decided again, because the batch that they were in was not committed."),
    row(Counter, "tidelog_commands_failed_total", "commands", &[label("reason", REASONS)], "Commands, or groups of lines, not done."),
    row(Gauge, "tidelog_queue_events", "events", &[], "Events admitted and not yet acknowledged."),
    row(Gauge, "tidelog_queue_events_max", "events", &[], "Most events that are admitted at once: the setting queue_events_max."),
    row(Gauge, "tidelog_queue_bytes", "bytes", &[], "Memory that the events admitted and not yet acknowledged keep."),
    row(Gauge, "tidelog_queue_bytes_max", "bytes", &[], "Most bytes that are admitted at once: the setting queue_bytes_max."),
    row(Gauge, "tidelog_arriving_bytes", "bytes", &[], "Bytes that have come of request bodies that are read as a whole, but for the first 16 KiB of each."),
    row(Gauge, "tidelog_arriving_bytes_max", "bytes", &[], "Most bytes of them at once: the setting body_bytes_total_max."),
    row(Histogram, "tidelog_admission_wait_seconds", "seconds", &[], "How long streams waited for room in the queue (back-pressure), for each piece of a stream."),
    row(Histogram, "tidelog_queue_wait_seconds", "seconds", &[], "From the admission of a batch's oldest command to the batch being sent."),
    row(Histogram, "tidelog_facts_duration_seconds", "seconds", &[], "Look-ups in the store ahead of a batch."),
    row(Histogram, "tidelog_decide_duration_seconds", "seconds", &[], "Deciding, numbering and hashing a batch."),
    row(Histogram, "tidelog_commit_duration_seconds", "seconds", &[], "From sending a batch to knowing that it is durable."),
    row(Histogram, "tidelog_batch_events", "events", &[], "Events to be written of a batch: what a topic commits at once."),
    row(Gauge, "tidelog_commits_in_flight", "batches", &[], "Batches sent to the store and unanswered."),
    row(Counter, "tidelog_commits_total", "batches", &[label("outcome", &["committed", "failed"])], "Batches sent to the store."),
    row(Counter, "tidelog_commits_merged_total", "transactions", &[], "Database transactions that held batches, of one topic or of many."),
    row(Histogram, "tidelog_commit_merged_events", "events", &[], "Events of a database transaction."),
    row(Counter, "tidelog_append_errors_total", "batches", &[label("kind", APPEND_ERRORS)], "Batches that the store did not take."),
    row(Counter, "tidelog_topic_recoveries_total", "topics", &[], "Topics taken again after a failure."),
    row(Gauge, "tidelog_topic_actors", "actors", &[], "Topic actors running: topics written to lately."),
    row(Counter, "tidelog_topic_actors_started_total", "actors", &[], "Topic actors started."),
    row(Counter, "tidelog_topic_actors_retired_total", "actors", &[], "Topic actors ended, because nobody needed them."),
    row(Counter, "tidelog_topic_actors_lost_total", "actors", &[], "Topic actors found dead: a bug."),
    row(Counter, "tidelog_keys_decided_total", "events", &[], "Events compared with the state of their key."),
    row(Counter, "tidelog_keys_looked_up_total", "keys", &[], "Keys whose state the store was asked for."),
    row(Gauge, "tidelog_remembered_keys", "keys", &[], "Keys whose state topic actors hold in memory."),
    row(Gauge, "tidelog_remembered_bytes", "bytes", &[], "Memory for the states of keys, filters for forgotten ones included."),
    row(Gauge, "tidelog_remembered_bytes_max", "bytes", &[], "Most memory for them: the setting keys_bytes_total_max."),
    row(Counter, "tidelog_key_filters_total", "filters", &[label("outcome", &["filled", "given_up"])], "Topics whose keys were read from the store, so that new ones need no look-up; or whose filters were dropped, because memory was short or the store could not be read."),
    row(Gauge, "tidelog_unfolded_events", "events", &[], "Surface lag: topics' heads minus the watermarks of their folds, over all topic actors."),
    row(Counter, "tidelog_folded_events_total", "events", &[], "Events folded into surfaces."),
    row(Histogram, "tidelog_fold_duration_seconds", "seconds", &[], "Steps that bring a surface forward."),
    row(Histogram, "tidelog_fold_wait_seconds", "seconds", &[], "How long a topic's writing waited for its surface to be brought forward."),
    row(Gauge, "tidelog_store_up", "1", &[], "1 while the store answers, 0 while it does not; looked at every 5 seconds."),
    row(Gauge, "tidelog_store_connections", "connections", USE, "Connections to the store."),
    row(Counter, "tidelog_store_errors_total", "errors", &[label("kind", STORE_ERRORS)], "Calls of the store that failed."),
    row(Counter, "tidelog_http_requests_total", "requests", STATUS, "Requests answered; a stream counts when its answer has ended."),
    row(Histogram, "tidelog_http_request_duration_seconds", "seconds", ROUTE, "From the head of a request to the end of its answer."),
    row(Gauge, "tidelog_http_requests_active", "requests", &[], "Requests whose answer has not ended."),
    row(Counter, "tidelog_http_problems_total", "problems", CODE, "Problems told to clients, by the codes of the API, those inside streams included."),
    row(Counter, "tidelog_hints_total", "hints", &[label("direction", &["told", "heard"])], "Heads told to other instances, or heard of from them."),
    row(Gauge, "tidelog_live_readers", "readers", &[label("of", &[])], "Live readers attached, by what they read."),
    row(Counter, "tidelog_live_events_total", "events", &[label("from", &["memory", "store"])], "Events sent to live readers, by where they came from."),
    row(Counter, "tidelog_answers_cut_total", "answers", &[], "Streamed answers that were cut because the client did not read them."),
    row(Gauge, "tidelog_live_bytes", "bytes", &[], "Newest events held in memory for live readers."),
    row(Gauge, "tidelog_consumer_lag_events", "events", CONSUMER, "Events that a consumer has not handled; looked at every 5 seconds."),
    row(Gauge, "tidelog_consumer_lag_seconds", "seconds", CONSUMER, "For how long the first event that a consumer has not handled has been there."),
    row(Gauge, "tidelog_build_info", "1", BUILD, "Always 1; the labels say what runs."),
    row(Counter, "process_cpu_seconds_total", "seconds", &[], "CPU time used, user and system, in whole seconds."),
    row(Gauge, "process_resident_memory_bytes", "bytes", &[], "Memory resident."),
    row(Gauge, "process_virtual_memory_bytes", "bytes", &[], "Memory mapped."),
    row(Gauge, "process_virtual_memory_max_bytes", "bytes", &[], "Most memory that may be mapped; 0 for no limit."),
    row(Gauge, "process_open_fds", "descriptors", &[], "File descriptors open."),
    row(Gauge, "process_max_fds", "descriptors", &[], "Most file descriptors that may be open."),
    row(Gauge, "process_threads", "threads", &[], "Threads."),
    row(Gauge, "process_start_time_seconds", "seconds", &[], "When the process started, in seconds since 1970."),
];
