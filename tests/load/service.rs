//! The built command, on SQLite in a folder of its own and on a free port.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A running service; killed with the value.
pub struct Tidelog {
    process: Child,
    pub url: String,
    _dir: TempDir,
}

impl Tidelog {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = format!("sqlite:{}", dir.path().join("events.db").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--store"]);
        command.arg(store).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let url = lines.by_ref().map(|line| line.expect("a line")).find_map(|line| {
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            (line["message"] == "listening").then(|| line["url"].as_str().map(str::to_owned))?
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: url.expect("it says where"), _dir: dir }
    }
}

impl Drop for Tidelog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
