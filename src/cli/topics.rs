//! `tidelog topics`: what topics there are, and where they end.

use clap::{ArgMatches, Command};

use super::args::{flag, get, number, text};
use super::exit::Failure;
use super::output::{Form, Out, with_output};
use super::place::{Place, with_place};
use super::table::Columns;
use crate::wire::topics::TopicJson;

/// Topics that are fetched at once.
const FETCH: usize = 1000;

/// The command.
pub fn command() -> Command {
    let command = Command::new("topics")
        .about("Lists topics in byte order of name")
        .arg(flag("prefix", "TEXT").default_value("").help("Only names that begin with this"))
        .arg(number("limit", "N").short('n').help("Most topics"));
    with_place(with_output(command))
}

/// Runs it.
pub async fn run(args: &ArgMatches, place: &Place) -> Result<(), Failure> {
    let (reader, mut out) = (place.reader(), Out::new());
    let mut columns = Columns::new(["TOPIC", "EVENTS", "TRANSACTIONS"]);
    let mut left = get(args, "limit").map_or(usize::MAX, |n| n.try_into().unwrap_or(usize::MAX));
    let mut after: Option<String> = None;
    while left > 0 {
        let found = reader.topics(text(args, "prefix"), after.as_deref(), FETCH.min(left)).await?;
        let Some(last) = found.last() else { break };
        after = Some(last.name.as_str().to_owned());
        left -= found.len();
        match Form::of(args) {
            Form::Json => {
                for topic in &found {
                    out.json(&TopicJson::new(&topic.name, topic.head))?;
                }
            }
            Form::Table => {
                let rows = found.iter().map(|topic| {
                    let transactions = topic.head.transaction.0 + 1;
                    let events = topic.head.seq.next();
                    [topic.name.to_string(), events.to_string(), transactions.to_string()]
                });
                out.put(columns.rows(rows).as_bytes())?;
            }
        }
        out.flush()?;
    }
    Ok(())
}
