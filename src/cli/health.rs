//! `tidelog health`: whether a service, or a store, can be used now. For `HEALTHCHECK` and the
//! like: exit code 0 or 1, and one line.

use std::time::Duration;

use clap::{ArgMatches, Command};

use super::args::{get, number};
use super::exit::{Exit, Failure};
use super::output::print;
use super::place::{Missing, Place, with_place};

/// The command.
pub fn command() -> Command {
    let command = Command::new("health")
        .about("Asks whether a service, or a store, can be used now: exit code 0 yes, 1 no")
        .arg(number("timeout", "SECONDS").default_value("5").help("How long it may take"));
    with_place(command)
}

/// Runs it.
pub async fn run(args: &ArgMatches) -> Result<(), Failure> {
    let timeout = Duration::from_secs(get(args, "timeout").unwrap_or(5));
    let asked = tokio::time::timeout(timeout, ask(args)).await;
    let late = |_| Failure::new(Exit::Failed, format!("no answer in {} s", timeout.as_secs()));
    match asked.map_err(late)? {
        Ok(()) => print("healthy\n"),
        Err(failure) if matches!(failure.exit, Exit::Usage | Exit::Configuration) => Err(failure),
        Err(failure) => Err(Failure { exit: Exit::Failed, ..failure }),
    }
}

async fn ask(args: &ArgMatches) -> Result<(), Failure> {
    let place = Place::open(args, Missing::Refuse).await?;
    let answer = place.reader().ping().await.map_err(Failure::from);
    let answer = answer.map_err(|failure| place.tell(failure));
    place.close().await;
    answer
}
