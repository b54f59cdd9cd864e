//! Lines of events, as the contract has them.

use std::io::{BufRead as _, BufReader, Read};

use bytes::Bytes;

use super::{Ended, Sink};
use crate::wire::submitted;

/// Longer than any line that a service takes with its usual settings.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Reads lines to the end. Empty ones are counted and skipped.
pub(super) fn read(input: impl Read, sink: &Sink) -> Result<(), Ended> {
    let mut input = BufReader::with_capacity(256 << 10, input);
    let mut place = 0;
    loop {
        place += 1;
        let mut line = Vec::new();
        let most = LINE_BYTES_MAX as u64 + 1;
        match (&mut input).take(most).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) if line.len() > LINE_BYTES_MAX => {
                return sink.bad(place, format_args!("longer than {LINE_BYTES_MAX} bytes"));
            }
            Ok(_) => {}
            Err(error) => return sink.unreadable(&error),
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let bytes = line.len();
        match submitted::line(Bytes::from(line)) {
            Ok(what) => sink.line(place, what, bytes)?,
            Err(bad) => {
                let at = bad.pointer.filter(|pointer| !pointer.is_empty());
                let at = at.map_or_else(String::new, |pointer| format!(" (at {pointer})"));
                return sink.bad(place, format_args!("{}{at}", bad.detail));
            }
        }
    }
}
