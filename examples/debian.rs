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
use serde_json::{Map, Value};
use tidelog::client::{Client, StreamOptions, Totals, event};
use tidelog::domain::{Content, EventBody, EventType, TopicName};
use tidelog::store::{KeyRange, Room};

const LISTS: &str = "/var/lib/apt/lists";
/// Reads an index, however it is compressed.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

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

struct Topic {
    client: Client,
    name: TopicName,
}

impl Topic {
    /// Streams stanzas as events; answers what it came to.
    async fn load(&self, stanzas: &Stanzas) -> Result<Totals> {
        let kind = EventType::parse("package".into())?;
        let content = |(key, fields): &(String, Map<String, Value>)| -> Result<Content> {
            let plain = event(key, &serde_json::to_string(fields)?)?;
            Ok(Content { event_type: Some(kind.clone()), ..plain })
        };
        let (mut lines, acks) =
            self.client.writer().stream(&self.name, StreamOptions::default())?;
        let sending = async move {
            for stanza in stanzas {
                lines.send(content(stanza)?).await?;
            }
            anyhow::Ok(())
        };
        let (sent, totals) = tokio::join!(sending, acks.finish());
        sent?;
        let totals = totals?;
        ensure!(totals.lines == stanzas.len() as u64, "every line is acknowledged");
        Ok(totals)
    }

    async fn report(&self, what: &str, stanzas: &Stanzas) -> Result<(u64, u64)> {
        let began = Instant::now();
        let Totals { written, duplicates, .. } = self.load(stanzas).await?;
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
        let all = KeyRange::Prefix { prefix: String::new(), after: None };
        let events = self
            .client
            .reader()
            .surface_of(&self.name, None, &all, Room::new(usize::MAX, usize::MAX))
            .await?;
        let mut surface = BTreeMap::new();
        for read in events {
            let EventBody::Content(content) = read.event.body else {
                bail!("an invalidation is on the surface");
            };
            let data = serde_json::from_slice(&content.data.bytes())?;
            surface.insert(content.key.as_str().to_owned(), data);
        }
        Ok(surface)
    }

    async fn is_new(&self) -> Result<bool> {
        let head = self.client.reader().head_of(&self.name).await;
        Ok(head.context("is the service running?")?.is_none())
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

    let patience = std::time::Duration::from_secs(5);
    let client = Client::builder(&url).retry_within(patience).build()?;
    let client = Topic { client, name: TopicName::parse(&topic)? };
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
#[tokio::main]
async fn main() -> ExitCode {
    let done = match arguments() {
        Ok(Some(arguments)) => run(arguments).await,
        Ok(None) => {
            println!("{HELP}");
            Ok(())
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("debian: {error:#}");
            ExitCode::FAILURE
        }
    }
}
