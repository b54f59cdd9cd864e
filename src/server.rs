//! The service as a whole: store, writers, HTTP, and the order in which they begin and end.
//!
//! It ends in order: not ready any more; no new writes; all that was admitted is answered; HTTP
//! finishes what it is answering; the store is closed.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, StoreUrl};
use crate::domain::Timestamp;
use crate::http;
use crate::http::app::{App, Limits};
use crate::http::arriving::Arriving;
use crate::http::auth::Guard;
use crate::http::lags::Lags;
use crate::http::problem::ErrorCode;
use crate::live::{self, Live};
use crate::metrics;
use crate::store::memory::MemoryStore;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::watched::Watched;
use crate::store::{EventSourceReader, EventSourceWriter, OpenError};
use crate::topic::{Settings, Topics, now};

/// How long the last answers may take to leave, when the service ends.
const FLUSH: Duration = Duration::from_secs(2);
/// How often samples of histograms are put away: a scrape has to wait for those that are not.
const UPKEEP: Duration = Duration::from_millis(250);
/// How often callers are forgotten, the store is asked, and consumers are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How often old idempotency records are forgotten.
const EXPIRY: Duration = Duration::from_secs(600);
/// How long idempotency records are kept: the contract's day, and another for clocks and luck.
const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(48 * 3600);

/// A store, as its two halves.
pub type Store = (Arc<dyn EventSourceWriter>, Arc<dyn EventSourceReader>);

/// Runs the service until SIGTERM or SIGINT, and ends it in order.
///
/// # Errors
/// When it cannot start; the chain holds an [`OpenError`] for the store, or the I/O error of the
/// listener.
pub fn run(config: Config) -> anyhow::Result<()> {
    // A connection is a file, and shells and systemd begin with 1024. Where it cannot be raised, the
    // limit is what it is.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let metrics = metrics::install().context("metrics cannot be recorded")?;
    ErrorCode::ALL.iter().for_each(|code| metrics::http_problems(code.code(), 0));
    actix_web::rt::System::new().block_on(serve(config, metrics))
}

async fn serve(config: Config, metrics: PrometheusHandle) -> anyhow::Result<()> {
    // Before the store: who cannot listen should not take topics or migrate schemas.
    let listener = listen(&config)?;
    let address = listener.local_addr().context("the listener has no address")?;
    let (writer, reader) = open(&config).await?;
    let topics = Topics::new(Arc::clone(&writer), settings(&config));
    let app = Data::new(app(&config, topics.clone(), reader, Some(metrics.clone())));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = http::serve(app.clone(), listener, config.workers, config.shutdown_timeout)?;
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    let housekeeping = actix_web::rt::spawn(keep_house(app.clone(), Arc::clone(&writer)));
    let upkeep = actix_web::rt::spawn(put_samples_away(metrics));
    tracing::info!(url = %format!("http://{address}"), store = %config.store, "listening");
    if config.is_open_to_others() {
        tracing::warn!(
            %address,
            "insecure: everybody who can reach this address can read and write everything; add \
             tokens (`tidelog token` makes one) unless the network keeps others out"
        );
    }

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down");
    app.draining.cancel();
    if tokio::time::timeout(config.shutdown_timeout, topics.drain()).await.is_err() {
        tracing::warn!("some writes were not answered in time; their outcome is not known");
    }
    let stopped = async {
        handle.stop(true).await;
        serving.await.context("the HTTP server failed")?.context("the HTTP server failed")
    };
    let served = async {
        app.requests.close();
        app.requests.wait().await;
        tokio::time::sleep(FLUSH).await;
    };
    tokio::select! {
        stopped = stopped => stopped?,
        () = served => {} // The framework would wait for HTTP/2 connections without a request.
    }
    housekeeping.abort();
    upkeep.abort();
    drop(topics);
    writer.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.listen;
    let listener = TcpListener::bind(address);
    listener.map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "stop what is there, or choose another port with --listen",
            ErrorKind::AddrNotAvailable => {
                "this machine has no such address: choose one that it has with --listen, such as \
                 127.0.0.1, or 0.0.0.0 for all that it has"
            }
            ErrorKind::PermissionDenied => "choose a port of 1024 or above with --listen",
            _ => "choose another address with --listen",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address}; {advice}"))
    })
}

