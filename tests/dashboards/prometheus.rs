//! A Prometheus of the tests' own, on a free port of the loopback, with the shipped configuration.
//! It and its folder end with the test process, however that ends.
//!
//! Needs Debian's package `prometheus`, which `scripts/test` installs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// How often the tests' Prometheus scrapes.
pub const SCRAPE_INTERVAL: &str = "1s";

pub struct Prometheus {
    url: String,
    client: reqwest::Client,
    /// Kills the server and removes its folder when the pipe to it closes.
    _watcher: Child,
}

impl Prometheus {
    /// Starts one that scrapes a service, as `dashboards/prometheus/` says but more often.
    pub fn start(service: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder").keep();
        let config = crate::text("prometheus/prometheus.yml");
        for shipped in ["127.0.0.1:4810", "scrape_interval: 5s", "evaluation_interval: 15s"] {
            assert!(config.contains(shipped), "{shipped}");
        }
        let config = config
            .replace("127.0.0.1:4810", service)
            .replace("scrape_interval: 5s", &format!("scrape_interval: {SCRAPE_INTERVAL}"))
            .replace("evaluation_interval: 15s", "evaluation_interval: 1s");
        std::fs::write(dir.join("prometheus.yml"), config).expect("the folder is ours");
        let alerts = crate::file("prometheus/alerts.yml");
        std::fs::copy(alerts, dir.join("alerts.yml")).expect("the folder is ours");
        let mut watcher = watcher(&dir);
        let mut lines = BufReader::new(watcher.stderr.take().expect("it is piped")).lines();
        let mut said = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said.push_str(&line);
            said.push('\n');
            line.contains("Listening on").then(|| line.split_once("address=")?.1.parse().ok())?
        });
        let address: std::net::SocketAddr =
            address.unwrap_or_else(|| panic!("apt-get install prometheus? {said}"));
        std::thread::spawn(move || lines.for_each(drop));
        let url = format!("http://{address}");
        Self { url, client: crate::plain::client(), _watcher: watcher }
    }

    /// Asks the HTTP API; the error is what Prometheus says is wrong.
    pub async fn api(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query);
        let answer = self.client.get(url.expect("a URL")).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(text) }
    }
}

fn watcher(dir: &PathBuf) -> Child {
    // The shell lets go of standard error, so that it ends with Prometheus.
    let script = "prometheus --config.file=\"$1/prometheus.yml\" --storage.tsdb.path=\"$1/data\" \
        --web.listen-address=127.0.0.1:0 & pid=$!; exec 2>/dev/null; \
        read _; kill -9 $pid; wait $pid; rm -rf \"$1\"";
    let mut watcher = Command::new("sh");
    watcher.args(["-c", script, "sh"]).arg(dir);
    watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    watcher.spawn().expect("there is a shell")
}

/// Runs `promtool`, and gives its complaints.
pub fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("apt-get install prometheus");
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(()) } else { Err(text) }
}
