//! The command on bad days: killed, told to stop, started wrongly, its database gone for a while.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::postgres::{Cluster, Stop};
use crate::support::Backend;

/// The command, running.
pub struct Tidelog {
    process: Child,
    pub url: String,
    pub client: reqwest::Client,
    log: UnboundedReceiver<String>,
}

fn command(store: &str, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
    command.args(["serve", "--listen", listen, "--log-format", "json", "--store", store]);
    command.env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Tidelog {
    pub fn start(store: &str, more: &[&str]) -> Self {
        let mut process = command(store, "127.0.0.1:0").args(more).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let url = lines.by_ref().map(|line| line.expect("a line")).find_map(|line| {
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            (line["message"] == "listening").then(|| line["url"].as_str().map(str::to_owned))?
        });
        let (sender, log) = unbounded_channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|l| sender.send(l)));
        let client = crate::plain::client();
        Self { process, url: url.expect("it says where"), client, log }
    }

    /// The next line of the log with this message.
    pub async fn logged(&mut self, message: &str) -> Value {
        loop {
            let line = self.log.recv().await.expect("the log goes on");
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            if line["message"] == message {
                return line;
            }
        }
    }

    /// All of the log that has not been read, once the process has ended.
    pub async fn rest_of_log(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.log.recv().await {
            lines.push(line);
        }
        lines
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("it is there");
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().expect("it ends")
    }

    async fn write(&self, key: &str, data: &str) -> Option<(u16, Value)> {
        let request = self.client.post(format!("{}/v1/topics/t/events", self.url));
        let body = format!("{{\"key\":\"{key}\",\"data\":{data}}}");
        let answer =
            request.header("Content-Type", "application/json").body(body).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    /// All events: the key at each seq.
    async fn keys(&self) -> Vec<String> {
        let request = self.client.get(format!("{}/v1/topics/t/events", self.url));
        let answer = request.header("Accept", "application/x-ndjson").send().await;
        let text = answer.expect("an answer").text().await.expect("a body");
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let keys = events.enumerate().map(|(seq, event)| {
            assert_eq!(event["seq"], seq, "no gaps: {event}");
            event["key"].as_str().expect("a key").to_owned()
        });
        keys.collect()
    }
}

impl Drop for Tidelog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends lines as long as the service takes them; collects what was acknowledged. Over a plain socket:
/// a client that reads one piece for each line it sends is late by more and more, and one that goes on
/// sending for long after its answer has ended loses what it has not read.
async fn stream(tidelog: &Tidelog, producer: usize, acks: Arc<AtomicU64>) -> HashMap<u64, String> {
    let address = tidelog.url.trim_start_matches("http://");
    let socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (answer, mut request) = socket.into_split();
    let sending = tokio::spawn(async move {
        let head = "POST /v1/topics/t/events HTTP/1.1\r\nHost: localhost\r\n\
            Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut sent = request.write_all(head.as_bytes()).await;
        for n in 0.. {
            if sent.is_err() {
                return;
            }
            let line = format!("{{\"key\":\"p{producer}-{n}\",\"data\":{n}}}\n");
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            sent = request.write_all(chunk.as_bytes()).await;
        }
    });
    let (mut acked, mut cut) = (HashMap::new(), None);
    let mut lines = tokio::io::BufReader::with_capacity(1 << 16, answer).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        assert_eq!(cut, None, "only the last line may be cut");
        if !line.starts_with('{') {
            continue; // The head of the answer, or of a piece.
        }
        let Ok(ack) = serde_json::from_str::<Value>(&line) else {
            cut = Some(line);
            continue;
        };
        if let (Some(line), Some(seq)) = (ack["line"].as_u64(), ack["seq"].as_u64()) {
            acked.insert(seq, format!("p{producer}-{}", line - 1));
            acks.fetch_add(1, Ordering::Relaxed);
        }
    }
    sending.await.expect("it ends with the connection");
    acked
}

/// Everything acknowledged is there, where it was said to be; streams have no holes.
fn check(keys: &[String], acked: &[HashMap<u64, String>]) {
    for (producer, acked) in acked.iter().enumerate() {
        for (seq, key) in acked {
            assert_eq!(keys.get(*seq as usize), Some(key), "acknowledged at {seq}");
        }
        let begin = format!("p{producer}-");
        let own = keys.iter().filter_map(|key| key.strip_prefix(&begin));
        for (n, found) in own.enumerate() {
            assert_eq!(found, n.to_string(), "stream {producer} has a hole");
        }
    }
}

