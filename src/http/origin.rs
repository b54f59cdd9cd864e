//! What a web page may not do: a browser sends a form to any address without asking it first, and
//! a page whose name is made to point at loopback (DNS rebinding) even reads the answers. Tokens
//! keep both out; a service without tokens refuses by what browsers say of themselves.
//!
//! Not here: tokens (`auth.rs`). Requests that no browser sends pass: they carry neither header.

use std::net::SocketAddr;

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};

use super::problem::{ErrorCode, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses requests that another site's page may have sent; where `names` is not allowed, also
/// those for a host with a name, because anybody can give this address a name.
///
/// # Errors
/// `forbidden`.
pub(super) fn check(request: &HttpRequest, names: bool) -> Result<(), Problem> {
    let forbidden = |detail: &str| Err(Problem::new(ErrorCode::Forbidden, detail));
    let header = |name: HeaderName| request.headers().get(name).map(|value| value.as_bytes());
    let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| header(HOST));
    if header(SEC_FETCH_SITE) == Some(b"cross-site") {
        return forbidden("a page of another site sent this; without tokens only own pages may");
    }
    let origins = request.headers().get_all(ORIGIN);
    if origins.map(|origin| origin.as_bytes()).any(|origin| !is_of(origin, host)) {
        return forbidden("Origin is not this service; without tokens only its own pages may ask");
    }
    if !names && !host.is_none_or(is_address) {
        return forbidden(
            "Host is a name; a service without tokens answers to localhost and IP addresses only",
        );
    }
    Ok(())
}

/// Whether an origin is that of the host asked: `http://127.0.0.1:4810` of `127.0.0.1:4810`.
fn is_of(origin: &[u8], host: Option<&[u8]>) -> bool {
    let origin = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// Whether a `Host` is `localhost` or an IP address, with or without a port.
fn is_address(host: &[u8]) -> bool {
    // As nearly all programs ask, and without a copy.
    if std::str::from_utf8(host).is_ok_and(|host| host.parse::<SocketAddr>().is_ok()) {
        return true;
    }
    let Ok(host) = Uri::try_from(host) else { return false };
    let Some(host) = host.host() else { return false };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)], names: bool) -> bool {
        let request = TestRequest::post();
        let request =
            headers.iter().fold(request, |request, header| request.insert_header(*header));
        check(&request.to_http_request(), names).is_ok()
    }

    #[test]
    fn programs_and_own_pages_pass_and_other_sites_do_not() {
        let host = ("Host", "127.0.0.1:4810");
        assert!(allowed(&[], false));
        for own in ["http://127.0.0.1:4810", "https://127.0.0.1:4810"] {
            assert!(allowed(&[host, ("Origin", own)], false), "{own}");
        }
        for other in [
            "http://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:3000",
            "http://127.0.0.1:4810.evil.example",
            "null",
            "",
        ] {
            assert!(!allowed(&[host, ("Origin", other)], false), "{other}");
            assert!(!allowed(&[host, ("Origin", other)], true), "{other}");
        }
        assert!(!allowed(&[("Origin", "http://127.0.0.1:4810")], false), "an origin, and no host");
        for (site, own) in
            [("cross-site", false), ("same-origin", true), ("same-site", true), ("none", true)]
        {
            assert_eq!(allowed(&[host, ("Sec-Fetch-Site", site)], true), own, "{site}");
        }
    }

    #[test]
    fn a_host_with_a_name_is_only_for_those_who_said_so() {
        for host in
            ["localhost", "LocalHost:4810", "127.0.0.1", "10.0.0.7:80", "[::1]:4810", "[::1]"]
        {
            assert!(allowed(&[("Host", host)], false), "{host}");
        }
        for host in
            ["evil.example", "evil.example:4810", "localhost.evil.example", "1.2.3", "", "a b"]
        {
            assert!(!allowed(&[("Host", host)], false), "{host}");
            assert!(allowed(&[("Host", host)], true), "{host}");
        }
    }
}
