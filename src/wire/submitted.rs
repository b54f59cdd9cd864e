//! Events as producers send them: JSON to [`Content`], without copying what needs no copy.
//!
//! Not here: limits that an operator chooses (`http/`).
//!
//! Invariants: unknown and repeated members are errors; `"data": null` is data; a text is kept
//! byte for byte as it was sent.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::domain::{
    Content, ContentHash, ContentType, Data, EventType, Json, Key, NameError, Reason,
};

/// The events of one transaction.
pub type Events = SmallVec<[Content; 1]>;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInput {
    /// Not JSON, or not UTF-8; else it breaks a rule.
    pub malformed: bool,
    /// What is wrong, for the client.
    pub detail: String,
    /// JSON pointer (RFC 6901) to what is wrong.
    pub pointer: Option<String>,
}

impl BadInput {
    pub(super) fn invalid(detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { malformed: false, detail: detail.into(), pointer: Some(pointer.into()) }
    }
}

/// One line of a stream, or a whole body.
#[derive(Debug)]
pub enum Submitted {
    /// An event: a transaction of its own.
    Event(Events),
    /// `{"events":[…]}`: one transaction.
    Group(Events),
}

/// An event as it is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventJson<'a> {
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
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

/// An event or a group of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineJson<'a> {
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
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    events: Option<Vec<Object<EventJson<'a>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupJson<'a> {
    #[serde(borrow)]
    events: Vec<Object<EventJson<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidationJson {
    reason: Option<String>,
}

/// A JSON object. Serde by itself also takes an array for a struct, member by member.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, sharing the buffer of the input where it can.
    pub(super) fn share(self, input: &ByteString) -> ByteString {
        match self.0 {
            Cow::Borrowed(text) => input.slice_ref(text),
            Cow::Owned(text) => text.into(),
        }
    }
}

/// Tells a member that is `null` from one that is absent.
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Parses one line of a stream: an event or a group.
///
/// # Errors
/// See [`BadInput`].
pub fn line(bytes: Bytes) -> Result<Submitted, BadInput> {
    let input = text(bytes)?;
    let Object(line): Object<LineJson<'_>> = json(&input)?;
    let Some(events) = line.events else {
        let event = EventJson {
            key: line.key,
            hash: line.hash,
            event_type: line.event_type,
            data: line.data,
            data_base64: line.data_base64,
            content_type: line.content_type,
            metadata: line.metadata,
        };
        let content = content(event, &input, "")?;
        return Ok(Submitted::Event(SmallVec::from_buf([content])));
    };
    let alone = line.key.is_none()
        && line.hash.is_none()
        && line.event_type.is_none()
        && line.data.is_none()
        && line.data_base64.is_none()
        && line.content_type.is_none()
        && line.metadata.is_none();
    if !alone {
        return Err(BadInput::invalid("a group has no members beside events", ""));
    }
    group(events, &input).map(Submitted::Group)
}

/// Parses a single event.
///
/// # Errors
/// See [`BadInput`].
pub fn event(bytes: Bytes) -> Result<Events, BadInput> {
    let input = text(bytes)?;
    let Object(event): Object<EventJson<'_>> = json(&input)?;
    Ok(SmallVec::from_buf([content(event, &input, "")?]))
}

/// Parses `{"events":[…]}`.
///
/// # Errors
/// See [`BadInput`].
pub fn transaction(bytes: Bytes) -> Result<Events, BadInput> {
    let input = text(bytes)?;
    let Object(parsed): Object<GroupJson<'_>> = json(&input)?;
    group(parsed.events, &input)
}

/// Parses a JSON text, without the blanks around it.
///
/// # Errors
/// See [`BadInput`].
pub fn json_text(text: ByteString) -> Result<Json, BadInput> {
    let raw: &RawValue = json(&text)?;
    let json = Json::from_valid(text.slice_ref(raw.get()));
    json.map_err(|error| BadInput::invalid(error.to_string(), ""))
}

/// Parses the body of an invalidation; an empty one is fine.
///
/// # Errors
/// See [`BadInput`].
pub fn invalidation(bytes: Bytes) -> Result<Option<Reason>, BadInput> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let input = text(bytes)?;
    let Object(InvalidationJson { reason }) = json(&input)?;
    let reason = reason.map(|reason| Reason::parse(reason.into())).transpose();
    reason.map_err(|error| BadInput::invalid(error.to_string(), "/reason"))
}

