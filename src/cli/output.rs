//! What commands print: lines of JSON for programs, tables for people.
//!
//! Invariants: data goes to standard output and everything else to standard error; a line of an
//! event is the contract's, as the service would send it.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

use bytes::{BufMut as _, BytesMut};
use clap::{Arg, ArgMatches, Command};
use serde::Serialize;

use super::exit::Failure;
use super::table::EventTable;
use crate::domain::ReadEvent;
use crate::wire::read::put_line;

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON value a line.
    Json,
    /// Columns.
    Table,
}

/// Adds the flag that says how.
pub fn with_output(command: Command) -> Command {
    command.arg(
        Arg::new("output")
            .long("output")
            .short('o')
            .value_name("json|table")
            .value_parser(["json", "table"])
            .hide_possible_values(true)
            .help("JSON, a value a line, or a table [default: a table on a terminal, else JSON]"),
    )
}

impl Form {
    /// What the flag says, or what fits standard output.
    pub fn of(args: &ArgMatches) -> Self {
        match args.get_one::<String>("output").map(String::as_str) {
            Some("json") => Self::Json,
            None if !io::stdout().is_terminal() => Self::Json,
            _ => Self::Table,
        }
    }
}

/// Standard output, buffered.
pub struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Out {
    /// Takes standard output.
    pub fn new() -> Self {
        Self { stdout: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    /// Writes bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Writes a value as a line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = BytesMut::new();
        serde_json::to_writer((&mut line).writer(), value).expect("what is printed is JSON");
        line.put_u8(b'\n');
        self.put(&line)
    }

    /// Shows what was written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::output(&error))
    }
}

/// Prints text and is done.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = Out::new();
    out.put(text.as_bytes())?;
    out.flush()
}

/// Prints events.
pub struct Events {
    out: Out,
    table: Option<EventTable>,
}

impl Events {
    /// Prints in this form.
    pub fn new(form: Form) -> Self {
        Self { out: Out::new(), table: (form == Form::Table).then(EventTable::default) }
    }

    /// Prints some and shows them.
    pub fn put(&mut self, events: &[ReadEvent]) -> Result<(), Failure> {
        let mut text = BytesMut::new();
        match &mut self.table {
            Some(table) => text.extend_from_slice(table.rows(events).as_bytes()),
            None => {
                events
                    .iter()
                    .for_each(|read| put_line(&mut text, &read.event, read.invalidated_by));
            }
        }
        self.out.put(&text)?;
        self.out.flush()
    }
}
