//! Messages of `text/event-stream`.
//!
//! Invariant: what a message carries is one line, so that it needs only one `data:` field.

use bytes::{BufMut as _, Bytes, BytesMut};

/// What a message is about, as its `event:` field says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event of a topic.
    Event,
    /// An invalidation.
    Invalidation,
    /// Everything up to a head has been sent.
    CaughtUp,
    /// The stream lives, and where the topic's head is.
    Heartbeat,
    /// A problem; the stream ends.
    Error,
    /// The service is shutting down; the stream ends.
    End,
    /// The head of a topic.
    Head,
}

impl Kind {
    /// The kind as text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Invalidation => "invalidation",
            Self::CaughtUp => "caught-up",
            Self::Heartbeat => "heartbeat",
            Self::Error => "error",
            Self::End => "end",
            Self::Head => "head",
        }
    }
}

/// Appends a message with an id; `data` is one line of JSON, without its line end.
pub fn put_numbered(out: &mut BytesMut, id: u64, kind: Kind, data: &[u8]) {
    out.put_slice(b"id: ");
    serde_json::to_writer(out.writer(), &id).expect("a number is JSON");
    out.put_u8(b'\n');
    put_message(out, kind, data);
}

/// Appends a message without an id: the client's last id stays what it was.
pub fn put_message(out: &mut BytesMut, kind: Kind, data: &[u8]) {
    out.put_slice(b"event: ");
    out.put_slice(kind.name().as_bytes());
    out.put_slice(b"\ndata: ");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

/// A message by itself.
#[must_use]
pub fn message(kind: Kind, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 32);
    put_message(&mut out, kind, data);
    out.freeze()
}
