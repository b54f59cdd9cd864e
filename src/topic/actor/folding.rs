//! How the topic's surface is brought forward, in the background: when much waits for it, or when
//! the topic is quiet.
//!
//! Not here: which keys may be forgotten after it (`keys.rs`).
//! Invariants: one fold of a topic at a time; what writing waits for never stands in line behind
//! topics that are quiet.

use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};

use super::super::flight::Flight;
use super::{Phase, TopicActor};
use crate::domain::Seq;
use crate::metrics;
use crate::store::Touched;

/// Keys that are worth a fold while there is other work. Fewer make more folds of hot keys, more
/// make writing wait for the fold.
const FOLD_KEYS: usize = 50_000;

/// How far the surface is on its way forward.
pub(super) enum Folding {
    No,
    /// What was written up to here will be folded as soon as it is durable.
    /// Boxed, because it is rarely there.
    Planned(Seq, Box<Touched>),
    Running,
}

impl TopicActor {
    /// Whether so much waits for a fold that it should begin.
    pub(super) fn is_worth_a_fold(&self) -> bool {
        self.memory.keys.waiting() >= FOLD_KEYS
            || self.unfolded() > self.settings.unfolded_events_max as u64 / 2
    }

    /// Events that are durable and that the surface does not cover yet.
    pub(super) fn unfolded(&self) -> u64 {
        let (Phase::Writing(_), Some(head)) = (&self.phase, self.durable_head()) else { return 0 };
        let covered = self.memory.keys.folded().map_or(0, |seq| seq.0 + 1);
        (head.seq.0 + 1).saturating_sub(covered)
    }

    pub(super) fn report_unfolded(&mut self, now: u64) {
        metrics::unfolded(now as i64 - self.reported_unfolded as i64);
        self.reported_unfolded = now;
    }

    /// Brings the surface forward when it is this topic's turn: ten thousand topics that go quiet
    /// together would keep the store from everything else.
    pub(super) fn fold_in_turn(&mut self, ctx: &mut Context<Self>) {
        let Some(registry) = self.registry.upgrade().filter(|_| !self.awaiting_turn) else {
            return;
        };
        self.awaiting_turn = true;
        let turn = Arc::clone(&registry.quiet_folds).acquire_owned();
        ctx.spawn(turn.into_actor(self).map(|turn, actor, ctx| {
            actor.awaiting_turn = false;
            if actor.queue.is_empty() {
                actor.turn = turn.ok();
                actor.fold(ctx);
                actor.turn = None; // The fold has it, if there is one.
            }
        }));
    }

    /// Brings the surface forward, in the background.
    pub(super) fn fold(&mut self, ctx: &mut Context<Self>) {
        let (Phase::Writing(writing), Some(head)) = (&self.phase, self.durable_head()) else {
            return;
        };
        let folded = self.memory.keys.folded();
        if !matches!(self.folding, Folding::No) || folded >= Some(head.seq) {
            return;
        }
        if self.fold_first > folded {
            // Which keys were touched is not remembered.
            return self.fold_to(head.seq, None, ctx);
        }
        let invalidating = |flight: &Flight| !flight.batch.invalidations.is_empty();
        if let Some(head) = writing.planner.head()
            && !self.in_flight.back().is_some_and(invalidating)
        {
            let touched = Box::new(self.memory.keys.plan_fold(head.seq));
            self.folding = Folding::Planned(head.seq, touched);
            self.fold_planned(ctx);
        }
    }

    /// What is remembered of keys is as of the planned head: it has to be durable first.
    pub(super) fn fold_planned(&mut self, ctx: &mut Context<Self>) {
        let durable = self.durable_head().map(|head| head.seq);
        match std::mem::replace(&mut self.folding, Folding::No) {
            Folding::Planned(to, touched) if durable >= Some(to) => {
                self.fold_to(to, Some(*touched), ctx);
            }
            folding => self.folding = folding,
        }
    }

    fn fold_to(&mut self, to: Seq, touched: Option<Touched>, ctx: &mut Context<Self>) {
        let Phase::Writing(writing) = &self.phase else { return };
        self.folding = Folding::Running;
        let (store, id, life) = (Arc::clone(&self.store), writing.id, self.life);
        let turn = self.turn.take();
        let fold = async move {
            let folded = store.fold(id, to, touched).await;
            drop(turn);
            folded
        };
        ctx.spawn(fold.into_actor(self).map(move |folded, actor, ctx| {
            if actor.life != life {
                return;
            }
            match folded {
                Ok(seq) => {
                    actor.folding = Folding::No;
                    actor.fold_backoff.reset();
                    actor.memory.keys.folded_to(seq);
                    actor.memory.keys.sweep();
                    actor.report_unfolded(actor.unfolded());
                    actor.pump(ctx);
                }
                Err(error) => {
                    actor.store_failed("fold", &error);
                    ctx.run_later(actor.fold_backoff.pause(), move |actor, ctx| {
                        if actor.life == life {
                            actor.folding = Folding::No;
                            actor.pump(ctx);
                        }
                    });
                }
            }
        }));
    }
}
