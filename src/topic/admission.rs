//! Admission: how much may wait for the stores, counted in events and bytes, before any mailbox.
//!
//! An actor's mailbox is unbounded by itself; these semaphores are its bound. A permit is held
//! from admission until the answer.
//!
//! Streams wait for room, in line, and take every permit that is given back; so a share of each
//! bound is not for them: a single request, which does not wait, finds room beside any number of
//! streams.
//!
//! Invariant: permits are taken in one order (topic, events, bytes), so that those who wait
//! cannot wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::outcome::WriteError;
use crate::domain::{Command, Content};
use crate::metrics;

/// Bytes are counted in units of this many, so that a count fits a semaphore.
const UNIT: usize = 256;

/// One part in this many of each bound is kept for single requests.
const RESERVE: usize = 4;

/// How much commands weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    events: usize,
    bytes: usize,
}

impl Weight {
    /// Adds up commands. A command without events weighs as much as one event.
    pub(super) fn of(commands: &[Command]) -> Self {
        let mut weight = Self { events: 0, bytes: 0 };
        for command in commands {
            weight.events += command.events().max(1);
            if let Command::Write(write) = command {
                weight.bytes += write.events.iter().map(Content::footprint).sum::<usize>();
            }
        }
        weight
    }
}

/// The bounds over all topics.
pub(super) struct Admission {
    events: Shared,
    bytes: Shared,
    topic_events_max: usize,
    /// Admitted and not yet answered; has room for everything.
    unanswered: Bound,
    closed: AtomicBool,
}

/// The bound of one topic.
#[derive(Clone)]
pub(super) struct TopicAdmission(Shared);

/// A bound that streams may not fill.
#[derive(Clone)]
struct Shared {
    all: Bound,
    streams: Bound,
    reserve: usize,
}

/// A share of a bound, held.
struct Share {
    _all: OwnedSemaphorePermit,
    _stream: Option<OwnedSemaphorePermit>,
}

impl Shared {
    fn new(max: usize) -> Self {
        let reserve = max.div_ceil(RESERVE);
        Self { all: Bound::new(max), streams: Bound::new(max - reserve.min(max)), reserve }
    }

    /// For events: a transaction of any size has to get in beside streams, so none weighs more
    /// than the reserve.
    fn try_take_events(&self, count: usize) -> Result<Share, WriteError> {
        self.try_take(count.min(self.reserve))
    }

    fn try_take(&self, count: usize) -> Result<Share, WriteError> {
        Ok(Share { _all: self.all.try_take(count)?, _stream: None })
    }

    async fn take(&self, count: usize) -> Share {
        let stream = self.streams.take(count).await;
        let all = self.all.take(count.min(self.streams.max as usize)).await;
        Share { _all: all, _stream: Some(stream) }
    }
}

#[derive(Clone)]
struct Bound {
    semaphore: Arc<Semaphore>,
    max: u32,
}

impl Bound {
    fn new(max: usize) -> Self {
        let max = u32::try_from(max.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { semaphore: Arc::new(Semaphore::new(max as usize)), max }
    }

    /// What is heavier than the whole bound weighs as much as the bound.
    fn share(&self, count: usize) -> u32 {
        u32::try_from(count).map_or(self.max, |count| count.min(self.max))
    }

    fn try_take(&self, count: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let semaphore = Arc::clone(&self.semaphore);
        semaphore.try_acquire_many_owned(self.share(count)).map_err(|_| WriteError::Overloaded)
    }

    async fn take(&self, count: usize) -> OwnedSemaphorePermit {
        let semaphore = Arc::clone(&self.semaphore);
        semaphore.acquire_many_owned(self.share(count)).await.expect("it is never closed")
    }
}

/// The right to wait in a queue; given back when it is dropped. Until then the drain waits.
pub(super) struct Permit {
    weight: Weight,
    room: Option<Room>,
    _unanswered: OwnedSemaphorePermit,
}

/// What a permit holds.
struct Room {
    /// Of its topic; `None` until it is known that there is room in all.
    topic: Option<Share>,
    _events: Share,
    _bytes: Share,
}

impl Permit {
    fn new(weight: Weight, room: Room, unanswered: &Bound) -> Result<Self, WriteError> {
        // Only the drain takes all of it; it may have begun since the doors were found open.
        let unanswered = unanswered.try_take(1).map_err(|_| WriteError::ShuttingDown)?;
        metrics::queued(weight.events, weight.bytes);
        Ok(Self { weight, room: Some(room), _unanswered: unanswered })
    }

    /// Enters a topic's queue at once or not at all.
    pub(super) fn try_enter(mut self, topic: &TopicAdmission) -> Result<Self, WriteError> {
        let topic = topic.0.try_take_events(self.weight.events)?;
        if let Some(room) = &mut self.room {
            room.topic = Some(topic);
        }
        Ok(self)
    }

