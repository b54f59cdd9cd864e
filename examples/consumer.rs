//! A consumer: follows a topic, from where it was, and prints every event.
//!
//! ```text
//! tidelog serve &
//! cargo run --release --example consumer -- [--url http://127.0.0.1:4810] [--topic lines]
//!     [--position FILE] [--to SEQ]
//! ```
//!
//! Keeps its position in a file, behind what it has printed, so that after a restart it goes on
//! there. Kill the service while it runs, and start it again: the consumer goes on.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use tidelog::client::{Client, Live, Stretch};
use tidelog::domain::{EventBody, ReadEvent, Seq, TopicName};

struct Arguments {
    url: String,
    topic: String,
    position: Option<PathBuf>,
    to: Option<Seq>,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments {
        url: "http://127.0.0.1:4810".into(),
        topic: "lines".into(),
        position: None,
        to: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--url" => found.url = value,
            "--topic" => found.topic = value,
            "--position" => found.position = Some(value.into()),
            "--to" => found.to = Some(Seq(value.parse().context("--to needs a seq")?)),
            _ => bail!("unknown argument {name}; there are --url, --topic, --position and --to"),
        }
    }
    Ok(found)
}

/// The seq behind the last one that was printed.
fn position(arguments: &Arguments) -> Result<Seq> {
    match arguments.position.as_ref().map(std::fs::read_to_string) {
        Some(Ok(text)) => Ok(Seq(text.trim().parse().context("the file has no position")?)),
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(Seq(0)),
    }
}

fn print(read: &ReadEvent) {
    let seq = read.event.version.seq;
    match &read.event.body {
        EventBody::Content(content) => {
            let data = content.data.bytes();
            println!("{seq}\t{}\t{}", content.key, String::from_utf8_lossy(&data));
        }
        EventBody::Invalidation(by) => println!("{seq}\ttransaction {} is wrong", by.invalidates),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = arguments()?;
    let topic = TopicName::parse(&arguments.topic)?;
    let reader = Client::new(&arguments.url)?.reader();
    let stretch = Stretch { from: position(&arguments)?, to: arguments.to, key: None };
    let mut live = reader.live(&topic, stretch);
    while let Some(message) = live.next().await {
        match message? {
            Live::Event(read) => {
                print(&read);
                if let Some(path) = &arguments.position {
                    let next = read.event.version.seq.next();
                    std::fs::write(path, next.to_string()).context("cannot keep the position")?;
                }
            }
            Live::CaughtUp(_) => eprintln!("caught up; waiting for more"),
            Live::Lost(error) => eprintln!("{error}; connecting again"),
            Live::Heartbeat(_) => {}
        }
    }
    Ok(())
}
