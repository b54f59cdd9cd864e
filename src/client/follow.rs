//! Reading live: what is there, then what comes, over any number of lost connections.
//!
//! Invariant: every event of the stretch comes once, in order. The position is that of the last
//! event given; a new connection goes on behind it.

use std::time::Duration;

use futures::future::ready;
use futures::stream::{self, Stream, StreamExt as _};
use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder};
use tokio::time::sleep;

use super::error::{Committed, Error};
use super::exchange::once;
use super::reader::{HttpReader, path};
use super::retry::Patience;
use super::sse::{Message, Messages};
use crate::domain::{Head, Key, ReadEvent, Seq, TopicName};
use crate::wire::problem::problem;
use crate::wire::received::{self, BadAnswer};

/// What to follow of a topic.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The first seq. It may be beyond the head, and the topic may not exist yet.
    pub from: Seq,
    /// The last seq, after which the stream ends; `None` for never.
    pub to: Option<Seq>,
    /// Only events of this key.
    pub key: Option<Key>,
}

impl Stretch {
    /// Everything from a seq on.
    #[must_use]
    pub fn from(from: Seq) -> Self {
        Self { from, to: None, key: None }
    }
}

/// What comes of a topic that is followed.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events; no box for each")]
pub enum Live {
    /// The next event.
    Event(ReadEvent),
    /// Everything up to this head has come.
    CaughtUp(Head),
    /// Nothing new; the head is still this.
    Heartbeat(Head),
    /// The connection is lost for this reason, and is made again. Nothing is missed.
    Lost(Error),
}

impl HttpReader {
    /// The events of a topic from a seq on: those that are there, then those that come. A lost
    /// connection is made again, for ever; nothing is missed and nothing comes twice. The topic
    /// need not exist yet.
    ///
    /// Line breaks between the tokens of JSON data come as blanks (`docs/api.md`); who needs the
    /// very bytes reads pages.
    ///
    /// The stream ends with an error only where trying again cannot help.
    #[must_use = "nothing is read before the stream is polled"]
    pub fn follow(
        &self,
        topic: &TopicName,
        from: Seq,
    ) -> impl Stream<Item = Result<ReadEvent, Error>> + Send + Unpin + use<> {
        let live = self.live(topic, Stretch::from(from));
        live.filter_map(|live| {
            ready(match live {
                Ok(Live::Event(event)) => Some(Ok(event)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
        })
    }

    /// The same of a part of a topic, and with what is known beside the events.
    #[must_use = "nothing is read before the stream is polled"]
    pub fn live(
        &self,
        topic: &TopicName,
        stretch: Stretch,
    ) -> impl Stream<Item = Result<Live, Error>> + Send + Unpin + use<> {
        let following = Following {
            reader: self.clone(),
            topic: topic.clone(),
            next: stretch.from,
            to: stretch.to,
            key: stretch.key,
            messages: None,
            patience: self.client.patience(),
            pause: None,
            ended: false,
        };
        stream::unfold(following, |mut following| async {
            let live = following.next().await?;
            Some((live, following))
        })
        .boxed()
    }
}

struct Following {
    reader: HttpReader,
    topic: TopicName,
    /// The lowest seq that was not given yet.
    next: Seq,
    to: Option<Seq>,
    key: Option<Key>,
    /// The connection.
    messages: Option<Messages>,
    patience: Patience,
    /// Before the next connection.
    pause: Option<Duration>,
    ended: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Live, Error>> {
        if self.ended || self.to.is_some_and(|to| self.next > to) {
            return None;
        }
        let live = loop {
            match self.step().await {
                Ok(Step::Live(live)) => return Some(Ok(live)),
                Ok(Step::Other) => {}
                Ok(Step::End) => return None,
                Err(error) => break error,
            }
        };
        self.messages = None;
        let error = live.with(Committed::No);
        if !error.retryable() {
            self.ended = true;
            return Some(Err(error));
        }
        self.pause = Some(self.patience.pause(&error));
        Some(Ok(Live::Lost(error)))
    }

    async fn step(&mut self) -> Result<Step, Error> {
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = None;
        }
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let answer = once(self.request()).await?;
                self.messages.insert(Messages::of(answer))
            }
        };
        match messages.next().await? {
            Some(message) => self.take(message),
            // Of a key, the service knows when no more of the stretch can come.
            None if self.to.is_some() && self.key.is_some() => Ok(Step::End),
            None => Err(Error::cut_short("the live stream")),
        }
    }

    fn request(&self) -> RequestBuilder {
        let from = self.next.to_string();
        let to = self.to.map(|to| to.to_string());
        let mut query = vec![("from", from.as_str())];
        query.extend(to.as_deref().map(|to| ("to", to)));
        query.extend(self.key.as_ref().map(|key| ("key", key.as_str())));
        let request =
            self.reader.client.request(Method::GET, &path(&self.topic, "/events"), &query);
        request.header(ACCEPT, "text/event-stream")
    }

    fn take(&mut self, message: Message) -> Result<Step, Error> {
        let Message { kind, data } = message;
        match &*kind {
            b"event" | b"invalidation" => self.event(received::event(data)?),
            b"caught-up" => Ok(Step::Live(Live::CaughtUp(received::head(&data)?))),
            b"heartbeat" => {
                self.patience.renew();
                Ok(Step::Live(Live::Heartbeat(received::head(&data)?)))
            }
            b"error" => Err(match problem(&data) {
                Some(problem) => Error::of_problem(problem),
                None => BadAnswer::new("an error that is no problem").into(),
            }),
            b"end" => Err(Error::cut_short("the service is shutting down; the live stream")),
            _ => Ok(Step::Other),
        }
    }

    fn event(&mut self, read: ReadEvent) -> Result<Step, Error> {
        let seq = read.event.version.seq;
        let expected = if self.key.is_none() { seq == self.next } else { seq >= self.next };
        if !expected {
            let why = format!("event {seq} instead of {}", self.next);
            return Err(BadAnswer::new(why).into());
        }
        self.next = seq.next();
        self.patience.renew();
        Ok(Step::Live(Live::Event(read)))
    }
}

#[expect(clippy::large_enum_variant, reason = "nearly all are events; no box for each")]
enum Step {
    Live(Live),
    Other,
    End,
}
