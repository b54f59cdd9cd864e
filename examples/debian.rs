//! Real input: every package stanza of the Debian package indexes on this machine, through the
//! streaming endpoint of a running service.
//!
//! ```text
//! tidelog serve &
//! cargo run --release --example debian -- [--url http://127.0.0.1:4810] [--topic debian-packages]
//! ```
//!
//! Loads the indexes that `apt-get update` left behind, three times over: first the release (all
//! is written), then the release again (all is duplicate), then the security updates (only what
//! differs is written). Afterwards the surface must equal the merged indexes, field by field.
//!
//! The key of an event is the package's name and architecture, its data the stanza's fields.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

const LISTS: &str = "/var/lib/apt/lists";
/// Reads an index, however it is compressed.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Events in one piece of the request's body.
const PIECE: usize = 200;

/// The stanzas of an index, by name and architecture, in the order of the index.
type Stanzas = Vec<(String, Map<String, Value>)>;

struct Arguments {
    url: String,
    topic: String,
}

const HELP: &str = "\
Loads the Debian package indexes of this machine into a topic of a running Tidelog.

  --url URL      where the service is (http://127.0.0.1:4810)
  --topic NAME   a topic without events (debian-packages)";

/// `None` where help was asked for.
fn arguments() -> Result<Option<Arguments>> {
    let mut found =
        Arguments { url: "http://127.0.0.1:4810".into(), topic: "debian-packages".into() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if ["--help", "-h"].contains(&name.as_str()) {
            return Ok(None);
        }
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--url" => found.url = value,
            "--topic" => found.topic = value,
            _ => bail!("unknown argument {name}; see --help"),
        }
    }
    Ok(Some(found))
}

/// The package indexes of the machine: those of the release, and those of its security updates.
fn indexes() -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let listing = std::fs::read_dir(LISTS).with_context(|| format!("cannot read {LISTS}"))?;
    let mut paths: Vec<PathBuf> = listing.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.to_string_lossy().contains("_Packages"));
    paths.sort();
    ensure!(!paths.is_empty(), "no package index in {LISTS}: run `apt-get update` first");
    Ok(paths.into_iter().partition(|path| !path.to_string_lossy().contains("security")))
}

fn read(path: &Path) -> Result<Stanzas> {
    let output = Command::new(APT_HELPER).arg("cat-file").arg(path).output()?;
    ensure!(output.status.success(), "{APT_HELPER} cannot read {}", path.display());
    let text = String::from_utf8(output.stdout).context("an index is UTF-8")?;
    text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).map(parse).collect()
}

/// One stanza: `Field: value` lines; a line that begins with a space goes on with the field.
fn parse(stanza: &str) -> Result<(String, Map<String, Value>)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in stanza.lines().filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut().context("a stanza begins with a field")?;
            value.push('\n');
            value.push_str(line.trim_start());
        } else {
            let (name, value) = line.split_once(':').context("a line has a field")?;
            fields.push((name, value.trim().to_owned()));
        }
    }
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let field = |name: &str| {
        fields.get(name).and_then(Value::as_str).with_context(|| format!("a stanza has {name}"))
    };
    Ok((format!("{}/{}", field("Package")?, field("Architecture")?), fields))
}

struct Client {
    http: reqwest::Client,
    topic: String,
}

impl Client {
    /// Streams stanzas as events; answers how many were written and how many were duplicates.
    async fn load(&self, stanzas: &Stanzas) -> Result<(u64, u64)> {
        let pieces: Vec<Result<Bytes, std::io::Error>> = stanzas
            .chunks(PIECE)
            .map(|piece| {
                let line = |(key, fields): &(String, Map<String, Value>)| {
                    format!("{}\n", json!({"key": key, "type": "package", "data": fields}))
                };
                Ok(Bytes::from(piece.iter().map(line).collect::<String>()))
            })
            .collect();
        let request = self
            .http
            .post(format!("{}/events?acks=summary", self.topic))
            .header("Content-Type", "application/x-ndjson")
            .body(reqwest::Body::wrap_stream(stream::iter(pieces)));
        let answer = request.send().await.context("is the service running?")?;
        let answer = answer.error_for_status()?.text().await?;
        let last: Value = serde_json::from_str(answer.lines().last().unwrap_or_default())
            .context("the answer ends with a summary")?;
        let summary = &last["summary"];
        ensure!(summary["complete"] == true, "not all was acknowledged: {answer}");
        let number = |name: &str| summary[name].as_u64().context("the summary has numbers");
        ensure!(number("lines")? == stanzas.len() as u64, "every line is acknowledged");
        Ok((number("written")?, number("duplicates")?))
    }

