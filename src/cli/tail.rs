//! `tidelog tail`: the newest events of a topic, and with `-f` those that come.
//!
//! Invariant: nothing is missed or printed twice between what is there and what comes, or over a
//! lost connection.

use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::{Stream, StreamExt as _, stream};

use super::args::{flag, number, parse, topic};
use super::exit::{Exit, Failure};
use super::output::{Events, Form, with_output};
use super::place::{Local, Place, with_place};
use super::progress::say;
use super::read::{key, stretch};
use crate::client::{Client, Live as Heard, Stretch};
use crate::config::StoreUrl;
use crate::domain::limits::POSITION_MAX;
use crate::domain::{Key, ReadEvent, Seq, TopicName};
use crate::live::{self, Form as Shape, Live, Step, Wish};
use crate::wire::received;

/// Events that are printed together, where so many have come.
const TOGETHER: usize = 256;

/// The command.
pub fn command() -> Command {
    let command = Command::new("tail")
        .about("Prints the newest events of a topic; with -f also those that come")
        .arg(topic())
        .arg(number("lines", "N").short('n').default_value("10").help("How many events"))
        .arg(
            Arg::new("follow")
                .long("follow")
                .short('f')
                .action(ArgAction::SetTrue)
                .help("Stays, over lost connections for ever; the topic need not exist"),
        )
        .arg(flag("key", "KEY").help("Only events of this key"));
    with_place(with_output(command))
}

/// Runs it.
pub async fn run(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    let key = key(args)?;
    let follow = args.get_flag("follow");
    let lines = args.get_one::<u64>("lines").copied().unwrap_or(10);
    let reader = place.reader();
    let head = if follow { reader.head(&topic).await? } else { Some(place.head(&topic).await?) };
    let mut out = Events::new(Form::of(args));
    let next = Seq::after(head);
    if let Some(head) = head.filter(|_| lines > 0) {
        match first(place, &topic, key.as_ref(), head.seq, lines).await? {
            Some(from) => {
                stretch(reader, &topic, key.as_ref(), (from, head.seq), &mut out).await?;
            }
            None if follow => {}
            None => return Err(Failure::new(Exit::Failed, "the key has no events")),
        }
    }
    if !follow {
        return Ok(());
    }
    match place {
        Place::Service(client) => print(remote(client, &topic, key, next), out).await,
        Place::Local(local) => print(of_store(local, &topic, key, next).await?, out).await,
    }
}

/// The seq of the first of the newest events; `None` where there are none.
async fn first(
    place: &Place,
    topic: &TopicName,
    key: Option<&Key>,
    head: Seq,
    lines: u64,
) -> Result<Option<Seq>, Failure> {
    let Some(key) = key else { return Ok(Some(Seq((head.0 + 1).saturating_sub(lines)))) };
    let limit = usize::try_from(lines).unwrap_or(usize::MAX);
    let versions = place.reader().versions(topic, key, (Seq(0), head), limit).await?;
    Ok(versions.last().copied())
}

async fn print(
    events: impl Stream<Item = Result<ReadEvent, Failure>>,
    mut out: Events,
) -> Result<(), Failure> {
    let mut events = std::pin::pin!(events.ready_chunks(TOGETHER));
    while let Some(together) = events.next().await {
        let mut come = Vec::with_capacity(together.len());
        for event in together {
            match event {
                Ok(event) => come.push(event),
                Err(failure) => {
                    out.put(&come)?;
                    return Err(failure);
                }
            }
        }
        out.put(&come)?;
    }
    Ok(())
}

/// What comes, from a service. A lost connection is made again, and told once.
fn remote(
    client: &Client,
    topic: &TopicName,
    key: Option<Key>,
    from: Seq,
) -> impl Stream<Item = Result<ReadEvent, Failure>> + use<> {
    let live = client.reader().live(topic, Stretch { from, to: None, key });
    let mut lost = false;
    live.filter_map(move |heard| {
        let event = match heard {
            Ok(Heard::Event(event)) => Some(Ok(event)),
            Ok(Heard::Lost(error)) => {
                if !std::mem::replace(&mut lost, true) {
                    say(&format!("{error}; trying again"));
                }
                return futures::future::ready(None);
            }
            Ok(Heard::CaughtUp(_) | Heard::Heartbeat(_)) => None,
            Err(error) => Some(Err(error.into())),
        };
        if std::mem::replace(&mut lost, false) {
            say("connected again");
        }
        futures::future::ready(event)
    })
}

/// What comes, written to a store by others.
async fn of_store(
    local: &Local,
    topic: &TopicName,
    key: Option<Key>,
    from: Seq,
) -> Result<impl Stream<Item = Result<ReadEvent, Failure>> + use<>, Failure> {
    if let StoreUrl::Sqlite(_) = local.config.store {
        let text = "nobody else can write to a SQLite file that is open here, so nothing will \
                    come; follow the service that writes it, with --url";
        return Err(Failure::new(Exit::Usage, text));
    }
    let live = Live::start(Arc::clone(&local.store.1), live::Settings::default());
    let to = Seq(POSITION_MAX - 1);
    let wish = Wish { topic: topic.clone(), from, to, key, form: Shape::Lines };
    let follower = live.follow(wish).await?;
    let lines = stream::unfold((live, follower, false), async |(live, mut follower, ended)| {
        if ended {
            return None;
        }
        loop {
            match follower.step().await {
                Ok(Step::Events(lines)) => return Some((Ok(lines), (live, follower, false))),
                Ok(Step::CaughtUp(_)) => {}
                Ok(Step::Wait) => follower.moved().await,
                Ok(Step::End) => return None,
                Err(error) => {
                    return Some((Err(Failure::from(error)), (live, follower, true)));
                }
            }
        }
    });
    Ok(lines.flat_map(|lines| {
        let events = lines.map(|lines| {
            let ends = memchr::memchr_iter(b'\n', &lines).collect::<Vec<_>>();
            let begins = [0].into_iter().chain(ends.iter().map(|end| end + 1));
            let lines = begins.zip(&ends).map(|(begin, end)| lines.slice(begin..*end));
            lines.map(|line| received::event(line).map_err(broken)).collect()
        });
        stream::iter(events.unwrap_or_else(|failure| vec![Err(failure)]))
    }))
}

fn broken(error: received::BadAnswer) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}
