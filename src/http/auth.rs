//! Who may do what, and how often: the extractors [`Caller`], [`Reading`], [`Moving`] and
//! [`Writing`] that every handler under `/v1` begins with.
//!
//! Invariants: a token is compared by its SHA-256 and in constant time; an unknown token and none
//! give the same answer.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::app::App;
use super::origin;
use super::problem::{ErrorCode, Problem};
use crate::config::{Access, Rate, Token};
use crate::domain::TopicName;

/// The tokens, and the rate that each caller may keep up.
pub struct Guard {
    tokens: Vec<Token>,
    /// Without tokens: the service may be asked for under any name.
    names: bool,
    rate: Option<DefaultKeyedRateLimiter<String>>,
}

impl Guard {
    /// Without tokens everybody may do everything, but pages of other sites; and these cannot be
    /// told where the service is asked for under a name, unless it is `insecure`.
    #[must_use]
    pub fn new(tokens: Vec<Token>, insecure: bool, rate: Option<Rate>) -> Self {
        let quota = |rate: Rate| Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { tokens, names: insecure, rate: rate.map(|rate| RateLimiter::keyed(quota(rate))) }
    }

    /// Forgets callers that have been quiet; to be called now and then.
    pub fn forget_quiet_callers(&self) {
        if let Some(rate) = &self.rate {
            rate.retain_recent();
            rate.shrink_to_fit();
        }
    }

    /// Index of the token that the request carries; `None` where none is needed.
    fn authenticate(&self, request: &HttpRequest) -> Result<Option<usize>, Problem> {
        if self.tokens.is_empty() {
            return origin::check(request, self.names).map(|()| None);
        }
        let sent = token_of(request).map(|token| <[u8; 32]>::from(Sha256::digest(token)));
        let sent = sent.unwrap_or_default();
        let mut found = None;
        for (index, token) in self.tokens.iter().enumerate() {
            if bool::from(token.sha256.ct_eq(&sent)) {
                found = Some(index);
            }
        }
        let refused = || Problem::new(ErrorCode::Unauthenticated, "send a valid token");
        found.map(Some).ok_or_else(refused)
    }

    fn admit(&self, caller: impl FnOnce() -> String) -> Result<(), Problem> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.check_key(&caller()).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let mut problem =
                Problem::new(ErrorCode::RateLimited, "too many requests; see Retry-After");
            problem.retry_after = Some(wait);
            problem
        })
    }
}

/// The token in `Authorization`: `Bearer <token>`, or Basic with the token as password.
fn token_of(request: &HttpRequest) -> Option<Vec<u8>> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, None) = (headers.next()?.to_str().ok()?, headers.next()) else { return None };
    let (scheme, credentials) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    Some(decoded[colon + 1..].to_vec())
}

/// Whoever sent the request: allowed in, and not too often.
pub struct Caller {
    /// The service.
    pub app: Data<App>,
    /// Index of the caller's token.
    token: Option<usize>,
}

/// The name of the caller's token, for the access log.
#[derive(Clone)]
pub(super) struct TokenName(pub(super) String);

impl Caller {
    fn identify(request: &HttpRequest) -> Result<Self, Problem> {
        let app = request.app_data::<Data<App>>().expect("every service has its state").clone();
        let token = app.guard.authenticate(request)?;
        let name = token.map(|index| app.guard.tokens[index].name.clone());
        if let Some(name) = &name {
            request.extensions_mut().insert(TokenName(name.clone()));
        }
        let address = || request.peer_addr().map_or_else(String::new, |peer| peer.ip().to_string());
        app.guard.admit(|| name.unwrap_or_else(address))?;
        Ok(Self { app, token })
    }

    /// Whether the caller may do this with the topic.
    #[must_use]
    pub fn may(&self, topic: &TopicName, access: Access) -> bool {
        self.token.is_none_or(|index| self.app.guard.tokens[index].allows(topic, access))
    }

    /// The service, if it takes changes.
    fn writes(self) -> Result<Data<App>, Problem> {
        if self.app.read_only {
            return Err(Problem::new(ErrorCode::ReadOnly, "this service only reads"));
        }
        Ok(self.app)
    }

    fn on_topic(request: &HttpRequest, access: Access) -> Result<(Self, TopicName), Problem> {
        let caller = Self::identify(request)?;
        let name = request.match_info().get("topic").unwrap_or_default();
        let topic = TopicName::parse(name)
            .map_err(|error| Problem::new(ErrorCode::Malformed, error.to_string()))?;
        if caller.may(&topic, access) {
            Ok((caller, topic))
        } else {
            Err(Problem::new(ErrorCode::Forbidden, "the token does not allow this on the topic"))
        }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::identify(request))
    }
}

/// A request that reads a topic.
pub struct Reading {
    /// The service.
    pub app: Data<App>,
    /// The topic in the path.
    pub topic: TopicName,
}

impl FromRequest for Reading {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let allowed = Caller::on_topic(request, Access::Read);
        ready(allowed.map(|(caller, topic)| Self { app: caller.app, topic }))
    }
}

/// A request that moves a consumer of a topic. Who may read the topic may: where he is in it is a
/// reader's own affair, and a reader should not need the right to write events.
pub struct Moving {
    /// The service.
    pub app: Data<App>,
    /// The topic in the path.
    pub topic: TopicName,
}

impl FromRequest for Moving {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let allowed = Caller::on_topic(request, Access::Read);
        ready(allowed.and_then(|(caller, topic)| Ok(Self { app: caller.writes()?, topic })))
    }
}

/// A request that writes to a topic.
pub struct Writing {
    /// The service.
    pub app: Data<App>,
    /// The topic in the path.
    pub topic: TopicName,
}

impl FromRequest for Writing {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let allowed = Caller::on_topic(request, Access::Write);
        ready(allowed.and_then(|(caller, topic)| Ok(Self { app: caller.writes()?, topic })))
    }
}