async fn killed_and_started_again(backend: &Backend) {
    let mut acked = Vec::new();
    for round in 0..3 {
        let mut tidelog = Tidelog::start(&backend.url, &[]);
        let acks = Arc::new(AtomicU64::new(0));
        let killer = async {
            while acks.load(Ordering::Relaxed) < 2000 {
                tokio::task::yield_now().await;
            }
            tidelog.signal(Signal::SIGKILL);
        };
        let streams = (0..3).map(|n| stream(&tidelog, round * 3 + n, Arc::clone(&acks)));
        let (found, ()) = futures::join!(futures::future::join_all(streams), killer);
        acked.extend(found);
        tidelog.wait();
    }
    let tidelog = Tidelog::start(&backend.url, &[]);
    let keys = tidelog.keys().await;
    check(&keys, &acked);
    let (status, ack) = tidelog.write("p0-0", "0").await.expect("an answer");
    assert_eq!((status, &ack["duplicate"]), (200, &Value::Bool(true)));
    let surface = tidelog.client.get(format!("{}/v1/topics/t/surface", tidelog.url));
    let surface = surface.header("Accept", "application/x-ndjson").send().await;
    let surface = surface.expect("an answer").text().await.expect("a body");
    assert_eq!(surface.lines().count(), keys.len(), "every key is on the surface");
}

#[tokio::test]
async fn sqlite_survives_being_killed() {
    killed_and_started_again(&Backend::sqlite()).await;
}

#[tokio::test]
async fn postgres_survives_the_service_being_killed() {
    killed_and_started_again(&Backend::postgres()).await;
}

#[tokio::test]
async fn told_to_stop_it_answers_what_it_has_admitted_and_exits_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::sqlite();
        let mut tidelog = Tidelog::start(&backend.url, &[]);
        let acks = Arc::new(AtomicU64::new(0));
        let stopper = async {
            while acks.load(Ordering::Relaxed) < 500 {
                tokio::task::yield_now().await;
            }
            tidelog.signal(signal);
        };
        let (acked, ()) = futures::join!(stream(&tidelog, 0, Arc::clone(&acks)), stopper);
        assert_eq!(tidelog.wait().code(), Some(0), "{signal}");
        let tidelog = Tidelog::start(&backend.url, &[]);
        let keys = tidelog.keys().await;
        assert_eq!(keys.len(), acked.len(), "{signal}: written is acknowledged, and no more");
        check(&keys, &[acked]);
    }
}

