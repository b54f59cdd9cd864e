//! `tidelog append`: writes what a file or standard input says, acknowledged in order.
//!
//! Invariants: nothing behind a bad line, a failure or an interruption is written, and what came
//! before is; with `--producer` the same command again goes on there, and writes nothing twice.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use clap::{Arg, ArgMatches, Command, value_parser};
use futures::stream::{self, Stream, StreamExt as _};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::{parse, text, topic};
use super::exit::{Exit, Failure};
use super::input::{Format, Keys, Line, Source, extension};
use super::output::{Form, Out, with_output};
use super::place::{Place, with_place};
use super::progress::{Progress, Unit, count, with_quiet};
use super::signal::Interruption;
use super::writing::Acked;
use crate::client::Producer;
use crate::domain::{EventBody, EventType, ProducerId, Seq, TopicName};
use crate::store::{Direction, Scan};
use crate::wire::head::HeadJson;
use crate::wire::submitted::Submitted;

const LONG: &str = "Appends events to a topic, in order, many per commit.\n\n\
    NDJSON (the default): a line is an event, {\"key\":…,\"data\":…}, or a transaction, \
    {\"events\":[…]}, as the HTTP API has them. CSV: a row under a header; the data is an object \
    of texts. JSON: an array of values, or values one after the other; each is the data of an \
    event, as it stands. The last two need --key.\n\n\
    Nothing behind a bad line, a failure or Ctrl-C is written; all before it is.";

/// The command.
pub fn command() -> Command {
    let command = Command::new("append")
        .about("Appends events from a file or standard input to a topic")
        .long_about(LONG)
        .arg(topic())
        .arg(Arg::new("file").value_name("FILE").default_value("-").help("- is standard input"))
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("ndjson|csv|json")
                .value_parser(["ndjson", "csv", "json"])
                .hide_possible_values(true)
                .help("[default: what the file's name ends in, else ndjson]"),
        )
        .arg(Arg::new("key").long("key").value_name("NAME").action(clap::ArgAction::Append).help(
            "Column (CSV), or member or JSON pointer (JSON), that is the key; several \
                     are joined",
        ))
        .arg(
            Arg::new("key-separator")
                .long("key-separator")
                .value_name("TEXT")
                .default_value("/")
                .help("Joins the parts of a key; a part that has it in itself is an error"),
        )
        .arg(
            Arg::new("delimiter")
                .long("delimiter")
                .value_name("CHAR")
                .value_parser(delimiter)
                .default_value(",")
                .help("Between the fields of CSV: one character, or tab"),
        )
        .arg(Arg::new("type").long("type").value_name("TYPE").help("Of events that name none"))
        .arg(
            Arg::new("producer")
                .long("producer")
                .value_name("ID")
                .help("Name of this input: the same command again goes on behind the last line")
                .long_help(
                    "Name of this input: the same command again, with the same input or more of \
                     it, goes on behind the last line that is written. The name is for one input \
                     and one topic. Only the last of the lines that are written is compared with \
                     what the topic has: where it differs, the input is refused; what was changed \
                     before it is not seen, and not written. Corrections are an input of their \
                     own: leave --producer out, what has not changed is a duplicate",
                ),
        )
        .arg(
            Arg::new("producer-epoch")
                .long("producer-epoch")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .default_value("0")
                .help("Incarnation of the producer; keeps those with a lower one out"),
        );
    with_place(with_quiet(with_output(command)))
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" => Ok(b'\t'),
        [one] if *one != b'"' => Ok(*one),
        _ => Err("must be one ASCII character, not a quote, or tab".into()),
    }
}

/// What became of the input.
#[derive(Debug, Default, Serialize)]
struct Summary {
    lines: u64,
    written: u64,
    duplicates: u64,
    replayed: u64,
    skipped: u64,
    head: Option<HeadJson>,
    complete: bool,
}

impl Summary {
    fn add(&mut self, acked: &Acked) {
        self.lines += 1;
        if acked.replayed {
            self.replayed += 1;
            return;
        }
        let duplicates = acked.events.iter().filter(|ack| ack.duplicate).count() as u64;
        self.duplicates += duplicates;
        self.written += acked.events.len() as u64 - duplicates;
    }

