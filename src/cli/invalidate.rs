//! `tidelog invalidate`: says that a transaction was wrong.

use clap::{Arg, ArgMatches, Command, value_parser};

use super::args::{flag, get, parse, topic};
use super::exit::Failure;
use super::output::{Form, Out, with_output};
use super::place::{Place, with_place};
use super::signal::Interruption;
use crate::domain::{Reason, TopicName, TransactionNo};
use crate::wire::ack::AckJson;

/// The command.
pub fn command() -> Command {
    let command = Command::new("invalidate")
        .about("Says that an earlier transaction was wrong; its events leave the surface")
        .arg(topic())
        .arg(
            Arg::new("transaction")
                .value_name("TRANSACTION")
                .required(true)
                .value_parser(value_parser!(u64))
                .help("Its number"),
        )
        .arg(flag("reason", "TEXT").help("Why, for those who read the topic"));
    with_place(with_output(command))
}

/// Runs it.
pub async fn run(
    args: &ArgMatches,
    place: &Place,
    interruption: &Interruption,
) -> Result<(), Failure> {
    let topic = parse(args, "topic", TopicName::parse)?;
    let transaction = TransactionNo(get(args, "transaction").unwrap_or_default());
    let reason = args.get_one::<String>("reason").map(|text| Reason::parse(text.as_str().into()));
    // What is sent is waited for, for a while, also when it is interrupted.
    let _ = interruption.asks();
    let ack = place.invalidate(&topic, transaction, reason.transpose()?).await;
    let ack =
        ack.map_err(|failure| failure.of(format_args!("transaction {transaction} of {topic}")))?;
    let mut out = Out::new();
    match Form::of(args) {
        Form::Json => out.json(&AckJson::from(&ack))?,
        Form::Table => {
            let how =
                if ack.duplicate { "was invalidated before, by" } else { "is invalidated by" };
            let by = ack.version.transaction;
            let text = format!("transaction {transaction} of {topic} {how} transaction {by}\n");
            out.put(text.as_bytes())?;
        }
    }
    out.flush()
}
