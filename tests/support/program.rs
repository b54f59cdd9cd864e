//! The built service, running; ends with the value.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

pub struct Service {
    process: Child,
    /// Address and port.
    pub address: String,
    pub client: reqwest::Client,
}

impl Service {
    pub fn start(store: &str, more: &[&str]) -> Self {
        Self::start_with(store, more, &[])
    }

    /// With this environment, and nothing else in it.
    pub fn start_with(store: &str, more: &[&str], env: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(["--store", store]).args(more);
        command.env_clear().envs(env.iter().copied());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let url = lines.by_ref().map(|line| line.expect("a line")).find_map(|line| {
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            (line["message"] == "listening").then(|| line["url"].as_str().map(str::to_owned))?
        });
        std::thread::spawn(move || lines.for_each(drop));
        let address = url.expect("it says where").trim_start_matches("http://").to_owned();
        Self { process, address, client: crate::plain::client() }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn metrics(&self) -> String {
        let answer = self.client.get(self.url("/metrics")).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a body")
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub fn ends(&mut self) -> Option<i32> {
        self.process.wait().expect("it is there").code()
    }

    /// Writes one event to a topic, and gives the status.
    pub async fn write(&self, topic: &str, key: &str, data: usize) -> Option<u16> {
        let request = self.client.post(self.url(&format!("/v1/topics/{topic}/events")));
        let body = format!("{{\"key\":\"{key}\",\"data\":{data}}}");
        let request = request.header("Content-Type", "application/json").body(body);
        Some(request.send().await.ok()?.status().as_u16())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
