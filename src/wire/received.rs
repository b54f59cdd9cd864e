//! Events as a reader gets them: JSON to [`ReadEvent`], sharing the buffer of the answer.
//!
//! Invariants: data and metadata are byte for byte what the service keeps; members that are not
//! known are left alone, because a newer service may say more.
//!
//! What the contract does not tell a client is not made up: [`Event::prev`] is `None`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::head::HeadJson;
use super::submitted::{Text, present};
use super::time::moment;
use crate::domain::{
    Content, ContentHash, ContentType, Data, Event, EventBody, EventType, Invalidation, Json, Key,
    NameError, ReadEvent, Reason, Seq, TransactionNo, Version,
};

/// An answer is not what the contract says.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer is not what the contract says: {0}")]
pub struct BadAnswer(String);

impl BadAnswer {
    /// Says what is wrong.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<serde_json::Error> for BadAnswer {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<NameError> for BadAnswer {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

#[derive(Deserialize)]
struct EventJson<'a> {
    seq: u64,
    transaction: u64,
    last: bool,
    #[serde(borrow)]
    recorded_at: Text<'a>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    hash: Option<Text<'a>>,
    #[serde(borrow, default, rename = "type")]
    event_type: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_base64: Option<Text<'a>>,
    #[serde(borrow, default)]
    content_type: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    metadata: Option<&'a RawValue>,
    invalidates: Option<u64>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    invalidated_by: Option<u64>,
}

#[derive(Deserialize)]
struct PageJson<'a> {
    #[serde(borrow)]
    events: Vec<EventJson<'a>>,
    next: Option<u64>,
    head: HeadJson,
}

#[derive(Deserialize)]
struct SurfaceJson<'a> {
    #[serde(borrow)]
    events: Vec<EventJson<'a>>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct TransactionJson {
    events: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    seq: u64,
}

#[derive(Deserialize)]
struct HeadOnly {
    head: Option<HeadJson>,
}

/// A page of a topic or of a key's history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events.
    pub events: Vec<ReadEvent>,
    /// The seq to go on with; `None` at the end.
    pub next: Option<Seq>,
    /// The topic's head when the page was read.
    pub head: Version,
}

/// A page of a surface.
#[derive(Clone, Debug)]
pub struct SurfacePage {
    /// The events, in byte order of key.
    pub events: Vec<ReadEvent>,
    /// The key to go on after; `None` at the end.
    pub next: Option<String>,
}

/// Reads an event.
///
/// # Errors
/// When it is none.
pub fn event(bytes: Bytes) -> Result<ReadEvent, BadAnswer> {
    let input = text(bytes)?;
    read(serde_json::from_str(&input)?, &input)
}

/// Reads a page of events.
///
/// # Errors
/// When it is none.
pub fn page(bytes: Bytes) -> Result<Page, BadAnswer> {
    let input = text(bytes)?;
    let PageJson { events, next, head } = serde_json::from_str(&input)?;
    Ok(Page { events: all(events, &input)?, next: next.map(Seq), head: head.into() })
}

/// Reads a page of a surface.
///
/// # Errors
/// When it is none.
pub fn surface(bytes: Bytes) -> Result<SurfacePage, BadAnswer> {
    let input = text(bytes)?;
    let SurfaceJson { events, next } = serde_json::from_str(&input)?;
    Ok(SurfacePage { events: all(events, &input)?, next })
}

/// Reads of a transaction where it begins and ends.
///
/// # Errors
/// When it is none.
pub fn transaction(bytes: &[u8]) -> Result<(Seq, Seq), BadAnswer> {
    let TransactionJson { events } = serde_json::from_slice(bytes)?;
    match (events.first(), events.last()) {
        (Some(first), Some(last)) => Ok((Seq(first.seq), Seq(last.seq))),
        _ => Err(BadAnswer::new("a transaction without events")),
    }
}

/// Reads `{"head":…}`.
///
/// # Errors
/// When it is none.
pub fn head(bytes: &[u8]) -> Result<Option<Version>, BadAnswer> {
    let HeadOnly { head } = serde_json::from_slice(bytes)?;
    Ok(head.map(Version::from))
}

fn text(bytes: Bytes) -> Result<ByteString, BadAnswer> {
    ByteString::try_from(bytes).map_err(|_| BadAnswer::new("it is not UTF-8"))
}

fn all(events: Vec<EventJson<'_>>, input: &ByteString) -> Result<Vec<ReadEvent>, BadAnswer> {
    events.into_iter().map(|event| read(event, input)).collect()
}

