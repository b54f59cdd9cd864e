//! The real k6, from the PATH or from where `scripts/test` puts it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What became of a run.
pub struct Run {
    /// 0, or 99 where a threshold failed.
    pub code: Option<i32>,
    /// What was printed: the result, and complaints.
    pub output: String,
}

impl Run {
    /// Whether a line of the output begins with this.
    pub fn says(&self, begin: &str) -> bool {
        self.output.lines().any(|line| line.trim().starts_with(begin))
    }
}

/// Runs a script of `load-tests/` to its end, with nothing else in its environment.
pub fn run(script: &str, url: &str, settings: &[(&str, &str)]) -> Run {
    let script = root().join("load-tests").join(script).with_extension("js");
    let mut k6 = Command::new(k6());
    k6.env_clear().env("BASE_URL", url);
    // A slow machine is no reason to fail: neither latency nor arrival rates are judged here.
    k6.envs([("P99_MS", "60000"), ("DROPPED_MAX", "10")]);
    k6.envs(settings.iter().copied());
    // No report to Grafana, no port of its own.
    k6.args(["run", "--quiet", "--no-color", "--no-usage-report", "--address", ""]);
    let output = k6.arg(script).output().expect("k6 runs");
    let text = [output.stdout, output.stderr].concat();
    Run { code: output.status.code(), output: String::from_utf8_lossy(&text).into_owned() }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn k6() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([root().join("target/tools/k6/bin")]);
    let mut found = folders.map(|folder| folder.join("k6"));
    found.find(|k6| k6.is_file()).expect("k6 is not installed: see load-tests/README.md")
}
