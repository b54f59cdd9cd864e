//! Events as they are read. Written by hand into a buffer: the data goes through untouched, and
//! reading a log is mostly this.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

use super::time::rfc3339;
use crate::domain::{Content, Data, Event, EventBody, ReadEvent};

/// Appends an event as JSON, without a line end.
pub fn put_event(out: &mut BytesMut, read: &ReadEvent) {
    let Event { version, last, recorded_at, body, .. } = &read.event;
    put(out, "{\"seq\":");
    put_json(out, &version.seq.0);
    put(out, ",\"transaction\":");
    put_json(out, &version.transaction.0);
    put(out, if *last { ",\"last\":true" } else { ",\"last\":false" });
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
    put(out, ",\"recorded_at\":");
    put_json(out, &rfc3339(*recorded_at));
    if let Some(by) = read.invalidated_by {
        put(out, ",\"invalidated_by\":");
        put_json(out, &by.0);
    }
    put(out, "}");
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
        Data::Json(json) => {
            put(out, ",\"data\":");
            put(out, json.as_str());
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
        put(out, metadata.as_str());
    }
}

fn put(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out.writer(), value).expect("numbers and texts are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ContentHash, ContentType, EventType, Invalidation, Json, Key, Reason, Seq, Timestamp,
        TransactionNo, Version,
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