fn read(json: EventJson<'_>, input: &ByteString) -> Result<ReadEvent, BadAnswer> {
    let version = Version { seq: Seq(json.seq), transaction: TransactionNo(json.transaction) };
    let invalidated_by = json.invalidated_by.map(TransactionNo);
    let last = json.last;
    let recorded_at = moment(json.recorded_at.as_str());
    let recorded_at = recorded_at.ok_or_else(|| BadAnswer::new("recorded_at is no time"))?;
    let body = match json.invalidates {
        Some(transaction) => {
            let reason =
                json.reason.map(|reason| Reason::parse(reason.share(input))).transpose()?;
            EventBody::Invalidation(Invalidation {
                invalidates: TransactionNo(transaction),
                reason,
            })
        }
        None => EventBody::Content(content(json, input)?),
    };
    Ok(ReadEvent { event: Event { version, last, recorded_at, prev: None, body }, invalidated_by })
}

fn content(json: EventJson<'_>, input: &ByteString) -> Result<Content, BadAnswer> {
    let missing = |member: &str| BadAnswer::new(format!("an event without {member}"));
    let key = Key::parse(json.key.ok_or_else(|| missing("a key"))?.share(input))?;
    let hash = ContentHash::parse(json.hash.ok_or_else(|| missing("a hash"))?.share(input))?;
    let event_type = json.event_type.map(|kind| EventType::parse(kind.share(input)));
    let metadata = json.metadata.map(|raw| verbatim(raw, input)).transpose()?;
    let data = match (json.data, json.data_base64, json.content_type) {
        (Some(data), None, None) => Data::Json(verbatim(data, input)?),
        (None, Some(data), Some(content_type)) => {
            let data = STANDARD.decode(data.as_str());
            let data = data.map_err(|_| BadAnswer::new("data_base64 is not base64"))?;
            Data::Binary(data.into(), ContentType::parse(content_type.share(input))?)
        }
        _ => return Err(missing("data")),
    };
    Ok(Content::new(key, Some(hash), event_type.transpose()?, data, metadata))
}

/// A JSON text as the service keeps it. It puts nothing of its own between a member's colon and
/// the comma or brace behind its value: blanks there belong to the text.
fn verbatim(raw: &RawValue, input: &ByteString) -> Result<Json, NameError> {
    let begin = raw.get().as_ptr() as usize - input.as_ptr() as usize;
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let (before, rest) = input.as_bytes().split_at(begin);
    let (_, after) = rest.split_at(raw.get().len());
    let blanks_before = before.iter().rev().take_while(blank).count();
    let blanks_after = after.iter().take_while(blank).count();
    let text = &input[begin - blanks_before..begin + raw.get().len() + blanks_after];
    Json::from_valid(input.slice_ref(text))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::domain::Timestamp;
    use crate::wire::read::put_event;

    fn back(body: EventBody, invalidated_by: Option<u64>) {
        let version = Version { seq: Seq(1040), transaction: TransactionNo(17) };
        let recorded_at = Timestamp(1_700_000_000_000_001);
        let event = Event { version, last: true, recorded_at, prev: None, body };
        let given = ReadEvent { event, invalidated_by: invalidated_by.map(TransactionNo) };
        let mut out = BytesMut::new();
        put_event(&mut out, &given);
        assert_eq!(event_of(&out), given);
    }

    fn event_of(text: &[u8]) -> ReadEvent {
        event(Bytes::copy_from_slice(text)).expect("an event")
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let json = |text: &str| Json::from_valid(text.into()).expect("JSON");
        let key = |text: &str| Key::parse(text.into()).expect("a key");
        let hash = |text: &str| Some(ContentHash::parse(text.into()).expect("a hash"));
        let kind = Some(EventType::parse("a\"b".into()).expect("a type"));
        for data in ["null", " { \"b\" : 1.0 }\r\n", "\n1\n", "[1,\n2]", "\"\\ud800\""] {
            let data = || Data::Json(json(data));
            let plain = Content::new(key("a\"/é\n"), None, None, data(), None);
            back(EventBody::Content(plain), None);
            let metadata = Some(json("\tnull "));
            let full = Content::new(key("k"), hash("h\\"), kind.clone(), data(), metadata);
            back(EventBody::Content(full), Some(21));
        }
        let content_type = ContentType::parse("image/png".into()).expect("a media type");
        let data = Data::Binary(vec![0, 255].into(), content_type);
        back(EventBody::Content(Content::new(key("k"), None, None, data, None)), None);
        let reason = Some(Reason::parse("wrong\n".into()).expect("a reason"));
        let invalidates = TransactionNo(3);
        back(EventBody::Invalidation(Invalidation { invalidates, reason }), None);
        back(EventBody::Invalidation(Invalidation { invalidates, reason: None }), None);
    }

    #[test]
    fn what_a_newer_service_says_is_left_alone_and_what_is_missing_is_an_error() {
        let text = r#"{"seq":0,"transaction":0,"last":true,"key":"k","hash":"h","data":1,"new":[],"recorded_at":"2023-11-14T22:13:20.000001Z"}"#;
        event_of(text.as_bytes());
        for member in ["\"seq\":0,", "\"last\":true,", "\"key\":\"k\",", "\"data\":1,"] {
            let text = text.replace(member, "");
            assert!(event(text.into()).is_err(), "{member}");
        }
    }
}
