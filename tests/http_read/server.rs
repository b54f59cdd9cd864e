//! A service in this process on a port of its own, and a client.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::web::Data;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tidelog::config::Config;
use tidelog::domain::{Batch, Command, Frontier, Planner};
use tidelog::http::app::App;
use tidelog::store::EventSourceWriter as _;
use tidelog::store::memory::MemoryStore;
use tidelog::topic::Topics;
use tidelog::{http, server};
use tokio::sync::oneshot;

use crate::book::Book;
use crate::make::{NOW, name};
use crate::watched::Watched;

/// A running service. Ends with the value.
pub struct Server {
    address: String,
    pub client: reqwest::Client,
    pub watched: Arc<Watched>,
    pub app: Arc<App>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let store = Arc::new(MemoryStore::default());
        let watched = Arc::new(Watched::new(Arc::clone(&store)));
        let reader = Arc::clone(&watched);
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let topics = Topics::new(store, server::settings(&config));
                let metrics = PrometheusBuilder::new().build_recorder().handle();
                let app = Data::new(server::app(&config, topics, reader, Some(metrics)));
                let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
                let address = listener.local_addr().expect("it is bound").to_string();
                let running = http::serve(app.clone(), listener, 1, Duration::from_secs(1));
                let running = running.expect("it can be served");
                let handle = running.handle();
                let serving = actix_web::rt::spawn(running);
                let _ = ready.send((address, app.into_inner()));
                let _ = stopped.await;
                handle.stop(false).await;
                let _ = serving.await;
            });
        });
        let (address, app) = address.await.expect("the service starts");
        let client = crate::plain::client();
        Self { address, client, watched, app, stop: Some(stop), thread: Some(thread) }
    }

    /// Writes to a topic past HTTP: one batch for each of `commands`. Gives all that there is.
    pub async fn seed(&self, topic: &str, commands: impl IntoIterator<Item = Command>) -> Book {
        self.seed_after(topic, [], commands).await
    }

    /// The same, to a topic that was written by the commands `before`.
    pub async fn seed_after(
        &self,
        topic: &str,
        before: impl IntoIterator<Item = Command>,
        commands: impl IntoIterator<Item = Command>,
    ) -> Book {
        let store = &self.watched.store;
        let opened = store.open(&name(topic)).await.expect("it can be opened");
        let mut book = Book::default();
        let mut known = Planner::new(opened.topic, opened.epoch, None, Frontier::default());
        for command in before {
            plan(&mut known, &mut book, &command);
        }
        let mut planner =
            Planner::new(opened.topic, opened.epoch, opened.head, opened.frontier.clone());
        for command in commands {
            let batch = plan(&mut planner, &mut book, &command);
            store.append(Arc::new(batch)).await.expect("it is written");
        }
        book
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn lines(&self, path: &str) -> RequestBuilder {
        self.get(path).header("Accept", "application/x-ndjson")
    }

    /// The text at a path, which must be there.
    pub async fn text(&self, path: &str) -> String {
        text_of(sent(self.get(path)).await).await
    }

    /// The JSON at a path, which must be there.
    pub async fn read(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).expect("JSON")
    }

    /// The lines at a path, which must be there.
    pub async fn read_lines(&self, path: &str) -> Vec<Value> {
        let text = text_of(sent(self.lines(path)).await).await;
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The problem that is the answer, which must have this status and code.
    pub async fn problem(&self, request: RequestBuilder, status: u16, code: &str) -> Value {
        let answer = sent(request).await;
        let found = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        let problem: Value = serde_json::from_str(&text).expect("a problem is JSON");
        assert_eq!((found, &problem["code"]), (status, &Value::from(code)), "{text}");
        problem
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

pub async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

fn plan(planner: &mut Planner, book: &mut Book, command: &Command) -> Batch {
    let mut batch = planner.begin(NOW);
    planner.decide(command, book, &mut batch).expect("it is allowed");
    planner.seal(&mut batch);
    book.keep(&batch);
    batch
}

async fn text_of(answer: Response) -> String {
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert_eq!(status, 200, "{text}");
    text
}

/// A query string of these parameters.
pub fn query(parameters: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("http://x", parameters).expect("a URL");
    url.query().expect("a query").to_owned()
}
