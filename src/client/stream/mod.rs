//! Streams of lines that are appended while they are still being sent, acknowledged in order.
//!
//! Two halves for the program, [`Sender`] and [`Acks`], and between them a task, the courier
//! (`courier.rs`), which holds the connection.
//!
//! Invariants: what is held is bounded, in events and bytes, from [`Sender::send`] until the ack is
//! taken from [`Acks`]; every line has one number for ever, so that sending it again is safe.

mod answers;
mod courier;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::ready;
use futures::stream::{self, Stream, StreamExt as _};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::connect::Client;
use super::error::Error;
use super::exchange::once;
use super::reader::path;
use super::tls::random_name;
use super::writer::HttpWriter;
use crate::domain::limits::POSITION_MAX;
use crate::domain::{ProducerId, TopicName, TransactionNo, Version};
use crate::wire::answer;
use crate::wire::submit;
use crate::wire::submitted::Submitted;
use courier::Courier;

/// Who sends a stream. Its lines to a topic are numbered from 0 without gaps, over all its
/// streams; a line whose number is there already is not written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its name.
    pub id: ProducerId,
    /// Its incarnation. Once the service has seen a higher one, this one is refused.
    pub epoch: u64,
    /// The number of the first line of the stream.
    pub next_line: u64,
}

/// What can be chosen about a stream.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Who sends it. `None`: somebody new, so that lost connections do no harm; only after the
    /// program itself has ended, nobody can go on with it.
    pub producer: Option<Producer>,
    /// Most events that are sent and whose acks were not taken; 10,000 where not said.
    pub events_max: usize,
    /// Most bytes of the same; 16 MiB where not said. A larger line goes alone.
    pub bytes_max: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { producer: None, events_max: 10_000, bytes_max: 16 << 20 }
    }
}

/// A line that is durable, as are all lines before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineAck {
    /// The producer's number of the line.
    pub line: u64,
    /// The number of its transaction; `None` where all was there already.
    pub transaction: Option<TransactionNo>,
    /// Where its events are.
    pub events: answer::Acks,
    /// Whether it was written by an earlier sending.
    pub replayed: bool,
}

/// What a whole stream came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines acknowledged.
    pub lines: u64,
    /// Events written, by this sending or an earlier one.
    pub written: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// The newest version among the acks.
    pub newest: Option<Version>,
}

impl Totals {
    /// Counts one line.
    pub fn add(&mut self, ack: &LineAck) {
        self.lines += 1;
        let duplicates = ack.events.iter().filter(|ack| ack.duplicate).count() as u64;
        self.duplicates += duplicates;
        self.written += ack.events.len() as u64 - duplicates;
        let newest = ack.events.iter().map(|ack| ack.version).max();
        self.newest = self.newest.max(newest);
    }
}

/// A line on its way, and the room that it takes.
struct Open {
    bytes: Bytes,
    events: usize,
    room: Room,
}

/// Given back when dropped.
#[expect(dead_code, reason = "permits are there to be dropped")]
struct Room(OwnedSemaphorePermit, OwnedSemaphorePermit);

type Acked = Result<(LineAck, Room), Error>;

/// Sends the lines of a stream. Dropping it ends the stream properly: what was sent is still
/// written and acknowledged.
pub struct Sender {
    lines: mpsc::UnboundedSender<Open>,
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limits: (u32, u32),
    failure: Arc<OnceLock<Error>>,
    next_line: u64,
}

impl Sender {
    /// Sends a line: an event, or several that are one transaction. Waits while too much is on
    /// its way, so the acks must be taken meanwhile. Answers the number of the line. Nothing is
    /// sent where the future is dropped before it is ready.
    ///
    /// # Errors
    /// The stream has ended with this error, or the transaction has no event.
    pub async fn send(&mut self, line: impl Into<Submitted>) -> Result<u64, Error> {
        let line = line.into();
        let events = line.events().len();
        if events == 0 {
            return Err(Error::usage("a transaction has at least one event"));
        }
        let bytes = submit::line(&line);
        let room = self.room(events, bytes.len()).await?;
        let open = Open { bytes, events, room };
        self.lines.send(open).map_err(|_| self.failed())?;
        self.next_line += 1;
        Ok(self.next_line - 1)
    }

    /// The number that the next line gets.
    #[must_use]
    pub fn next_line(&self) -> u64 {
        self.next_line
    }

    async fn room(&self, events: usize, bytes: usize) -> Result<Room, Error> {
        let most = |count: usize, max: u32| u32::try_from(count).unwrap_or(u32::MAX).min(max);
        let events = most(events, self.limits.0);
        let bytes = most(bytes, self.limits.1);
        let events = Arc::clone(&self.events).acquire_many_owned(events).await;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        match (events, bytes) {
            (Ok(events), Ok(bytes)) => Ok(Room(events, bytes)),
            _ => Err(self.failed()),
        }
    }

    fn failed(&self) -> Error {
        let unread = || Error::usage("the acks of the stream were dropped");
        self.failure.get().cloned().unwrap_or_else(unread)
    }
}

/// The acks of a stream, in order. Ends after the last, or with an error: then no line from the
/// one that it names on is written, unless it says that this is unknown. Dropping it gives the
/// stream up: what is on its way may or may not be written.
pub struct Acks {
    acks: mpsc::UnboundedReceiver<Acked>,
}