    /// Makes room for others. To be called before the answer is given: who has it and comes
    /// again must not find the queue full of what was answered.
    pub(super) fn free(&mut self) {
        if self.room.take().is_some() {
            metrics::dequeued(self.weight.events, self.weight.bytes);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.free();
    }
}

impl Admission {
    pub(super) fn new(events: usize, bytes: usize, topic_events: usize) -> Self {
        metrics::queue_limits(events, bytes);
        Self {
            events: Shared::new(events),
            bytes: Shared::new(bytes.div_ceil(UNIT)),
            topic_events_max: topic_events,
            unanswered: Bound::new(usize::MAX),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn topic(&self) -> TopicAdmission {
        TopicAdmission(Shared::new(self.topic_events_max))
    }

    /// Whether anything is admitted at all.
    pub(super) fn check_open(&self) -> Result<(), WriteError> {
        if self.closed.load(Ordering::Acquire) { Err(WriteError::ShuttingDown) } else { Ok(()) }
    }

    /// Admits at once or not at all; [`Permit::try_enter`] comes next. Two steps, so that for
    /// what is refused here no actor is started.
    pub(super) fn try_admit(&self, weight: Weight) -> Result<Permit, WriteError> {
        self.check_open()?;
        let events = self.events.try_take_events(weight.events)?;
        let bytes = self.bytes.try_take(weight.bytes.div_ceil(UNIT))?;
        let room = Room { topic: None, _events: events, _bytes: bytes };
        Permit::new(weight, room, &self.unanswered)
    }

    /// Admits as soon as there is room: back-pressure.
    pub(super) async fn admit(
        &self,
        topic: &TopicAdmission,
        weight: Weight,
    ) -> Result<Permit, WriteError> {
        self.check_open()?;
        let began = Instant::now();
        let room = Room {
            topic: Some(topic.0.take(weight.events).await),
            _events: self.events.take(weight.events).await,
            _bytes: self.bytes.take(weight.bytes.div_ceil(UNIT)).await,
        };
        metrics::admitted(began.elapsed());
        // Those who were waiting when the doors closed do not get in any more.
        self.check_open()?;
        Permit::new(weight, room, &self.unanswered)
    }

    /// Closes the doors and waits until all that was admitted is answered.
    pub(super) async fn drain(&self) {
        self.closed.store(true, Ordering::Release);
        let _everything = self.unanswered.take(usize::MAX).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn enter(
        admission: &Admission,
        topic: &TopicAdmission,
        weight: Weight,
    ) -> Result<Permit, WriteError> {
        admission.try_admit(weight)?.try_enter(topic)
    }

    const ONE: Weight = Weight { events: 1, bytes: 100 };

    #[test]
    fn what_is_full_admits_nothing_until_something_is_answered() {
        let admission = Admission::new(3, 1 << 20, 2);
        let (a, b) = (admission.topic(), admission.topic());
        let first = enter(&admission, &a, ONE).expect("there is room");
        let _second = enter(&admission, &a, ONE).expect("there is room");
        assert_eq!(enter(&admission, &a, ONE).err(), Some(WriteError::Overloaded), "topic");
        let _third = enter(&admission, &b, ONE).expect("another topic has room");
        assert_eq!(enter(&admission, &b, ONE).err(), Some(WriteError::Overloaded), "all");
        drop(first);
        assert!(enter(&admission, &b, ONE).is_ok());
    }

    #[test]
    fn bytes_are_a_bound_of_their_own_and_what_is_too_heavy_still_gets_in_alone() {
        let admission = Admission::new(100, 1000, 100);
        let topic = admission.topic();
        let heavy = Weight { events: 1, bytes: 1 << 40 };
        let alone = enter(&admission, &topic, heavy).expect("alone it gets in");
        assert_eq!(enter(&admission, &topic, ONE).err(), Some(WriteError::Overloaded));
        drop(alone);
        assert!(enter(&admission, &topic, ONE).is_ok());
    }

    #[test]
    fn streams_leave_room_for_singles_of_any_size() {
        let admission = Admission::new(100, 1 << 20, 8);
        let topic = admission.topic();
        let two = Weight { events: 2, bytes: 1 };
        let streams: Vec<_> =
            (0..3).map(|_| admission.admit(&topic, two).now_or_never().expect("room")).collect();
        let mut fourth = Box::pin(admission.admit(&topic, two));
        assert!((&mut fourth).now_or_never().is_none(), "streams have all that they may have");
        let large = Weight { events: 10_000, bytes: 1 };
        let single = enter(&admission, &topic, large);
        assert!(single.is_ok(), "which is not all");
        assert_eq!(enter(&admission, &topic, ONE).err(), Some(WriteError::Overloaded));
        drop(single);
        assert!((&mut fourth).now_or_never().is_none());
        drop(streams);
        assert!(fourth.now_or_never().is_some());
    }

    #[test]
    fn a_session_waits_for_room_and_the_drain_waits_for_answers() {
        let admission = Admission::new(1, 1 << 20, 1);
        let topic = admission.topic();
        let held = enter(&admission, &topic, ONE).expect("there is room");
        assert!(admission.admit(&topic, ONE).now_or_never().is_none(), "waits");
        assert!(admission.drain().now_or_never().is_none(), "waits for the answer");
        assert_eq!(enter(&admission, &topic, ONE).err(), Some(WriteError::ShuttingDown));
        drop(held);
        assert!(admission.drain().now_or_never().is_some());
    }
}
