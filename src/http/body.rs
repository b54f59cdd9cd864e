//! Request bodies: the one place that reads them. Decompresses `gzip` and `zstd` itself, because
//! the framework's decompression knows no limits (see `docs/decisions/`).
//!
//! Invariants: nothing is decompressed faster than it is used, so memory is bounded by the limits
//! whatever is sent; limits count decompressed bytes; a body that ends early is never taken for
//! one that ended.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::{Data, Payload};
use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;

use super::app::{App, Limits};
use super::problem::{ErrorCode, Problem};

/// How much is decompressed at a time.
const PIECE: usize = 64 << 10;
/// A body may be so many times as large as what was sent for it; events compress up to some
/// hundred times, bombs some thousand times and more.
const RATIO_MAX: u64 = 1000;
/// Below this size the ratio does not matter.
const RATIO_FROM: u64 = 16 << 20;

/// Two to the power of this is the largest window of zstd in bytes (8 MiB), as RFC 9659 has it for HTTP: it is
/// memory that the sender asks for, and the library's own bound is 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The text of an event may be so many times as large as the event (base64, escapes), and so many
/// bytes larger, before it is too large whatever it holds.
const LINE_FACTOR: usize = 2;
const LINE_MORE: usize = 16 << 10;

type Compressed = Pin<Box<dyn AsyncBufRead>>;

/// A request's body, decompressed, piece by piece.
pub(super) struct Body {
    source: Source,
    /// Bytes received, of a compressed body.
    received: Rc<Cell<u64>>,
    /// Where to decompress to. Pieces share it, so that small ones do not take the space of large.
    space: BytesMut,
    /// Bytes decompressed.
    inflated: u64,
}

enum Source {
    Plain(Payload),
    Gzip(GzipDecoder<Compressed>),
    Zstd(ZstdDecoder<Compressed>),
    Ended,
}