/// Opens the store that the configuration names.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(config: &Config) -> Result<Store, OpenError> {
    // TLS to PostgreSQL; there is one provider in this program, so a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match &config.store {
        StoreUrl::Memory => Ok(halves(MemoryStore::default())),
        StoreUrl::Sqlite(path) => {
            let readers = config.sqlite_readers;
            let settings = sqlite::Config { readers, ..sqlite::Config::new(path) };
            let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&settings));
            let failed = |_| OpenError::Unsuitable("opening the SQLite file failed".into());
            opening.await.map_err(failed)?.map(halves)
        }
        StoreUrl::Postgres(url) => {
            let (lanes, readers) = (config.postgres_lanes, config.postgres_readers);
            let settings = postgres::Config {
                lanes,
                readers,
                append_timeout: config.write_timeout,
                ..postgres::Config::new(url.expose())
            };
            PostgresStore::connect(&settings).await.map(halves)
        }
    }
}

fn halves(store: impl EventSourceWriter + EventSourceReader) -> Store {
    let store = Arc::new(Watched::new(store));
    (Arc::clone(&store) as _, store)
}

/// The write path's share of the configuration.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        write_timeout: config.write_timeout,
        queue_events_max: config.queue_events_max,
        queue_bytes_max: config.queue_bytes_max,
        topic_queue_events_max: config.topic_queue_events_max,
        batch_events_max: config.batch_events_max,
        batch_bytes_max: config.batch_bytes_max,
        commits_in_flight_max: config.commits_in_flight_max,
        topic_idle: config.topic_idle,
        keys_bytes_max: config.keys_bytes_max,
        keys_bytes_total_max: config.keys_bytes_total_max,
        unfolded_events_max: config.unfolded_events_max,
    }
}

/// The share of live reads.
#[must_use]
pub fn live_settings(config: &Config) -> live::Settings {
    live::Settings {
        topic_bytes_max: config.live_topic_bytes_max,
        bytes_max: config.live_bytes_max,
        patience: config.read_patience,
    }
}

/// What HTTP handlers share, as configured. Begins live reads, which hear of what `topics` write;
/// must be called inside a runtime.
#[must_use]
pub fn app(
    config: &Config,
    topics: Topics,
    reader: Arc<dyn EventSourceReader>,
    metrics: Option<PrometheusHandle>,
) -> App {
    let live = Arc::new(Live::start(Arc::clone(&reader), live_settings(config)));
    topics.tell(Arc::clone(&live) as _);
    App {
        topics,
        reader,
        live,
        arriving: Arriving::new(config.body_bytes_total_max),
        limits: Limits {
            event_bytes_max: config.event_bytes_max,
            transaction_events_max: config.transaction_events_max,
            body_bytes_max: config.body_bytes_max,
            body_timeout: config.body_timeout,
            stream_idle_timeout: config.stream_idle_timeout,
            read_stall_timeout: config.read_stall_timeout,
            heartbeat_interval: config.heartbeat_interval,
        },
        guard: Guard::new(config.tokens.clone(), config.insecure, config.rate()),
        read_only: config.read_only,
        lags: Lags::new(config.consumer_series_max),
        metrics,
        draining: CancellationToken::new(),
        requests: TaskTracker::new(),
    }
}

async fn put_samples_away(metrics: PrometheusHandle) {
    let mut upkeep = tokio::time::interval(UPKEEP);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        upkeep.tick().await;
        metrics.run_upkeep();
    }
}

async fn keep_house(app: Data<App>, writer: Arc<dyn EventSourceWriter>) {
    let mut often = tokio::time::interval(HOUSEKEEPING);
    let mut seldom = tokio::time::interval(EXPIRY);
    loop {
        tokio::select! {
            _ = often.tick() => {
                app.guard.forget_quiet_callers();
                let ping = tokio::time::timeout(HOUSEKEEPING, app.reader.ping()).await;
                metrics::store_up(ping.is_ok_and(|ping| ping.is_ok()));
                let look = app.lags.look(&*app.reader);
                if let Ok(Err(error)) = tokio::time::timeout(HOUSEKEEPING, look).await {
                    tracing::debug!(%error, "consumers were not looked at");
                }
            }
            _ = seldom.tick() => {
                let before = now().0 - IDEMPOTENCY_KEPT.as_micros() as i64;
                if let Err(error) = writer.expire(Timestamp(before)).await {
                    tracing::warn!(%error, "old idempotency records were not forgotten");
                }
            }
        }
    }
}
