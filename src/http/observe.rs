//! Around every request: its id, its line in the log, its metrics; and problems get their bodies
//! here, because only here the id is known.
//!
//! Invariant: label values are from closed sets; a path nobody serves is one route, `other`.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use super::auth::TokenName;
use super::problem::{ErrorCode, Problem};
use crate::metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Names a request: in its answer, in problems, in the log.
#[derive(Clone)]
pub(super) struct RequestId(String);

/// The id of a request.
pub(super) fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// The client's own id, where it sent a decent one; else a new one.
fn choose_id(request: &ServiceRequest) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let sent = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let decent = |id: &&str| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic())
    };
    match sent.filter(decent) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

/// See the module.
pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let id = choose_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let active = metrics::ActiveRequest::begin();
    let method = method_label(request.method());
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = with_problem(response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = response.request().match_pattern().unwrap_or_else(|| "other".into());
    let (status, took) = (response.status().as_u16(), began.elapsed());
    log(&response, method, &route, &id, took.as_secs_f64() * 1e3);
    drop(active);
    metrics::http_answered(method, route, status, took);
    Ok(response)
}

/// Gives an error its body.
fn with_problem(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else { return response };
    let problem = match error.as_error::<Problem>() {
        Some(problem) => problem.clone(),
        // Whatever the framework itself refuses.
        None if response.status().is_client_error() => {
            Problem::new(ErrorCode::Malformed, "the request cannot be read")
        }
        None => {
            tracing::error!(request_id = id, %error, "a request failed inside the framework");
            Problem::new(ErrorCode::Internal, "something is broken in the service")
        }
    };
    let answer = problem.response(id);
    response.into_response(answer)
}

fn log(response: &ServiceResponse<BoxBody>, method: &str, route: &str, id: &str, ms: f64) {
    let status = response.status().as_u16();
    let request = response.request();
    let token = request.extensions().get::<TokenName>().map(|token| token.0.clone());
    let token = token.as_deref().unwrap_or("-");
    let topic = request.match_info().get("topic").unwrap_or("-");
    let ms = (ms * 1e3).round() / 1e3;
    if status >= 500 {
        tracing::warn!(method, route, topic, status, ms, token, request_id = id, "request");
    } else {
        tracing::info!(method, route, topic, status, ms, token, request_id = id, "request");
    }
}
