//! A service of the test's own on any back-end, and a client that asks it.
//!
//! Not here: stores that fail (`faulty.rs`), connections byte by byte (`raw.rs`).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::web::Data;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tidelog::config::{self, Config, cli};
use tidelog::http::{self, app::App};
use tidelog::server;
use tidelog::store::EventSourceWriter;
use tidelog::topic::Topics;
use tokio::sync::oneshot;

use crate::postgres::Cluster;

/// Where events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Memory,
    Sqlite,
    Postgres,
}

/// Makes a test of each function on each back-end: `memory::name`, `sqlite::name`,
/// `postgres::name`.
macro_rules! on_every_backend {
    ($($name:ident)+) => {
        mod memory { $(#[tokio::test] async fn $name() {
            super::$name(crate::support::Backend::Memory).await;
        })+ }
        on_lasting_backends! { $($name)+ }
    };
}

/// The same for the back-ends that outlive a process.
macro_rules! on_lasting_backends {
    ($($name:ident)+) => {
        mod sqlite { $(#[tokio::test] async fn $name() {
            super::$name(crate::support::Backend::Sqlite).await;
        })+ }
        mod postgres { $(#[tokio::test] async fn $name() {
            super::$name(crate::support::Backend::Postgres).await;
        })+ }
    };
}

/// An empty store of a back-end; services come and go on it.
pub struct Place {
    /// As the setting `store` names it.
    pub url: String,
    _dir: Option<TempDir>,
}

impl Place {
    pub fn new(backend: Backend) -> Self {
        match backend {
            Backend::Memory => Self { url: "memory:".into(), _dir: None },
            Backend::Sqlite => {
                let dir = tempfile::tempdir().expect("a temporary folder");
                let url = format!("sqlite:{}", dir.path().join("tidelog.db").display());
                Self { url, _dir: Some(dir) }
            }
            Backend::Postgres => Self { url: Cluster::shared().database(), _dir: None },
        }
    }

    /// Begins a service on the store, with flags such as `--write-timeout=1s`.
    pub async fn serve(&self, flags: &[&str]) -> Server {
        self.serve_through(flags, |store| store).await
    }

    /// The same, with something between the writers and the store.
    pub async fn serve_through(&self, flags: &[&str], wrap: impl Wrap) -> Server {
        let config = configuration(&self.url, flags);
        let (ready, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let serving = move || {
            actix_web::rt::System::new().block_on(serve(config, wrap, ready, stopped));
        };
        let thread = std::thread::spawn(serving);
        let (address, app) = started.await.expect("the service starts");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Server { address, app, client, stop: Some(stop), thread: Some(thread) }
    }
}

/// Puts something between the writers and the store.
pub trait Wrap:
    FnOnce(Arc<dyn EventSourceWriter>) -> Arc<dyn EventSourceWriter> + Send + 'static
{
}

impl<F> Wrap for F where
    F: FnOnce(Arc<dyn EventSourceWriter>) -> Arc<dyn EventSourceWriter> + Send + 'static
{
}

/// As the program would read it from its command line.
fn configuration(store: &str, flags: &[&str]) -> Config {
    let store = format!("--store={store}");
    let fixed = ["tidelog", "serve", &store, "--workers=2", "--shutdown-timeout=10s"];
    let args = fixed.iter().chain(flags);
    let matches = cli::command().try_get_matches_from(args).expect("flags that exist");
    let (_, command) = matches.subcommand().expect("it is `serve`");
    config::load(&cli::inputs(command, Vec::new())).expect("a configuration").config
}

/// How a service ends.
enum Stop {
    /// Everything admitted is answered first.
    InOrder,
    /// The test has failed already.
    AtOnce,
}

async fn serve(
    config: Config,
    wrap: impl Wrap,
    ready: oneshot::Sender<(SocketAddr, Data<App>)>,
    stopped: oneshot::Receiver<Stop>,
) {
    let (writer, reader) = server::open(&config).await.expect("the store opens");
    let writer = wrap(writer);
    let topics = Topics::new(Arc::clone(&writer), server::settings(&config));
    let app = Data::new(server::app(&config, topics, reader, None));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serving = http::serve(app.clone(), listener, config.workers, config.shutdown_timeout);
    let serving = serving.expect("it listens");
    let handle = serving.handle();
    let serving = actix_web::rt::spawn(serving);
    let _ = ready.send((address, app.clone()));
    let stop = stopped.await.unwrap_or(Stop::AtOnce);
    app.begin_draining();
    if let Stop::InOrder = stop {
        app.topics.drain().await;
    }
    handle.stop(matches!(stop, Stop::InOrder)).await;
    serving.await.expect("it does not panic").expect("it ends well");
    writer.close().await;
}

/// A service, and a client of it.
pub struct Server {
    pub address: SocketAddr,
    /// The inside, to drain it.
    pub app: Data<App>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<Stop>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A service on an empty store.
    pub async fn start(backend: Backend, flags: &[&str]) -> Self {
        Place::new(backend).serve(flags).await
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        let _ = self.stop.take().expect("it runs").send(Stop::InOrder);
        let thread = self.thread.take().expect("it runs");
        let ended = tokio::task::spawn_blocking(move || thread.join());
        ended.await.expect("joining works").expect("the service does not panic");
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    /// Writes JSON.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.ask(Method::POST, path, &[JSON], body).await
    }

    /// Writes lines.
    pub async fn post_lines(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.ask(Method::POST, path, &[NDJSON], body).await
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = self.client.request(method, self.url(path)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let asking = async {
            let response = request.send().await.expect("an answer");
            let (status, headers) = (response.status(), response.headers().clone());
            Answer { status, headers, body: response.bytes().await.expect("a whole answer") }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time")
    }

    /// Writes one event in a transaction of its own; gives its seq.
    pub async fn put(&self, topic: &str, key: &str, data: &str) -> u64 {
        let event = format!(r#"{{"key":{},"data":{data}}}"#, Value::from(key));
        let answer = self.post(&format!("/v1/topics/{topic}/events"), event).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer.json()["seq"].as_u64().expect("a seq")
    }

    /// Writes a transaction; gives its number.
    pub async fn transact(&self, topic: &str, events: &[(&str, &str)]) -> u64 {
        let events: Vec<String> = events
            .iter()
            .map(|(key, data)| format!(r#"{{"key":{},"data":{data}}}"#, Value::from(*key)))
            .collect();
        let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
        let answer = self.post(&format!("/v1/topics/{topic}/transactions"), body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["transaction"].as_u64().expect("a transaction")
    }

    /// All events of a topic, as they are read.
    pub async fn log(&self, topic: &str) -> Vec<Value> {
        let path = format!("/v1/topics/{topic}/events");
        let answer = self.ask(Method::GET, &path, &[("accept", NDJSON.1)], "").await;
        if answer.status == 404 {
            return Vec::new();
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.lines()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(Stop::AtOnce);
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the service does not panic");
        }
    }
}

/// No answer takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), NDJSON.1, "{self:?}");
        lines(&self.body)
    }
}

/// Lines of JSON.
pub fn lines(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect()
}
