//! Events as they are read. Written by hand into a buffer: the data goes through untouched, and
//! reading a log is mostly this.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

use super::time::put_rfc3339;
use crate::domain::{Content, Data, Event, EventBody, Key, ReadEvent, TransactionNo};

/// Names of fields, numbers, hash and time of an event.
const FIELDS_BYTES: usize = 256;

/// About how many bytes events take as they are read.
#[must_use]
pub fn room_for(events: &[ReadEvent]) -> usize {
    events.iter().map(|read| read.event.size() + FIELDS_BYTES).sum()
}

/// Appends an event as JSON, without a line end.
pub fn put_event(out: &mut BytesMut, read: &ReadEvent) {
    put(out, &read.event, read.invalidated_by);
}

/// Appends an event as a line of NDJSON. A JSON text keeps its bytes, but for line breaks between
/// its tokens: they mean nothing there and would end the line, so they become blanks.
pub fn put_line(out: &mut BytesMut, event: &Event, invalidated_by: Option<TransactionNo>) {
    let mut at = out.len();
    put(out, event, invalidated_by);
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &out[at..]) {
        at += found;
        out[at] = b' ';
    }
    out.put_u8(b'\n');
}

fn put(out: &mut BytesMut, event: &Event, invalidated_by: Option<TransactionNo>) {
    let Event { version, last, recorded_at, body, .. } = event;
    put_text(out, "{\"seq\":");
    put_json(out, &version.seq.0);
    put_text(out, ",\"transaction\":");
    put_json(out, &version.transaction.0);
    put_text(out, if *last { ",\"last\":true" } else { ",\"last\":false" });
    match body {
        EventBody::Content(content) => put_content(out, content),
        EventBody::Invalidation(invalidation) => {
            put_text(out, ",\"invalidates\":");
            put_json(out, &invalidation.invalidates.0);
            if let Some(reason) = &invalidation.reason {
                put_text(out, ",\"reason\":");
                put_json(out, reason.as_str());
            }
        }
    }
    put_text(out, ",\"recorded_at\":");
    put_text(out, "\"");
    put_rfc3339(out, *recorded_at);
    put_text(out, "\"");
    if let Some(by) = invalidated_by {
        put_text(out, ",\"invalidated_by\":");
        put_json(out, &by.0);
    }
    put_text(out, "}");
}

fn put_content(out: &mut BytesMut, content: &Content) {
    put_text(out, ",\"key\":");
    put_json(out, content.key.as_str());
    put_text(out, ",\"hash\":");
    content.hash.with_text(|text| put_json(out, text));
    if let Some(event_type) = &content.event_type {
        put_text(out, ",\"type\":");
        put_json(out, event_type.as_str());
    }
    match &content.data {
        Data::Json(json) => {
            put_text(out, ",\"data\":");
            put_text(out, json.as_str());
        }
        Data::Binary(data, content_type) => {
            put_text(out, ",\"data_base64\":");
            put_json(out, &STANDARD.encode(data));
            put_text(out, ",\"content_type\":");
            put_json(out, content_type.as_str());
        }
    }
    if let Some(metadata) = &content.metadata {
        put_text(out, ",\"metadata\":");
        put_text(out, metadata.as_str());
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out.writer(), value).expect("numbers and texts are JSON");
}

/// A key as it stands in the JSON of its events.
#[must_use]
pub fn key_json(key: &Key) -> Vec<u8> {
    serde_json::to_vec(key.as_str()).expect("a text is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ContentHash, ContentType, EventType, Invalidation, Json, Reason, Seq, Timestamp, Version,
    };

    fn text(body: EventBody, invalidated_by: Option<TransactionNo>) -> String {
        let version = Version { seq: Seq(1040), transaction: TransactionNo(17) };
        let recorded_at = Timestamp(1_700_000_000_000_001);
        let event = Event { version, last: true, recorded_at, prev: None, body };
        let mut out = BytesMut::new();
        put_event(&mut out, &ReadEvent { event, invalidated_by });
        String::from_utf8(out.to_vec()).expect("JSON is UTF-8")
    }

    #[test]
    fn an_event_is_shown_as_the_contract_says() {
        let json = |text: &str| Json::from_valid(text.into()).expect("JSON");
        let content = Content::new(
            Key::parse("a\"/é\n".into()).expect("a key"),
            Some(ContentHash::parse("h".into()).expect("a hash")),
            Some(EventType::parse("t".into()).expect("a type")),
            Data::Json(json("{ \"b\" : 1.0 }")),
            Some(json("{\"m\":1}")),
        );
        assert_eq!(
            text(EventBody::Content(content), Some(TransactionNo(21))),
            r#"{"seq":1040,"transaction":17,"last":true,"key":"a\"/é\n","hash":"h","type":"t","data":{ "b" : 1.0 },"metadata":{"m":1},"recorded_at":"2023-11-14T22:13:20.000001Z","invalidated_by":21}"#
        );
    }

    #[test]
    fn a_line_has_no_breaks_of_its_own() {
        let data = Data::Json(Json::from_valid("{\n\"a\\n\":\r\n1}".into()).expect("JSON"));
        let hash = Some(ContentHash::parse("h".into()).expect("a hash"));
        let content = Content::new(Key::parse("k".into()).expect("a key"), hash, None, data, None);
        let version = Version { seq: Seq(0), transaction: TransactionNo(0) };
        let body = EventBody::Content(content);
        let recorded_at = Timestamp(0);
        let event = Event { version, last: true, recorded_at, prev: None, body };
        let mut out = BytesMut::from("x\n");
        put_line(&mut out, &event, None);
        let text = String::from_utf8(out.to_vec()).expect("UTF-8");
        assert!(text.contains(r#""data":{ "a\n":  1},"#), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn other_data_is_base64_and_what_is_absent_is_left_out() {
        let content_type = ContentType::parse("image/png".into()).expect("a media type");
        let data = Data::Binary(vec![0, 255].into(), content_type);
        let hash = Some(ContentHash::parse("h".into()).expect("a hash"));
        let content = Content::new(Key::parse("k".into()).expect("a key"), hash, None, data, None);
        assert_eq!(
            text(EventBody::Content(content), None),
            r#"{"seq":1040,"transaction":17,"last":true,"key":"k","hash":"h","data_base64":"AP8=","content_type":"image/png","recorded_at":"2023-11-14T22:13:20.000001Z"}"#
        );
    }

    #[test]
    fn an_invalidation_is_shown_as_the_contract_says() {
        let reason = Some(Reason::parse("wrong".into()).expect("a reason"));
        let body = Invalidation { invalidates: TransactionNo(3), reason };
        assert_eq!(
            text(EventBody::Invalidation(body), None),
            r#"{"seq":1040,"transaction":17,"last":true,"invalidates":3,"reason":"wrong","recorded_at":"2023-11-14T22:13:20.000001Z"}"#
        );
    }
}
