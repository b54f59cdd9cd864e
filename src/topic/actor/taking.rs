//! How the actor takes its topic, and what becomes of the batches that were in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};

use super::super::flight::Flight;
use super::super::outcome::WriteError;
use super::super::recovery::{Durable, Taken, take};
use super::folding::Folding;
use super::looking_up::LookUp;
use super::{Phase, TopicActor, Writing};
use crate::domain::Planner;
use crate::metrics;
use crate::store::StoreError;

impl TopicActor {
    /// Takes the topic, after a pause, and begins a new life.
    pub(super) fn take(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        self.new_life(Phase::Taking, ctx);
        let life = self.life;
        let unresolved =
            self.in_flight.iter().filter(|f| !f.landed).filter_map(Flight::mark).collect();
        let taking = take(
            Arc::clone(&self.store),
            self.topic.clone(),
            self.durable.clone(),
            unresolved,
            self.settings.write_timeout,
        );
        let taking = async move {
            tokio::time::sleep(pause).await;
            taking.await
        };
        self.taking = Some(ctx.spawn(taking.into_actor(self).map(move |taken, actor, ctx| {
            if actor.life == life {
                actor.taking = None;
                match taken {
                    Ok(taken) => actor.taken(taken, ctx),
                    Err(error) => actor.not_taken(&error, ctx),
                }
            }
        })));
    }

    fn taken(&mut self, taken: Taken, ctx: &mut Context<Self>) {
        self.rewound = taken.rewound;
        if taken.rewound {
            let topic = self.topic.as_str();
            tracing::error!(topic, "the store has lost acknowledged events; not writing to it");
            metrics::store_error("rewound");
            self.plan_again();
            return self.give_up(&WriteError::Unavailable, ctx);
        }
        if self.flights > 0 {
            metrics::topic_recovered();
        }
        self.resolve(taken.there, ctx);
        let opened = taken.opened;
        self.memory.renew(opened.folded, opened.head.is_none());
        // What was known of keys behind the watermark is gone. Only here: what is known of the
        // batches that were on their way is told without waiting for a fold.
        self.fold_first = opened.head.map(|head| head.seq);
        let (id, epoch) = (opened.topic, opened.epoch);
        self.durable = opened.head.map(|head| Durable { head, frontier: opened.frontier.clone() });
        let planner = Planner::new(id, epoch, opened.head, opened.frontier);
        self.phase = Phase::Writing(Writing { id, planner, look_up: LookUp::No });
        if !std::mem::replace(&mut self.taken_in_vain, true) {
            self.progress = Instant::now();
        }
        self.set_timer(ctx);
        self.pump(ctx);
    }

    /// Settles the batches that are there; those that are not are planned again.
    fn resolve(&mut self, there: Vec<bool>, ctx: &mut Context<Self>) {
        let mut there = there.into_iter();
        for flight in &mut self.in_flight {
            if flight.landed {
                continue;
            }
            // A batch without events left no mark; planning it again finds its records.
            if flight.mark().is_none() || there.next() != Some(true) {
                break;
            }
            flight.land();
        }
        self.settle(ctx);
        self.plan_again();
    }

    /// Nothing of what is in flight is written, or ever will be: it is planned again.
    pub(super) fn plan_again(&mut self) {
        let rejected = |first: &&Flight| self.rejected == Some(first.number);
        let culprits = self.in_flight.front().filter(rejected).map(|first| first.commands);
        self.rejected = None;
        self.in_flight.clear();
        self.queue.rewind();
        match culprits {
            None => {}
            Some(1) => self.queue.mark_unstorable(),
            Some(commands) => self.one_by_one = commands,
        }
    }

    fn not_taken(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        self.store_failed("taking the topic", error);
        match error {
            StoreError::Unavailable(_) | StoreError::Full(_) if self.queue.is_empty() => {
                self.new_life(Phase::Idle, ctx);
            }
            StoreError::Unavailable(_) | StoreError::Full(_) => {
                let pause = self.backoff.pause();
                self.take(pause, ctx);
            }
            StoreError::ReadOnly(_) => self.give_up(&WriteError::ReadOnly, ctx),
            StoreError::Corrupt(_) => self.give_up(&WriteError::Unavailable, ctx),
        }
    }

    /// Answers everything that waits with `error`; the next submission takes the topic again.
    pub(super) fn give_up(&mut self, error: &WriteError, ctx: &mut Context<Self>) {
        self.queue.fail(error);
        self.in_flight.clear();
        self.new_life(Phase::Idle, ctx);
    }

    fn new_life(&mut self, phase: Phase, ctx: &mut Context<Self>) {
        self.life += 1;
        if let Some(taking) = self.taking.take() {
            // It would fence what comes after it.
            ctx.cancel_future(taking);
        }
        self.phase = phase;
        self.folding = Folding::No;
        self.fold_first = None;
        self.held = None;
        self.memory.renew(None, false);
        self.report_unfolded(0);
    }

    /// Something failed because of the store. That it is lost is told once for all topics
    /// (`store/watched.rs`).
    pub(super) fn store_failed(&mut self, doing: &'static str, error: &StoreError) {
        let kind = match error {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Full(_) => "full",
            StoreError::ReadOnly(_) => "read_only",
            StoreError::Corrupt(_) => "corrupt",
        };
        metrics::store_error(kind);
        self.full = matches!(error, StoreError::Full(_));
        let topic = self.topic.as_str();
        match error {
            StoreError::Corrupt(_) => tracing::error!(topic, doing, %error, "the store failed"),
            _ => tracing::debug!(topic, doing, %error, "the store failed"),
        }
    }
}
