//! `tidelog serve`, `config` and `token`: the service and its settings. Their flags are in
//! `config/cli.rs`.

use clap::ArgMatches;
use tracing::Level;

use super::args::text;
use super::exit::{Exit, Failure};
use super::output::print;
use crate::config::{self, ConfigError, Loaded, StoreUrl, cli, token};
use crate::server;
use crate::store::postgres;
use crate::telemetry::{self, LogFormat};

/// Runs the service until it is told to stop. Where the log is JSON, so is the line that says why it did
/// not start.
pub fn serve(args: &ArgMatches) -> Result<(), Failure> {
    let Loaded { config, .. } = load(args)?;
    let format = telemetry::init(config.log_format, &config.log).map_err(anyhow::Error::from)?;
    server::run(config).map_err(|error| {
        let failure = Failure::from(error);
        if format != LogFormat::Json || !tracing::enabled!(Level::ERROR) {
            return failure;
        }
        tracing::error!(reason = failure.text, "the service failed");
        Failure::new(failure.exit, "")
    })
}

/// Prints what is in force, or the template.
pub fn config(args: &ArgMatches) -> Result<(), Failure> {
    if args.get_flag("template") {
        return print(&config::template());
    }
    let loaded = load(args)?;
    if let StoreUrl::Postgres(url) = &loaded.config.store {
        postgres::Config::new(url.expose()).check()?;
    }
    print(&loaded.report())
}

/// Makes a token.
pub fn token(args: &ArgMatches) -> Result<(), Failure> {
    let topics: Vec<String> = args.get_many("topics").unwrap_or_default().cloned().collect();
    let failed = |error| Failure::new(Exit::Unavailable, format!("no random bytes: {error}"));
    let token = token::generate().map_err(failed)?;
    let stanza = token::stanza(&token, text(args, "name"), &topics, text(args, "access"));
    print(&format!(
        "{token}\n\n# Above: the token, for the client. It is kept nowhere and not shown again.\n\
         # Below: what the service's configuration file needs.\n{stanza}"
    ))
}

fn load(args: &ArgMatches) -> Result<Loaded, ConfigError> {
    config::load(&cli::inputs(args, std::env::vars_os()))
}
