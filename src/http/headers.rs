//! Request headers, strictly: what is repeated or not understood is an error that names it. And the
//! entity tag of answers.

use actix_web::HttpRequest;
use actix_web::http::header::{
    ACCEPT, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};

use super::problem::{ErrorCode, Problem};
use super::query::position;
use crate::domain::{IdempotencyKey, Precondition, Seq};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Headers of a producer that numbers its lines.
pub(super) const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(super) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::Malformed, detail)
}

/// The value of a header that may be there once.
///
/// # Errors
/// `malformed` where it is repeated or not visible ASCII.
pub(super) fn header<'a>(
    request: &'a HttpRequest,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(format!("the header {name} is given more than once")));
    }
    let text = value.to_str().map_err(|_| bad(format!("the header {name} is not ASCII")))?;
    Ok(Some(text.trim()))
}

/// Media types of answers.
pub(super) const JSON: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// The kinds of body that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/json`
    Json,
    /// `application/x-ndjson`
    Ndjson,
}

/// The kind of the request's body.
///
/// # Errors
/// `unsupported-media-type`.
pub(super) fn content_type(request: &HttpRequest) -> Result<Media, Problem> {
    let text = header(request, &CONTENT_TYPE)?.unwrap_or_default();
    let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
    let mut charset =
        parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty());
    let utf8 = ["charset=utf-8", "charset=\"utf-8\""];
    let all_utf8 =
        charset.all(|parameter| utf8.iter().any(|utf8| utf8.eq_ignore_ascii_case(parameter)));
    let there = [(JSON, Media::Json), (NDJSON, Media::Ndjson)];
    let found = there.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(media.trim()));
    found.filter(|_| all_utf8).map(|(_, media)| media).ok_or_else(|| {
        let detail = "Content-Type must be application/json or application/x-ndjson, in UTF-8";
        Problem::new(ErrorCode::UnsupportedMediaType, detail)
    })
}

/// Which of JSON and NDJSON the client prefers; JSON where it does not care.
///
/// # Errors
/// `not-acceptable` where it takes neither.
pub(super) fn accept(request: &HttpRequest) -> Result<Media, Problem> {
    prefer(request, &[(JSON, Media::Json), (NDJSON, Media::Ndjson)])
}

/// Which of the answers that there are, by media type, the client prefers; the first where it
/// does not care.
///
/// # Errors
/// `not-acceptable` where it takes none of them.
pub(super) fn prefer<T: Copy>(request: &HttpRequest, there: &[(&str, T)]) -> Result<T, Problem> {
    let mut accepted: Vec<(String, f32)> = Vec::new();
    for value in request.headers().get_all(ACCEPT) {
        let value = value.to_str().map_err(|_| bad("the header Accept is not ASCII"))?;
        let value = value.to_ascii_lowercase();
        for range in value.split(',').filter(|range| !range.trim().is_empty()) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(Ok(1.0), str::parse::<f32>).ok();
            let quality = quality.filter(|quality| (0.0..=1.0).contains(quality));
            let quality = quality.ok_or_else(|| bad("the header Accept cannot be read"))?;
            accepted.push((media.to_owned(), quality));
        }
    }
    let given = |range: &str| accepted.iter().rev().find(|(media, _)| media == range);
    let quality = |media: &str| {
        let group = media.split_once('/').map(|(group, _)| format!("{group}/*"));
        let found = given(media).or(given(&group.unwrap_or_default())).or(given("*/*"));
        found.map_or(if accepted.is_empty() { 1.0 } else { 0.0 }, |(_, quality)| *quality)
    };
    let mut best: Option<(T, f32)> = None;
    for (media, answer) in there {
        let quality = quality(media);
        if quality > best.map_or(0.0, |(_, best)| best) {
            best = Some((*answer, quality));
        }
    }
    best.map(|(answer, _)| answer).ok_or_else(|| {
        let names: Vec<&str> = there.iter().map(|(media, _)| *media).collect();
        Problem::new(ErrorCode::NotAcceptable, format!("there is {}", names.join(" and ")))
    })
}

/// For what there is only as JSON.
///
/// # Errors
/// `not-acceptable`.
pub(super) fn accept_json(request: &HttpRequest) -> Result<(), Problem> {
    prefer(request, &[(JSON, ())])
}

/// `Last-Event-ID`: the seq of the last event that the client has.
///
/// # Errors
/// `malformed`.
pub(super) fn last_event_id(request: &HttpRequest) -> Result<Option<Seq>, Problem> {
    let text = header(request, &LAST_EVENT_ID)?.filter(|text| !text.is_empty());
    let seq = text.map(|text| position(text).map(Seq));
    seq.map(|seq| seq.ok_or_else(|| bad("Last-Event-ID must be the seq of an event"))).transpose()
}

