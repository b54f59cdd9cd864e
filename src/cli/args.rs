//! Arguments that many commands have, and how values of the domain are read from them.

use clap::{Arg, ArgMatches, value_parser};

use super::exit::Failure;
use crate::domain::NameError;

/// The topic, first.
pub fn topic() -> Arg {
    Arg::new("topic").value_name("TOPIC").required(true).help("Name of the topic")
}

/// A flag with a number.
pub fn number(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(value_parser!(u64))
}

/// A flag with a text.
pub fn flag(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value)
}

/// The text of an argument; empty where it was not given.
pub fn text<'a>(args: &'a ArgMatches, name: &str) -> &'a str {
    args.get_one::<String>(name).map_or("", String::as_str)
}

/// The number of a flag.
pub fn get(args: &ArgMatches, name: &str) -> Option<u64> {
    args.get_one::<u64>(name).copied()
}

/// A name that must be given.
pub fn parse<T>(
    args: &ArgMatches,
    name: &str,
    parse: impl Fn(&str) -> Result<T, NameError>,
) -> Result<T, Failure> {
    Ok(parse(text(args, name))?)
}
