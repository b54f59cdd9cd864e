//! Services to test, one for each back-end, in this process on a port of their own; and a client.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use actix_web::web::Data;
use futures::FutureExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
pub use tidelog::config::Config;
use tidelog::config::StoreUrl;
use tidelog::store::{EventSourceReader, EventSourceWriter};
use tidelog::topic::Topics;
use tidelog::{http, server};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::document::DOCUMENT;
use crate::postgres::Cluster;

/// Where events are kept; survives the services that are started on it.
pub struct Backend {
    pub url: String,
    _dir: TempDir,
}

impl Backend {
    pub fn memory() -> Self {
        Self::new(|_| "memory:".into())
    }

    pub fn sqlite() -> Self {
        Self::new(|dir| format!("sqlite:{}", dir.path().join("events.db").display()))
    }

    pub fn postgres() -> Self {
        Self::new(|_| Cluster::shared().database())
    }

    /// A store that is there already.
    pub fn at(url: &str) -> Self {
        Self::new(|_| url.to_owned())
    }

    fn new(url: impl FnOnce(&TempDir) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { url: url(&dir), _dir: dir }
    }

    /// The configuration for this store, as if it were given as a variable.
    pub fn config(&self) -> Config {
        let store = match self.url.split_once(':') {
            Some(("memory", _)) => StoreUrl::Memory,
            Some(("sqlite", path)) => StoreUrl::Sqlite(path.into()),
            _ => postgres_url(&self.url),
        };
        Config { store, ..Config::default() }
    }
}

/// A secret URL is only made by reading a configuration.
fn postgres_url(url: &str) -> StoreUrl {
    use tidelog::config::{cli, load};
    let serve = cli::serve().get_matches_from(["serve", "--store", url]);
    load(&cli::inputs(&serve, std::iter::empty())).expect("it is right").config.store
}

/// A running service. Ends, in order, with the value.
pub struct Server {
    pub address: String,
    pub client: reqwest::Client,
    pub topics: Topics,
    /// The service shuts down, as far as its readers see.
    pub draining: CancellationToken,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Halves = (Arc<dyn EventSourceWriter>, Arc<dyn EventSourceReader>);

impl Server {
    pub async fn start(config: Config) -> Self {
        let store = config.clone();
        let open = move || async move { server::open(&store).await.expect("it opens") };
        Self::run(config, move || open().boxed_local()).await
    }

    /// A service on a store of the test's own.
    pub async fn on(config: Config, store: Halves) -> Self {
        Self::run(config, move || async move { store }.boxed_local()).await
    }

    async fn run<F>(config: Config, open: F) -> Self
    where
        F: FnOnce() -> futures::future::LocalBoxFuture<'static, Halves> + Send + 'static,
    {
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let (writer, reader) = open().await;
                let topics = Topics::new(Arc::clone(&writer), server::settings(&config));
                let app = Data::new(server::app(&config, topics.clone(), reader, None));
                let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
                let address = listener.local_addr().expect("it is bound").to_string();
                let timeout = config.shutdown_timeout;
                let draining = app.draining.clone();
                let server = http::serve(app, listener, 1, timeout).expect("it can be served");
                let handle = server.handle();
                let serving = actix_web::rt::spawn(server);
                let _ = ready.send((address, topics.clone(), draining));
                let _ = stopped.await;
                handle.stop(false).await;
                let _ = serving.await;
                drop(topics);
                writer.close().await;
            });
        });
        let (address, topics, draining) = address.await.expect("the service starts");
        let client = crate::plain::client();
        Self { address, client, topics, draining, stop: Some(stop), thread: Some(thread) }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str, media: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, path).header("Content-Type", media).body(body)
    }

    pub fn json(&self, path: &str, body: &str) -> RequestBuilder {
        self.post(path, "application/json", body.to_owned())
    }

    pub fn lines(&self, path: &str, body: &str) -> RequestBuilder {
        self.post(path, "application/x-ndjson", body.to_owned())
    }

    /// Writes one event and expects it to be taken.
    pub async fn write(&self, topic: &str, key: &str, data: &str) -> Value {
        let key = serde_json::to_string(key).expect("a text is JSON");
        let body = format!("{{\"key\":{key},\"data\":{data}}}");
        let answer = self.json(&format!("/v1/topics/{topic}/events"), &body);
        body_of(answer.send().await.expect("an answer"), &[StatusCode::CREATED, StatusCode::OK])
            .await
    }

    /// The JSON at a path.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.expect("an answer");
        body_of(answer, &[StatusCode::OK]).await
    }

    /// The lines at a path.
    pub async fn read_lines(&self, path: &str) -> Vec<Value> {
        let request = self.get(path).header("Accept", "application/x-ndjson");
        lines_of(request.send().await.expect("an answer")).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn body_of(answer: Response, expected: &[StatusCode]) -> Value {
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert!(expected.contains(&status), "{status}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

pub async fn lines_of(answer: Response) -> Vec<Value> {
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert_eq!(status, StatusCode::OK, "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The answer to a request, and the request's method.
async fn answer_to(request: RequestBuilder) -> (Method, Response) {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let method = request.method().clone();
    (method, client.execute(request).await.expect("an answer"))
}

/// Which answer of the OpenAPI document a request gets, and its body.
pub async fn checked(request: RequestBuilder) -> (String, String) {
    let (method, answer) = answer_to(request).await;
    DOCUMENT.check(&method, answer).await
}

/// What a problem must say.
pub struct Expected {
    pub status: u16,
    pub code: &'static str,
    pub retryable: bool,
}

pub const fn expect(status: u16, code: &'static str) -> Expected {
    let retryable = matches!(status, 429 | 503 | 504);
    Expected { status, code, retryable }
}

/// Sends a request that must fail, and returns the problem.
pub async fn problem(request: RequestBuilder, expected: Expected) -> Value {
    let Expected { status, code, retryable } = expected;
    let (method, answer) = answer_to(request).await;
    let headers = answer.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let found = answer.status().as_u16();
    let (_, text) = DOCUMENT.check(&method, answer).await;
    assert_eq!(found, status, "{text}");
    assert_eq!(header("content-type"), "application/problem+json", "{text}");
    let problem: Value = serde_json::from_str(&text).expect("a problem is JSON");
    let committed = if status == 504 { "unknown" } else { "no" };
    assert_eq!(problem["status"], status, "{text}");
    assert_eq!(problem["code"], code, "{text}");
    assert_eq!(problem["type"], format!("/problems/{code}"), "{text}");
    assert_eq!(problem["retryable"], retryable, "{text}");
    assert_eq!(problem["committed"], committed, "{text}");
    assert_eq!(problem["request_id"], header("x-request-id"), "{text}");
    assert!(!header("x-request-id").is_empty(), "{text}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{text}");
    assert_eq!(!header("retry-after").is_empty(), matches!(status, 429 | 503), "{text}");
    assert_eq!(!header("www-authenticate").is_empty(), status == 401, "{text}");
    problem
}

/// Makes each function a test on each back-end.
macro_rules! on_every_backend {
    ($($name:ident),* $(,)?) => {
        mod memory { $( #[tokio::test] async fn $name() {
            super::$name(&crate::support::Backend::memory()).await;
        } )* }
        mod sqlite { $( #[tokio::test] async fn $name() {
            super::$name(&crate::support::Backend::sqlite()).await;
        } )* }
        mod postgres { $( #[tokio::test] async fn $name() {
            super::$name(&crate::support::Backend::postgres()).await;
        } )* }
    };
}
pub(crate) use on_every_backend;
