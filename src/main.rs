//! The `tidelog` command: reads the command line and hands over.
//!
//! Not here: settings and flags (`config/`), the service itself.
//! Invariant: a failure is told on standard error in words for the operator, and in the exit code
//! for machines.

use std::io::{self, Write as _};
use std::panic;
use std::process::ExitCode;

use clap::ArgMatches;
use tidelog::config::{self, ConfigError, Loaded, cli, token};
use tidelog::store::OpenError;
use tidelog::{server, telemetry};

// Of sysexits.h. Wrong usage is 2, which clap exits with by itself.
const UNAVAILABLE: u8 = 69;
const INTERNAL: u8 = 70;
const CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    match panic::catch_unwind(dispatch) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            // Where standard error is closed, the exit code must do.
            let _ = writeln!(io::stderr(), "tidelog: {error:#}");
            exit_code(&error).into()
        }
        Err(_reported_by_the_panic_hook) => INTERNAL.into(),
    }
}

fn dispatch() -> anyhow::Result<()> {
    match cli::command().get_matches().subcommand() {
        Some(("serve", command)) => serve(command),
        Some(("config", command)) => print_config(command),
        Some(("token", command)) => print_token(command),
        _ => anyhow::bail!("the command line has a command that does nothing"),
    }
}

/// What the failure means to whoever started the process. An I/O error is taken for the address
/// that cannot be listened on, or a device that is not there.
fn exit_code(error: &anyhow::Error) -> u8 {
    let any = |is: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(is);
    if any(|cause| cause.is::<ConfigError>()) {
        CONFIGURATION
    } else if any(|cause| cause.is::<OpenError>() || cause.is::<io::Error>()) {
        UNAVAILABLE
    } else {
        INTERNAL
    }
}

fn serve(command: &ArgMatches) -> anyhow::Result<()> {
    let Loaded { config, .. } = load(command)?;
    telemetry::init(config.log_format, &config.log)?;
    let ended = server::run(config);
    telemetry::flush();
    ended
}

fn print_config(command: &ArgMatches) -> anyhow::Result<()> {
    if command.get_flag("template") {
        return print(&config::template());
    }
    print(&load(command)?.report())
}

fn print_token(command: &ArgMatches) -> anyhow::Result<()> {
    let text = |name| command.get_one::<String>(name).map_or("", String::as_str);
    let topics: Vec<String> = command.get_many("topics").unwrap_or_default().cloned().collect();
    let token = token::generate()?;
    let stanza = token::stanza(&token, text("name"), &topics, text("access"));
    print(&format!(
        "{token}\n\n# Above: the token, for the client. It is kept nowhere and not shown again.\n\
         # Below: what the service's configuration file needs.\n{stanza}"
    ))
}

fn load(command: &ArgMatches) -> Result<Loaded, ConfigError> {
    config::load(&cli::inputs(command, std::env::vars_os()))
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_failure_to_start_is_sorted_by_its_cause() {
        let in_use: Result<(), _> = Err(io::Error::from(io::ErrorKind::AddrInUse));
        let cases = [
            (ConfigError(Vec::new()).into(), CONFIGURATION),
            (anyhow::Error::from(OpenError::InUse("x".into())).context("start"), UNAVAILABLE),
            (in_use.context("cannot listen").unwrap_err(), UNAVAILABLE),
            (anyhow::anyhow!("anything else"), INTERNAL),
        ];
        for (error, code) in cases {
            assert_eq!(exit_code(&error), code, "{error:#}");
        }
    }
}
