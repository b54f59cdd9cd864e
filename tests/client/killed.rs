//! A service of its own, killed or told to end, and started again under a client.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::{StreamExt as _, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tidelog::client::{StreamOptions, event};
use tidelog::domain::{Seq, TransactionNo};
use tidelog::store::{Direction, Scan};

use crate::make::name;
use crate::port::free_port;
use crate::world::{client, pair};

/// The command, running.
struct Tidelog {
    process: Child,
    url: String,
}

impl Tidelog {
    fn start(store: &Path, listen: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(["serve", "--log-format", "json", "--listen", listen, "--store"]);
        command.arg(format!("sqlite:{}", store.display()));
        command.env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let url = lines.by_ref().map(|line| line.expect("a line")).find_map(|line| {
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            (line["message"] == "listening").then(|| line["url"].as_str().map(str::to_owned))?
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: url.expect("it says where") }
    }

    fn kill(&mut self) {
        self.process.kill().expect("it is there");
        self.process.wait().expect("it ends");
    }

    /// Lets it drain.
    fn terminate(&mut self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).expect("it is there");
        assert!(self.process.wait().expect("it ends").success());
    }
}

impl Drop for Tidelog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const LINES: u64 = 30_000;
const KILLS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_the_service_and_is_written_once_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("events.db");
    let address = format!("127.0.0.1:{}", free_port());
    let mut service = Tidelog::start(&store, &address);
    let (writer, topic) = (client(&service.url).writer(), name("t"));

    let lines = (0..LINES).map(|n| event(&format!("k{}", n % 7), &n.to_string()));
    let lines = stream::iter(lines.map(|event| event.expect("an event")));
    let options = StreamOptions { events_max: 2_000, ..StreamOptions::default() };
    let acks = writer.append_all(&topic, options, lines).expect("a stream");
    let mut acks = std::pin::pin!(acks);
    let mut acked = 0;
    while let Some(ack) = acks.next().await {
        let ack = ack.expect("the stream goes on");
        assert_eq!((ack.line, ack.events[0].version.seq), (acked, Seq(acked)));
        assert_eq!(ack.transaction, Some(TransactionNo(acked)));
        acked += 1;
        if acked % (LINES / (KILLS + 1)) == 0 && acked < LINES {
            let drains = (acked / (LINES / (KILLS + 1))).is_multiple_of(2);
            if drains {
                service.terminate()
            } else {
                service.kill()
            }
            service = Tidelog::start(&store, &address);
        }
    }
    assert_eq!(acked, LINES);
    let scan = Scan {
        from: Seq(0),
        to: Seq(2 * LINES),
        limit: usize::MAX,
        direction: Direction::Forward,
        bytes: usize::MAX,
    };
    let events = client(&service.url).reader().scan(&topic, None, scan).await.expect("events");
    assert_eq!(events.len() as u64, LINES);
    for (n, read) in events.iter().enumerate() {
        assert_eq!(pair(read), (format!("k{}", n % 7), n.to_string()));
    }
}
