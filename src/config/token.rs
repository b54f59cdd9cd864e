//! Tokens: who may do what. The file keeps only the SHA-256 of each; a token is 256 random bits,
//! so that nothing slower is needed.
//!
//! Not here: checking the token of a request (`http/`), reading the file (`file.rs`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::domain::TopicName;

/// One `[[token]]` of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Names the token in logs; unique.
    pub name: String,
    /// SHA-256 of the token as it is sent; unique.
    pub sha256: [u8; 32],
    /// The topics that it is for; never empty.
    pub topics: Vec<TopicPattern>,
    /// What it may do with them.
    pub access: Access,
}

impl Token {
    /// Whether the token's holder may do this with the topic.
    #[must_use]
    pub fn allows(&self, topic: &TopicName, access: Access) -> bool {
        self.access >= access && self.topics.iter().any(|pattern| pattern.matches(topic))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("sha256", &"***")
            .field("topics", &self.topics)
            .field("access", &self.access)
            .finish()
    }
}

/// What may be done with a topic; more includes less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing and reading.
    Write,
}

impl Access {
    /// Reads `read` or `write`; the error continues "the value …".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => {
                Err(format!("is {text:?}; it must be \"read\" or \"write\" (which includes read)"))
            }
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// One topic, or all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicPattern {
    /// The topic of this name.
    Exact(TopicName),
    /// Topics whose names begin with this; the empty prefix is all topics.
    Prefix(String),
}

impl TopicPattern {
    /// Reads a topic's name, or the beginning of one followed by `*`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error| format!("has the topic {text:?}: {error} (or end in one *)");
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Prefix(String::new())),
            Some(prefix) => {
                TopicName::parse(prefix).map_err(wrong)?;
                Ok(Self::Prefix(prefix.to_owned()))
            }
            None => TopicName::parse(text).map(Self::Exact).map_err(wrong),
        }
    }

    /// Whether the topic is one of these.
    #[must_use]
    pub fn matches(&self, topic: &TopicName) -> bool {
        match self {
            Self::Exact(name) => name == topic,
            Self::Prefix(prefix) => topic.as_str().starts_with(prefix),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name.as_str()),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Reads the name of a token: 1–64 characters that need no quoting anywhere.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!("is {text:?}; it must be 1 to 64 characters of A-Z a-z 0-9 . _ -"))
}

/// Reads a SHA-256. The text is not repeated in the error: it may be the token itself.
pub(super) fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let mut digest = [0; 32];
    let expected = "must be the SHA-256 of the token as 64 hexadecimal digits (`tidelog token` \
        makes both)";
    hex::decode_to_slice(text, &mut digest).map_err(|_| expected.to_owned())?;
    Ok(digest)
}

/// A new token.
///
/// # Errors
/// When the system gives no random bytes.
pub fn generate() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("tidelog_{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The `[[token]]` table of a token, for the file.
#[must_use]
pub fn stanza(token: &str, name: &str, topics: &[String], access: &str) -> String {
    let topics: Vec<String> = topics.iter().map(|topic| format!("{topic:?}")).collect();
    let sha256 = hex::encode(Sha256::digest(token));
    format!(
        "[[token]]\nname = {name:?}\nsha256 = \"{sha256}\"\ntopics = [{}]\naccess = {access:?}\n",
        topics.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(topics: &[&str], access: Access) -> Token {
        let topics = topics.iter().map(|text| TopicPattern::parse(text).unwrap()).collect();
        Token { name: "t".into(), sha256: [7; 32], topics, access }
    }

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    #[test]
    fn write_includes_read_and_not_the_other_way_round() {
        let (reader, writer) = (token(&["a"], Access::Read), token(&["a"], Access::Write));
        assert!(reader.allows(&topic("a"), Access::Read));
        assert!(!reader.allows(&topic("a"), Access::Write));
        assert!(writer.allows(&topic("a"), Access::Read));
        assert!(writer.allows(&topic("a"), Access::Write));
    }

    #[test]
    fn a_topic_is_named_exactly_or_by_its_beginning() {
        let some = token(&["orders", "eu.*"], Access::Read);
        for (name, allowed) in
            [("orders", true), ("orders2", false), ("eu.x", true), ("eu.", true), ("eu", false)]
        {
            assert_eq!(some.allows(&topic(name), Access::Read), allowed, "{name}");
        }
        assert!(token(&["*"], Access::Read).allows(&topic("any"), Access::Read));
        for wrong in ["", "a b", "a*b", "**", ".a*", "*a"] {
            assert!(TopicPattern::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn two_tokens_are_never_alike_and_match_their_own_hash() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), "tidelog_".len() + 43);
        let text = stanza(&one, "n", &["a*".into()], "read");
        assert!(text.contains(&hex::encode(Sha256::digest(one.as_bytes()))), "{text}");
        assert!(!text.contains(&one));
    }

    #[test]
    fn a_hash_is_not_shown_and_a_token_in_its_place_is_not_repeated() {
        assert!(!format!("{:?}", token(&["a"], Access::Read)).contains('7'));
        let why = parse_sha256("tidelog_s3cret").unwrap_err();
        assert!(!why.contains("s3cret"), "{why}");
        assert!(parse_sha256(&"aB".repeat(32)).is_ok());
    }
}