impl Body {
    /// Begins to read.
    ///
    /// # Errors
    /// `unsupported-media-type` for an encoding that is not known, or more than one.
    pub(super) fn new(request: &HttpRequest, payload: Payload) -> Result<Self, Problem> {
        let received = Rc::new(Cell::new(0));
        let counter = Rc::clone(&received);
        let compressed = |payload: Payload| -> Compressed {
            let count = move |piece: &Bytes| counter.set(counter.get() + piece.len() as u64);
            let pieces = payload.map_err(io::Error::other).inspect_ok(count);
            Box::pin(StreamReader::new(pieces))
        };
        let mut encodings = request.headers().get_all(CONTENT_ENCODING);
        let encoding = encodings.next().map(|value| value.to_str().unwrap_or("?").trim());
        let source = match encoding.map(str::to_ascii_lowercase).as_deref() {
            _ if encodings.next().is_some() => return Err(unsupported()),
            None | Some("" | "identity") => Source::Plain(payload),
            Some("gzip" | "x-gzip") => {
                let mut decoder = GzipDecoder::new(compressed(payload));
                decoder.multiple_members(true);
                Source::Gzip(decoder)
            }
            Some("zstd") => {
                let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX)];
                let mut decoder = ZstdDecoder::with_params(compressed(payload), &window);
                decoder.multiple_members(true);
                Source::Zstd(decoder)
            }
            Some(_) => return Err(unsupported()),
        };
        Ok(Self { source, received, space: BytesMut::new(), inflated: 0 })
    }

    /// The next piece; `None` at the proper end.
    ///
    /// # Errors
    /// `malformed` where the body ends early, or is not compressed as it says.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let piece = match &mut self.source {
            Source::Plain(payload) => payload.next().await.transpose().map_err(io::Error::other),
            Source::Gzip(decoder) => inflate(decoder, &mut self.space).await,
            Source::Zstd(decoder) => inflate(decoder, &mut self.space).await,
            Source::Ended => Ok(None),
        };
        let piece = piece.map_err(|error| {
            tracing::debug!(%error, "a body cannot be read");
            Problem::new(ErrorCode::Malformed, "the body ends early, or is not encoded as it says")
        })?;
        if let Source::Gzip(_) | Source::Zstd(_) = self.source {
            match &piece {
                None => self.see_the_end().await?,
                Some(piece) => self.inflated(piece.len()).await?,
            }
        }
        Ok(piece)
    }

    /// Counts what was decompressed, and lets others have a turn: a bomb is always ready.
    async fn inflated(&mut self, bytes: usize) -> Result<(), Problem> {
        tokio::task::yield_now().await;
        self.inflated += bytes as u64;
        if self.inflated > RATIO_FROM && self.inflated / RATIO_MAX > self.received.get() {
            let detail = format!("the body is more than {RATIO_MAX} times as large as sent");
            return Err(Problem::new(ErrorCode::TooLarge, detail));
        }
        Ok(())
    }

    /// After the compressed data nothing may follow.
    async fn see_the_end(&mut self) -> Result<(), Problem> {
        let mut rest = match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Gzip(decoder) => decoder.into_inner(),
            Source::Zstd(decoder) => decoder.into_inner(),
            Source::Plain(_) | Source::Ended => return Ok(()),
        };
        match rest.fill_buf().await {
            Ok([]) => Ok(()),
            _ => Err(Problem::new(ErrorCode::Malformed, "data follows the compressed body")),
        }
    }

    /// The whole body, within the service's limits.
    ///
    /// # Errors
    /// `too-large`, `overloaded`, `request-timeout`, `malformed`, `shutting-down`.
    pub(super) async fn whole(mut self, app: &App) -> Result<Bytes, Problem> {
        let (max, timeout) = (app.limits.body_bytes_max, app.limits.body_timeout);
        let reading = async {
            let (mut body, mut share) = (BytesMut::new(), app.arriving.share());
            while let Some(piece) = self.next().await? {
                let length = body.len() + piece.len();
                if length > max {
                    let detail = format!("the body is larger than {max} bytes (body_bytes_max)");
                    return Err(Problem::new(ErrorCode::TooLarge, detail));
                }
                share.grow_to(length)?;
                body.extend_from_slice(&piece);
            }
            Ok(body.freeze())
        };
        tokio::pin!(reading);
        if let Some(body) = came_along(reading.as_mut()).await {
            return body;
        }
        let in_time = tokio::time::timeout(timeout, reading);
        match app.draining.run_until_cancelled(in_time).await {
            Some(Ok(body)) => body,
            Some(Err(_)) => Err(too_slow(timeout)),
            None => Err(shutting_down()),
        }
    }
}

