//! Text that a client chooses, parsed once: a value of these types is within its rules.
//!
//! Not here: numbers (`position.rs`), whole events (`event.rs`).
//! Invariants: the text is not empty, has no U+0000 (PostgreSQL's `text` cannot hold it) and is
//! within its limit; identity is byte for byte, nothing is normalised.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use super::limits;

/// Why a text is not a name of its kind. The message is meant for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct NameError {
    /// What was being named, for example `key`.
    pub what: &'static str,
    /// The rule that it breaks, as the end of a sentence.
    pub why: String,
}

pub(super) fn bounded(what: &'static str, text: &ByteString, max: usize) -> Result<(), NameError> {
    let fail = |why: String| Err(NameError { what, why });
    if text.is_empty() {
        return fail("must not be empty".into());
    }
    if text.len() > max {
        return fail(format!("is {} bytes long; at most {max} are allowed", text.len()));
    }
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return fail("must not contain U+0000".into());
    }
    Ok(())
}

/// The rule for names in paths: 1–200 characters of `A-Z a-z 0-9 . _ ~ - :`, not starting with `.`.
fn plain(what: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let fail = |why: String| Err(NameError { what, why });
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._~-:".contains(&c);
    if text.is_empty() {
        return fail("must not be empty".into());
    }
    if !text.bytes().all(allowed) {
        return fail("may contain only A-Z a-z 0-9 . _ ~ - :".into());
    }
    if text.len() > limits::NAME_CHARS_MAX {
        let max = limits::NAME_CHARS_MAX;
        return fail(format!("is {} characters long; at most {max} are allowed", text.len()));
    }
    if text.starts_with('.') {
        return fail("must not start with a dot".into());
    }
    Ok(text.into())
}

/// Name of a topic: 1–200 characters of `A-Z a-z 0-9 . _ ~ - :`, not starting with `.`.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Parses a topic name.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        plain("topic name", text).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of a consumer, by the rule of a topic's. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerName(Arc<str>);

impl ConsumerName {
    /// Parses a consumer's name.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        plain("consumer name", text).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names the entity that an event is the new version of: 1–1,024 bytes of UTF-8 without U+0000.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(ByteString);

impl Key {
    /// Parses a key.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: ByteString) -> Result<Self, NameError> {
        bounded("key", &text, limits::KEY_BYTES_MAX)?;
        Ok(Self(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kind of an event, in the producer's words: 1–255 bytes of UTF-8 without U+0000.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventType(ByteString);

impl EventType {
    /// Parses an event type.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: ByteString) -> Result<Self, NameError> {
        bounded("type", &text, limits::TYPE_BYTES_MAX)?;
        Ok(Self(text))
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Media type of data that is not JSON: 1–255 visible ASCII characters or spaces, with a `/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentType(ByteString);

impl ContentType {
    /// Parses a content type.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: ByteString) -> Result<Self, NameError> {
        bounded("content_type", &text, limits::TYPE_BYTES_MAX)?;
        if !text.bytes().all(|c| c == b' ' || c.is_ascii_graphic()) || !text.contains('/') {
            return Err(NameError { what: "content_type", why: "must be a media type".into() });
        }
        Ok(Self(text))
    }

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a transaction was invalidated: 1–1,024 bytes of UTF-8 without U+0000.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reason(ByteString);

impl Reason {
    /// Parses a reason.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: ByteString) -> Result<Self, NameError> {
        bounded("reason", &text, limits::REASON_BYTES_MAX)?;
        Ok(Self(text))
    }

    /// The reason as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn visible_ascii(what: &'static str, text: &str) -> Result<(), NameError> {
    let max = limits::TOKEN_CHARS_MAX;
    if text.is_empty() || text.len() > max || !text.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(NameError {
            what,
            why: format!("must be 1 to {max} visible ASCII characters"),
        });
    }
    Ok(())
}

/// Names a request, so that sending it again is safe: 1–255 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Parses an idempotency key.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        visible_ascii("Idempotency-Key", text)?;
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names a producer, so that it can send a stream again: 1–255 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProducerId(Arc<str>);

impl ProducerId {
    /// Parses a producer id.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        visible_ascii("Producer-Id", text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A JSON text exactly as it was sent. Who makes one has checked that it is JSON and nested no
/// deeper than [`limits::JSON_DEPTH_MAX`]: the domain does not parse it again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(ByteString);

impl Json {
    /// Takes a text that is known to be JSON.
    ///
    /// # Errors
    /// When it is nested too deeply.
    pub fn from_valid(text: ByteString) -> Result<Self, NameError> {
        let max = limits::JSON_DEPTH_MAX;
        if nested_deeper(text.as_bytes(), max) {
            let why = format!("is nested deeper than {max} levels");
            return Err(NameError { what: "JSON", why });
        }
        Ok(Self(text))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON text as bytes that share its buffer.
    #[must_use]
    pub fn bytes(&self) -> bytes::Bytes {
        self.0.as_bytes().clone()
    }
}

/// Whether a valid JSON text nests arrays and objects deeper than `max`.
fn nested_deeper(json: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    if memchr::memchr2_iter(b'[', b'{', json).take(max + 1).count() <= max {
        return false; // Not even enough brackets: the common case, without a walk.
    }
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    false
}

macro_rules! detached {
    ($($name:ident),*) => {$(
        impl $name {
            /// The same in memory of its own. What was parsed shares the buffer of the request that
            /// it came in; what outlives the request must not keep that whole buffer alive.
            #[must_use]
            pub fn detached(&self) -> Self {
                Self(ByteString::from(&*self.0))
            }
        }
    )*};
}
detached!(Key, EventType, ContentType, Json);

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    )*};
}
shown_as_text!(
    TopicName,
    ConsumerName,
    Key,
    EventType,
    ContentType,
    Reason,
    IdempotencyKey,
    ProducerId,
    Json
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_keep_to_the_alphabet() {
        for good in ["a", "A.b_c~d-e:9", "-", ":", &"x".repeat(200)] {
            assert!(TopicName::parse(good).is_ok(), "{good}");
            assert!(ConsumerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", ".a", "a/b", "a b", "é", "a\0", "%2e", &"x".repeat(201)] {
            assert!(TopicName::parse(bad).is_err(), "{bad}");
            assert!(ConsumerName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_any_text_within_the_limit() {
        let key = |text: &str| Key::parse(text.into());
        for good in ["/", "%00", "'\"", "\u{1}\n", "🦀", &"k".repeat(1024)] {
            assert!(key(good).is_ok(), "{good:?}");
        }
        assert_eq!(key("").unwrap_err().to_string(), "key must not be empty");
        assert!(key("a\0b").unwrap_err().why.contains("U+0000"));
        assert!(key(&"k".repeat(1025)).unwrap_err().why.contains("1025 bytes"));
        assert_ne!(key("\u{e9}").unwrap(), key("e\u{301}").unwrap(), "no normalisation");
    }

    #[test]
    fn json_nesting_is_bounded_and_strings_do_not_count() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::from_valid(nested(128).into()).is_ok());
        assert!(Json::from_valid(nested(129).into()).is_err());
        assert!(Json::from_valid(format!("\"{}\\\"[[\"", "[{".repeat(500)).into()).is_ok());
        assert!(Json::from_valid(format!("[{}1]", "[],".repeat(500)).into()).is_ok());
    }
}
