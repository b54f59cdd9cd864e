//! The lines of an export file (`docs/export-format.md`): a header, every event of a topic with
//! everything that it has, and a trailer.
//!
//! Not here: files, and whether the lines of one belong together (`transfer/`).
//!
//! Invariant: an event comes back as it was, byte for byte, but for `prev`, which follows from the
//! events before it. A line has no line break but its last byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use bytestring::ByteString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::head::HeadJson;
use super::submitted::{BadInput, Text, json_text, present};
use super::time::{moment, rfc3339};
use crate::domain::{
    Content, ContentHash, ContentType, Data, Event, EventBody, EventType, Invalidation, Json, Key,
    NameError, Reason, Seq, Timestamp, TopicName, TransactionNo, Version,
};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT: u64 = 1;

/// A line is not what the format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(String);

impl From<serde_json::Error> for BadLine {
    fn from(error: serde_json::Error) -> Self {
        // A line is all that was read: where in the file it is, others say.
        let text = error.to_string();
        Self(text.split(" at line ").next().unwrap_or_default().to_owned())
    }
}

impl From<NameError> for BadLine {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

impl From<BadInput> for BadLine {
    fn from(error: BadInput) -> Self {
        Self(error.detail)
    }
}

/// Begins a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub tidelog_export: u64,
    /// The topic.
    pub topic: String,
    /// Its newest event.
    pub head: HeadJson,
    /// Where in an export it stands.
    pub export: Part,
}

/// Where a topic stands among those that were exported together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// SHA-256 over the names of all of them, each behind its length as eight bytes, in hexadecimal.
    pub id: String,
    /// Which of them it is, from 1.
    pub topic: u64,
    /// How many they are.
    pub topics: u64,
}

impl Part {
    /// The first of these topics.
    #[must_use]
    pub fn first(topics: &[TopicName]) -> Self {
        let mut names = Sha256::new();
        for name in topics.iter().map(TopicName::as_str) {
            names.update((name.len() as u64).to_be_bytes());
            names.update(name);
        }
        Self { id: hex::encode(names.finalize()), topic: 1, topics: topics.len() as u64 }
    }

    /// Where the topic behind it stands; `None` behind the last.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        (self.topic < self.topics).then(|| Self { topic: self.topic + 1, ..self.clone() })
    }
}

/// Ends a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// The topic.
    pub end: String,
    /// How many events came.
    pub events: u64,
    /// How many transactions they are.
    pub transactions: u64,
    /// The Merkle root over the events, in hexadecimal.
    pub root: String,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A topic begins.
    Header(Header),
    /// Its next event.
    Event(Event),
    /// It ends.
    Trailer(Trailer),
}

#[derive(Deserialize)]
struct Kind {
    tidelog_export: Option<u64>,
    #[serde(default)]
    end: Option<IgnoredAny>,
    #[serde(default)]
    seq: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
    data_text: Option<Text<'a>>,
    #[serde(borrow, default)]
    data_base64: Option<Text<'a>>,
    #[serde(borrow, default)]
    content_type: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata_text: Option<Text<'a>>,
    invalidates: Option<u64>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

/// Appends a header or trailer as a line.
pub fn put_frame(out: &mut BytesMut, frame: &impl Serialize) {
    put_json(out, frame);
    out.put_u8(b'\n');
}

/// Appends an event as a line.
pub fn put_event(out: &mut BytesMut, event: &Event) {
    let Event { version, last, recorded_at, body, .. } = event;
    put(out, "{\"seq\":");
    put_json(out, &version.seq.0);
    put(out, ",\"transaction\":");
    put_json(out, &version.transaction.0);
    put(out, if *last { ",\"last\":true" } else { ",\"last\":false" });
    put(out, ",\"recorded_at\":");
    put_json(out, &rfc3339(*recorded_at));
    match body {
        EventBody::Content(content) => put_content(out, content),
        EventBody::Invalidation(invalidation) => {
            put(out, ",\"invalidates\":");
            put_json(out, &invalidation.invalidates.0);
            if let Some(reason) = &invalidation.reason {
                put(out, ",\"reason\":");
                put_json(out, reason.as_str());
            }
        }
    }
    put(out, "}\n");
}

fn put_content(out: &mut BytesMut, content: &Content) {
    put(out, ",\"key\":");
    put_json(out, content.key.as_str());
    put(out, ",\"hash\":");
    content.hash.with_text(|text| put_json(out, text));
    if let Some(event_type) = &content.event_type {
        put(out, ",\"type\":");
        put_json(out, event_type.as_str());
    }
    match &content.data {
        Data::Json(json) => put_text(out, "data", json),
        Data::Binary(data, content_type) => {
            put(out, ",\"data_base64\":");
            put_json(out, &STANDARD.encode(data));
            put(out, ",\"content_type\":");
            put_json(out, content_type.as_str());
        }
    }
    if let Some(metadata) = &content.metadata {
        put_text(out, "metadata", metadata);
    }
}

/// A JSON text stands as it is where it can: it cannot with a line break in it, or blanks around.
fn put_text(out: &mut BytesMut, member: &str, json: &Json) {
    let text = json.as_str();
    let breaks = memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some();
    put(out, ",\"");
    put(out, member);
    if breaks || text.trim_ascii().len() != text.len() {
        put(out, "_text\":");
        put_json(out, text);
    } else {
        put(out, "\":");
        put(out, text);
    }
}

fn put(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out.writer(), value).expect("numbers and texts are JSON");
}