impl Acks {
    /// The next ack; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<LineAck, Error>> {
        Some(self.acks.recv().await?.map(|(ack, _room)| ack))
    }

    /// Takes all acks and counts them.
    ///
    /// # Errors
    /// The stream failed.
    pub async fn finish(mut self) -> Result<Totals, Error> {
        let mut totals = Totals::default();
        while let Some(ack) = self.next().await {
            totals.add(&ack?);
        }
        Ok(totals)
    }
}

impl Stream for Acks {
    type Item = Result<LineAck, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let acked = self.acks.poll_recv(context);
        acked.map(|acked| acked.map(|acked| acked.map(|(ack, _room)| ack)))
    }
}

impl HttpWriter {
    /// Begins a stream of lines to a topic. Must be called within a tokio runtime. Nothing is
    /// connected before the first line, and after some silence the connection is let go.
    ///
    /// ```no_run
    /// # use tidelog::client::{Client, Error, StreamOptions, event};
    /// # use tidelog::domain::TopicName;
    /// # async fn example() -> Result<(), Error> {
    /// let writer = Client::new("http://127.0.0.1:4810")?.writer();
    /// let (mut lines, acks) =
    ///     writer.stream(&TopicName::parse("orders")?, StreamOptions::default())?;
    /// let sending = async move {
    ///     for number in 0..100_000 {
    ///         lines.send(event(&format!("order-{number}"), r#"{"state":"new"}"#)?).await?;
    ///     }
    ///     lines.send(vec![event("a", "1")?, event("b", "1")?]).await // One transaction.
    /// };
    /// let (sent, totals) = tokio::join!(sending, acks.finish());
    /// sent?;
    /// println!("{} events written", totals?.written);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the system gives no random bytes for a name.
    pub fn stream(
        &self,
        topic: &TopicName,
        options: StreamOptions,
    ) -> Result<(Sender, Acks), Error> {
        let producer = match options.producer {
            Some(producer) => producer,
            None => {
                let id = ProducerId::parse(&random_name()?)?;
                Producer { id, epoch: 0, next_line: 0 }
            }
        };
        let limit = |max: usize| {
            u32::try_from(max.max(1)).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32)
        };
        let limits = (limit(options.events_max), limit(options.bytes_max));
        let room = |limit: u32| Arc::new(Semaphore::new(limit as usize));
        let (events, bytes) = (room(limits.0), room(limits.1));
        let (lines, coming) = mpsc::unbounded_channel();
        let (acked, acks) = mpsc::unbounded_channel();
        let failure = Arc::new(OnceLock::new());
        let next_line = producer.next_line;
        let end = courier::End {
            acks: acked,
            failure: Arc::clone(&failure),
            room: [Arc::clone(&events), Arc::clone(&bytes)],
        };
        tokio::spawn(Courier::new(&self.client, topic, producer, coming, end).run());
        Ok((Sender { lines, events, bytes, limits, failure, next_line }, Acks { acks }))
    }

    /// Appends a stream of lines and gives their acks, as one stream that does both while it is
    /// polled. It ends at the first error.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn append_all<L>(
        &self,
        topic: &TopicName,
        options: StreamOptions,
        lines: L,
    ) -> Result<impl Stream<Item = Result<LineAck, Error>> + use<L>, Error>
    where
        L: Stream,
        L::Item: Into<Submitted>,
    {
        let (mut sender, acks) = self.stream(topic, options)?;
        let (failure, unsent) = (Arc::clone(&sender.failure), Arc::new(OnceLock::new()));
        let refused = Arc::clone(&unsent);
        let feeding = async move {
            let mut lines = std::pin::pin!(lines);
            while let Some(line) = lines.next().await {
                if let Err(error) = sender.send(line).await {
                    let _ = refused.set(error);
                    return;
                }
            }
        };
        let feeding = stream::once(feeding).filter_map(|()| ready(None));
        // A line that cannot be sent is reported behind the acks of those before it, unless the
        // stream has failed, which its acks have said.
        let last = stream::once(async move {
            let error = unsent.get().filter(|_| failure.get().is_none());
            error.cloned().map(Err)
        });
        Ok(stream::select(acks, feeding).chain(last.filter_map(ready)))
    }

    /// Asks how far a producer has come with a topic, to go on there: `epoch` is the incarnation
    /// that goes on. An older one is only refused once this one has sent a line.
    ///
    /// # Errors
    /// When the service cannot answer, or has seen a higher epoch (`producer-fenced`).
    pub async fn resume(
        &self,
        topic: &TopicName,
        id: &ProducerId,
        epoch: u64,
    ) -> Result<Producer, Error> {
        let mut patience = self.client.patience();
        loop {
            // A line that cannot be there yet: the service refuses it, and says which it expects.
            let producer = Producer { id: id.clone(), epoch, next_line: POSITION_MAX - 1 };
            let error = match once(request(&self.client, topic, &producer).body("")).await {
                Ok(_) => Error::usage("the producer has no numbers left"),
                Err(error) => error,
            };
            let expected = error.problem().and_then(|problem| problem.expected);
            if let Some(next_line) = expected {
                return Ok(Producer { next_line, ..producer });
            }
            if !patience.again(&error).await {
                return Err(error);
            }
        }
    }
}

/// A request for lines of a producer, from its next one on.
fn request(client: &Client, topic: &TopicName, producer: &Producer) -> reqwest::RequestBuilder {
    client
        .request(Method::POST, &path(topic, "/events"), &[])
        .header(CONTENT_TYPE, "application/x-ndjson")
        .header("Producer-Id", producer.id.as_str())
        .header("Producer-Epoch", producer.epoch)
        .header("Producer-Seq", producer.next_line)
}
