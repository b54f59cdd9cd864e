//! Writing to a remote Tidelog. Every request has a name, so that it can be sent again after a
//! failure without being written twice.
//!
//! Not here: streams (`stream/`).

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH};

use super::connect::Client;
use super::error::{Committed, Error};
use super::exchange::Answer;
use super::reader::path;
use super::tls::random_name;
use crate::domain::{
    Ack, Content, IdempotencyKey, Precondition, Reason, Seq, TopicName, TransactionNo, Version,
};
use crate::wire::received::BadAnswer;
use crate::wire::{answer, submit};

/// Writes topics over HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpWriter {
    pub(super) client: Client,
}

/// What a write was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of the transaction; `None` where all was there already.
    pub transaction: Option<TransactionNo>,
    /// Where the events are, in order.
    pub events: Vec<Ack>,
    /// The seq of the topic's head just after it.
    pub head: Option<Seq>,
    /// Whether an earlier sending was written, and this is its answer.
    pub replayed: bool,
}

/// The terms of a write.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What must be true of the topic's head.
    pub precondition: Option<Precondition>,
    /// The name of the request, where the program wants to send it again itself, for example
    /// after a restart; where there is none, the client finds one for this call.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl HttpWriter {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Appends one event, as a transaction of its own.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn append(&self, topic: &TopicName, event: &Content) -> Result<Written, Error> {
        self.append_on(topic, event, &Terms::default()).await
    }

    /// Appends one event on terms.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn append_on(
        &self,
        topic: &TopicName,
        event: &Content,
        terms: &Terms,
    ) -> Result<Written, Error> {
        let path = path(topic, "/events");
        single(&self.send(&path, submit::event(event), terms).await?)
    }

    /// Appends events as one transaction: all of them or none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn transaction(
        &self,
        topic: &TopicName,
        events: &[Content],
    ) -> Result<Written, Error> {
        self.transaction_on(topic, events, &Terms::default()).await
    }

    /// Appends a transaction on terms.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn transaction_on(
        &self,
        topic: &TopicName,
        events: &[Content],
        terms: &Terms,
    ) -> Result<Written, Error> {
        let path = path(topic, "/transactions");
        let answer = self.send(&path, submit::transaction(events), terms).await?;
        let json = answer::transaction(&answer.body).map_err(written)?;
        Ok(Written {
            transaction: json.transaction.map(TransactionNo),
            events: json.events.into_iter().map(Ack::from).collect(),
            head: json.head.map(|head| Version::from(head).seq),
            replayed: replayed(&answer.headers),
        })
    }

    /// Says that an earlier transaction was wrong. The answer is where the invalidation is; that
    /// it was there already is no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn invalidate(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
        reason: Option<&Reason>,
    ) -> Result<Written, Error> {
        let path = path(topic, &format!("/transactions/{transaction}/invalidation"));
        single(&self.send(&path, submit::invalidation(reason), &Terms::default()).await?)
    }

    async fn send(&self, path: &str, body: Bytes, terms: &Terms) -> Result<Answer, Error> {
        let name = match &terms.idempotency_key {
            Some(name) => name.as_str().to_owned(),
            None => random_name()?,
        };
        let request = || {
            let request = self.client.request(Method::POST, path, &[]);
            let request = request.header(CONTENT_TYPE, "application/json");
            let request = request.header("Idempotency-Key", &name).body(body.clone());
            match terms.precondition {
                None => request,
                Some(Precondition::Empty) => request.header(IF_NONE_MATCH, "*"),
                Some(Precondition::HeadIs(seq)) => request.header(IF_MATCH, format!("\"{seq}\"")),
            }
        };
        self.client.exchange(request).await
    }
}

/// The answer for one event.
fn single(answer: &Answer) -> Result<Written, Error> {
    let ack = answer::ack(&answer.body).map_err(written)?;
    Ok(Written {
        transaction: (!ack.duplicate).then_some(ack.version.transaction),
        events: vec![ack],
        head: head(&answer.headers),
        replayed: replayed(&answer.headers),
    })
}

/// The service took it, though we do not understand what it says.
fn written(error: BadAnswer) -> Error {
    Error::from(error).with(Committed::Yes)
}

fn head(headers: &HeaderMap) -> Option<Seq> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    tag.trim_matches('"').parse().ok().map(Seq)
}

fn replayed(headers: &HeaderMap) -> bool {
    headers.contains_key("Idempotency-Replayed")
}
