//! Consumers as JSON, and the position that one is moved to, in both directions.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::head::HeadJson;
use super::received::BadAnswer;
use super::submitted::{BadInput, Object, json, text};
use super::time::{moment, rfc3339};
use crate::domain::{Consumer, ConsumerName, Revision, Seq, Timestamp, TopicName};

/// `{"topic":"t","consumer":"billing","seq":1040,"revision":7,"head":{…},"lag":{…},"updated_at":"…"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumerJson<'a> {
    /// The topic that it reads.
    pub topic: Cow<'a, str>,
    /// Its name.
    pub consumer: Cow<'a, str>,
    /// The last event that it has handled; `null` for none.
    pub seq: Option<u64>,
    /// Its entity tag, without the quotes.
    pub revision: u64,
    /// The topic's newest event.
    pub head: HeadJson,
    /// How far it is behind.
    pub lag: LagJson,
    /// When it was moved there.
    pub updated_at: Cow<'a, str>,
}

/// How far a consumer is behind its topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LagJson {
    /// Events that it has not handled.
    pub events: u64,
    /// How long the first of them has been there; 0 where there is none.
    pub seconds: f64,
    /// When the first of them was recorded; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A page of consumers, in byte order of name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumersJson<'a> {
    /// The consumers.
    pub consumers: Vec<ConsumerJson<'a>>,
    /// The `after` of the next page; `None` where this is the last.
    pub next: Option<Cow<'a, str>>,
}

impl<'a> ConsumerJson<'a> {
    /// A consumer of this topic, seen at this moment.
    #[must_use]
    pub fn new(topic: &'a TopicName, consumer: &'a Consumer, now: Timestamp) -> Self {
        let milliseconds = (consumer.lag_seconds(now) * 1e3).round();
        let lag = LagJson {
            events: consumer.lag_events(),
            seconds: milliseconds / 1e3,
            since: consumer.waiting_since.map(rfc3339),
        };
        Self {
            topic: Cow::Borrowed(topic.as_str()),
            consumer: Cow::Borrowed(consumer.name.as_str()),
            seq: consumer.seq.map(|seq| seq.0),
            revision: consumer.revision.0,
            head: consumer.head.into(),
            lag,
            updated_at: rfc3339(consumer.updated_at).into(),
        }
    }

    fn read(self) -> Result<Consumer, BadAnswer> {
        let time =
            |text: &str| moment(text).ok_or_else(|| BadAnswer::new(format!("{text:?} is no time")));
        Ok(Consumer {
            name: ConsumerName::parse(&self.consumer)?,
            seq: self.seq.map(Seq),
            revision: Revision(self.revision),
            updated_at: time(&self.updated_at)?,
            head: self.head.into(),
            waiting_since: self.lag.since.as_deref().map(time).transpose()?,
        })
    }
}

/// Reads one consumer.
///
/// # Errors
/// When it is none.
pub fn consumer(bytes: &[u8]) -> Result<Consumer, BadAnswer> {
    serde_json::from_slice::<ConsumerJson<'_>>(bytes)?.read()
}

/// Reads a page of consumers, and the `after` of the next one.
///
/// # Errors
/// When it is none.
pub fn consumers(bytes: &[u8]) -> Result<(Vec<Consumer>, Option<String>), BadAnswer> {
    let ConsumersJson { consumers, next } = serde_json::from_slice(bytes)?;
    let consumers = consumers.into_iter().map(ConsumerJson::read).collect::<Result<_, _>>()?;
    Ok((consumers, next.map(Cow::into_owned)))
}

/// `{"seq":1040}`, or `{"seq":null}` where nothing has been handled yet.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PositionJson {
    #[serde(default, deserialize_with = "present")]
    seq: Option<Option<u64>>,
}

/// Tells a member that is `null` from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Parses the position that a consumer is moved to.
///
/// # Errors
/// See [`BadInput`].
pub fn position(bytes: Bytes) -> Result<Option<Seq>, BadInput> {
    let input = text(bytes)?;
    let Object(PositionJson { seq }) = json(&input)?;
    let missing = || BadInput::invalid("seq is missing (null: nothing is handled yet)", "/seq");
    Ok(seq.ok_or_else(missing)?.map(Seq))
}

/// A position as the body of a request.
#[must_use]
pub fn body(seq: Option<Seq>) -> Bytes {
    let json = PositionJson { seq: Some(seq.map(|seq| seq.0)) };
    serde_json::to_vec(&json).expect("a position is JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{TransactionNo, Version};

    #[test]
    fn a_consumer_is_shown_as_the_contract_says_and_comes_back() {
        let topic = TopicName::parse("t").expect("a name");
        let mut given = Consumer {
            name: ConsumerName::parse("billing").expect("a name"),
            seq: Some(Seq(1040)),
            revision: Revision(7),
            updated_at: Timestamp(1_700_000_000_000_001),
            head: Version { seq: Seq(1052), transaction: TransactionNo(20) },
            waiting_since: Some(Timestamp(1_700_000_000_000_000)),
        };
        let text = |given: &Consumer| {
            let now = Timestamp(1_700_000_003_400_400);
            serde_json::to_string(&ConsumerJson::new(&topic, given, now)).expect("JSON")
        };
        let shown = text(&given);
        assert_eq!(
            shown,
            r#"{"topic":"t","consumer":"billing","seq":1040,"revision":7,"head":{"seq":1052,"transaction":20},"lag":{"events":12,"seconds":3.4,"since":"2023-11-14T22:13:20.000000Z"},"updated_at":"2023-11-14T22:13:20.000001Z"}"#
        );
        assert_eq!(consumer(shown.as_bytes()).expect("a consumer"), given);
        (given.seq, given.waiting_since) = (None, None);
        let shown = text(&given);
        assert!(shown.contains(r#""seq":null"#) && !shown.contains("since"), "{shown}");
        assert_eq!(consumer(shown.as_bytes()).expect("a consumer"), given);
        let page = format!("{{\"consumers\":[{shown}],\"next\":\"billing\"}}");
        let read = consumers(page.as_bytes()).expect("a page");
        assert_eq!(read, (vec![given], Some("billing".into())));
    }

    #[test]
    fn a_position_is_a_seq_or_null_and_nothing_else() {
        let parse = |text: &'static str| position(Bytes::from_static(text.as_bytes()));
        for seq in [None, Some(Seq(0)), Some(Seq(7))] {
            assert_eq!(position(body(seq)), Ok(seq));
        }
        for (text, malformed, pointer) in [
            ("", true, None),
            ("{", true, None),
            ("7", false, Some("")),
            ("[7]", false, Some("")),
            ("{}", false, Some("/seq")),
            ("{\"seq\":-1}", false, Some("/seq")),
            ("{\"seq\":1.0}", false, Some("/seq")),
            ("{\"seq\":\"1\"}", false, Some("/seq")),
            ("{\"seq\":1,\"seq\":2}", false, Some("/seq")),
            ("{\"seq\":1,\"from\":2}", false, Some("/from")),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!((error.malformed, error.pointer.as_deref()), (malformed, pointer), "{text}");
        }
    }
}
