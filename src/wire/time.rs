//! Times as text: RFC 3339 in UTC, with microseconds.

use std::fmt::Write;

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};

use crate::domain::Timestamp;

const EPOCH: DateTime = civil::datetime(1970, 1, 1, 0, 0, 0, 0);

/// RFC 3339 in UTC, with microseconds. Calendar time, because an instant of jiff's ends a day
/// before the year 9999 does.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let mut text = String::new();
    put_rfc3339(&mut text, at);
    text
}

/// Appends the same.
pub fn put_rfc3339(out: &mut impl Write, at: Timestamp) {
    let at = EPOCH.saturating_add(SignedDuration::from_micros(at.0));
    write!(out, "{at:.6}Z").expect("memory takes all that is written");
}

/// The moment that a text of the above form names; `None` for any other text.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let at: DateTime = text.strip_suffix('Z')?.parse().ok()?;
    let since = at.duration_since(EPOCH).as_micros();
    i64::try_from(since).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_the_microsecond() {
        let last = 253_402_300_799_999_999;
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z"),
            (last, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(at)), text);
            assert_eq!(moment(text), Some(Timestamp(at)));
        }
        for text in ["", "2023-11-14T22:13:20.000001", "2023-11-14", "Z", "2023-02-30T00:00:00Z"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
