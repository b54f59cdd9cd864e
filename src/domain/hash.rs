//! Content hashes: what de-duplication compares.
//!
//! Not here: the rule that compares them (`decide.rs`).
//! Invariant: values are equal exactly when the hashes' texts are.

use std::fmt;

use bytestring::ByteString;
use sha2::{Digest as _, Sha256};

use super::limits;
use super::names::{NameError, bounded};

/// Content hash of an event: 1–255 bytes. Where the producer sends none it is the lowercase hex
/// SHA-256 of the data. Comparing hashes is comparing their text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentHash(HashText);

/// The usual hash is kept as 32 bytes. Canonical: the 64 characters of a lowercase hex SHA-256
/// are always held as `Sha256`, so that equality of values is equality of texts.
#[derive(Clone, PartialEq, Eq, Hash)]
enum HashText {
    Sha256([u8; 32]),
    Other(ByteString),
}

impl ContentHash {
    /// Parses a hash that a producer sent, or one that a store kept.
    ///
    /// # Errors
    /// When the text is outside the rules above.
    pub fn parse(text: ByteString) -> Result<Self, NameError> {
        bounded("hash", &text, limits::HASH_BYTES_MAX)?;
        let lowercase = !text.bytes().any(|c| c.is_ascii_uppercase());
        let mut digest = [0; 32];
        if lowercase && hex::decode_to_slice(text.as_bytes(), &mut digest).is_ok() {
            return Ok(Self(HashText::Sha256(digest)));
        }
        Ok(Self(HashText::Other(text)))
    }

    /// The hash of data whose SHA-256 is `digest`.
    #[must_use]
    pub fn of_digest(digest: [u8; 32]) -> Self {
        Self(HashText::Sha256(digest))
    }

    /// Whether this is the hash that data with this SHA-256 gets where the producer sends none.
    #[must_use]
    pub fn is_of_digest(&self, digest: &[u8; 32]) -> bool {
        matches!(&self.0, HashText::Sha256(own) if own == digest)
    }

    /// The hash as text.
    #[must_use]
    pub fn text(&self) -> ByteString {
        match &self.0 {
            HashText::Sha256(_) => self.with_text(|text| text.into()),
            HashText::Other(text) => text.clone(),
        }
    }

    /// Shows the hash as text, without memory of its own.
    pub fn with_text<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        match &self.0 {
            HashText::Sha256(digest) => {
                let mut hex = [0; 64];
                hex::encode_to_slice(digest, &mut hex).expect("two characters for each byte");
                use_it(str::from_utf8(&hex).expect("hexadecimal digits are ASCII"))
            }
            HashText::Other(text) => use_it(text),
        }
    }

    /// The same in memory of its own.
    #[must_use]
    pub fn detached(&self) -> Self {
        match &self.0 {
            HashText::Sha256(_) => self.clone(),
            HashText::Other(text) => Self(HashText::Other(ByteString::from(&**text))),
        }
    }

    /// The hash in little space, for comparing.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match &self.0 {
            HashText::Sha256(digest) => Fingerprint::Digest(*digest),
            HashText::Other(text) => Fingerprint::Text(Sha256::digest(text).into()),
        }
    }
}

/// Equal exactly when the hashes are (short of a collision of SHA-256). A hash that is a digest
/// never equals one that only has such a digest: a client may choose its hashes and its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// The SHA-256 that the hash is.
    Digest([u8; 32]),
    /// The SHA-256 of the hash's text.
    Text([u8; 32]),
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_equal_exactly_when_their_texts_are() {
        let digest: [u8; 32] = Sha256::digest(b"x").into();
        let hex = hex::encode(digest);
        let hash = |text: &str| ContentHash::parse(text.into()).expect("a hash");
        assert_eq!(hash(&hex), ContentHash::of_digest(digest));
        assert!(hash(&hex).is_of_digest(&digest));
        assert_ne!(hash(&hex.to_uppercase()), ContentHash::of_digest(digest));
        assert_eq!(hash(&hex.to_uppercase()).text(), hex.to_uppercase());
        assert_eq!(hash(&hex).text(), hex);
        assert_ne!(hash("a").fingerprint(), hash("b").fingerprint());
        assert_eq!(hash("a").fingerprint(), hash("a").fingerprint());
    }

    /// Found by a review: who sends the very bytes that another's hash is digested from got that
    /// hash's fingerprint.
    #[test]
    fn no_data_has_the_fingerprint_of_a_hash_that_a_producer_chose() {
        let chosen = ContentHash::parse("chosen".into()).expect("a hash").fingerprint();
        for data in ["chosen", "tidelog hash\0chosen"] {
            let of_data = ContentHash::of_digest(Sha256::digest(data).into());
            assert_ne!(of_data.fingerprint(), chosen, "{data:?}");
        }
    }
}