/// The outcome of reading a body that came along with its head, which needs no timer. With HTTP/1 the
/// framework calls the handler before it takes in the rest of what came, and polls it again at once:
/// so whoever finds nothing looks a second time.
async fn came_along<T>(mut reading: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut looked = false;
    poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

async fn inflate(
    decoder: &mut (impl AsyncRead + Unpin),
    space: &mut BytesMut,
) -> io::Result<Option<Bytes>> {
    if space.capacity() < PIECE / 8 {
        *space = BytesMut::with_capacity(PIECE);
    }
    let count = decoder.read_buf(space).await?;
    Ok((count > 0).then(|| space.split().freeze()))
}

fn unsupported() -> Problem {
    let detail = "Content-Encoding must be gzip or zstd, and only one";
    Problem::new(ErrorCode::UnsupportedMediaType, detail)
}

/// The service ends before the body does.
fn shutting_down() -> Problem {
    Problem::new(ErrorCode::ShuttingDown, "the service is shutting down")
}

/// The client was too slow.
fn too_slow(timeout: Duration) -> Problem {
    let detail = format!("the body did not come within {} s", timeout.as_secs_f64());
    Problem::new(ErrorCode::RequestTimeout, detail)
}

/// A body as lines.
pub(super) struct Lines {
    body: Body,
    /// The begin of a line whose end has not come yet.
    begun: BytesMut,
    /// Whole lines that have come behind the end of that one.
    rest: Option<Bytes>,
    app: Data<App>,
}

/// What comes next of a stream of lines.
pub(super) enum Piece {
    /// Some bytes that end with the end of a line.
    Lines(Bytes),
    /// The last line, which has no end; maybe empty. The body ended properly.
    End(Bytes),
}

impl Lines {
    pub(super) fn new(body: Body, app: Data<App>) -> Self {
        Self { body, begun: BytesMut::new(), rest: None, app }
    }

    /// Whether the next lines are there already.
    pub(super) fn has_more(&self) -> bool {
        self.rest.is_some()
    }

    /// The next whole lines, as soon as there are any. A line that came in pieces comes alone: the
    /// lines behind it shall not keep it alive.
    ///
    /// # Errors
    /// `too-large` for a line, `request-timeout`, `malformed`, `shutting-down`: no more lines can
    /// be read.
    pub(super) async fn next(&mut self) -> Result<Piece, Problem> {
        if let Some(rest) = self.rest.take() {
            return Ok(Piece::Lines(rest));
        }
        loop {
            let idle = self.app.limits.stream_idle_timeout;
            let in_time = tokio::time::timeout(idle, self.body.next());
            let piece = self.app.draining.run_until_cancelled(in_time).await;
            let piece = piece.ok_or_else(shutting_down)?.map_err(|_| too_slow(idle))?;
            let Some(piece) = piece? else {
                return Ok(Piece::End(self.begun.split().freeze()));
            };
            if let Some(end) = memchr::memrchr(b'\n', &piece) {
                return Ok(Piece::Lines(self.whole_lines(&piece, end)));
            }
            self.begun.extend_from_slice(&piece);
            self.check_begun()?;
        }
    }

    /// Whether a line whose end has not come yet may go on: one event ends sooner than a group.
    fn check_begun(&self) -> Result<(), Problem> {
        let Limits { event_bytes_max, body_bytes_max, .. } = self.app.limits;
        let detail = if self.begun.len() > body_bytes_max {
            format!("the line is longer than {body_bytes_max} bytes (body_bytes_max)")
        } else if self.begun.len() > LINE_FACTOR * event_bytes_max + LINE_MORE
            && is_one_event(&self.begun)
        {
            format!("the event is larger than {event_bytes_max} bytes (event_bytes_max)")
        } else {
            return Ok(());
        };
        Err(Problem::new(ErrorCode::TooLarge, detail))
    }

    /// What can be given of a piece whose last line feed is at `end`.
    fn whole_lines(&mut self, piece: &Bytes, end: usize) -> Bytes {
        let mut line = std::mem::take(&mut self.begun);
        self.begun.extend_from_slice(&piece[end + 1..]);
        if line.is_empty() {
            return piece.slice(..=end);
        }
        let first = memchr::memchr(b'\n', piece).unwrap_or(end);
        self.rest = (first < end).then(|| piece.slice(first + 1..=end));
        line.extend_from_slice(&piece[..=first]);
        line.freeze()
    }
}

/// Whether a line begins as an event does, and not as `{"events":[…]}`.
fn is_one_event(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let Some(members) = line.strip_prefix(b"{") else { return false };
    let Some(first) = members.trim_ascii_start().strip_prefix(b"\"") else { return false };
    let known = [&b"key\""[..], b"data", b"hash\"", b"type\"", b"metadata\"", b"content_type\""];
    known.iter().any(|name| first.starts_with(name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use futures::FutureExt as _;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ready at a poll of this number, from 1.
    fn ready_at(number: usize) -> impl Future<Output = usize> + Unpin {
        let mut polls = 0;
        poll_fn(move |_| {
            polls += 1;
            if polls == number { Poll::Ready(polls) } else { Poll::Pending }
        })
    }

    #[test]
    fn who_finds_no_body_looks_a_second_time_and_no_third() {
        for (number, expected) in [(1, Some(1)), (2, Some(2)), (3, None)] {
            let mut reading = ready_at(number);
            let task = Arc::new(Task::default());
            let waker = Arc::clone(&task).into();
            let mut context = Context::from_waker(&waker);
            let mut looking = Box::pin(came_along(Pin::new(&mut reading)));
            let mut looks = (0..2).map(|_| looking.poll_unpin(&mut context));
            let outcome = looks.find_map(|look| match look {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            });
            assert_eq!(outcome, Some(expected), "ready at {number}");
            assert_eq!(
                task.0.load(Ordering::Relaxed),
                usize::from(number > 1),
                "who waits is woken"
            );
        }
    }
}
