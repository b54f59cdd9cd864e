//! TLS of the client: rustls with ring, and nothing of what the process may have installed.

use reqwest::ClientBuilder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::error::Error;

/// Whom to believe that a service is what it says.
#[derive(Clone, Debug, Default)]
pub(super) enum Authorities {
    /// Those of the system.
    #[default]
    System,
    /// Those in this text, in PEM.
    Pem(Vec<u8>),
}

/// Sets up TLS. Without it (`http:`) nothing is loaded.
pub(super) fn set_up(
    builder: ClientBuilder,
    https: bool,
    authorities: &Authorities,
) -> Result<ClientBuilder, Error> {
    let mut roots = RootCertStore::empty();
    if https {
        trust(&mut roots, authorities)?;
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(builder.tls_backend_preconfigured(config))
}

fn trust(roots: &mut RootCertStore, authorities: &Authorities) -> Result<(), Error> {
    match authorities {
        Authorities::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Authorities::Pem(text) => {
            let unusable =
                |error: &dyn std::fmt::Display| Error::usage(format!("certificate: {error}"));
            for certificate in CertificateDer::pem_slice_iter(text) {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
        }
    }
    if roots.is_empty() {
        let why = "https needs certificates of authorities, and there are none: install \
            ca-certificates, or give the authority's certificate";
        return Err(Error::usage(why));
    }
    Ok(())
}

/// Whether a connection failed because the service is not what it says: that does not pass.
pub(super) fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return true;
    }
    // An I/O error does not show what it wraps as its source.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|wrapped| is_distrust(wrapped)) || error.source().is_some_and(is_distrust)
}

/// A name that nobody else chooses: 128 random bits in hex.
pub(super) fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 16];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Error::usage("the system gives no random bytes"))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::CertificateError;

    use super::*;

    #[test]
    fn distrust_is_seen_however_it_is_wrapped() {
        let distrust = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(distrust));
        assert!(is_distrust(&wrapped));
        let other = rustls::Error::General("no".into());
        assert!(!is_distrust(&io::Error::other(other)));
        assert!(!is_distrust(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn certificates_are_only_wanted_for_https() {
        let pem = Authorities::Pem(b"no certificate".to_vec());
        assert!(set_up(reqwest::Client::builder(), false, &pem).is_ok());
        assert!(set_up(reqwest::Client::builder(), true, &pem).is_err());
    }

    #[test]
    fn names_differ() {
        let name = || random_name().expect("random bytes");
        assert_ne!(name(), name());
        assert_eq!(name().len(), 32);
    }
}
