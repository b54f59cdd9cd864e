//! The connection to a service: where it is, who we are, how patient.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Url};

use super::consumers::HttpConsumers;
use super::error::Error;
use super::reader::HttpReader;
use super::retry::{Patience, Told};
use super::tls::{self, Authorities};
use super::writer::HttpWriter;

/// A service, for any number of requests at once. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    retry: Retry,
    on_retry: Option<Told>,
}

/// How failures are retried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) within: Duration,
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// What can be chosen about a [`Client`].
#[derive(Clone)]
pub struct Builder {
    url: String,
    token: Option<String>,
    authorities: Authorities,
    connect_timeout: Duration,
    silence: Duration,
    retry: Retry,
    on_retry: Option<Told>,
}

impl Client {
    /// A client of the service at a URL: `http://127.0.0.1:4810`. A password in the URL is the
    /// token.
    ///
    /// # Errors
    /// When it is not a URL.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// The same, with choices.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            token: None,
            authorities: Authorities::System,
            connect_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            retry: Retry {
                within: Duration::from_secs(60),
                first: Duration::from_millis(50),
                longest: Duration::from_secs(5),
            },
            on_retry: None,
        }
    }

    /// Reads topics.
    #[must_use]
    pub fn reader(&self) -> HttpReader {
        HttpReader::new(self.clone())
    }

    /// Writes topics.
    #[must_use]
    pub fn writer(&self) -> HttpWriter {
        HttpWriter::new(self.clone())
    }

    /// Keeps the positions of readers.
    #[must_use]
    pub fn consumers(&self) -> HttpConsumers {
        HttpConsumers::new(self.clone())
    }

    /// Where the service is, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.base
    }

    /// A request to a path, which begins with a slash.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let mut url = format!("{}{path}", self.inner.base);
        for (at, (name, value)) in query.iter().enumerate() {
            let value = percent_encoding::utf8_percent_encode(value, ENCODED);
            url.push_str(&format!("{}{name}={value}", if at == 0 { '?' } else { '&' }));
        }
        self.inner.http.request(method, url)
    }

    pub(super) fn patience(&self) -> Patience {
        Patience::new(self.inner.retry, self.inner.on_retry.clone())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.inner.base).finish()
    }
}

/// All but letters and digits, so that nothing in a query means anything.
const ENCODED: &percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC;

impl Builder {
    /// The token to send with every request.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Believes only the authorities in this text, in PEM, instead of the system's.
    #[must_use]
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Authorities::Pem(pem.into());
        self
    }

    /// How long connecting may take; 10 s where not said.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the service may say nothing, while something is expected of it, before the
    /// connection counts as lost; 60 s where not said. More than the service's `write_timeout`
    /// and its `heartbeat_interval`.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How long failures that may pass are retried, from the last progress on; 60 s where not
    /// said, zero for not at all. Following a topic is retried for ever.
    #[must_use]
    pub fn retry_within(mut self, within: Duration) -> Self {
        self.retry.within = within;
        self
    }

    /// The pauses between attempts: their bound doubles from `first` to `longest`; from 50 ms to
    /// 5 s where not said.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.retry.first, self.retry.longest) = (first, longest);
        self
    }

    /// Is called when something is tried again that failed: once, until there is progress. Not of
    /// a topic that is followed, which says so in its stream.
    #[must_use]
    pub fn on_retry(mut self, told: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_retry = Some(Arc::new(told));
        self
    }

    /// Makes the client. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL, the token or a certificate is none.
    pub fn build(self) -> Result<Client, Error> {
        let bad = |why: &str| Error::usage(format!("{why}: a URL is like http://127.0.0.1:4810"));
        let mut url = Url::parse(&self.url).map_err(|error| {
            bad(&if self.url.contains("://") { error.to_string() } else { "not a URL".into() })
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad("not http or https"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("a query or fragment"));
        }
        let in_url = url.password().filter(|password| !password.is_empty());
        let in_url = in_url.map(|password| {
            percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned()
        });
        let cleaned = url.set_password(None).and_then(|()| url.set_username(""));
        cleaned.map_err(|()| bad("credentials"))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token.or(in_url) {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| Error::usage("the token has odd characters"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("tidelog/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(Policy::none())
            .http1_only()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.silence);
        let http = tls::set_up(http, url.scheme() == "https", &self.authorities)?;
        let http = http.build().map_err(Error::connection)?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        let Self { retry, on_retry, .. } = self;
        Ok(Client { inner: Arc::new(Inner { http, base, retry, on_retry }) })
    }
}
