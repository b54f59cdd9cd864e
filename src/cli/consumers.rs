//! `tidelog consumers`: positions that are kept for readers under a name.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::args::{flag, get, number, parse, text, topic};
use super::exit::{Exit, Failure};
use super::output::{Form, Out, with_output};
use super::place::{Missing, Place, with_place};
use super::table::Columns;
use super::writing::refused;
use crate::domain::{Consumer, ConsumerName, Expected, Move, Revision, Seq, Timestamp, TopicName};
use crate::wire::consumers::ConsumerJson;

/// Consumers that are fetched at once.
const FETCH: usize = 1000;

/// The command and its own commands.
pub fn command() -> Command {
    let consumer =
        || Arg::new("consumer").value_name("CONSUMER").required(true).help("Name of the consumer");
    let revision = || number("if-revision", "N").help("Only where it has this revision");
    let list = Command::new("list")
        .about("Lists the consumers of a topic, and how far each is behind")
        .arg(topic())
        .arg(flag("prefix", "TEXT").default_value("").help("Only names that begin with this"));
    let show = Command::new("show")
        .about("Shows a consumer; exit code 1 where there is none")
        .arg(topic())
        .arg(consumer());
    let new = Arg::new("new").long("new").action(ArgAction::SetTrue).conflicts_with("if-revision");
    let set = Command::new("set")
        .about("Moves a consumer, or makes it; it reads on behind the position")
        .arg(topic())
        .arg(consumer())
        .arg(
            Arg::new("position")
                .value_name("SEQ|start|head")
                .required(true)
                .value_parser(Position::parse)
                .help("The last event that it has handled; start: none, head: all"),
        )
        .arg(revision())
        .arg(new.help("Only where there is none yet"));
    let delete = Command::new("delete")
        .about("Forgets a consumer; exit code 1 where there is none")
        .arg(topic())
        .arg(consumer())
        .arg(revision());
    Command::new("consumers")
        .about("Lists, shows, moves and forgets named positions of readers")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([list, show, set].map(|command| with_place(with_output(command))))
        .subcommand(with_place(delete))
}

/// Where a consumer is to be.
#[derive(Clone, Copy)]
enum Position {
    Start,
    Head,
    At(u64),
}

impl Position {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "head" => Ok(Self::Head),
            number => {
                let at = number.parse().map_err(|_| "must be a seq, start or head".to_owned())?;
                Ok(Self::At(at))
            }
        }
    }
}

/// Runs one of its commands.
pub async fn run(args: &ArgMatches) -> Result<(), Failure> {
    let (name, args) = args.subcommand().unwrap_or(("", args));
    let place = Place::open(args, Missing::Refuse).await?;
    let done = match name {
        "list" => list(args, &place).await,
        "show" => show(args, &place).await,
        "set" => set(args, &place).await,
        _ => delete(args, &place).await,
    };
    let done = done.map_err(|failure| place.tell(failure));
    place.close().await;
    done
}

async fn list(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    place.head(&topic).await?;
    let (reader, mut out) = (place.reader(), Printer::new(args));
    let mut after: Option<String> = None;
    loop {
        let prefix = text(args, "prefix");
        let found = reader.consumers(&topic, prefix, after.as_deref(), FETCH).await?;
        let Some(last) = found.last() else { return Ok(()) };
        after = Some(last.name.as_str().to_owned());
        out.put(&topic, &found)?;
    }
}

async fn show(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let (topic, name) = names(args)?;
    place.head(&topic).await?;
    let consumer = find(place, &topic, &name).await?;
    Printer::new(args).put(&topic, &[consumer])
}

async fn set(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let (topic, name) = names(args)?;
    let head = place.head(&topic).await?.seq;
    let seq = match args.get_one::<Position>("position") {
        Some(Position::At(seq)) => Some(Seq(*seq)),
        Some(Position::Head) => Some(head),
        Some(Position::Start) | None => None,
    };
    if seq > Some(head) {
        let text = format!("the position is beyond the head of {topic}, which is {head}");
        return Err(Failure::new(Exit::Failed, text));
    }
    let expected = revision(args).map(Expected::Revision);
    let expected = expected.or_else(|| args.get_flag("new").then_some(Expected::Nothing));
    let moved = match place {
        Place::Service(client) => client.consumers().put(&topic, &name, seq, expected).await?,
        Place::Local(local) => {
            let at = now();
            let to = Move { topic: topic.clone(), name: name.clone(), seq, expected, at };
            let moved = local.topics.move_consumer(to).await.map_err(refused)?;
            moved.ok_or_else(|| Failure::new(Exit::Failed, "the condition does not hold"))?
        }
    };
    Printer::new(args).put(&topic, &[moved.consumer])
}

async fn delete(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let (topic, name) = names(args)?;
    place.head(&topic).await?;
    let expected = revision(args);
    let deleted = match place {
        Place::Service(client) => client.consumers().delete(&topic, &name, expected).await?,
        Place::Local(local) => {
            let forgotten = local.topics.forget_consumer(&topic, &name, expected).await;
            forgotten.map_err(refused)?
        }
    };
    if deleted {
        return Ok(());
    }
    let other = || Failure::new(Exit::Failed, "the consumer is not there, or has another revision");
    Err(if expected.is_some() { other() } else { none(&name) })
}

fn names(args: &ArgMatches) -> Result<(TopicName, ConsumerName), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    Ok((topic, parse(args, "consumer", ConsumerName::parse)?))
}

fn revision(args: &ArgMatches) -> Option<Revision> {
    get(args, "if-revision").map(Revision)
}

/// A consumer that must be there, of a topic that is.
pub async fn find(
    place: &Place,
    topic: &TopicName,
    name: &ConsumerName,
) -> Result<Consumer, Failure> {
    place.reader().consumer(topic, name).await?.ok_or_else(|| none(name))
}

fn none(name: &ConsumerName) -> Failure {
    Failure::new(Exit::Failed, format!("there is no consumer {}", name.as_str()))
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Prints consumers.
struct Printer {
    out: Out,
    form: Form,
    columns: Columns<5>,
}

impl Printer {
    fn new(args: &ArgMatches) -> Self {
        let columns = Columns::new(["CONSUMER", "SEQ", "LAG", "LAG SECONDS", "REVISION"]);
        Self { out: Out::new(), form: Form::of(args), columns }
    }

    fn put(&mut self, topic: &TopicName, consumers: &[Consumer]) -> Result<(), Failure> {
        let now = now();
        match self.form {
            Form::Json => {
                for consumer in consumers {
                    self.out.json(&ConsumerJson::new(topic, consumer, now))?;
                }
            }
            Form::Table => {
                let rows = consumers.iter().map(|consumer| {
                    let seq = consumer.seq.map_or_else(|| "-".into(), |seq| seq.to_string());
                    [
                        consumer.name.as_str().to_owned(),
                        seq,
                        consumer.lag_events().to_string(),
                        format!("{:.1}", consumer.lag_seconds(now)),
                        consumer.revision.0.to_string(),
                    ]
                });
                self.out.put(self.columns.rows(rows).as_bytes())?;
            }
        }
        self.out.flush()
    }
}