pub(super) fn text(bytes: Bytes) -> Result<ByteString, BadInput> {
    ByteString::try_from(bytes).map_err(|_| BadInput {
        malformed: true,
        detail: "not UTF-8".into(),
        pointer: None,
    })
}

pub(super) fn json<'a, T: Deserialize<'a>>(input: &'a ByteString) -> Result<T, BadInput> {
    serde_json::from_str(input).map_err(|error| bad_json::<T>(input, &error))
}

/// An error's text. Of a single line only the column counts: in a stream it would be said to be line 1.
fn told(input: &str, error: &serde_json::Error) -> String {
    let (text, line) = (error.to_string(), " at line 1 column ");
    if input.trim_end().contains('\n') { text } else { text.replace(line, " at column ") }
}

/// Describes an error; parses once more to find out where it is.
fn bad_json<'a, T: Deserialize<'a>>(input: &'a str, error: &serde_json::Error) -> BadInput {
    if error.classify() != Category::Data {
        return BadInput {
            malformed: true,
            detail: format!("not JSON: {}", told(input, error)),
            pointer: None,
        };
    }
    let mut deserializer = serde_json::Deserializer::from_str(input);
    let path = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err();
    let detail = told(input, error).replace("expected u64", "expected a whole number below 2^53");
    // Of a member that is wrong as such, the path may be that of its object.
    let member = ["unknown field `", "duplicate field `"].into_iter();
    let member = member.filter_map(|begin| detail.strip_prefix(begin)?.split_once('`')).next();
    let pointer = path.map(|error| {
        let mut pointer = pointer(error.path());
        let member = member.map(|(name, _)| format!("/{}", escaped(name)));
        if let Some(member) = member.filter(|member| !pointer.ends_with(member)) {
            pointer.push_str(&member);
        }
        pointer
    });
    BadInput { malformed: false, detail, pointer }
}

/// A member's name in a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => escaped(key),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

fn group(events: Vec<Object<EventJson<'_>>>, input: &ByteString) -> Result<Events, BadInput> {
    if events.is_empty() {
        return Err(BadInput::invalid("a transaction has at least one event", "/events"));
    }
    let numbered = events.into_iter().enumerate();
    numbered.map(|(n, Object(event))| content(event, input, &format!("/events/{n}"))).collect()
}

