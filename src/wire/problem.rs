//! A problem (RFC 9457) as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use super::head::HeadJson;

/// What went wrong, for programs and for people. A member that is absent is left out; a client
/// takes what it knows and leaves the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemJson<'a> {
    /// `/problems/<code>`.
    #[serde(rename = "type", default)]
    pub kind: Cow<'a, str>,
    /// The same for every problem of a code.
    #[serde(default)]
    pub title: Cow<'a, str>,
    /// The HTTP status, also inside a stream.
    pub status: u16,
    /// What a person reads.
    #[serde(default)]
    pub detail: Cow<'a, str>,
    /// What a program decides by.
    pub code: Cow<'a, str>,
    /// Whether the same again may succeed later.
    pub retryable: bool,
    /// `no` or `unknown`.
    pub committed: Cow<'a, str>,
    /// Under which the service's log knows the request.
    #[serde(default)]
    pub request_id: Cow<'a, str>,
    /// JSON pointer (RFC 6901) to what is wrong in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<Cow<'a, str>>,
    /// The line of a stream, from 1, that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// With `precondition-failed` on a topic: the topic's head, which may be `null`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub head: Option<Option<HeadJson>>,
    /// With `producer-gap`: the line number that is expected next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// With `producer-fenced`: the highest epoch seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// Tells a member that is `null` from one that is absent.
fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<HeadJson>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a problem; `None` where the bytes are none.
#[must_use]
pub fn problem(bytes: &[u8]) -> Option<ProblemJson<'static>> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_told_from_what_is_null() {
        let least =
            r#"{"status":412,"code":"precondition-failed","retryable":false,"committed":"no""#;
        let read = |more: &str| problem(format!("{least}{more}}}").as_bytes()).expect("a problem");
        assert_eq!(read("").head, None);
        assert_eq!(read(r#","head":null"#).head, Some(None));
        let head = HeadJson { seq: 3, transaction: 2 };
        assert_eq!(read(r#","head":{"seq":3,"transaction":2}"#).head, Some(Some(head)));
        assert_eq!(read(r#","unheard-of":1,"expected":7"#).expected, Some(7));
        assert!(problem(b"<html>").is_none());
        assert!(problem(b"{}").is_none());
    }
}
