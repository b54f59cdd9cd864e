//! `tidelog surface` and `tidelog latest`: the newest standing event of every key, or of one.

use clap::{Arg, ArgMatches, Command};

use super::args::{flag, get, number, parse, text, topic};
use super::exit::{Exit, Failure};
use super::output::{Events, Form, with_output};
use super::place::{Place, with_place};
use crate::domain::{EventBody, Key, ReadEvent, TopicName, TransactionNo, Version};
use crate::live::fetch::{BYTES_MAX, Fetch};
use crate::store::{KeyRange, SurfaceScan};

/// `tidelog surface`.
pub fn command() -> Command {
    let command = Command::new("surface")
        .about("Prints the newest standing event of every key, in byte order of key")
        .arg(topic())
        .arg(flag("prefix", "TEXT").default_value("").help("Only keys that begin with this"))
        .arg(number("as-of", "TRANSACTION").help("As it stood just after this transaction"))
        .arg(number("limit", "N").short('n').help("Most events"));
    with_place(with_output(command))
}

/// `tidelog latest`.
pub fn latest_command() -> Command {
    let command = Command::new("latest")
        .about("Prints the newest standing event of one key; exit code 1 where there is none")
        .arg(topic())
        .arg(Arg::new("key").value_name("KEY").required(true).help("The key, as it is"));
    with_place(with_output(command))
}

/// Runs `tidelog surface`.
pub async fn run(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    let (reader, head) = (place.reader(), place.head(&topic).await?);
    let at = match get(args, "as-of").map(TransactionNo) {
        None => head,
        Some(transaction) => match reader.transaction(&topic, transaction).await? {
            Some((_, seq)) => Version { seq, transaction },
            None => {
                let text = format!("{topic} has no transaction {transaction}");
                return Err(Failure::new(Exit::Failed, text));
            }
        },
    };
    let mut out = Events::new(Form::of(args));
    let mut left = get(args, "limit").map_or(usize::MAX, |n| n.try_into().unwrap_or(usize::MAX));
    let (mut after, mut fetch) = (None, Fetch::default());
    while left > 0 {
        let keys = KeyRange::Prefix { prefix: text(args, "prefix").to_owned(), after };
        fetch.at_most(left);
        let limit = fetch.events();
        let scan = SurfaceScan { at, keys, limit, bytes: BYTES_MAX };
        let events = reader.surface(&topic, &scan).await?;
        let Some(last) = events.last() else { break };
        after = key(last);
        left -= events.len();
        let more = fetch.learn(limit, &events);
        out.put(&events)?;
        if !more {
            break;
        }
    }
    Ok(())
}

fn key(read: &ReadEvent) -> Option<String> {
    match &read.event.body {
        EventBody::Content(content) => Some(content.key.as_str().to_owned()),
        EventBody::Invalidation(_) => None,
    }
}

/// Runs `tidelog latest`.
pub async fn run_latest(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    let key = parse(args, "key", |key| Key::parse(key.into()))?;
    let at = place.head(&topic).await?;
    let keys = KeyRange::Exactly(key);
    let events =
        place.reader().surface(&topic, &SurfaceScan { at, keys, limit: 1, bytes: 1 }).await?;
    if events.is_empty() {
        return Err(Failure::new(Exit::Failed, "the key is not on the surface"));
    }
    Events::new(Form::of(args)).put(&events).map(drop)
}
