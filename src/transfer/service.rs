//! Into a service over HTTP: transaction by transaction, under the rules of the service, which
//! decide the same because they decide on the same. Every ack must be the number that the event had.
//!
//! Most transactions go as numbered lines of a producer's stream, many on their way. What a line
//! cannot say (line breaks inside data, invalidations) goes as a request of its own, on condition
//! that the head is where it should be. Producer and requests are named after the topic's first
//! event, so that what an interrupted import still has on its way is not written twice.
//!
//! Invariant: the number of a line is the number of transactions before it that are lines.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::BytesMut;
use sha2::{Digest as _, Sha256};

use super::TransferError;
use super::import::Target;
use crate::client::{self, Acks, Client, LineAck, Producer, Sender, StreamOptions, Terms};
use crate::domain::{
    Ack, Content, Data, Event, EventBody, Head, IdempotencyKey, NameError, Precondition,
    ProducerId, Seq, TopicName, Version,
};
use crate::wire::export::put_event;
use crate::wire::submitted::Submitted;

/// See the module.
pub struct IntoService {
    client: Client,
    topic: Option<TopicName>,
    /// Named after the topic's first event.
    name: String,
    /// The number of the next line.
    line: u64,
    stream: Option<(Sender, Acks)>,
    /// Where the events of lines on their way should be.
    open: VecDeque<Vec<Version>>,
}

impl IntoService {
    /// Imports into a service.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let open = VecDeque::new();
        Self { client, topic: None, name: String::new(), line: 0, stream: None, open }
    }

    fn topic(&self) -> Result<TopicName, TransferError> {
        let none = || TransferError::Differs("no topic was begun".into());
        self.topic.clone().ok_or_else(none)
    }

    /// A topic's first event names what is sent.
    fn name_after(&mut self, first: &Event) {
        if first.version.seq == Seq(0) {
            let mut line = BytesMut::new();
            put_event(&mut line, first);
            self.name = format!("import-{}", &hex::encode(Sha256::digest(&line))[..32]);
            self.line = 0;
        }
    }

    /// Sends a line; takes acks while there is no room for it.
    async fn send(&mut self, events: Vec<Content>) -> Result<(), TransferError> {
        if self.stream.is_none() {
            let id = ProducerId::parse(&self.name).map_err(client_error)?;
            let producer = Some(Producer { id, epoch: 0, next_line: self.line });
            let options = StreamOptions { producer, ..StreamOptions::default() };
            self.stream = Some(self.client.writer().stream(&self.topic()?, options)?);
        }
        let Some((sender, acks)) = &mut self.stream else { return Ok(()) };
        let line = match <[Content; 1]>::try_from(events) {
            Ok([event]) => Submitted::from(event),
            Err(events) => Submitted::from(events),
        };
        let mut sending = std::pin::pin!(sender.send(line));
        loop {
            tokio::select! {
                biased;
                Some(ack) = acks.next() => checked(&mut self.open, &ack?)?,
                sent = &mut sending => {
                    sent?;
                    self.line += 1;
                    return Ok(());
                }
            }
        }
    }

    /// Sends what is no line, once all lines are written.
    async fn request(&mut self, transaction: Vec<Event>) -> Result<(), TransferError> {
        self.settled().await?;
        let (topic, writer) = (self.topic()?, self.client.writer());
        let expected = versions(&transaction);
        let acks: Vec<Ack> = match contents(&transaction) {
            Some(contents) => {
                let first = expected.first().map_or(0, |version| version.seq.0);
                let precondition = match first.checked_sub(1) {
                    None => Precondition::Empty,
                    Some(head) => Precondition::HeadIs(Seq(head)),
                };
                let name = format!("{}-{first}", self.name);
                let name = IdempotencyKey::parse(&name).map_err(client_error)?;
                let terms = Terms { precondition: Some(precondition), idempotency_key: Some(name) };
                writer.transaction_on(&topic, &contents, &terms).await?.events
            }
            None => {
                let mut acks = Vec::new();
                for event in &transaction {
                    if let EventBody::Invalidation(invalidation) = &event.body {
                        let (transaction, reason) =
                            (invalidation.invalidates, invalidation.reason.as_ref());
                        acks = writer.invalidate(&topic, transaction, reason).await?.events;
                    }
                }
                // One that is there already, from an interrupted run, is as good.
                acks.iter_mut().for_each(|ack| ack.duplicate = false);
                acks
            }
        };
        same(&expected, &acks)
    }

    async fn settled(&mut self) -> Result<(), TransferError> {
        let Some((sender, mut acks)) = self.stream.take() else { return Ok(()) };
        drop(sender);
        while let Some(ack) = acks.next().await {
            checked(&mut self.open, &ack?)?;
        }
        Ok(())
    }

    /// What it means that the service has not seen the lines before the first that is sent.
    fn told(&self, error: TransferError) -> TransferError {
        match (&error, &self.topic) {
            (TransferError::Service(refused), Some(topic))
                if refused.code() == Some("producer-gap") =>
            {
                TransferError::Differs(format!(
                    "{topic} has the first events of the file in this service, but not from an \
                     import of this file; nothing of it was written"
                ))
            }
            _ => error,
        }
    }
}

