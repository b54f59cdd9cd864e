//! Topics as they are listed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::head::HeadJson;
use super::received::BadAnswer;
use crate::domain::{TopicName, Version};

/// `{"topic":"t","head":{…},"events":1041}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicJson<'a> {
    /// Its name.
    pub topic: Cow<'a, str>,
    /// Its newest event.
    pub head: HeadJson,
    /// How many events it has.
    pub events: u64,
}

impl<'a> TopicJson<'a> {
    /// The topic of this name and head.
    #[must_use]
    pub fn new(topic: &'a TopicName, head: Version) -> Self {
        let events = head.seq.next().0;
        Self { topic: Cow::Borrowed(topic.as_str()), head: head.into(), events }
    }
}

/// A page of topics, in byte order of name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicsJson<'a> {
    /// The topics.
    pub topics: Vec<TopicJson<'a>>,
    /// The `after` of the next page; `None` where this is the last.
    pub next: Option<Cow<'a, str>>,
}

/// Reads one topic.
///
/// # Errors
/// When it is not one.
pub fn topic(bytes: &[u8]) -> Result<TopicJson<'static>, BadAnswer> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Reads a page of topics.
///
/// # Errors
/// When it is not one.
pub fn topics(bytes: &[u8]) -> Result<TopicsJson<'static>, BadAnswer> {
    Ok(serde_json::from_slice(bytes)?)
}