    async fn report(&self, what: &str, stanzas: &Stanzas) -> Result<(u64, u64)> {
        let began = Instant::now();
        let (written, duplicates) = self.load(stanzas).await?;
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{what:<15} {written:>6} written, {duplicates:>6} duplicates in {seconds:.2} s \
             ({:.0} packages/s)",
            stanzas.len() as f64 / seconds,
        );
        Ok((written, duplicates))
    }

    /// The whole surface, by key.
    async fn surface(&self) -> Result<BTreeMap<String, Value>> {
        let request = self.http.get(format!("{}/surface", self.topic));
        let answer = request.header("Accept", "application/x-ndjson").send().await?;
        let mut answer = answer.error_for_status()?.bytes_stream();
        let mut body = Vec::new();
        while let Some(piece) = answer.next().await {
            body.extend_from_slice(&piece?);
        }
        let mut surface = BTreeMap::new();
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut event: Value = serde_json::from_slice(line)?;
            let key = event["key"].as_str().with_context(|| format!("no event: {event}"))?;
            surface.insert(key.to_owned(), event["data"].take());
        }
        Ok(surface)
    }

    async fn is_new(&self) -> Result<bool> {
        let answer = self.http.get(&self.topic).send().await.context("is the service running?")?;
        Ok(answer.status() == reqwest::StatusCode::NOT_FOUND)
    }
}

/// Compares the surface with the merged indexes, package by package and field by field.
fn compare(surface: &BTreeMap<String, Value>, merged: &BTreeMap<String, Value>) -> Result<usize> {
    let mut fields = 0;
    for (key, expected) in merged {
        let found = surface.get(key).with_context(|| format!("{key} is not on the surface"))?;
        let expected = expected.as_object().context("a stanza is an object")?;
        for (name, value) in expected {
            ensure!(found[name] == *value, "{key}: {name} is {}, not {value}", found[name]);
            fields += 1;
        }
        let count = found.as_object().map(Map::len);
        ensure!(count == Some(expected.len()), "{key} has other fields");
    }
    ensure!(surface.len() == merged.len(), "the surface has keys that no index has");
    Ok(fields)
}

async fn run(Arguments { url, topic }: Arguments) -> Result<()> {
    let (release, security) = indexes()?;
    let mut merged = BTreeMap::new();
    for path in &release {
        merged.extend(read(path)?);
    }
    let release: Stanzas =
        merged.iter().map(|(key, fields)| (key.clone(), fields.clone())).collect();
    let mut updates = Stanzas::new();
    for path in &security {
        updates.extend(read(path)?);
    }
    println!("{} packages in the release, {} in its updates", release.len(), updates.len());

    let client = Client { http: reqwest::Client::new(), topic: format!("{url}/v1/topics/{topic}") };
    ensure!(
        client.is_new().await?,
        "the topic {topic} has events already: this needs a new one, such as --topic {topic}-2"
    );
    let total = release.len() as u64;
    ensure!(client.report("first run:", &release).await? == (total, 0), "all is written");
    ensure!(client.report("second run:", &release).await? == (0, total), "all is duplicate");
    let differs = updates.iter().filter(|(key, fields)| {
        merged.insert(key.clone(), fields.clone()).as_ref() != Some(fields)
    });
    let differs = differs.count() as u64;
    let (written, _) = client.report("updates:", &updates).await?;
    ensure!(written == differs, "{differs} packages differ");

    let merged = merged.into_iter().map(|(key, fields)| (key, fields.into())).collect();
    let surface = client.surface().await?;
    let fields = compare(&surface, &merged)?;
    println!("surface:        {} packages, {fields} fields, all as in the indexes", surface.len());
    Ok(())
}

/// Errors are for people: a line without a backtrace.
fn main() -> ExitCode {
    let done = arguments().and_then(|arguments| match arguments {
        Some(arguments) => actix_rt::System::new().block_on(run(arguments)),
        None => {
            println!("{HELP}");
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("debian: {error:#}");
            ExitCode::FAILURE
        }
    }
}
