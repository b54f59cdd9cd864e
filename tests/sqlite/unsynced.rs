//! A disk that does not keep what it is given: a service whose fsync fails ends at once, and the next
//! has everything that was acknowledged. `unsynced.c` is what makes it fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::Service;

/// `EX_IOERR` of sysexits.h.
const NOT_KEPT: Option<i32> = Some(74);

/// Bytes of an event. A log of 4,000 pages is brought back: after some eighty of these.
const DATA: usize = 200_000;

/// A store whose disk fails when it is told to.
struct Disk {
    dir: TempDir,
    shim: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let shim = dir.path().join("unsynced.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sqlite/unsynced.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&shim).arg(source);
        assert!(cc.status().expect("a C compiler, which SQLite needs too").success());
        Self { dir, shim }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there").join(file)
    }

    fn service(&self) -> Service {
        let told = self.path("told");
        let store = format!("sqlite:{}", self.path("t.db").display());
        Service::start_with(&store, &[], &[("LD_PRELOAD", &self.shim), ("UNSYNCED", &told)])
    }

    /// From now on the fsync of this file fails.
    fn fails(&self, file: &str) {
        // Whole or not at all: the service looks at it.
        let next = self.path("told.next");
        std::fs::write(&next, self.path(file).as_os_str().as_encoded_bytes()).expect("it is ours");
        std::fs::rename(next, self.path("told")).expect("it is ours");
    }

    fn keeps(&self) {
        std::fs::remove_file(self.path("told")).expect("it was told");
    }
}

/// Writes one event; gives its seq once it is acknowledged, nothing where the connection ended.
async fn write(service: &Service, key: usize) -> Option<u64> {
    let event = json!({"key": format!("k{key}"), "data": "x".repeat(DATA)});
    let request = service.client.post(service.url("/v1/topics/t/events"));
    let request = request.header("Content-Type", "application/json").body(event.to_string());
    let answer = request.send().await.ok()?;
    let status = answer.status();
    let ack: Value = serde_json::from_str(&answer.text().await.ok()?).expect("JSON");
    assert_eq!(status, 201, "{ack}");
    ack["seq"].as_u64()
}

async fn key_at(service: &Service, seq: u64) -> Value {
    let url = service.url(&format!("/v1/topics/t/events?from={seq}&limit=1"));
    let page = service.client.get(url).send().await.expect("an answer").text().await;
    let page: Value = serde_json::from_str(&page.expect("a body")).expect("JSON");
    page["events"][0]["key"].clone()
}

/// Writes until the fsync of this file has failed, and looks for what was acknowledged.
async fn survives(file: &str) {
    let disk = Disk::new();
    let mut service = disk.service();
    let mut acked = vec![write(&service, 0).await.expect("it is kept")];
    disk.fails(file);
    for key in 1..400 {
        let Some(seq) = write(&service, key).await else { break };
        acked.push(seq);
    }
    assert!(acked.len() < 400, "the fsync of {file} does not fail");
    assert_eq!(service.ends(), NOT_KEPT);
    disk.keeps();
    let next = disk.service();
    for (key, seq) in acked.iter().enumerate() {
        assert_eq!(key_at(&next, *seq).await, json!(format!("k{key}")), "at {seq}");
    }
}

#[tokio::test]
async fn a_commit_that_is_not_synced_ends_the_service() {
    survives("t.db-wal").await;
}

#[tokio::test]
async fn a_checkpoint_that_is_not_synced_ends_the_service() {
    survives("t.db").await;
}
