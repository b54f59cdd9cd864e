//! Around every request: its id, its line in the log and its metrics (`access.rs`); and problems get
//! their bodies here, because only here the id is known.

use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use super::access::{Line, Progress, Told};
use super::problem::{ErrorCode, Problem};
use super::unread::Kept;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Names a request: in its answer, in problems, in the log. Visible ASCII.
#[derive(Clone)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().expect("it is visible ASCII")
    }
}

/// The id of a request.
pub(super) fn request_id(request: &HttpRequest) -> String {
    let extensions = request.extensions();
    extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default()
}

/// The client's own id, where it sent a decent one; else a new one.
fn choose_id(request: &ServiceRequest) -> RequestId {
    static PROCESS: LazyLock<String> =
        LazyLock::new(|| format!("{:016x}-", RandomState::new().hash_one("process")));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let decent = |id: &&HeaderValue| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let id = request.headers().get(REQUEST_ID).filter(decent).cloned().unwrap_or_else(|| {
        let (mut digits, count) = (itoa::Buffer::new(), COUNT.fetch_add(1, Ordering::Relaxed));
        let id = [PROCESS.as_str(), digits.format(count)].concat();
        HeaderValue::try_from(id).expect("these are visible ASCII")
    });
    RequestId(id)
}

/// See the module.
pub(super) async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = choose_id(&request);
    let progress = Rc::<Progress>::default();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(Rc::clone(&progress));
    let mut line = Line::begin(&request, id.clone(), progress);
    let unread = Kept::of(&mut request);
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = with_problem(response, id.as_str());
    response.headers_mut().insert(REQUEST_ID, id.0);
    line.answered(&response);
    Ok(response.map_body(|_, body| BoxBody::new(Told { body, line, unread })))
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