fn client_error(error: NameError) -> TransferError {
    client::Error::from(error).into()
}

#[async_trait(?Send)]
impl Target for IntoService {
    fn keeps_times(&self) -> bool {
        false
    }

    fn is_there(&mut self, transaction: &[Event]) {
        if let Some(first) = transaction.first() {
            self.name_after(first);
        }
        self.line += u64::from(is_line(transaction));
    }

    async fn begin(&mut self, topic: &TopicName, _head: Head) -> Result<(), TransferError> {
        (self.topic, self.stream) = (Some(topic.clone()), None);
        Ok(())
    }

    async fn take(&mut self, transaction: Vec<Event>) -> Result<(), TransferError> {
        if let Some(first) = transaction.first() {
            self.name_after(first);
        }
        let taken = match contents(&transaction) {
            Some(contents) if is_line(&transaction) => {
                self.open.push_back(versions(&transaction));
                self.send(contents).await
            }
            _ => self.request(transaction).await,
        };
        taken.map_err(|error| self.told(error))
    }

    async fn settle(&mut self) -> Result<(), TransferError> {
        self.settled().await.map_err(|error| self.told(error))
    }
}

/// Whether a transaction goes as a line. The first of a topic goes on condition that it is.
fn is_line(transaction: &[Event]) -> bool {
    transaction.iter().all(|event| match &event.body {
        EventBody::Content(content) => {
            let texts = [json(&content.data), content.metadata.as_ref().map(|json| json.as_str())];
            let broken = |text: &str| memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some();
            event.version.seq.0 > 0 && !texts.into_iter().flatten().any(broken)
        }
        EventBody::Invalidation(_) => false,
    })
}

fn json(data: &Data) -> Option<&str> {
    match data {
        Data::Json(json) => Some(json.as_str()),
        Data::Binary(..) => None,
    }
}

/// What a producer would say; `None` for an invalidation.
fn contents(transaction: &[Event]) -> Option<Vec<Content>> {
    let content = |event: &Event| match &event.body {
        EventBody::Content(content) => Some(content.clone()),
        EventBody::Invalidation(_) => None,
    };
    transaction.iter().map(content).collect()
}

fn versions(transaction: &[Event]) -> Vec<Version> {
    transaction.iter().map(|event| event.version).collect()
}

fn checked(open: &mut VecDeque<Vec<Version>>, ack: &LineAck) -> Result<(), TransferError> {
    let none = || TransferError::Differs("an ack for nothing".into());
    same(&open.pop_front().ok_or_else(none)?, &ack.events)
}

/// Whether the events got the numbers that they had.
fn same(expected: &[Version], acks: &[Ack]) -> Result<(), TransferError> {
    let got = acks.iter().map(|ack| (ack.version, ack.duplicate));
    if got.eq(expected.iter().map(|version| (*version, false))) {
        return Ok(());
    }
    let at = expected.first().map_or(0, |version| version.seq.0);
    Err(TransferError::Differs(format!(
        "event {at} was not written as event {at}: somebody else writes to the topic"
    )))
}