    fn text(&self) -> String {
        let Self { lines, written, duplicates, replayed, skipped, .. } = self;
        let also = |number: u64, what: &str| match number {
            0 => String::new(),
            number => format!(", {} written {what}", count(number, "line")),
        };
        let head = match self.head {
            Some(head) => format!("; head is {} (transaction {})", head.seq, head.transaction),
            None => String::new(),
        };
        format!(
            "{} acknowledged: {} written, {}{}{}{head}",
            count(*lines, "line"),
            count(*written, "event"),
            count(*duplicates, "duplicate"),
            also(*replayed, "by an earlier run"),
            also(*skipped, "before and skipped"),
        )
    }
}

/// Runs it.
pub async fn run(
    args: &ArgMatches,
    place: &Place,
    interruption: &Interruption,
) -> Result<(), Failure> {
    let topic: TopicName = parse(args, "topic", TopicName::parse)?;
    let kind = args.get_one::<String>("type").map(|kind| EventType::parse(kind.as_str().into()));
    let producer = args.get_one::<String>("producer").map(|id| ProducerId::parse(id));
    let producer = producer.transpose()?;
    let (path, kind) = (text(args, "file"), kind.transpose()?);
    let mut source = Source::open(path, format(args, path)?, kind)?;
    let token = interruption.asks();
    let mut summary = Summary::default();
    let mut progress = Progress::new(args, topic.to_string(), Unit::Bytes, source.size);
    let producer = match producer {
        Some(id) => {
            let epoch = args.get_one::<u64>("producer-epoch").copied().unwrap_or_default();
            let next_line = place.next_line(&topic, &id, epoch).await?;
            let producer = Producer { id, epoch, next_line };
            skip(&mut source, place, &topic, &producer).await?;
            summary.skipped = next_line;
            if next_line > 0 {
                progress.remark(&format!("{next_line} lines are written already"));
            }
            Some(producer)
        }
        None => None,
    };
    let resumable = producer.is_some();
    let name = source.name.clone();
    let position = source.position();
    let feed = Rc::new(RefCell::new(Feed { placed: VecDeque::new(), end: None, last: 0 }));
    let lines = lines(source, place, Rc::clone(&feed), token);
    let mut failure = None;
    match place.append(&topic, producer, lines).await {
        Ok(mut acks) => {
            while let Some(ack) = acks.next().await {
                match ack {
                    Ok(acked) => {
                        summary.add(&acked);
                        feed.borrow_mut().acknowledge();
                        progress.at(position(), || count(summary.lines, "line"));
                    }
                    Err(error) => {
                        let line = feed.borrow().placed.front().copied().unwrap_or_default();
                        failure = Some(error.of(format_args!("{name}:{line}")));
                        break;
                    }
                }
            }
        }
        Err(error) => failure = Some(error),
    }
    let end = failure.or_else(|| feed.borrow().end());
    summary.complete = end.is_none();
    if end.as_ref().is_none_or(|failure| failure.exit != Exit::Unavailable) {
        summary.head = place.reader().head(&topic).await.ok().flatten().map(HeadJson::from);
    }
    drop(progress);
    show(args, &summary)?;
    end.map_or(Ok(()), |failure| Err(feed.borrow().how_to_go_on(failure, resumable)))
}

fn show(args: &ArgMatches, summary: &Summary) -> Result<(), Failure> {
    let mut out = Out::new();
    match Form::of(args) {
        Form::Json => out.json(summary)?,
        Form::Table => out.put(format!("{}\n", summary.text()).as_bytes())?,
    }
    out.flush()
}

fn format(args: &ArgMatches, path: &str) -> Result<Format, Failure> {
    let name = args.get_one::<String>("format").map_or_else(|| extension(path), String::as_str);
    let keys: Vec<String> = args.get_many("key").unwrap_or_default().cloned().collect();
    let usage = |text: &str| Err(Failure::new(Exit::Usage, text));
    if name == "ndjson" {
        let useless = !keys.is_empty();
        return if useless {
            usage("--key is for CSV and JSON; a line of NDJSON has its own key")
        } else {
            Ok(Format::Ndjson)
        };
    }
    if keys.is_empty() {
        return usage("CSV and JSON need --key, the column or member that is the key");
    }
    let keys = Keys::new(keys, text(args, "key-separator").to_owned());
    let delimiter = args.get_one::<u8>("delimiter").copied().unwrap_or(b',');
    Ok(if name == "csv" { Format::Csv { keys, delimiter } } else { Format::Json { keys } })
}

