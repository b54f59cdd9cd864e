//! Messages of `text/event-stream`, as far as the service uses it: one `data:` line a message.

use bytes::Bytes;
use reqwest::Response;

use super::error::Error;
use super::lines::Lines;

/// One message.
pub(super) struct Message {
    /// Its `event:`; empty where there is none.
    pub(super) kind: Bytes,
    /// Its `data:`.
    pub(super) data: Bytes,
}

/// An answer's messages.
pub(super) struct Messages {
    lines: Lines,
    kind: Bytes,
    data: Option<Bytes>,
}

impl Messages {
    pub(super) fn of(answer: Response) -> Self {
        Self { lines: Lines::of(answer), kind: Bytes::new(), data: None }
    }

    /// The next message; `None` at the proper end. What has no blank line behind it is not seen.
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Error> {
        while let Some(mut line) = self.lines.next().await? {
            if line.ends_with(b"\r") {
                line.truncate(line.len() - 1);
            }
            if line.is_empty() {
                let kind = std::mem::take(&mut self.kind);
                if let Some(data) = self.data.take() {
                    return Ok(Some(Message { kind, data }));
                }
            } else if let Some(kind) = field(&line, b"event:") {
                self.kind = kind;
            } else if let Some(data) = field(&line, b"data:") {
                self.data = Some(data);
            }
        }
        Ok(None)
    }
}

/// The value of a field, where the line is one of this name.
fn field(line: &Bytes, name: &[u8]) -> Option<Bytes> {
    let value = line.strip_prefix(name)?;
    Some(line.slice_ref(value.strip_prefix(b" ").unwrap_or(value)))
}
