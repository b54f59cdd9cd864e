//! Events as a producer sends them: [`Content`] to JSON. The other side is `submitted.rs`.
//!
//! Invariant: the service keeps the hash that the content has. It is left out only where the
//! service would itself find the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use super::submitted::{Events, Submitted};
use crate::domain::{Content, Data, Json, Reason};

impl From<Content> for Submitted {
    fn from(content: Content) -> Self {
        Self::Event(Events::from_buf([content]))
    }
}

impl From<Vec<Content>> for Submitted {
    fn from(events: Vec<Content>) -> Self {
        Self::Group(events.into())
    }
}

impl Submitted {
    /// The events.
    #[must_use]
    pub fn events(&self) -> &Events {
        match self {
            Self::Event(events) | Self::Group(events) => events,
        }
    }
}

/// An event as the body of a request.
#[must_use]
pub fn event(content: &Content) -> Bytes {
    let mut out = BytesMut::new();
    put_event(&mut out, content, Breaks::Kept);
    out.freeze()
}

/// A transaction as the body of a request.
#[must_use]
pub fn transaction(events: &[Content]) -> Bytes {
    let mut out = BytesMut::new();
    put_group(&mut out, events, Breaks::Kept);
    out.freeze()
}

/// One line of a stream, with its end. Line breaks between the tokens of a JSON text would end
/// the line; they become blanks, and the event keeps the hash that it had.
#[must_use]
pub fn line(submitted: &Submitted) -> Bytes {
    let mut out = BytesMut::new();
    match submitted {
        Submitted::Event(events) => {
            events.iter().for_each(|event| put_event(&mut out, event, Breaks::Blank));
        }
        Submitted::Group(events) => put_group(&mut out, events, Breaks::Blank),
    }
    out.put_u8(b'\n');
    out.freeze()
}

/// The body of an invalidation.
#[must_use]
pub fn invalidation(reason: Option<&Reason>) -> Bytes {
    let mut out = BytesMut::from(&b"{"[..]);
    if let Some(reason) = reason {
        put(&mut out, "\"reason\":");
        put_json(&mut out, reason.as_str());
    }
    put(&mut out, "}");
    out.freeze()
}

/// What becomes of line breaks between the tokens of a JSON text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Kept,
    Blank,
}

fn put_group(out: &mut BytesMut, events: &[Content], breaks: Breaks) {
    put(out, "{\"events\":[");
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            put(out, ",");
        }
        put_event(out, event, breaks);
    }
    put(out, "]}");
}

fn put_event(out: &mut BytesMut, content: &Content, breaks: Breaks) {
    put(out, "{\"key\":");
    put_json(out, content.key.as_str());
    if !content.hash.is_of_digest(&content.digest) || changes(content, breaks) {
        put(out, ",\"hash\":");
        content.hash.with_text(|text| put_json(out, text));
    }
    if let Some(event_type) = &content.event_type {
        put(out, ",\"type\":");
        put_json(out, event_type.as_str());
    }
    match &content.data {
        Data::Json(json) => {
            put(out, ",\"data\":");
            put_text(out, json, breaks);
        }
        Data::Binary(data, content_type) => {
            put(out, ",\"data_base64\":");
            put_json(out, &STANDARD.encode(data));
            put(out, ",\"content_type\":");
            put_json(out, content_type.as_str());
        }
    }
    if let Some(metadata) = &content.metadata {
        put(out, ",\"metadata\":");
        put_text(out, metadata, breaks);
    }
    put(out, "}");
}

/// Whether the service gets other bytes of the data than the content has: it does not see blanks
/// around a JSON text.
fn changes(content: &Content, breaks: Breaks) -> bool {
    let Data::Json(json) = &content.data else { return false };
    let text = json.as_str().as_bytes();
    let broken = breaks == Breaks::Blank && memchr::memchr2(b'\n', b'\r', text).is_some();
    broken || text.trim_ascii().len() != text.len()
}

fn put_text(out: &mut BytesMut, json: &Json, breaks: Breaks) {
    let mut at = out.len();
    put(out, json.as_str());
    if breaks == Breaks::Kept {
        return;
    }
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &out[at..]) {
        at += found;
        out[at] = b' ';
    }
}

fn put(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out.writer(), value).expect("texts are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ContentHash, ContentType, EventType, Key};
    use crate::wire::submitted;

    fn json(text: &str) -> Json {
        Json::from_valid(text.into()).expect("JSON")
    }

    fn contents() -> Vec<Content> {
        let key = |text: &str| Key::parse(text.into()).expect("a key");
        let hash = ContentHash::parse("h\"".into()).expect("a hash");
        let kind = EventType::parse("t\n".into()).expect("a type");
        let content_type = ContentType::parse("image/png".into()).expect("a media type");
        let binary = Data::Binary(vec![0, 255].into(), content_type);
        vec![
            Content::new(key("a\"/é\n"), None, None, Data::Json(json("{ \"b\" : 1.0 }")), None),
            Content::new(key("k"), Some(hash), Some(kind), binary, Some(json("[ 1 ]"))),
            Content::new(key("n"), None, None, Data::Json(json("null")), None),
        ]
    }

    #[test]
    fn what_is_sent_is_what_the_service_understands() {
        for content in contents() {
            let parsed = submitted::event(event(&content)).expect("an event");
            assert_eq!(parsed[0], content);
            let parsed = submitted::line(line(&content.clone().into())).expect("a line");
            assert!(matches!(parsed, Submitted::Event(events) if events[0] == content));
        }
        let parsed = submitted::transaction(transaction(&contents())).expect("a transaction");
        assert_eq!(parsed.to_vec(), contents());
        let parsed = submitted::line(line(&contents().into())).expect("a line");
        assert!(matches!(parsed, Submitted::Group(events) if events.to_vec() == contents()));
    }

    #[test]
    fn what_cannot_be_sent_as_it_is_keeps_its_hash() {
        let key = Key::parse("k".into()).expect("a key");
        let broken = json("{\n\"a\\n\":\r\n1}");
        let content = Content::new(key, None, None, Data::Json(broken.clone()), Some(broken));
        let whole = submitted::event(event(&content)).expect("an event");
        assert_eq!(whole[0], content);
        let bytes = line(&content.clone().into());
        assert_eq!(memchr::memchr_iter(b'\n', &bytes).count(), 1);
        let parsed = submitted::line(bytes).expect("a line");
        let sent = &parsed.events()[0];
        assert_eq!(sent.hash, content.hash);
        assert_eq!(sent.data, Data::Json(json("{ \"a\\n\":  1}")));
        let blanks = Content { data: Data::Json(json(" 1 ")), ..content };
        let sent = submitted::event(event(&blanks)).expect("an event");
        assert_eq!((&sent[0].hash, &*sent[0].data.bytes()), (&blanks.hash, &b"1"[..]));
    }

    #[test]
    fn an_invalidation_is_understood_with_and_without_a_reason() {
        let reason = Reason::parse("wrong \"\n".into()).expect("a reason");
        assert_eq!(submitted::invalidation(invalidation(None)), Ok(None));
        assert_eq!(submitted::invalidation(invalidation(Some(&reason))), Ok(Some(reason)));
    }
}
