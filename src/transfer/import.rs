//! Sections into a target. What the topic has already is compared first, what is written is read
//! again afterwards: the Merkle trees must be those of the file.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::{Section, TransferError, Trees};
use crate::domain::{Event, Head, Root, Seq, TopicName, Version};
use crate::live::walk::Walk;
use crate::store::{Direction, EventSourceReader};

/// Where topics are imported.
#[async_trait(?Send)]
pub trait Target {
    /// Whether events keep the time at which they were first recorded.
    fn keeps_times(&self) -> bool;

    /// A transaction of the next topic to come that is there already; they come in order, before
    /// [`Self::begin`].
    fn is_there(&mut self, transaction: &[Event]);

    /// Begins to write the topic, whose head is this.
    ///
    /// # Errors
    /// The topic cannot be written, or its head is another one.
    async fn begin(&mut self, topic: &TopicName, head: Head) -> Result<(), TransferError>;

    /// Takes the next transaction. It may still be on its way when this returns.
    ///
    /// # Errors
    /// It, or one before it, is not written as it is. Nothing behind it is.
    async fn take(&mut self, transaction: Vec<Event>) -> Result<(), TransferError>;

    /// Returns once everything that was taken is durable.
    ///
    /// # Errors
    /// As [`Self::take`].
    async fn settle(&mut self) -> Result<(), TransferError>;
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The topic.
    pub topic: TopicName,
    /// How many events it has.
    pub events: u64,
    /// How many of them it had before.
    pub there: u64,
    /// The Merkle root over its events.
    pub root: Root,
}

/// What is told of an import.
#[derive(Debug)]
pub enum Step<'a> {
    /// So many of the topic's events have been seen to, of so many.
    At(&'a TopicName, u64, u64),
    /// A topic is there.
    Done(Imported),
}

/// Imports topics, and tells how it goes.
///
/// # Errors
/// What was written until then is there, and the same again goes on with it.
pub async fn import(
    sections: impl Stream<Item = Result<Section, TransferError>>,
    reader: Arc<dyn EventSourceReader>,
    target: &mut dyn Target,
    stop: &CancellationToken,
    mut tell: impl FnMut(Step<'_>),
) -> Result<(), TransferError> {
    let mut sections = std::pin::pin!(sections);
    let mut current: Option<Course> = None;
    while let Some(section) = sections.next().await {
        if stop.is_cancelled() {
            target.settle().await?;
            return Err(TransferError::Interrupted);
        }
        match section? {
            Section::Begin(topic, end) => {
                let head = reader.head(&topic).await?;
                if head.is_some_and(|head| head.seq > end.seq) {
                    let text = format!("{topic} has more events than the file");
                    return Err(TransferError::Differs(text));
                }
                let reader = Arc::clone(&reader);
                let file = Trees::default();
                let mut course = Course { reader, topic, end, head, file, found: Trees::default() };
                if head.is_none() {
                    course.begin(target).await?;
                }
                current = Some(course);
            }
            Section::Transaction(events) => {
                let Some(course) = &mut current else { continue };
                course.take(events, target).await?;
                let (at, all) = (course.file.exact.leaves(), course.end.seq.next().0);
                tell(Step::At(&course.topic, at, all));
            }
            Section::End => {
                let Some(course) = current.take() else { continue };
                target.settle().await?;
                tell(Step::Done(course.end(target.keeps_times()).await?));
            }
        }
    }
    Ok(())
}

/// The course of one topic.
struct Course {
    reader: Arc<dyn EventSourceReader>,
    topic: TopicName,
    /// Where it ends.
    end: Version,
    /// Where the topic ended before.
    head: Head,
    /// Of the file, as far as it has come.
    file: Trees,
    /// Of the topic, as far as it was read.
    found: Trees,
}

impl Course {
    async fn take(
        &mut self,
        events: Vec<Event>,
        target: &mut dyn Target,
    ) -> Result<(), TransferError> {
        let first = Seq(self.file.exact.leaves());
        events.iter().for_each(|event| self.file.push(event));
        let Some(head) = self.head.filter(|head| first <= head.seq) else {
            return target.take(events).await;
        };
        target.is_there(&events);
        let last = events.last().map(|event| event.version);
        if last.is_some_and(|last| last.seq >= head.seq) {
            let same = last == Some(head) && self.is_same(head.seq, target.keeps_times()).await?;
            if !same {
                let topic = &self.topic;
                let text =
                    format!("{topic} has other events than the file; nothing of it was written");
                return Err(TransferError::Differs(text));
            }
            self.begin(target).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, target: &mut dyn Target) -> Result<(), TransferError> {
        if self.head == Some(self.end) {
            return Ok(()); // Nothing will come.
        }
        target.begin(&self.topic, self.head).await
    }

    async fn end(mut self, exact: bool) -> Result<Imported, TransferError> {
        let same = self.is_same(self.end.seq, exact).await?;
        let head = self.reader.head(&self.topic).await?;
        if !same || head != Some(self.end) {
            let topic = &self.topic;
            let text = format!(
                "{topic} was read again and is not as in the file: somebody else \
                writes to it, or the store is broken"
            );
            return Err(TransferError::Differs(text));
        }
        let there = Seq::after(self.head).0;
        let events = self.end.seq.next().0;
        Ok(Imported { topic: self.topic, events, there, root: self.found.root() })
    }

    /// Reads the topic on to `to` and compares it with the file, which has come as far.
    async fn is_same(&mut self, to: Seq, exact: bool) -> Result<bool, TransferError> {
        let reader = Arc::clone(&self.reader);
        let mut walk = Walk::new(reader, self.topic.clone(), None, Direction::Forward);
        walk.stretch(Seq(self.found.exact.leaves()), to);
        loop {
            let events = walk.next().await?;
            if events.is_empty() {
                break;
            }
            for read in &events {
                if read.event.version.seq.0 != self.found.exact.leaves() {
                    return Ok(false);
                }
                self.found.push(&read.event);
            }
        }
        let timeless = self.found.timeless == self.file.timeless;
        Ok(timeless && (!exact || self.found.exact == self.file.exact))
    }
}