/// Reads a line.
///
/// # Errors
/// When it is none, or of another version of the format.
pub fn line(bytes: Bytes) -> Result<Line, BadLine> {
    let input = ByteString::try_from(bytes).map_err(|_| BadLine("not UTF-8".into()))?;
    if !input.starts_with("{\"seq\":") {
        let kind: Kind = serde_json::from_str(&input)?;
        match kind.tidelog_export {
            Some(FORMAT) => return Ok(Line::Header(serde_json::from_str(&input)?)),
            Some(other) => {
                let why =
                    format!("format {other} of another version of Tidelog; this reads {FORMAT}");
                return Err(BadLine(why));
            }
            None if kind.end.is_some() => return Ok(Line::Trailer(serde_json::from_str(&input)?)),
            None if kind.seq.is_some() => {}
            None => return Err(BadLine("not a header, an event or a trailer of an export".into())),
        }
    }
    event(serde_json::from_str(&input)?, &input).map(Line::Event)
}

fn event(json: EventJson<'_>, input: &ByteString) -> Result<Event, BadLine> {
    let version = Version { seq: Seq(json.seq), transaction: TransactionNo(json.transaction) };
    let recorded_at: Option<Timestamp> = moment(json.recorded_at.as_str());
    let recorded_at = recorded_at.ok_or_else(|| BadLine("recorded_at is no time".into()))?;
    let last = json.last;
    let body = match json.invalidates {
        Some(transaction) if json.key.is_none() => {
            let reason = json.reason.map(|reason| Reason::parse(reason.share(input)));
            let invalidates = TransactionNo(transaction);
            EventBody::Invalidation(Invalidation { invalidates, reason: reason.transpose()? })
        }
        Some(_) => return Err(BadLine("an invalidation with a key".into())),
        None => EventBody::Content(content(json, input)?),
    };
    Ok(Event { version, last, recorded_at, prev: None, body })
}

fn content(json: EventJson<'_>, input: &ByteString) -> Result<Content, BadLine> {
    let missing = |member: &str| BadLine(format!("an event without {member}"));
    let key = Key::parse(json.key.ok_or_else(|| missing("a key"))?.share(input))?;
    let hash = ContentHash::parse(json.hash.ok_or_else(|| missing("a hash"))?.share(input))?;
    let event_type = json.event_type.map(|kind| EventType::parse(kind.share(input)));
    let data = match (json.data_base64, json.content_type) {
        (Some(data), Some(content_type)) if json.data.is_none() && json.data_text.is_none() => {
            let data = STANDARD.decode(data.as_str());
            let data = data.map_err(|_| BadLine("data_base64 is not base64".into()))?;
            Data::Binary(data.into(), ContentType::parse(content_type.share(input))?)
        }
        (None, None) => {
            Data::Json(text(json.data, json.data_text, input)?.ok_or_else(|| missing("data"))?)
        }
        _ => return Err(BadLine("data is one of data, data_text, data_base64".into())),
    };
    let metadata = text(json.metadata, json.metadata_text, input)?;
    Ok(Content::new(key, Some(hash), event_type.transpose()?, data, metadata))
}

