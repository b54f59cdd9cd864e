//! Reading a remote Tidelog as if it were a database.
//!
//! What [`EventSourceReader`] guarantees is kept over HTTP, with one thing missing: the contract
//! does not say which event was the previous version of a key, so `Event::prev` is `None`.
//!
//! | of the trait | over HTTP |
//! | --- | --- |
//! | `topics`, `history`, `surface` | pages until there are `limit`, all as of one head |
//! | `events` | the same; forward, `limit` becomes a cut (`to`), so that no page runs over it |
//! | `head` | `GET /v1/topics/{topic}`; 404 is a topic without events |
//! | `transaction` | reads the transaction, of which only the ends are used |
//! | `surface` at an event | `as_of` its transaction, which it must be the last event of |
//! | `surface` of one key | the first key that has this one as a prefix, which is the key itself |
//! | `consumer`, `consumers` | [`HttpConsumers`](super::HttpConsumers) |
//! | `all_consumers` | topic by topic, in byte order: two requests for each topic |
//! | `ping` | `GET /health/ready` |
//!
//! Pages, not lines: in NDJSON the line breaks inside data are lost (S8).

use async_trait::async_trait;
use reqwest::Method;

use super::connect::Client;
use super::error::{Committed, Error};
use super::exchange::once;
use crate::domain::limits::{PAGE_EVENTS_MAX, POSITION_MAX};
use crate::domain::{
    Consumer, ConsumerName, EventBody, Head, Key, ReadEvent, Seq, TopicName, TransactionNo, Version,
};
use crate::store::{
    Direction, EventSourceReader, KeyRange, Room, Scan, StoreError, SurfaceScan, TopicSummary,
};
use crate::wire::received::{self, BadAnswer, Page};
use crate::wire::topics;

/// The last position that there can be.
const LAST: Seq = Seq(POSITION_MAX - 1);

/// Reads topics over HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpReader {
    pub(super) client: Client,
}

impl HttpReader {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The event of a key on the surface now; `None` where the key is not on it.
    ///
    /// # Errors
    /// When the service cannot answer, or the topic does not exist.
    pub async fn latest(&self, topic: &TopicName, key: &Key) -> Result<Option<ReadEvent>, Error> {
        let answer = self.client.get(&path(topic, "/latest"), &[("key", key.as_str())]).await;
        match found(answer, &["key-not-found"])? {
            Some(body) => Ok(Some(understood(received::event(body))?)),
            None => Ok(None),
        }
    }

    /// As [`EventSourceReader::topics`].
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, Error> {
        let mut found = Vec::new();
        let mut after = after.map(str::to_owned);
        while found.len() < limit {
            let page = page_limit(limit - found.len());
            let mut query = vec![("prefix", prefix), ("limit", page.as_str())];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let page = understood(topics::topics(&self.client.get("/v1/topics", &query).await?))?;
            for topic in page.topics {
                let name = TopicName::parse(&topic.topic)?;
                found.push(TopicSummary { name, head: topic.head.into() });
            }
            let Some(next) = page.next else { break };
            after = Some(next.into_owned());
        }
        Ok(found)
    }

    /// As [`EventSourceReader::head`].
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn head_of(&self, topic: &TopicName) -> Result<Head, Error> {
        let answer = self.client.get(&path(topic, ""), &[]).await;
        let Some(body) = found(answer, NO_TOPIC)? else { return Ok(None) };
        Ok(Some(understood(topics::topic(&body))?.head.into()))
    }

