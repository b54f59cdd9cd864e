//! The running Merkle tree over a topic's events: leaf and node hashing of RFC 6962, section 2.1.
//!
//! A leaf covers the *digests* of data and metadata, not the bytes, so that data can one day be
//! erased and every proof still holds. Variable fields carry their length: two different events
//! never encode to the same leaf.
//!
//! Not here: proofs (they need only leaves that the log can give again).

use sha2::{Digest as _, Sha256};

use super::event::{Digest, Event, EventBody};

/// Root of the tree over all events of a topic up to some seq.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Root(pub Digest);

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What has to be kept to append to the tree: the roots of its perfect subtrees, largest first,
/// one for every set bit of the number of leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    leaves: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of a tree of `leaves` leaves from the bytes of [`Self::to_bytes`]; `None`
    /// where they do not belong together.
    #[must_use]
    pub fn from_bytes(leaves: u64, bytes: &[u8]) -> Option<Self> {
        let (peaks, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && peaks.len() == leaves.count_ones() as usize;
        fits.then(|| Self { leaves, peaks: peaks.to_vec() })
    }

    /// The peaks, one after the other: 32 bytes for each set bit of the number of leaves.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.concat()
    }

    /// How many leaves the tree has: the seq that the next event gets.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends the next event.
    pub fn push(&mut self, event: &Event) {
        assert_eq!(self.leaves, event.version.seq.0, "leaves are appended in order of seq");
        let mut node = leaf(event);
        let merges = self.leaves.trailing_ones();
        for _ in 0..merges {
            let left = self.peaks.pop().expect("one peak for every set bit");
            node = inner(&left, &node);
        }
        self.peaks.push(node);
        self.leaves += 1;
    }

    /// The root over everything appended so far. The root of the empty tree is the hash of
    /// nothing, as the RFC has it.
    #[must_use]
    pub fn root(&self) -> Root {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return Root(Sha256::digest([]).into()) };
        Root(peaks.fold(*smallest, |right, left| inner(left, &right)))
    }
}

fn inner(left: &Digest, right: &Digest) -> Digest {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

fn leaf(event: &Event) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(leaf_bytes(event));
    hasher.finalize().into()
}

/// The bytes that a leaf hashes. Integers are big-endian; `text` is a `u32` length and the
/// bytes; optional fields are one byte 0, or one byte 1 and the field:
///
/// ```text
/// u64 seq · u64 transaction · i64 recorded_at (µs) · u8 kind
/// kind 0, event:        text key · text hash · text type? · text content_type?
///                       · 32 bytes digest of data · 32 bytes digest of metadata?
/// kind 1, invalidation: u64 invalidated transaction · text reason?
/// ```
#[must_use]
pub fn leaf_bytes(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend(event.version.seq.0.to_be_bytes());
    out.extend(event.version.transaction.0.to_be_bytes());
    out.extend(event.recorded_at.0.to_be_bytes());
    match &event.body {
        EventBody::Content(content) => {
            out.push(0);
            put_text(&mut out, content.key.as_str());
            content.hash.with_text(|text| put_text(&mut out, text));
            put_option(&mut out, content.event_type.as_ref().map(|t| t.as_str()), put_text);
            put_option(&mut out, content.data.content_type().map(|t| t.as_str()), put_text);
            out.extend(content.digest);
            let digest = content.metadata.as_ref().map(|m| Sha256::digest(m.as_str()));
            put_option(&mut out, digest, |out, digest| out.extend(digest));
        }
        EventBody::Invalidation(invalidation) => {
            out.push(1);
            out.extend(invalidation.invalidates.0.to_be_bytes());
            put_option(&mut out, invalidation.reason.as_ref().map(|r| r.as_str()), put_text);
        }
    }
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u32::try_from(text.len()).expect("names are at most a few KiB");
    out.extend(len.to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_option<T>(out: &mut Vec<u8>, field: Option<T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.push(u8::from(field.is_some()));
    if let Some(field) = field {
        put(out, field);
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Content, Data, Timestamp};
    use super::super::names::{Json, Key};
    use super::super::position::{Seq, TransactionNo, Version};
    use super::*;

    fn event(seq: u64) -> Event {
        let key = Key::parse(format!("k{seq}").into()).expect("a key");
        let data = Data::Json(Json::from_valid("1".into()).expect("shallow"));
        Event {
            version: Version { seq: Seq(seq), transaction: TransactionNo(seq) },
            last: true,
            recorded_at: Timestamp(7),
            prev: None,
            body: EventBody::Content(Content::new(key, None, None, data, None)),
        }
    }

    /// MTH of RFC 6962, written down as the RFC defines it.
    fn mth(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                inner(&mth(&many[..split]), &mth(&many[split..]))
            }
        }
    }

    #[test]
    fn the_running_root_is_the_merkle_tree_hash_of_the_rfc() {
        let mut frontier = Frontier::default();
        let mut leaves = Vec::new();
        for seq in 0..70 {
            assert_eq!(frontier.root().0, mth(&leaves), "{seq} leaves");
            let restored = Frontier::from_bytes(seq, &frontier.to_bytes());
            assert_eq!(restored, Some(frontier.clone()));
            frontier.push(&event(seq));
            leaves.push(leaf(&event(seq)));
        }
        assert_eq!(Frontier::from_bytes(3, &[0; 32]), None);
        assert_eq!(Frontier::from_bytes(1, &[0; 33]), None);
    }
}