/// A JSON text that stands as it is, or inside another text.
fn text(
    plain: Option<&RawValue>,
    within: Option<Text<'_>>,
    input: &ByteString,
) -> Result<Option<Json>, BadLine> {
    match (plain, within) {
        (None, None) => Ok(None),
        (Some(raw), None) => Ok(Some(Json::from_valid(input.slice_ref(raw.get()))?)),
        (None, Some(text)) => {
            let text = text.share(input);
            json_text(text.clone())?; // Is it JSON? The blanks around it are kept.
            Ok(Some(Json::from_valid(text)?))
        }
        (Some(_), Some(_)) => Err(BadLine("a JSON text is there twice".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::from_valid(text.into()).expect("JSON")
    }

    fn events() -> Vec<Event> {
        let key = |text: &str| Key::parse(text.into()).expect("a key");
        let hash = Some(ContentHash::parse("h\"\n".into()).expect("a hash"));
        let kind = Some(EventType::parse("t\r".into()).expect("a type"));
        let media = ContentType::parse("image/png".into()).expect("a media type");
        let binary = Data::Binary(vec![0, 10, 255].into(), media);
        let reason = Some(Reason::parse("wrong \"\n".into()).expect("a reason"));
        let odd = "{\n\"a\" : \"\\u0000\\ud800\",\r\"a\":1.0e+2 }";
        let bodies = [
            EventBody::Content(Content::new(key("é\n"), hash, kind, binary, Some(json("[ 1 ]")))),
            EventBody::Content(Content::new(
                key("k"),
                None,
                None,
                Data::Json(json(odd)),
                Some(json(odd)),
            )),
            EventBody::Content(Content::new(
                key("k"),
                None,
                None,
                Data::Json(json(" null ")),
                None,
            )),
            EventBody::Content(Content::new(key("k"), None, None, Data::Json(json("null")), None)),
            EventBody::Invalidation(Invalidation { invalidates: TransactionNo(0), reason }),
            EventBody::Invalidation(Invalidation { invalidates: TransactionNo(1), reason: None }),
        ];
        let event = |(n, body)| Event {
            version: Version { seq: Seq(n), transaction: TransactionNo(n) },
            last: n % 2 == 0,
            recorded_at: Timestamp(1_700_000_000_000_001),
            prev: None,
            body,
        };
        (0..).zip(bodies).map(event).collect()
    }

    #[test]
    fn every_event_comes_back_byte_for_byte_from_one_line() {
        for event in events() {
            let mut out = BytesMut::new();
            put_event(&mut out, &event);
            let text = out.freeze();
            assert_eq!(memchr::memchr2_iter(b'\n', b'\r', &text).count(), 1, "{text:?}");
            assert_eq!(line(text.slice(..text.len() - 1)), Ok(Line::Event(event)));
        }
    }

    #[test]
    fn frames_come_back_and_other_versions_and_members_are_refused() {
        let head = HeadJson { seq: 8, transaction: 7 };
        let topics = ["t", "u"].map(|name| TopicName::parse(name).expect("a name"));
        let export = Part::first(&topics);
        assert_eq!(export.next().and_then(|second| second.next()), None);
        assert_ne!(export.id, Part::first(&topics[..1]).id);
        let header = Header { tidelog_export: FORMAT, topic: "t".into(), head, export };
        let trailer =
            Trailer { end: "t".into(), events: 9, transactions: 8, root: "00".repeat(32) };
        let mut out = BytesMut::new();
        put_frame(&mut out, &header);
        assert_eq!(line(out.split().freeze()), Ok(Line::Header(header)));
        put_frame(&mut out, &trailer);
        assert_eq!(line(out.split().freeze()), Ok(Line::Trailer(trailer)));
        let event = r#""transaction":0,"last":true,"recorded_at":"2023-11-14T22:13:20.000001Z""#;
        for wrong in [
            r#"{"tidelog_export":2,"topic":"t","head":{"seq":0,"transaction":0}}"#.to_owned(),
            r#"{"tidelog_export":1,"topic":"t","head":{"seq":0,"transaction":0},"x":1}"#.to_owned(),
            r#"{"end":"t"}"#.to_owned(),
            "{}".to_owned(),
            format!(r#"{{"seq":0,{event}}}"#),
            format!(r#"{{"seq":0,{event},"key":"k","hash":"h"}}"#),
            format!(r#"{{"seq":0,{event},"key":"k","hash":"h","data":1,"data_text":"1"}}"#),
            format!(r#"{{"seq":0,{event},"key":"k","hash":"h","data_text":"{{"}}"#),
            format!(r#"{{"seq":0,{event},"key":"k","hash":"h","data":1,"extra":1}}"#),
            format!(r#"{{"seq":0,{event},"key":"k","invalidates":1}}"#),
        ] {
            assert!(line(wrong.clone().into()).is_err(), "{wrong}");
        }
    }
}