/// `Idempotency-Key`.
///
/// # Errors
/// `malformed`.
pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Problem> {
    let key = header(request, &IDEMPOTENCY_KEY)?.map(IdempotencyKey::parse).transpose();
    key.map_err(|error| bad(error.to_string()))
}

/// Refuses each `Producer-*` header that is not among `honoured`: who sends one counts on being able
/// to send again.
///
/// # Errors
/// `malformed`.
pub(super) fn no_producer_but(
    request: &HttpRequest,
    honoured: &[HeaderName],
) -> Result<(), Problem> {
    let producers = |name: &&HeaderName| name.as_str().starts_with("producer-");
    let known = |name: &HeaderName| honoured.contains(name);
    match request.headers().keys().filter(producers).find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(bad(format!(
            "the header {name} means nothing here: a stream of events has Producer-Id, \
             Producer-Epoch and Producer-Seq; a single request has Idempotency-Key"
        ))),
    }
}

/// `ETag: "<number>"`
pub(super) fn etag(number: u64) -> (HeaderName, HeaderValue) {
    let mut digits = itoa::Buffer::new();
    let tag = ["\"", digits.format(number), "\""].concat();
    (ETAG, HeaderValue::try_from(tag).expect("these are visible ASCII"))
}

/// What has to be there for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `If-None-Match: *`
    Nothing,
    /// `If-Match: "<number>"`
    Is(u64),
}

/// `If-Match` or `If-None-Match`, where `what` is the number of what is there.
///
/// # Errors
/// `malformed`.
pub(super) fn condition(request: &HttpRequest, what: &str) -> Result<Option<Condition>, Problem> {
    let if_match = header(request, &IF_MATCH)?;
    let if_none_match = header(request, &IF_NONE_MATCH)?;
    match (if_match, if_none_match) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(bad("If-Match and If-None-Match exclude each other")),
        (None, Some("*")) => Ok(Some(Condition::Nothing)),
        (None, Some(_)) => Err(bad("If-None-Match must be *")),
        (Some(tag), None) => {
            let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let number = number.and_then(position);
            let number = number.ok_or_else(|| bad(format!("If-Match must be {what} in quotes")))?;
            Ok(Some(Condition::Is(number)))
        }
    }
}

/// A condition on the head of a topic.
///
/// # Errors
/// `malformed`.
pub(super) fn precondition(request: &HttpRequest) -> Result<Option<Precondition>, Problem> {
    let condition = condition(request, "the seq of the head")?;
    Ok(condition.map(|condition| match condition {
        Condition::Nothing => Precondition::Empty,
        Condition::Is(seq) => Precondition::HeadIs(Seq(seq)),
    }))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn the_client_gets_what_it_prefers() {
        let cases = [
            ("*/*", Some(Media::Json)),
            ("application/*", Some(Media::Json)),
            ("application/x-ndjson", Some(Media::Ndjson)),
            ("application/x-ndjson, */*;q=0.1", Some(Media::Ndjson)),
            ("application/json;q=0.5, application/x-ndjson;q=0.9", Some(Media::Ndjson)),
            ("application/json;q=0, */*", Some(Media::Ndjson)),
            ("text/html", None),
            ("text/event-stream", None),
            ("application/json;q=0", None),
        ];
        for (value, expected) in cases {
            assert_eq!(accept(&with("Accept", value)).ok(), expected, "{value}");
        }
        assert_eq!(accept(&TestRequest::default().to_http_request()).ok(), Some(Media::Json));
    }

    #[test]
    fn preconditions_are_strict() {
        let head = precondition(&with("If-Match", "\"17\"")).expect("it is fine");
        assert_eq!(head, Some(Precondition::HeadIs(Seq(17))));
        let empty = precondition(&with("If-None-Match", "*")).expect("it is fine");
        assert_eq!(empty, Some(Precondition::Empty));
        for bad in ["17", "W/\"17\"", "*", "\"-1\"", "\"1\", \"2\"", ""] {
            assert!(precondition(&with("If-Match", bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn bodies_are_json_or_lines_in_utf8() {
        let cases = [
            ("application/json", Some(Media::Json)),
            ("Application/JSON; charset=UTF-8", Some(Media::Json)),
            ("application/x-ndjson", Some(Media::Ndjson)),
            ("application/json; charset=latin1", None),
            ("text/plain", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(content_type(&with("Content-Type", value)).ok(), expected, "{value}");
        }
    }
}