#[tokio::test]
async fn a_silent_stream_is_told_that_the_service_ends() {
    let mut tidelog = Tidelog::start("memory:", &[]);
    let address = tidelog.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let head = "POST /v1/topics/t/events HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n\
        15\r\n{\"key\":\"k\",\"data\":1}\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains("\"line\":1") {
        let count = stream.read(&mut buffer).await.expect("it is received");
        assert!(count > 0, "the answer ended: {answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    tidelog.signal(Signal::SIGTERM);
    stream.read_to_string(&mut answer).await.expect("it is received");
    assert!(answer.contains("\"code\":\"shutting-down\""), "{answer}");
    assert!(answer.contains("{\"summary\":{\"lines\":1,"), "{answer}");
    assert_eq!(tidelog.wait().code(), Some(0));
}

#[tokio::test]
async fn postgres_goes_away_under_load_and_comes_back() {
    let cluster = Cluster::new(&[]);
    let url = cluster.database();
    let tidelog = Tidelog::start(&url, &["--write-timeout", "2s"]);
    let (done, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    let producer = async |producer: usize| {
        let mut acked = HashMap::new();
        let mut n = 0;
        while !over.load(Ordering::Relaxed) {
            let key = format!("w{producer}-{n}");
            match tidelog.write(&key, "1").await {
                Some((200 | 201, ack)) => {
                    acked.insert(ack["seq"].as_u64().expect("a seq"), key);
                    done.fetch_add(1, Ordering::Relaxed);
                    n += 1;
                }
                Some((503 | 504, problem)) => {
                    assert_eq!(problem["retryable"], true, "{problem}");
                    errors.fetch_add(1, Ordering::Relaxed);
                    // The same again: what was written although the answer was lost is a duplicate.
                }
                other => panic!("{other:?}"),
            }
        }
        acked
    };
    let wait = async |count: &AtomicU64, more: u64| {
        let target = count.load(Ordering::Relaxed) + more;
        while count.load(Ordering::Relaxed) < target {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let trouble = async {
        for how in [Stop::Immediate, Stop::Fast] {
            wait(&done, 50).await;
            cluster.stop(how);
            wait(&errors, 5).await;
            cluster.start();
            wait(&done, 50).await;
        }
        // A short one: all of it is retried within the time that writes may take.
        cluster.stop(Stop::Immediate);
        cluster.start();
        wait(&done, 50).await;
        over.store(true, Ordering::Relaxed);
    };
    let producers = futures::future::join_all((0..4).map(producer));
    let limit = Duration::from_secs(60);
    let all = async { futures::join!(producers, trouble) };
    let (acked, ()) = tokio::time::timeout(limit, all).await.expect("it comes back");
    let keys = tidelog.keys().await;
    for (seq, key) in acked.iter().flatten() {
        assert_eq!(&keys[*seq as usize], key);
    }
    let mut unique = keys.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), keys.len(), "nothing twice");
}

/// The exit code, and what is said: in JSON, as all of the log, once the settings are known.
fn fails(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    let (code, text) = (output.status.code(), String::from_utf8(output.stderr).expect("a text"));
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let Ok(lines) = lines else {
        assert_eq!(code, Some(78), "the log is JSON, once there are settings: {text}");
        return (code, text);
    };
    let last = lines.last().expect("it says something");
    assert_eq!(last["level"], "ERROR", "{text}");
    (code, last["reason"].as_str().expect("a reason").to_owned())
}

fn serve(dir: &Path, store: &str, listen: &str) -> Command {
    let mut serve = command(store, listen);
    serve.current_dir(dir);
    serve
}

#[tokio::test]
async fn a_start_that_fails_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    std::fs::write(dir.join("not-a-database"), "x".repeat(5000)).expect("it can be written");
    let running = Tidelog::start(&format!("sqlite:{}", dir.join("x.db").display()), &[]);
    let taken = running.url.trim_start_matches("http://").to_owned();
    let any = "127.0.0.1:0";
    let cluster = Cluster::shared();
    let (nope, stranger) = (cluster.url("nope"), cluster.url("postgres"));
    let stranger = stranger.replace("postgres@", "stranger:secret@");
    let mut elsewhere = serve(dir, "memory:", "192.0.2.1:0");
    elsewhere.arg("--insecure");
    let cases = [
        (serve(dir, "memory:", &taken), 69, "--listen"),
        (serve(dir, "sqlite:x.db", any), 69, "another process"),
        (serve(dir, "sqlite:not-a-database", any), 78, "is not a SQLite database: name another"),
        (serve(dir, "sqlite:.", any), 78, "is a directory: name a file"),
        (serve(dir, "sqlite:not-a-database/x.db", any), 69, "choose another path"),
        (serve(dir, "memory:", "192.0.2.1:0"), 78, "no tokens"),
        (elsewhere, 69, "this machine has no such address"),
        (serve(dir, "postgres://u:secret@127.0.0.1:1/x", any), 69, "is the server running"),
        (serve(dir, "postgres://u:secret@127.0.0.1:1/x?foo=bar", any), 78, "\"foo\""),
        (serve(dir, "postgres://u:a@secret@127.0.0.1:1/x", any), 78, "written %40"),
        (serve(dir, &nope, any), 78, "no database of this name: create it"),
        (serve(dir, &stranger, any), 77, "are user and password right"),
        (serve(dir, "nonsense", any), 78, "sqlite:PATH"),
    ];
    for (command, code, says) in cases {
        let (found, text) = fails(command);
        assert_eq!(found, Some(code), "{text}");
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("secret") && !text.contains("panicked"), "{text}");
    }
    for log in [["--log-format", "text"], ["--log", "off"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(["serve", "--store", "memory:", "--listen", &taken]).args(log);
        let output = command.env_clear().output().expect("it runs");
        let text = String::from_utf8(output.stderr).expect("a text");
        assert!(text.starts_with("tidelog: cannot listen on"), "{log:?}: {text}");
    }
    let (code, text) = fails(serve(dir, "memory:", "0.0.0.0:0"));
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("insecure"), "{text}");
}

#[tokio::test]
async fn metrics_health_and_version() {
    let tidelog = Tidelog::start("memory:", &[]);
    tidelog.write("k", "1").await.expect("an answer");
    let get = async |path: &str| {
        let answer = tidelog.client.get(format!("{}{path}", tidelog.url)).send().await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "tidelog_events_written_total 1",
        "tidelog_commits_total{outcome=\"committed\"} 1",
        "tidelog_http_requests_total{",
        "tidelog_build_info{",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let described = [Some(name), base].into_iter().flatten();
        let has_help = described.into_iter().any(|n| metrics.contains(&format!("# HELP {n} ")));
        assert!(has_help, "{name} has no help");
    }
    let (status, root) = get("/").await;
    assert!(status == 200 && root.contains("\"/v1/topics\""), "{root}");
    assert_eq!(get("/health/live").await.0, 200);
    assert_eq!(get("/health/ready").await.0, 200);
    assert!(get("/version").await.1.contains(env!("CARGO_PKG_VERSION")));
}
