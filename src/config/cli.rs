//! The commands that are about settings, with a flag for every setting.
//!
//! Not here: the other commands, and what these do (`cli/`). A wrong *value* of a setting is not
//! looked at here either: it is reported with all other mistakes of the configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::environment;
use super::form::Switch;
use super::layers::Inputs;
use super::settings::SETTINGS;
use super::table::Setting;
use super::token::{Access, TopicPattern, parse_name};

const SETTINGS_HELP: &str = "Every setting is a flag, an environment variable, or a key of the \
    TOML file named by --config. A flag wins over a variable, a variable over the file, the file \
    over the default.";

/// `tidelog serve`.
#[must_use]
pub fn serve() -> Command {
    let about = "Runs the service until it is told to stop (SIGTERM or SIGINT)";
    with_settings(Command::new("serve").about(about).after_help(SETTINGS_HELP))
}

/// `tidelog config`.
#[must_use]
pub fn config() -> Command {
    let command = Command::new("config")
        .about("Checks the configuration; prints what is in force and where it comes from")
        .long_about(format!(
            "Checks the configuration; prints what is in force and where each value comes from, \
             secrets masked. {SETTINGS_HELP}"
        ))
        .arg(
            Arg::new("template")
                .long("template")
                .action(ArgAction::SetTrue)
                .help("Prints a documented TOML file with all defaults instead"),
        );
    with_settings(command)
}

/// `tidelog token`.
#[must_use]
pub fn token() -> Command {
    Command::new("token")
        .about("Makes a token: prints it, and the [[token]] table for the TOML file")
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .default_value("client")
                .value_parser(parse_name)
                .help("Names the token in logs"),
        )
        .arg(
            Arg::new("topics")
                .long("topics")
                .value_name("TOPIC,…")
                .value_delimiter(',')
                .default_value("*")
                .value_parser(|text: &str| TopicPattern::parse(text).map(|topic| topic.to_string()))
                .help("Topics that it is for: names, or beginnings of names and a *"),
        )
        .arg(
            Arg::new("access")
                .long("access")
                .value_name("read|write")
                .default_value("write")
                .value_parser(|text: &str| Access::parse(text).map(|access| access.to_string()))
                .help("What it may do; write includes read"),
        )
}

fn with_settings(command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(format!("TOML file with settings and tokens [env: {}]", environment::CONFIG));
    command.arg(file).args(SETTINGS.iter().map(flag))
}

fn flag(setting: &'static Setting) -> Arg {
    let (help, default) = (setting.paragraph(), setting.default);
    let short = help.split_once(". ").map_or(help, |(first, _)| first).trim_end_matches('.');
    let bounds = setting.bounds().map(|bounds| format!(" {bounds}")).unwrap_or_default();
    let env = setting.variable();
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.placeholder)
        .help_heading(setting.group)
        .help(format!("{short} [default: {default}]"))
        .long_help(format!("{help}{bounds}\n[default: {default}] [env: {env}]"));
    if setting.placeholder == Switch::PLACEHOLDER {
        return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    arg
}

/// What a command was given, and the environment; only names that begin with `TIDELOG_` matter.
#[must_use]
pub fn inputs(
    command: &ArgMatches,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Inputs {
    let given = |setting: &'static Setting| {
        Some((setting, command.get_one::<String>(setting.name)?.clone()))
    };
    Inputs {
        flags: SETTINGS.iter().filter_map(given).collect(),
        file: command.get_one::<PathBuf>("config").cloned(),
        variables: variables.into_iter().collect(),
    }
}
