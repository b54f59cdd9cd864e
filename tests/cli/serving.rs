//! A service of its own: where it says that it listens.

use std::io::{BufRead as _, BufReader};
use std::process::ChildStderr;

use serde_json::Value;

/// Reads a service's log until it says where it listens; what follows is read and forgotten.
pub fn url(log: ChildStderr) -> String {
    let mut lines = BufReader::new(log).lines();
    let url = lines.by_ref().map(|line| line.expect("a line")).find_map(|line| {
        let line: Value = serde_json::from_str(&line).expect("the log is JSON");
        (line["message"] == "listening").then(|| line["url"].as_str().map(str::to_owned))?
    });
    std::thread::spawn(move || lines.for_each(drop));
    url.expect("it says where")
}
