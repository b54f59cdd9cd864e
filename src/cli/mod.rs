//! The command line: `tidelog serve`, and commands for people and shell scripts that read, write,
//! move and watch topics, in a running service or directly in a store.
//!
//! One file a command. What they share: where topics are (`place`), how results are printed
//! (`output`, `table`), how far long work has come (`progress`), how a command ends (`exit`).
//!
//! Not here: flags of the service's settings (`config/cli.rs`).
//!
//! Invariants: data goes to standard output, everything else to standard error; a failure is told
//! in words for people and in the exit code for scripts; a command that writes and is interrupted
//! leaves what the same command can go on from.

mod append;
mod args;
mod consumers;
mod exit;
mod export;
mod health;
mod import;
mod input;
mod invalidate;
mod manual;
mod output;
mod place;
mod progress;
mod read;
mod service;
mod signal;
mod surface;
mod table;
mod tail;
mod topics;
mod writing;

use std::panic;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

pub use exit::{Exit, TABLE};

use crate::config::cli;
use crate::telemetry;
use exit::Failure;
use place::{Missing, Place};
use signal::Interruption;

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    let command = Command::new("tidelog")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An event store for people who already run a database")
        .after_help(exit::help())
        .subcommand_required(true)
        .arg_required_else_help(true);
    let commands = [
        cli::serve(),
        append::command(),
        read::command(),
        tail::command(),
        surface::command(),
        surface::latest_command(),
        topics::command(),
        invalidate::command(),
        consumers::command(),
        export::command(),
        import::command(),
        health::command(),
        cli::config(),
        cli::token(),
        manual::completions_command(),
        manual::man_command(),
    ];
    command.subcommands(commands.map(explained))
}

/// Every command explains the exit codes, behind what it has to say itself.
fn explained(command: Command) -> Command {
    let own = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
    command.after_help(format!("{own}{}", exit::help()))
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let ended = panic::catch_unwind(dispatch);
    telemetry::flush();
    let failure = match ended {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(_reported_by_the_panic_hook) => return (Exit::Internal as u8).into(),
    };
    if !failure.text.is_empty() {
        progress::say(&failure.text);
    }
    (failure.exit as u8).into()
}

fn dispatch() -> Result<(), Failure> {
    let matches = command().get_matches();
    let (name, args) = matches.subcommand().unwrap_or(("", &matches));
    match name {
        "serve" => service::serve(args),
        "config" => service::config(args),
        "token" => service::token(args),
        "completions" => manual::completions(args),
        "man" => manual::man(args),
        _ => actix_rt::System::new().block_on(with_topics(name, args)),
    }
}

/// Commands that need topics.
async fn with_topics(name: &str, args: &ArgMatches) -> Result<(), Failure> {
    let interruption = Interruption::listen()?;
    if name == "health" {
        return health::run(args).await;
    }
    if name == "import" {
        return import::run(args, &interruption).await;
    }
    if name == "consumers" {
        return consumers::run(args).await;
    }
    let missing = if name == "append" { Missing::Make } else { Missing::Refuse };
    let place = Place::open(args, missing).await?;
    let done = match name {
        "append" => append::run(args, &place, &interruption).await,
        "read" => read::run(args, &place).await,
        "tail" => tail::run(args, &place).await,
        "surface" => surface::run(args, &place).await,
        "latest" => surface::run_latest(args, &place).await,
        "topics" => topics::run(args, &place).await,
        "invalidate" => invalidate::run(args, &place, &interruption).await,
        "export" => export::run(args, &place, &interruption).await,
        _ => Err(Failure::new(Exit::Internal, format!("{name} does nothing"))),
    };
    let done = done.map_err(|failure| place.tell(failure));
    place.close().await;
    done
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
