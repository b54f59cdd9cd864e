//! `tidelog read`: events of a topic, or of one key of it.

use std::sync::Arc;

use clap::{ArgAction, ArgMatches, Command};

use super::args::{flag, get, number, parse, topic};
use super::consumers::find;
use super::exit::Failure;
use super::output::{Events, Form, with_output};
use super::place::{Place, with_place};
use crate::domain::{ConsumerName, Key, Seq, TopicName};
use crate::live::walk::Walk;
use crate::store::{Direction, EventSourceReader};

/// The command.
pub fn command() -> Command {
    let command = Command::new("read")
        .about("Prints events of a topic: what is there now, from the first to the last")
        .arg(topic())
        .arg(number("from", "SEQ").help("First seq"))
        .arg(number("to", "SEQ").help("Last seq"))
        .arg(number("limit", "N").short('n').help("Most events"))
        .arg(flag("key", "KEY").help("Only events of this key"))
        .arg(
            flag("consumer", "NAME")
                .conflicts_with_all(["from", "backward"])
                .help("Behind the position of this consumer, which stays where it is"),
        )
        .arg(
            clap::Arg::new("backward")
                .long("backward")
                .action(ArgAction::SetTrue)
                .help("Newest first"),
        );
    with_place(with_output(command))
}

/// Runs it.
pub async fn run(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    let key = key(args)?;
    let head = place.head(&topic).await?.seq;
    let direction =
        if args.get_flag("backward") { Direction::Backward } else { Direction::Forward };
    let from = match args.get_one::<String>("consumer") {
        Some(name) => find(place, &topic, &ConsumerName::parse(name)?).await?.next(),
        None => Seq(get(args, "from").unwrap_or(0)),
    };
    let to = get(args, "to").map_or(head, |to| head.min(Seq(to)));
    let mut walk = Walk::new(place.reader(), topic, key, direction);
    walk.stretch(from, to);
    let mut out = Events::new(Form::of(args));
    print(&mut walk, get(args, "limit").unwrap_or(u64::MAX), &mut out).await
}

/// Prints what a walk finds, but no more than so many events.
async fn print(walk: &mut Walk, limit: u64, out: &mut Events) -> Result<(), Failure> {
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    while left > 0 {
        walk.at_most(left);
        let events = walk.next().await?;
        if events.is_empty() {
            break;
        }
        left -= events.len();
        out.put(&events)?;
    }
    Ok(())
}

/// The key that is asked for.
pub fn key(args: &ArgMatches) -> Result<Option<Key>, Failure> {
    let key = args.get_one::<String>("key").map(|key| Key::parse(key.as_str().into()));
    Ok(key.transpose()?)
}

/// Prints events of a stretch.
pub async fn stretch(
    reader: Arc<dyn EventSourceReader>,
    topic: &TopicName,
    key: Option<&Key>,
    (from, to): (Seq, Seq),
    out: &mut Events,
) -> Result<(), Failure> {
    let mut walk = Walk::new(reader, topic.clone(), key.cloned(), Direction::Forward);
    walk.stretch(from, to);
    print(&mut walk, u64::MAX, out).await
}
