//! Query strings, strictly: what is unknown, repeated or out of range is an error that names it.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::problem::{ErrorCode, Problem};
use crate::domain::limits::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX, POSITION_MAX};

/// The parameters of a request.
pub(super) struct Query {
    parameters: Vec<(&'static str, String)>,
}

fn bad(detail: String) -> Problem {
    Problem::new(ErrorCode::Malformed, detail)
}

impl Query {
    /// Reads the query string of a request that knows these parameters.
    ///
    /// # Errors
    /// `malformed`, for the first parameter that is unknown, repeated or wrongly encoded.
    pub(super) fn parse(text: &str, known: &[&'static str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for parameter in text.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let unreadable = |what: &str| bad(format!("{what} is not percent-encoded UTF-8"));
            let name = decode(name).ok_or_else(|| unreadable("the name of a parameter"))?;
            let Some(name) = known.iter().find(|known| **known == name) else {
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                return Err(bad(format!("unknown parameter {name:?}; known: {known}")));
            };
            if parameters.iter().any(|(other, _)| other == name) {
                return Err(bad(format!("parameter {name} is given more than once")));
            }
            let value = decode(value).ok_or_else(|| unreadable(&format!("parameter {name}")))?;
            parameters.push((*name, value));
        }
        Ok(Self { parameters })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// A seq or a transaction.
    pub(super) fn position(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        position(text)
            .map(Some)
            .ok_or_else(|| bad(format!("parameter {name} must be a whole number below 2^53")))
    }

    /// `limit`, or what is taken where it is absent.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(PAGE_EVENTS_DEFAULT) };
        position(text)
            .map(|limit| limit as usize)
            .filter(|limit| (1..=PAGE_EVENTS_MAX).contains(limit))
            .ok_or_else(|| bad(format!("parameter limit must be 1 to {PAGE_EVENTS_MAX}")))
    }

    /// A number of seconds up to `max`.
    pub(super) fn seconds(&self, name: &str, max: u64) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = position(text).filter(|seconds| *seconds <= max);
        let wrong = || bad(format!("parameter {name} must be a whole number up to {max}"));
        seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(wrong)
    }

    /// One of some words; the first where the parameter is absent.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, Problem> {
        let Some(text) = self.text(name) else { return Ok(words[0].1) };
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            bad(format!("parameter {name} must be one of: {}", words.join(", ")))
        })
    }
}

/// A whole number below 2^53, in digits only.
pub(super) fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 16 && text.bytes().all(|c| c.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())??;
    (number < POSITION_MAX).then_some(number)
}

/// The text that was encoded, as forms do it: `+` is a space. A `%` that begins no escape is a
/// client that forgot to encode; what it meant is not guessed.
fn decode(text: &str) -> Option<String> {
    let escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(escape) {
        return None;
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_decoded_once() {
        let query = Query::parse("a=1%252B+x&b=", &["a", "b", "c"]).expect("it is fine");
        assert_eq!(query.text("a"), Some("1%2B x"));
        assert_eq!(query.text("b"), Some(""));
        assert_eq!(query.text("c"), None);
    }

    #[test]
    fn everything_else_is_an_error_that_names_it() {
        for (text, named) in [
            ("x=1", "\"x\""),
            ("a=1&a=2", "a "),
            ("a=%ff", "a is not percent-encoded UTF-8"),
            ("a=100%", "a is not percent-encoded UTF-8"),
            ("a=%4", "a is not percent-encoded UTF-8"),
            ("a=%é1", "a is not percent-encoded UTF-8"),
            ("%ff=1", "name of a parameter"),
        ] {
            let error = Query::parse(text, &["a"]).err().expect(text);
            assert!(error.detail.contains(named), "{text}: {}", error.detail);
        }
        for text in ["", "-1", "+1", "1e3", "0x1", "9007199254740992", "99999999999999999999", "½"]
        {
            let query = Query::parse(&format!("n={text}"), &["n"]).expect("it is a query");
            assert!(query.position("n").is_err(), "{text}");
        }
        for text in ["0", "10001", "-1", "many"] {
            let query = Query::parse(&format!("limit={text}"), &["limit"]).expect("a query");
            assert!(query.limit().is_err(), "{text}");
        }
    }
}