fn content(event: EventJson<'_>, input: &ByteString, at: &str) -> Result<Content, BadInput> {
    let wrong = |member: &'static str| {
        move |error: NameError| BadInput::invalid(error.to_string(), format!("{at}/{member}"))
    };
    let Some(key) = event.key else {
        return Err(BadInput::invalid("key is missing", format!("{at}/key")));
    };
    let key = Key::parse(key.share(input)).map_err(wrong("key"))?;
    let hash = event.hash.map(|hash| ContentHash::parse(hash.share(input)));
    let hash = hash.transpose().map_err(wrong("hash"))?;
    let event_type = event.event_type.map(|kind| EventType::parse(kind.share(input)));
    let event_type = event_type.transpose().map_err(wrong("type"))?;
    let raw = |raw: &RawValue| Json::from_valid(input.slice_ref(raw.get()));
    let metadata = event.metadata.map(raw).transpose().map_err(wrong("metadata"))?;
    let data = match (event.data, event.data_base64, event.content_type) {
        (Some(data), None, None) => Data::Json(raw(data).map_err(wrong("data"))?),
        (None, Some(data), Some(content_type)) => {
            let content_type = ContentType::parse(content_type.share(input));
            let content_type = content_type.map_err(wrong("content_type"))?;
            let data = STANDARD.decode(data.0.as_bytes()).map_err(|_| {
                BadInput::invalid("data_base64 is not base64", format!("{at}/data_base64"))
            })?;
            Data::Binary(data.into(), content_type)
        }
        (None, Some(_), None) => {
            let detail = "data_base64 needs a content_type";
            return Err(BadInput::invalid(detail, format!("{at}/content_type")));
        }
        (None, None, _) => {
            let detail = "data is missing (null is a value)";
            return Err(BadInput::invalid(detail, format!("{at}/data")));
        }
        (Some(_), Some(_), _) => {
            let detail = "there is data or data_base64, not both";
            return Err(BadInput::invalid(detail, format!("{at}/data_base64")));
        }
        (Some(_), None, Some(_)) => {
            let detail = "data is JSON; content_type goes with data_base64";
            return Err(BadInput::invalid(detail, format!("{at}/content_type")));
        }
    };
    Ok(Content::new(key, hash, event_type, data, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Submitted, BadInput> {
        line(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn one(text: &str) -> Content {
        match parse(text) {
            Ok(Submitted::Event(mut events)) => events.pop().expect("one event"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn data_is_kept_byte_for_byte_and_null_is_data() {
        for data in ["null", "1.0e+2", "{ \"b\":1,\"a\" :[ ] }", "\"\\u0000\\ud800\"", "-0"] {
            let event = one(&format!("{{\"key\":\"k\",\"data\":{data}}}"));
            assert_eq!(event.data.bytes(), data.as_bytes());
        }
    }

    #[test]
    fn texts_without_escapes_share_the_buffer() {
        let bytes = Bytes::from_static(b"{\"key\":\"abc\",\"data\":1}");
        let Ok(Submitted::Event(events)) = line(bytes.clone()) else { panic!("an event") };
        let key = events[0].key.as_str().as_ptr();
        assert!(bytes.as_ptr_range().contains(&key));
    }

    #[test]
    fn only_what_has_several_lines_is_said_to_have_them() {
        let detail = |text| parse(text).expect_err("it is wrong").detail;
        for text in ["{\"key\":\"k\",\"dat\":1}", "{\"key\":\"k\"", "{\"key\":\"k\",\"dat\":1}\n"] {
            assert!(detail(text).contains(" at column 1"), "{}", detail(text));
        }
        assert!(detail("{\"key\":\"k\",\n\"dat\":1}").contains(" at line 2 column "));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            ("{", true, None),
            ("\u{feff}{\"key\":\"k\",\"data\":1}", true, None),
            ("{\"key\":\"k\",\"data\":1} x", true, None),
            ("[]", false, Some("")),
            ("[\"k\",null,null,1]", false, Some("")),
            ("{\"events\":[[\"k\",null,null,1]]}", false, Some("/events/0")),
            ("{\"data\":1}", false, Some("/key")),
            ("{\"key\":\"\",\"data\":1}", false, Some("/key")),
            ("{\"key\":\"a\\u0000\",\"data\":1}", false, Some("/key")),
            ("{\"key\":1,\"data\":1}", false, Some("/key")),
            ("{\"key\":\"k\"}", false, Some("/data")),
            ("{\"key\":\"k\",\"data\":1,\"data\":2}", false, Some("/data")),
            ("{\"key\":\"k\",\"data\":1,\"extra\":2}", false, Some("/extra")),
            ("{\"key\":\"k\",\"data\":1,\"data_base64\":\"\"}", false, Some("/data_base64")),
            ("{\"key\":\"k\",\"data_base64\":\"AA==\"}", false, Some("/content_type")),
            (
                "{\"key\":\"k\",\"data_base64\":\"*\",\"content_type\":\"a/b\"}",
                false,
                Some("/data_base64"),
            ),
            ("{\"events\":[]}", false, Some("/events")),
            ("{\"events\":[{\"key\":\"k\"}]}", false, Some("/events/0/data")),
            ("{\"events\":[{\"key\":\"k\",\"data\":1}],\"key\":\"k\"}", false, Some("")),
        ];
        for (text, malformed, pointer) in cases {
            let error = parse(text).expect_err(text);
            assert_eq!((error.malformed, error.pointer.as_deref()), (malformed, pointer), "{text}");
        }
        assert!(line(Bytes::from_static(b"{\"key\":\"\xff\"}")).expect_err("UTF-8").malformed);
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        let deep =
            |n: usize| format!("{{\"key\":\"k\",\"data\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(128)).is_ok());
        for n in [129, 1_000_000] {
            assert_eq!(parse(&deep(n)).expect_err("too deep").pointer.as_deref(), Some("/data"));
        }
        let open = format!("{{\"key\":\"k\",\"data\":{}", "[".repeat(1_000_000));
        assert!(parse(&open).expect_err("not closed").malformed);
    }

    #[test]
    fn an_invalidation_needs_no_body() {
        let parse = |text: &'static str| invalidation(Bytes::from_static(text.as_bytes()));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse(" \n"), Ok(None));
        assert_eq!(parse("{}"), Ok(None));
        assert!(parse("{\"reason\":\"wrong\"}").is_ok_and(|reason| reason.is_some()));
        assert!(parse("{\"reason\":\"\"}").is_err());
        assert!(parse("{\"why\":\"\"}").is_err());
        assert!(parse("[\"wrong\"]").is_err());
    }
}
