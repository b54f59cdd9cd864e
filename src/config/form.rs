//! How the value of a setting is written: one [`Form`] per kind of value, the same in flags,
//! variables and the file.
//!
//! Not here: which setting has which form (`settings.rs`), addresses of stores (`store_url.rs`).
//! Invariant: a message says what is expected and gives an example.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::telemetry::{self, LogFormat};

/// A way of writing values.
pub(super) trait Form {
    /// What is written.
    type Value;
    /// What the help shows in the place of the value.
    const PLACEHOLDER: &'static str;

    /// Reads a value; the error continues the sentence "the value …".
    fn parse(text: &str) -> Result<Self::Value, String>;

    /// The text as it may be shown to people: without secrets, and what "auto" came to.
    fn shown(text: &str) -> String {
        text.to_owned()
    }
}

/// The value, if it lies between two others (both included), which are written in the same form.
pub(super) fn within<F: Form>(value: F::Value, min: &str, max: &str) -> Result<F::Value, String>
where
    F::Value: PartialOrd,
{
    let inside = value >= F::parse(min)? && value <= F::parse(max)?;
    if inside { Ok(value) } else { Err(format!("is out of range: {min} to {max} is allowed")) }
}

fn not<T>(text: &str, expected: &str) -> Result<T, String> {
    Err(if text.is_empty() {
        format!("is empty; it must be {expected}")
    } else {
        format!("is {text:?}; it must be {expected}")
    })
}

/// Splits `250ms` into 250 and `ms`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// An IP address, or `localhost`, and a port.
pub(super) struct Address;

impl Form for Address {
    type Value = SocketAddr;
    const PLACEHOLDER: &'static str = "ADDRESS:PORT";

    fn parse(text: &str) -> Result<SocketAddr, String> {
        let expected = "an IP address and a port, such as 127.0.0.1:4810 or [::1]:4810";
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        local.as_deref().unwrap_or(text).parse().or_else(|_| not(text, expected))
    }
}

/// A whole number.
pub(super) struct Count;

impl Form for Count {
    type Value = usize;
    const PLACEHOLDER: &'static str = "COUNT";

    fn parse(text: &str) -> Result<usize, String> {
        match number_and_unit(text) {
            Some((number, "")) => {
                usize::try_from(number).or_else(|_| not(text, "a smaller number"))
            }
            _ => not(text, "a whole number, such as 1000"),
        }
    }
}

/// A number of threads, or `auto` for one for every two cores: clients, the database and reads need
/// cores as well, and what one thread does for a topic crosses no others (`docs/decisions/`).
pub(super) struct Threads;

impl Form for Threads {
    type Value = usize;
    const PLACEHOLDER: &'static str = "COUNT|auto";

    fn parse(text: &str) -> Result<usize, String> {
        if text == "auto" {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            return Ok((cores / 2).max(1));
        }
        Count::parse(text).or_else(|_| not(text, "a whole number or \"auto\""))
    }

    fn shown(text: &str) -> String {
        Self::parse(text).map_or_else(|_| text.to_owned(), |threads| threads.to_string())
    }
}

/// A number a second, or a word that stands for none.
fn positive_or(word: &str, text: &str) -> Result<Option<NonZeroU32>, String> {
    if text == word {
        return Ok(None);
    }
    let expected = format!("a whole number from 1, or {word:?}");
    text.parse().map(Some).or_else(|_| not(text, &expected))
}

/// A positive whole number, or `off`.
pub(super) struct PositiveOrOff;

impl Form for PositiveOrOff {
    type Value = Option<NonZeroU32>;
    const PLACEHOLDER: &'static str = "COUNT|off";

    fn parse(text: &str) -> Result<Self::Value, String> {
        positive_or("off", text)
    }
}

/// A positive whole number, or `auto`.
pub(super) struct PositiveOrAuto;

impl Form for PositiveOrAuto {
    type Value = Option<NonZeroU32>;
    const PLACEHOLDER: &'static str = "COUNT|auto";

    fn parse(text: &str) -> Result<Self::Value, String> {
        positive_or("auto", text)
    }
}

/// A number of bytes: `4096`, `32MiB`.
pub(super) struct Size;

