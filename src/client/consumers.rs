//! Consumers: positions that the service keeps for readers under a name.
//!
//! Who may be mistaken about being the only one of its name moves on condition: `put` with the
//! revision of its last answer fails with `precondition-failed` once somebody else has moved the
//! consumer. Moving back is allowed; that is how to read again.
//!
//! Invariant: `committed` is certain. A conditional move that is sent again after a lost connection
//! may meet its own first sending: what that did is then *unknown*, and `get` tells.

use futures::Stream;
use reqwest::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder};

use super::connect::Client;
use super::error::{Committed, Error};
use super::reader::{NO_TOPIC, found, page_limit, path, understood};
use crate::domain::{Consumer, ConsumerName, Expected, Moved, ReadEvent, Revision, Seq, TopicName};
use crate::wire::consumers;

/// What means that there is no such consumer.
const NO_CONSUMER: &[&str] = &["consumer-not-found", "topic-not-found"];

/// Keeps positions at a service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpConsumers {
    client: Client,
}

impl HttpConsumers {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// A consumer; `None` where there is none.
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn get(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, Error> {
        let answer = self.client.get(&of(topic, name), &[]).await;
        let body = found(answer, NO_CONSUMER)?;
        body.map(|body| understood(consumers::consumer(&body))).transpose()
    }

    /// Consumers of a topic whose name begins with `prefix` and comes after `after`, in byte
    /// order, at most `limit`; none where there is no topic.
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn list(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, Error> {
        let mut all = Vec::new();
        let mut after = after.map(str::to_owned);
        while all.len() < limit {
            let page = page_limit(limit - all.len());
            let mut query = vec![("prefix", prefix), ("limit", page.as_str())];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let answer = self.client.get(&path(topic, "/consumers"), &query).await;
            let Some(body) = found(answer, NO_TOPIC)? else { break };
            let (page, next) = understood(consumers::consumers(&body))?;
            all.extend(page);
            let Some(next) = next else { break };
            after = Some(next);
        }
        Ok(all)
    }

    /// Moves a consumer to the last event that it has handled, `None` for before the first, or
    /// makes it. Without a condition the last to ask wins, and asking again is harmless as long
    /// as nobody else asks.
    ///
    /// # Errors
    /// `precondition-failed` where the condition does not hold; see [`Error`].
    pub async fn put(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        seq: Option<Seq>,
        expected: Option<Expected>,
    ) -> Result<Moved, Error> {
        let (path, body) = (of(topic, name), consumers::body(seq));
        let request = || {
            let request = self.client.request(Method::PUT, &path, &[]);
            let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            on(request, expected)
        };
        let answer = self.client.persist(request).await?;
        let made = answer.status == 201;
        let understood = consumers::consumer(&answer.body);
        let consumer = understood.map_err(|error| Error::from(error).with(Committed::Yes))?;
        Ok(Moved { consumer, made })
    }

    /// Forgets a consumer; `false` where there was none. (After a lost connection that may be
    /// because the first sending did it.)
    ///
    /// # Errors
    /// `precondition-failed` where it has another revision; see [`Error`].
    pub async fn delete(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, Error> {
        let (path, expected) = (of(topic, name), expected.map(Expected::Revision));
        let request = || on(self.client.request(Method::DELETE, &path, &[]), expected);
        Ok(found(self.client.persist(request).await, NO_CONSUMER)?.is_some())
    }

    /// The events that a consumer has not handled, and then those that come, as
    /// [`HttpReader::follow`](super::HttpReader::follow) gives them. Reading moves nothing: `put`
    /// what has been handled, now and then.
    ///
    /// # Errors
    /// `consumer-not-found`, or when the service cannot answer.
    pub async fn follow(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<impl Stream<Item = Result<ReadEvent, Error>> + Send + Unpin + use<>, Error> {
        let body = self.client.get(&of(topic, name), &[]).await?;
        let consumer = understood(consumers::consumer(&body))?;
        Ok(self.client.reader().follow(topic, consumer.next()))
    }
}

fn of(topic: &TopicName, name: &ConsumerName) -> String {
    path(topic, &format!("/consumers/{name}"))
}

fn on(request: RequestBuilder, expected: Option<Expected>) -> RequestBuilder {
    match expected {
        None => request,
        Some(Expected::Nothing) => request.header(IF_NONE_MATCH, "*"),
        Some(Expected::Revision(Revision(n))) => request.header(IF_MATCH, format!("\"{n}\"")),
    }
}
