//! A plain HTTP client for loopback, without TLS. (`reqwest::Client::new()` would want a provider
//! of cryptography for the process, because the package's own client has TLS.)

/// Builds a client.
pub fn builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([])
}

/// A client.
#[allow(dead_code, reason = "each test binary uses a part of it")]
pub fn client() -> reqwest::Client {
    builder().build().expect("a client")
}