impl Form for Size {
    type Value = usize;
    const PLACEHOLDER: &'static str = "SIZE";

    fn parse(text: &str) -> Result<usize, String> {
        let bytes = number_and_unit(text).and_then(|(number, unit)| {
            let scale = match unit {
                "" => 0,
                "KiB" => 10,
                "MiB" => 20,
                "GiB" => 30,
                _ => return None,
            };
            usize::try_from(number.checked_mul(1 << scale)?).ok()
        });
        bytes.map_or_else(|| not(text, "bytes or KiB, MiB, GiB, such as 4096 or 32MiB"), Ok)
    }
}

/// A length of time: `250ms`, `10s`, `5min`, `1h`.
pub(super) struct Time;

impl Form for Time {
    type Value = Duration;
    const PLACEHOLDER: &'static str = "DURATION";

    fn parse(text: &str) -> Result<Duration, String> {
        let length = number_and_unit(text).and_then(|(number, unit)| {
            let milliseconds = match unit {
                "ms" => 1,
                "s" => 1000,
                "min" => 60 * 1000,
                "h" => 60 * 60 * 1000,
                _ => return None,
            };
            number.checked_mul(milliseconds)
        });
        let expected = "a number and a unit (ms, s, min, h), such as 250ms, 10s or 5min";
        length.map_or_else(|| not(text, expected), |length| Ok(Duration::from_millis(length)))
    }
}

/// `true` or `false`. As a flag it needs no value.
pub(super) struct Switch;

impl Switch {
    /// How a flag is recognised as a switch.
    pub(super) const PLACEHOLDER: &'static str = "true|false";
}

impl Form for Switch {
    type Value = bool;
    const PLACEHOLDER: &'static str = Self::PLACEHOLDER;

    fn parse(text: &str) -> Result<bool, String> {
        text.parse().or_else(|_| not(text, "true or false"))
    }
}

/// How log lines are written.
pub(super) struct Format;

impl Form for Format {
    type Value = LogFormat;
    const PLACEHOLDER: &'static str = "auto|text|json";

    fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => not(text, "auto, text or json"),
        }
    }
}

/// Which log lines are written.
pub(super) struct Filter;

impl Form for Filter {
    type Value = String;
    const PLACEHOLDER: &'static str = "FILTER";

    fn parse(text: &str) -> Result<String, String> {
        match telemetry::check_filter(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(error) => Err(format!("is {text:?}; {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        let cases =
            [("0", 0), ("4096", 4096), ("2KiB", 2048), ("32MiB", 32 << 20), ("1GiB", 1 << 30)];
        for (text, bytes) in cases {
            assert_eq!(Size::parse(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "32MB",
            "32 MiB",
            "-1",
            "1.5GiB",
            "99999999999999999999",
            "18014398509481984GiB",
        ] {
            assert!(Size::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_need_a_unit() {
        let cases = [("250ms", 250), ("10s", 10_000), ("5min", 300_000), ("1h", 3_600_000)];
        for (text, milliseconds) in cases {
            assert_eq!(Time::parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "10 s", "5m", "1d", "s", "18446744073709551615h", "-1s"] {
            assert!(Time::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn off_and_auto_are_words_of_their_own() {
        assert_eq!(PositiveOrOff::parse("off"), Ok(None));
        assert_eq!(PositiveOrAuto::parse("auto"), Ok(None));
        assert_eq!(PositiveOrOff::parse("7"), Ok(NonZeroU32::new(7)));
        for text in ["0", "auto", "", "1.5"] {
            assert!(PositiveOrOff::parse(text).is_err(), "{text:?}");
        }
        assert!(Threads::parse("auto").is_ok_and(|threads| threads >= 1));
        assert_eq!(Threads::shown("3"), "3");
    }

    #[test]
    fn a_range_includes_its_ends() {
        assert_eq!(within::<Count>(1, "1", "3"), Ok(1));
        assert_eq!(within::<Count>(3, "1", "3"), Ok(3));
        assert!(within::<Count>(0, "1", "3").is_err());
        assert!(within::<Count>(4, "1", "3").is_err_and(|why| why.contains("1 to 3")));
    }
}
