//! What all handlers share.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arriving::Arriving;
use super::auth::Guard;
use super::lags::Lags;
use crate::live::Live;
use crate::store::EventSourceReader;
use crate::topic::Topics;

/// Limits of requests. Sizes are in bytes, after decompression.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest event.
    pub event_bytes_max: usize,
    /// Most events of one transaction.
    pub transaction_events_max: usize,
    /// Largest body of a request that is read as a whole, and largest line of a stream.
    pub body_bytes_max: usize,
    /// How long a body that is read as a whole may take to arrive.
    pub body_timeout: Duration,
    /// How long a stream of events may stay silent.
    pub stream_idle_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub read_stall_timeout: Duration,
    /// How often a live event stream says that it lives.
    pub heartbeat_interval: Duration,
}

/// The state of the service.
pub struct App {
    /// The writers.
    pub topics: Topics,
    /// The store, for reading.
    pub reader: Arc<dyn EventSourceReader>,
    /// Live reads.
    pub live: Arc<Live>,
    /// Limits of requests.
    pub limits: Limits,
    /// Memory for bodies, while they arrive.
    pub arriving: Arriving,
    /// Who may do what, and how often.
    pub guard: Guard,
    /// All writes are refused.
    pub read_only: bool,
    /// How far consumers are behind.
    pub lags: Lags,
    /// Renders the metrics; `None` where this process records none.
    pub metrics: Option<PrometheusHandle>,
    /// Cancelled when the service begins to end: from there on it is not ready, reads no more
    /// of the bodies that it is reading, and ends its live reads.
    pub draining: CancellationToken,
    /// Counts the requests whose answers have not ended.
    pub requests: TaskTracker,
}
