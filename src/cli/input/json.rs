//! Values one after the other, or one array of them. Each is the data of an event, byte for byte.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};

use serde::Deserializer as _;
use serde::de::{self, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Error};

use super::{Ended, Keys, Sink};

/// Reads values to the end.
pub(super) fn read(input: impl Read, keys: &Keys, sink: &Sink) -> Result<(), Ended> {
    let mut input = BufReader::with_capacity(256 << 10, input);
    let mut values = Values { keys, sink, place: 0, ended: false };
    match begins_array(&mut input) {
        Ok(true) => {
            let mut json = Deserializer::from_reader(input);
            let read = json.deserialize_seq(&mut values).and_then(|()| json.end());
            values.end(read.err().as_ref())
        }
        Ok(false) => {
            for value in Deserializer::from_reader(input).into_iter::<Box<RawValue>>() {
                match value {
                    Ok(value) => values.take(&value)?,
                    Err(error) => return values.end(Some(&error)),
                }
            }
            Ok(())
        }
        Err(error) => sink.unreadable(&error),
    }
}

/// Skips blanks and looks.
fn begins_array(input: &mut BufReader<impl Read>) -> io::Result<bool> {
    loop {
        let buffer = input.fill_buf()?;
        let blanks = buffer.len() - buffer.trim_ascii_start().len();
        match buffer.get(blanks) {
            Some(first) => return Ok(*first == b'['),
            None if buffer.is_empty() => return Ok(false),
            None => input.consume(blanks),
        }
    }
}

struct Values<'a> {
    keys: &'a Keys,
    sink: &'a Sink,
    /// How many values have been taken.
    place: u64,
    /// Nothing more is to be said.
    ended: bool,
}

impl Values<'_> {
    fn take(&mut self, value: &RawValue) -> Result<(), Ended> {
        self.place += 1;
        match self.keys.of(value) {
            Ok(key) => self.sink.data(self.place, key, value.get().to_owned()),
            Err(why) => self.sink.bad(self.place, why),
        }
    }

    fn end(&self, error: Option<&Error>) -> Result<(), Ended> {
        match error {
            _ if self.ended => Err(Ended),
            None => Ok(()),
            Some(error) if error.is_io() => {
                self.sink.unreadable(&io::Error::other(error.to_string()))
            }
            Some(error) => self.sink.bad(self.place + 1, format_args!("not JSON: {error}")),
        }
    }
}

impl<'de> Visitor<'de> for &mut Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(value) = items.next_element::<Box<RawValue>>()? {
            if let Err(Ended) = self.take(&value) {
                self.ended = true;
                return Err(de::Error::custom("ended"));
            }
        }
        Ok(())
    }
}
