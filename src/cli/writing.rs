//! Writing to a place: streams of lines that are acknowledged in order, producers, invalidations.
//! Over HTTP or by the actors of this process, it is the same.

use futures::future::{FutureExt as _, ready};
use futures::stream::{self, LocalBoxStream, Stream, StreamExt as _};
use smallvec::SmallVec;

use super::exit::{Exit, Failure};
use super::place::{Local, Place};
use crate::client::{Producer, StreamOptions};
use crate::domain::limits::POSITION_MAX;
use crate::domain::{
    Ack, Command, Invalidate, ProducerId, ProducerLine, Reason, Receipt, Rejection, TopicName,
    TransactionNo, Write,
};
use crate::topic::{Outcome, WriteError};
use crate::wire::submitted::{Events, Submitted};

/// Most lines that are submitted to the actor of a topic together.
const CHUNK_LINES: usize = 64;
/// Such chunks on their way.
const CHUNKS_OPEN: usize = 64;

/// A line that is durable, as are all before it.
pub struct Acked {
    /// Where its events are.
    pub events: SmallVec<[Ack; 1]>,
    /// Whether an earlier sending of it was written.
    pub replayed: bool,
}

/// Acks in order; a failure is the last.
pub type Acks<'a> = LocalBoxStream<'a, Result<Acked, Failure>>;

impl Place {
    /// Appends lines. Nothing behind a line that fails is written.
    pub async fn append<'a>(
        &self,
        topic: &TopicName,
        producer: Option<Producer>,
        lines: impl Stream<Item = Submitted> + 'a,
    ) -> Result<Acks<'a>, Failure> {
        match self {
            Self::Service(client) => {
                let options = StreamOptions { producer, ..StreamOptions::default() };
                let acks = client.writer().append_all(topic, options, lines)?;
                let acks = acks.map(|ack| {
                    let ack = ack?;
                    Ok(Acked { events: ack.events, replayed: ack.replayed })
                });
                Ok(acks.boxed_local())
            }
            Self::Local(local) => local.append(topic, producer, lines).await,
        }
    }

    /// How far a producer has come with a topic.
    pub async fn next_line(
        &self,
        topic: &TopicName,
        id: &ProducerId,
        epoch: u64,
    ) -> Result<u64, Failure> {
        match self {
            Self::Service(client) => Ok(client.writer().resume(topic, id, epoch).await?.next_line),
            Self::Local(local) => {
                // A line that cannot be there yet is refused with the one that is expected.
                let line = POSITION_MAX - 1;
                let line = ProducerLine { producer: id.clone(), epoch, line };
                match local.topics.submit(topic, Command::Register(line)).await {
                    Err(WriteError::Rejected(Rejection::ProducerGap(next))) => Ok(next),
                    Err(error) => Err(refused(error)),
                    Ok(_) => Err(Failure::new(Exit::Failed, "the producer has no numbers left")),
                }
            }
        }
    }

    /// Says that a transaction was wrong; where the invalidation is.
    pub async fn invalidate(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
        reason: Option<Reason>,
    ) -> Result<Ack, Failure> {
        let acks: SmallVec<[Ack; 1]> = match self {
            Self::Service(client) => {
                let writer = client.writer();
                writer.invalidate(topic, transaction, reason.as_ref()).await?.events.into()
            }
            Self::Local(local) => {
                let command = Invalidate { transaction, reason, idempotency: None };
                let receipt = local.topics.submit(topic, Command::Invalidate(command)).await;
                receipt.map_err(refused)?.acks
            }
        };
        acks.first().copied().ok_or_else(|| Failure::new(Exit::Internal, "no ack"))
    }

    /// Whether a line is within the limits that a service would itself check.
    pub fn check(&self, line: &Submitted) -> Result<(), String> {
        let Self::Local(local) = self else { return Ok(()) };
        let config = &local.config;
        let events: &Events = line.events();
        if events.len() > config.transaction_events_max {
            let max = config.transaction_events_max;
            return Err(format!("{} events in a transaction; at most {max}", events.len()));
        }
        match events.iter().find(|event| event.size() > config.event_bytes_max) {
            Some(event) => {
                let max = config.event_bytes_max;
                Err(format!("an event of {} bytes; at most {max}", event.size()))
            }
            None => Ok(()),
        }
    }
}

impl Local {
    async fn append<'a>(
        &self,
        topic: &TopicName,
        mut producer: Option<Producer>,
        lines: impl Stream<Item = Submitted> + 'a,
    ) -> Result<Acks<'a>, Failure> {
        let mut session = self.topics.session(topic).map_err(refused)?;
        if let Some(producer) = &producer {
            let first = Command::Register(number(producer));
            let begun = session.submit(vec![first]).await.map_err(refused)?.await;
            if let Some(error) = begun.failure {
                return Err(refused(error));
            }
        }
        let command = move |line: Submitted| {
            let (Submitted::Event(events) | Submitted::Group(events)) = line;
            let line = producer.as_ref().map(number);
            if let Some(producer) = &mut producer {
                producer.next_line += 1;
            }
            Command::Write(Write { events, precondition: None, idempotency: None, producer: line })
        };
        let chunks = lines.map(command).ready_chunks(CHUNK_LINES).boxed_local();
        let outcomes = stream::unfold(Some((chunks, session)), async |open| {
            let (mut chunks, mut session) = open?;
            match session.submit(chunks.next().await?).await {
                Ok(outcome) => Some((outcome.boxed(), Some((chunks, session)))),
                Err(error) => {
                    let failure = Some(error);
                    let outcome = Outcome { receipts: Vec::new(), failure };
                    Some((ready(outcome).boxed(), None))
                }
            }
        });
        let acks = outcomes.buffered(CHUNKS_OPEN).flat_map(|outcome| {
            let acked = |Receipt { acks: events, replayed, .. }| Ok(Acked { events, replayed });
            let failure = outcome.failure.map(|error| Err(refused(error)));
            stream::iter(outcome.receipts.into_iter().map(acked).chain(failure))
        });
        Ok(acks.boxed_local())
    }
}

fn number(producer: &Producer) -> ProducerLine {
    let Producer { id, epoch, next_line } = producer.clone();
    ProducerLine { producer: id, epoch, line: next_line }
}

/// A refusal, in the contract's words.
pub fn refused(error: WriteError) -> Failure {
    let text = match &error {
        WriteError::Rejected(Rejection::TopicNotFound) => "there is no such topic".to_owned(),
        WriteError::Rejected(Rejection::TransactionNotFound) => {
            "the topic has no such transaction".to_owned()
        }
        WriteError::Rejected(Rejection::InvalidationOfInvalidation) => {
            "an invalidation cannot be invalidated".to_owned()
        }
        WriteError::Rejected(Rejection::ProducerFenced(epoch)) => {
            format!("the producer has been seen with epoch {epoch}")
        }
        other => other.to_string(),
    };
    Failure { text, ..Failure::from(error) }
}
