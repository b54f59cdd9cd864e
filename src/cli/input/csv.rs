//! Rows under a header. The data of an event is the object of its row: the names of the columns
//! in their order, every value a text.

use std::io::{self, Read};

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::{Ended, Keys, Sink};

/// Reads rows to the end.
pub(super) fn read(input: impl Read, keys: &Keys, delimiter: u8, sink: &Sink) -> Result<(), Ended> {
    let mut rows = ReaderBuilder::new().delimiter(delimiter).from_reader(input);
    let names = match rows.headers() {
        Ok(names) => names.clone(),
        Err(error) => return wrong(&error, 1, sink),
    };
    let columns = match columns(&names, keys) {
        Ok(columns) => columns,
        Err(why) => return sink.bad(1, why),
    };
    let names: Vec<String> = names.iter().map(quoted).collect();
    let mut row = StringRecord::new();
    loop {
        let before = rows.position().line();
        match rows.read_record(&mut row) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return wrong(&error, before, sink),
        }
        let place = row.position().map_or(before, csv::Position::line);
        let values = columns.iter().map(|column| row.get(*column).unwrap_or_default().to_owned());
        match keys.join(values.collect()) {
            Ok(key) => sink.data(place, key, object(&names, &row))?,
            Err(why) => return sink.bad(place, why),
        }
    }
}

/// Which columns make the key.
fn columns(names: &StringRecord, keys: &Keys) -> Result<Vec<usize>, String> {
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|other| other == name) {
            return Err(format!("two columns are called {name:?}"));
        }
    }
    let column = |key: &String| {
        let found = names.iter().position(|name| name == key);
        found.ok_or_else(|| format!("no column is called {key:?} (--key)"))
    };
    keys.names().iter().map(column).collect()
}

fn object(names: &[String], row: &StringRecord) -> String {
    let mut text = String::from("{");
    for (at, (name, value)) in names.iter().zip(row).enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        text.push_str(&quoted(value));
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

fn wrong(error: &csv::Error, before: u64, sink: &Sink) -> Result<(), Ended> {
    let place = error.position().map_or(before, csv::Position::line);
    match error.kind() {
        ErrorKind::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            sink.unreadable(error)
        }
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            sink.bad(place, format_args!("{len} fields; the header has {expected_len}"))
        }
        ErrorKind::Utf8 { .. } => sink.bad(place, "not UTF-8"),
        _ => sink.bad(place, error),
    }
}
