//! Limits of the write path.

use std::time::Duration;

/// Limits of the write path. Counts are of events, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a topic may make no progress before what waits for it is answered as failed.
    pub write_timeout: Duration,
    /// Most events admitted and not yet answered, over all topics.
    pub queue_events_max: usize,
    /// Most bytes admitted and not yet answered, over all topics.
    pub queue_bytes_max: usize,
    /// Most events admitted and not yet answered, of one topic.
    pub topic_queue_events_max: usize,
    /// Most events of a batch, unless a single transaction has more.
    pub batch_events_max: usize,
    /// Most bytes of a batch, unless a single transaction has more.
    pub batch_bytes_max: usize,
    /// Most batches of a topic on their way to the store at once; at least 1.
    pub commits_in_flight_max: usize,
    /// An actor without work for this long ends.
    pub topic_idle: Duration,
    /// Memory for what is known about keys, per topic.
    pub keys_bytes_max: usize,
    /// The same for all topics together.
    pub keys_bytes_total_max: usize,
    /// Most events that a surface may be behind its topic before writing waits for it.
    pub unfolded_events_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            write_timeout: Duration::from_secs(10),
            queue_events_max: 200_000,
            queue_bytes_max: 256 << 20,
            topic_queue_events_max: 20_000,
            batch_events_max: 2000,
            batch_bytes_max: 1 << 20,
            commits_in_flight_max: 4,
            topic_idle: Duration::from_secs(60),
            keys_bytes_max: 64 << 20,
            keys_bytes_total_max: 96 << 20,
            unfolded_events_max: 300_000,
        }
    }
}
