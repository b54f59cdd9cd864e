//! A producer: standard input, a line an event, to a topic; over lost connections and restarts.
//!
//! ```text
//! tidelog serve &
//! seq 1 1000000 | cargo run --release --example producer -- [--url http://127.0.0.1:4810]
//!     [--topic lines] [--producer my-import]
//! ```
//!
//! The key of an event is the number of its line, its data the line as a JSON text. Kill the
//! service while it runs, and start it again: the producer goes on. Kill the producer, and start
//! it again with the same name and the same input: it goes on where it was.

use std::io::stdin;
use std::pin::pin;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream};
use tidelog::client::{Client, StreamOptions, Totals, event};
use tidelog::domain::{ProducerId, TopicName};

struct Arguments {
    url: String,
    topic: String,
    producer: String,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments {
        url: "http://127.0.0.1:4810".into(),
        topic: "lines".into(),
        producer: "example-producer".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--url" => found.url = value,
            "--topic" => found.topic = value,
            "--producer" => found.producer = value,
            _ => bail!("unknown argument {name}; there are --url, --topic and --producer"),
        }
    }
    Ok(found)
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { url, topic, producer } = arguments()?;
    let topic = TopicName::parse(&topic)?;
    let writer = Client::new(&url)?.writer();

    // How far an earlier run has come: that many lines are there already.
    let producer = writer.resume(&topic, &ProducerId::parse(&producer)?, 0).await?;
    let there = producer.next_line;
    println!("{there} lines are there already");

    let lines = stdin().lines().zip(0_u64..).skip(usize::try_from(there)?).map(|(line, number)| {
        let data = serde_json::to_string(&line?)?;
        Ok(event(&number.to_string(), &data)?)
    });
    let mut failed = None;
    let lines = lines.map_while(|line: Result<_>| line.map_err(|error| failed = Some(error)).ok());
    let options = StreamOptions { producer: Some(producer), ..StreamOptions::default() };
    let began = Instant::now();
    let mut totals = Totals::default();
    {
        let mut acks = pin!(writer.append_all(&topic, options, stream::iter(lines))?);
        while let Some(ack) = acks.next().await {
            totals.add(&ack?);
        }
    }
    if let Some(error) = failed {
        return Err(error.context(format!("line {} cannot be read", there + totals.lines)));
    }
    let rate = totals.lines as f64 / began.elapsed().as_secs_f64();
    println!(
        "{} lines: {} written, {} duplicates ({rate:.0} lines/s)",
        totals.lines, totals.written, totals.duplicates
    );
    Ok(())
}
