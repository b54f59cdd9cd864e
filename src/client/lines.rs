//! An answer's body, line by line, as it comes.

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::Response;

use super::error::Error;
use crate::wire::received::BadAnswer;

/// The longest line that is taken: larger than any event that a service can be set up to take.
const LINE_BYTES_MAX: usize = 512 << 20;

/// Reads lines. A line that is not ended is not seen.
pub(super) struct Lines {
    pieces: BoxStream<'static, Result<Bytes, Error>>,
    /// What came and was not taken yet.
    piece: Bytes,
    /// The begin of a line whose end has not come yet.
    begun: BytesMut,
}

impl Lines {
    pub(super) fn of(answer: Response) -> Self {
        let pieces = answer.bytes_stream().map_err(Error::connection).boxed();
        Self { pieces, piece: Bytes::new(), begun: BytesMut::new() }
    }

    /// The next line without its end, if it is there already.
    pub(super) fn ready(&mut self) -> Option<Bytes> {
        let end = memchr::memchr(b'\n', &self.piece)?;
        let mut line = self.piece.split_to(end + 1);
        line.truncate(end);
        if self.begun.is_empty() {
            return Some(line);
        }
        self.begun.extend_from_slice(&line);
        Some(self.begun.split().freeze())
    }

    /// The next line without its end; `None` at the proper end of the body. Nothing is lost when
    /// the future is dropped.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(line) = self.ready() {
                return Ok(Some(line));
            }
            let rest = std::mem::take(&mut self.piece);
            self.begun.extend_from_slice(&rest);
            if self.begun.len() > LINE_BYTES_MAX {
                return Err(BadAnswer::new("a line without an end").into());
            }
            match self.pieces.next().await.transpose()? {
                Some(piece) => self.piece = piece,
                None => return Ok(None),
            }
        }
    }
}
