//! What waits too long is answered; an actor that nobody needs ends.
//!
//! The clock is a task of its own, not a future of the actor's context: those are all polled with every
//! pass over the context, several for a command, and of ten thousand topics each has another, cold in
//! memory.

use std::time::{Duration, Instant};

use actix::{ActorContext as _, AsyncContext as _, Context, Handler, Message};
use tokio_util::task::AbortOnDropHandle;

use super::super::outcome::WriteError;
use super::TopicActor;

/// A topic without work has its surface brought forward after a while: while there is work, its memory
/// serves as well, and the store has better things to do. (Between two requests of one producer a
/// topic is not without work.) The fewer keys wait, the longer: with thousands of topics that are
/// written now and then, their folds would otherwise be most of the store's work.
const FOLD_AFTER: [(usize, Duration); 3] = [
    (5_000, Duration::from_millis(50)),
    (1_000, Duration::from_secs(1)),
    (0, Duration::from_secs(30)),
];

/// A topic without work that has much memory looks this often whether others need it.
const SWEEP_AFTER: Duration = Duration::from_secs(1);

/// It is time to look at what waits.
#[derive(Message)]
#[rtype(result = "()")]
struct Due;

/// Sends [`Due`] to the actor once, at its time, unless it is dropped before.
pub(super) struct Timer {
    at: Instant,
    _clock: AbortOnDropHandle<()>,
}

impl Timer {
    fn new(at: Instant, ctx: &Context<TopicActor>) -> Self {
        // Who waits for the time keeps no actor.
        let actor = ctx.address().downgrade();
        let clock = actix::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            if let Some(actor) = actor.upgrade() {
                actor.do_send(Due);
            }
        });
        Self { at, _clock: AbortOnDropHandle::new(clock) }
    }
}

impl Handler<Due> for TopicActor {
    type Result = ();

    fn handle(&mut self, _: Due, ctx: &mut Self::Context) {
        // It may come early, of a timer that was replaced: whatever is done below depends on the time.
        // One that was set since is dropped as well, and another is set.
        self.timer = None;
        self.look_after(ctx);
    }
}

impl TopicActor {
    /// One timer at a time: it looks after what waits too long, and ends the actor when nothing
    /// has waited for long.
    pub(super) fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let due = match self.queue.oldest() {
            Some(oldest) => oldest.max(self.progress) + self.settings.write_timeout,
            None if self.unfolded() > 0 => Instant::now() + self.fold_after(),
            None if self.memory.keys.is_large() => Instant::now() + SWEEP_AFTER,
            None => self.progress + self.settings.topic_idle,
        };
        if self.timer.as_ref().is_none_or(|timer| timer.at > due) {
            self.timer = Some(Timer::new(due, ctx));
        }
    }

    fn fold_after(&self) -> Duration {
        let waiting = self.memory.keys.waiting();
        let after = FOLD_AFTER.iter().find(|(keys, _)| waiting >= *keys).map(|(_, after)| *after);
        after.unwrap_or_default().min(self.settings.topic_idle / 2)
    }

    fn look_after(&mut self, ctx: &mut Context<Self>) {
        if self.queue.is_empty() {
            self.memory.keys.sweep(); // Others may need what this topic does not use.
        }
        let quiet = self.progress.elapsed();
        match self.queue.oldest() {
            Some(oldest) if quiet.min(oldest.elapsed()) >= self.settings.write_timeout => {
                let topic = self.topic.as_str();
                tracing::debug!(topic, "no progress in time; answering all that waits as failed");
                let why = if self.full { WriteError::Full } else { WriteError::Unavailable };
                self.give_up(&why, ctx);
            }
            Some(_) => {}
            None if quiet >= self.fold_after() && self.unfolded() > 0 => self.fold_in_turn(ctx),
            None if quiet < self.settings.topic_idle => {}
            // Its successor would know nothing of what the store has lost.
            None if self.rewound => self.progress = Instant::now(),
            None if self
                .registry
                .upgrade()
                .is_none_or(|registry| registry.retire(&self.topic, self.generation)) =>
            {
                return ctx.stop();
            }
            None => self.progress = Instant::now(),
        }
        self.set_timer(ctx);
    }
}
