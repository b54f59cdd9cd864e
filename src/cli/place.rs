//! Where topics are: in a running service, or in a store that this process opens itself.
//!
//! Reading is [`EventSourceReader`] in both cases. Writing to a store goes through the same
//! actors as in the service (`topic/`), so the same rules, order and fencing hold.
//!
//! Not here: the streams of `append` (`writing.rs`).

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::exit::{Exit, Failure};
use super::progress::say;
use crate::client::Client;
use crate::config::{Config, StoreUrl};
use crate::domain::{Head, TopicName, Version};
use crate::server::{self, Store};
use crate::store::{EventSourceReader, OpenError};
use crate::topic::Topics;

const URL: &str = "TIDELOG_URL";
const TOKEN: &str = "TIDELOG_TOKEN";
const CA: &str = "TIDELOG_CA";
const URL_DEFAULT: &str = "http://127.0.0.1:4810";

/// Adds the flags that say where.
pub fn with_place(command: Command) -> Command {
    let heading = "Where";
    let flag = |name: &'static str, value| {
        Arg::new(name).long(name).value_name(value).help_heading(heading)
    };
    command
        .arg(flag("url", "URL").help(format!(
            "A service [default: {URL_DEFAULT}] [env: {URL}]; its token is in {TOKEN}"
        )))
        .arg(flag("store", "URL").help(
            "Instead: a store, opened by this command itself, as serve's --store says it. A \
             SQLite file that a service has open is in use: ask the service",
        ))
        .arg(
            flag("retry", "SECONDS")
                .value_parser(value_parser!(u32))
                .default_value("10")
                .help("How long a service that does not answer is tried again without progress"),
        )
        .arg(
            flag("ca", "FILE")
                .value_parser(value_parser!(PathBuf))
                .help(format!("Certificates (PEM) to believe instead of the system's [env: {CA}]")),
        )
}

/// See the module.
pub enum Place {
    /// A running service.
    Service(Client),
    /// A store of this process.
    Local(Box<Local>),
}

/// A store that this process has opened, and its writers.
pub struct Local {
    /// The store's two halves.
    pub store: Store,
    /// The actors that write.
    pub topics: Topics,
    /// The limits of what is written.
    pub config: Config,
}

/// Whether a store that is not there is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is, because the command fills it.
    Make,
    /// It is not.
    Refuse,
}

impl Place {
    /// Finds the place that the command line, or else the environment, names. Nothing is asked of
    /// a service yet. Must be called inside an actix system.
    pub async fn open(args: &ArgMatches, missing: Missing) -> Result<Self, Failure> {
        let (url, store) = (args.get_one::<String>("url"), args.get_one::<String>("store"));
        match (url, store) {
            (Some(_), Some(_)) => {
                let text = "--url and --store: topics are in the one or in the other";
                Err(Failure::new(Exit::Usage, text))
            }
            (_, Some(store)) => {
                Local::open(store, missing).await.map(|local| Self::Local(Box::new(local)))
            }
            (url, None) => service(args, url).map(Self::Service),
        }
    }

    /// Reads topics.
    pub fn reader(&self) -> Arc<dyn EventSourceReader> {
        match self {
            Self::Service(client) => Arc::new(client.reader()),
            Self::Local(local) => Arc::clone(&local.store.1),
        }
    }

    /// The head of a topic that must be there.
    pub async fn head(&self, topic: &TopicName) -> Result<Version, Failure> {
        let head: Head = self.reader().head(topic).await?;
        let none = || Failure::new(Exit::Failed, format!("there is no topic {topic}"));
        head.ok_or_else(none)
    }

    /// Ends what was opened.
    pub async fn close(self) {
        if let Self::Local(local) = self {
            let Local { store, topics, .. } = *local;
            topics.drain().await;
            drop(topics);
            store.0.close().await;
        }
    }

    /// Says which service does not answer.
    pub fn tell(&self, failure: Failure) -> Failure {
        match self {
            Self::Service(client) if failure.exit == Exit::Unavailable => failure.of(client.url()),
            _ => failure,
        }
    }
}

fn service(args: &ArgMatches, url: Option<&String>) -> Result<Client, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let url = url.cloned().or_else(|| variable(URL)).unwrap_or_else(|| URL_DEFAULT.into());
    let seconds = args.get_one::<u32>("retry").copied().unwrap_or_default();
    let mut builder = Client::builder(&url)
        .retry_within(Duration::from_secs(seconds.into()))
        .on_retry(|error| say(&format!("{error}; trying again")));
    if let Some(token) = variable(TOKEN) {
        builder = builder.token(token);
    }
    let ca = args.get_one::<PathBuf>("ca").cloned();
    if let Some(file) = ca.or_else(|| variable(CA).map(PathBuf::from)) {
        let pem = fs::read(&file).map_err(|error| Failure::file(file.display(), &error))?;
        builder = builder.authority(pem);
    }
    builder.build().map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

impl Local {
    async fn open(url: &str, missing: Missing) -> Result<Self, Failure> {
        let wrong = |why| Failure::new(Exit::Usage, format!("--store {why}"));
        let store: StoreUrl = url.parse().map_err(wrong)?;
        match &store {
            StoreUrl::Memory => {
                return Err(wrong("memory: would be gone when the command ends".into()));
            }
            StoreUrl::Sqlite(path) if missing == Missing::Refuse && !path.exists() => {
                let text = format!("there is no file {}", path.display());
                return Err(Failure::new(Exit::Failed, text));
            }
            _ => {}
        }
        let config = Config { store, ..Config::default() };
        let store = server::open(&config).await.map_err(|error| {
            let in_use = matches!(error, OpenError::InUse(_));
            let failure = Failure::from(error);
            if in_use {
                failure.advice("or ask the service that has it, with --url")
            } else {
                failure
            }
        })?;
        let topics = Topics::new(Arc::clone(&store.0), server::settings(&config));
        Ok(Self { store, topics, config })
    }
}