    /// As [`EventSourceReader::events`], or `history` of a key.
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn scan(
        &self,
        topic: &TopicName,
        key: Option<&Key>,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, Error> {
        let mut left = Scan { to: scan.to.min(LAST), ..scan };
        if key.is_none() && scan.direction == Direction::Forward {
            // There are no gaps, so as many events as are wanted end here.
            let end = scan.from.0.saturating_add((scan.limit as u64).saturating_sub(1));
            left.to = left.to.min(Seq(end));
        }
        let mut events: Vec<ReadEvent> = Vec::new();
        let mut room = scan.room();
        while left.from <= left.to && !room.is_full() {
            left.limit = room.events();
            let Some(page) = self.page(topic, key, left).await? else { break };
            // All pages as of the head of the first: what follows it is not read.
            left.to = left.to.min(page.head.seq);
            for read in page.events {
                // The last page may close a transaction beyond what was asked for.
                if !room.is_full() {
                    room.take(&read);
                    events.push(read);
                }
            }
            let Some(next) = page.next else { break };
            match scan.direction {
                Direction::Forward => left.from = next,
                Direction::Backward => left.to = next,
            }
        }
        Ok(events)
    }

    /// A page of the stretch; `None` where there is no topic.
    async fn page(
        &self,
        topic: &TopicName,
        key: Option<&Key>,
        scan: Scan,
    ) -> Result<Option<Page>, Error> {
        let (from, to) = (scan.from.to_string(), scan.to.to_string());
        let limit = page_limit(scan.limit);
        let direction = match scan.direction {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
        };
        let mut query =
            vec![("from", from.as_str()), ("to", &to), ("limit", &limit), ("direction", direction)];
        query.extend(key.map(|key| ("key", key.as_str())));
        let answer = self.client.get(&path(topic, "/events"), &query).await;
        understood(found(answer, NO_TOPIC)?.map(received::page).transpose())
    }

    /// As [`EventSourceReader::transaction`].
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn bounds(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, Error> {
        if transaction.0 >= POSITION_MAX {
            return Ok(None);
        }
        let path = path(topic, &format!("/transactions/{transaction}"));
        let answer = self.client.get(&path, &[]).await;
        let body = found(answer, &["topic-not-found", "transaction-not-found"])?;
        understood(body.map(|body| received::transaction(&body)).transpose())
    }

    /// A stretch of a surface, as of a transaction or now, as much as there is room for.
    ///
    /// # Errors
    /// When the service cannot answer, or there is no such transaction.
    pub async fn surface_of(
        &self,
        topic: &TopicName,
        as_of: Option<TransactionNo>,
        keys: &KeyRange,
        room: Room,
    ) -> Result<Vec<ReadEvent>, Error> {
        let as_of = match as_of {
            Some(transaction) => Some(transaction),
            // One surface, whatever is written between two pages of it.
            None => match self.head_of(topic).await? {
                Some(head) => Some(head.transaction),
                None => return Ok(Vec::new()),
            },
        };
        let (prefix, mut after, mut room) = match keys {
            KeyRange::Prefix { prefix, after } => (prefix.as_str(), after.clone(), room),
            KeyRange::Exactly(key) => (key.as_str(), None, Room::new(1, usize::MAX)),
        };
        let as_of = as_of.map(|transaction| transaction.to_string()).unwrap_or_default();
        let mut events: Vec<ReadEvent> = Vec::new();
        while !room.is_full() {
            let page = page_limit(room.events());
            let mut query = vec![("prefix", prefix), ("limit", page.as_str()), ("as_of", &as_of)];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let answer = self.client.get(&path(topic, "/surface"), &query).await;
            let Some(body) = found(answer, NO_TOPIC)? else { break };
            let page = understood(received::surface(body))?;
            for read in page.events {
                if !room.is_full() {
                    room.take(&read);
                    events.push(read);
                }
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        if let KeyRange::Exactly(key) = keys {
            events.retain(|read| key_of(read) == Some(key));
        }
        Ok(events)
    }

    /// As [`EventSourceReader::all_consumers`], in byte order of topic and name.
    ///
    /// # Errors
    /// When the service cannot answer.
    pub async fn walk_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, Error> {
        let consumers = self.client.consumers();
        let mut all = Vec::new();
        let mut topic = after.map(|(topic, _)| topic.clone());
        let mut behind = after.map(|(_, name)| name.as_str());
        while all.len() < limit {
            if let Some(topic) = &topic {
                let page = consumers.list(topic, "", behind, limit - all.len()).await?;
                all.extend(page.into_iter().map(|consumer| (topic.clone(), consumer)));
            }
            behind = None;
            let next = self.list("", topic.as_ref().map(TopicName::as_str), 1).await?;
            let Some(next) = next.into_iter().next() else { break };
            topic = Some(next.name);
        }
        Ok(all)
    }

    /// Whether the service and its store are there now. Asks once.
    ///
    /// # Errors
    /// When they are not.
    pub async fn ready(&self) -> Result<(), Error> {
        let answer = once(self.client.request(Method::GET, "/health/ready", &[])).await;
        answer.map(drop).map_err(|error| error.with(Committed::No))
    }
}

pub(super) const NO_TOPIC: &[&str] = &["topic-not-found"];

pub(super) fn path(topic: &TopicName, rest: &str) -> String {
    format!("/v1/topics/{topic}{rest}")
}

pub(super) fn page_limit(limit: usize) -> String {
    limit.min(PAGE_EVENTS_MAX).to_string()
}

fn key_of(read: &ReadEvent) -> Option<&Key> {
    match &read.event.body {
        EventBody::Content(content) => Some(&content.key),
        EventBody::Invalidation(_) => None,
    }
}

/// A read writes nothing, also where its answer makes no sense.
pub(super) fn understood<T>(answer: Result<T, BadAnswer>) -> Result<T, Error> {
    answer.map_err(|error| Error::from(error).with(Committed::No))
}

/// An answer; `None` where it is one of these problems, which here is an answer too.
pub(super) fn found<T>(answer: Result<T, Error>, absent: &[&str]) -> Result<Option<T>, Error> {
    match answer {
        Ok(body) => Ok(Some(body)),
        Err(error) if error.code().is_some_and(|code| absent.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl EventSourceReader for HttpReader {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        Ok(self.list(prefix, after, limit).await?)
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        Ok(self.head_of(topic).await?)
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        Ok(self.scan(topic, None, scan).await?)
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        Ok(self.scan(topic, Some(key), scan).await?)
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        Ok(self.bounds(topic, transaction).await?)
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let Version { transaction, .. } = scan.at;
        Ok(self.surface_of(topic, Some(transaction), &scan.keys, scan.room()).await?)
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        Ok(self.client.consumers().get(topic, name).await?)
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        Ok(self.client.consumers().list(topic, prefix, after, limit).await?)
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        Ok(self.walk_consumers(after, limit).await?)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.ready().await?)
    }
}