/// What is known of lines that are on their way.
struct Feed {
    /// Where the lines are that are not acknowledged.
    placed: VecDeque<u64>,
    /// Where the last one is that is.
    last: u64,
    /// Why no more are sent, where it is not that there are none.
    end: Option<Failure>,
}

impl Feed {
    fn acknowledge(&mut self) {
        self.last = self.placed.pop_front().unwrap_or(self.last);
    }

    fn end(&self) -> Option<Failure> {
        self.end.as_ref().map(|Failure { exit, text }| Failure::new(*exit, text.clone()))
    }

    fn how_to_go_on(&self, failure: Failure, resumable: bool) -> Failure {
        if resumable {
            return failure.advice("the same command again goes on behind the last line written");
        }
        match failure.exit {
            Exit::Unknown => {
                failure.advice("with --producer the same command again would know where it was")
            }
            Exit::Data | Exit::Interrupted if self.last == 0 => {
                failure.advice("nothing was written")
            }
            _ if self.last == 0 => failure,
            _ => failure.advice(format_args!(
                "everything up to {} is written, and nothing behind it",
                self.last
            )),
        }
    }
}

/// The lines of the source as far as they are good and wanted.
fn lines<'a>(
    source: Source,
    place: &'a Place,
    feed: Rc<RefCell<Feed>>,
    token: CancellationToken,
) -> impl Stream<Item = Submitted> + 'a {
    stream::unfold((source, feed, token), async move |(mut source, feed, token)| {
        let item = tokio::select! {
            biased;
            () = token.cancelled() => {
                feed.borrow_mut().end = Some(Failure::new(Exit::Interrupted, "interrupted"));
                return None;
            }
            item = source.next() => item?,
        };
        let checked = item.and_then(|line| {
            let name = &source.name;
            let wrong = |why| Failure::new(Exit::Data, format!("{name}:{}: {why}", line.place));
            place.check(&line.what).map_err(wrong)?;
            Ok(line)
        });
        match checked {
            Ok(line) => {
                feed.borrow_mut().placed.push_back(line.place);
                Some((line.what, (source, feed, token)))
            }
            Err(failure) => {
                feed.borrow_mut().end = Some(failure);
                None
            }
        }
    })
}

/// Skips the lines that the producer has written, and looks whether the last of them is what it
/// has written.
async fn skip(
    source: &mut Source,
    place: &Place,
    topic: &TopicName,
    producer: &Producer,
) -> Result<(), Failure> {
    let mut last: Option<Line> = None;
    for skipped in 0..producer.next_line {
        let Some(item) = source.next().await else {
            let (name, id, next) = (&source.name, producer.id.as_str(), producer.next_line);
            let text = format!(
                "{name} has {skipped} lines, but the producer {id:?} has written {next}: it is \
                 another input, which needs another --producer"
            );
            return Err(Failure::new(Exit::Data, text));
        };
        last = Some(item?);
    }
    let Some(line) = last else { return Ok(()) };
    let events = line.what.events().clone();
    let again = Producer { next_line: producer.next_line - 1, ..producer.clone() };
    let mut acks = place.append(topic, Some(again), stream::iter([line.what])).await?;
    let acked = match acks.next().await {
        Some(acked) => acked?,
        None => return Err(Failure::new(Exit::Internal, "no ack")),
    };
    let reader = place.reader();
    let mut same = acked.replayed && acked.events.len() == events.len();
    for (ack, event) in acked.events.iter().zip(&events) {
        let Seq(seq) = ack.version.seq;
        let at = Seq(seq);
        let scan = Scan { from: at, to: at, limit: 1, bytes: 1, direction: Direction::Forward };
        let found = reader.events(topic, scan).await?;
        same &= found.first().is_some_and(|read| match &read.event.body {
            EventBody::Content(content) => content.key == event.key && content.hash == event.hash,
            EventBody::Invalidation(_) => false,
        });
    }
    if same {
        return Ok(());
    }
    let (name, id) = (&source.name, producer.id.as_str());
    let text = format!(
        "{name}:{}: is not what the producer {id:?} has written as its last line: it is another \
         input, which needs another --producer",
        line.place
    );
    Err(Failure::new(Exit::Data, text))
}
