//! How what a batch needs is looked up in the store, and what need not wait for that.
//!
//! Not here: what is needed, and what is learned of it (`memory.rs`).
//! Invariant: one look-up at a time; while it runs nothing is planned.

use std::sync::Arc;
use std::time::Instant;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};

use super::super::recovery::ask;
use super::{Phase, TopicActor};
use crate::metrics;
use crate::store::Wanted;

/// A commit costs about as much as writing so many events.
const COMMIT_COSTS: usize = 50;

/// How far what the next batch needs is looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LookUp {
    No,
    Running,
    /// And nothing was planned since.
    Done,
}

impl TopicActor {
    /// Whether commands should go now that wait for nothing, while those behind them are looked up. Who
    /// has waited for one look-up does not wait for the next as well, of who came meanwhile.
    pub(super) fn is_worth_going_ahead(&self, commands: usize) -> bool {
        let waited =
            matches!(&self.phase, Phase::Writing(writing) if writing.look_up == LookUp::Done);
        commands >= if waited { 1 } else { COMMIT_COSTS }
    }

    /// Looks up what a batch needs; then planning goes on.
    pub(super) fn look_up(&mut self, wanted: Wanted, ctx: &mut Context<Self>) {
        let Phase::Writing(writing) = &mut self.phase else { return };
        writing.look_up = LookUp::Running;
        let (store, id) = (Arc::clone(&self.store), writing.id);
        let (life, began, timeout) = (self.life, Instant::now(), self.settings.write_timeout);
        let facts = async move { ask(&*store, id, wanted, timeout).await };
        ctx.spawn(facts.into_actor(self).map(move |facts, actor, ctx| {
            if actor.life != life {
                return;
            }
            metrics::facts_found(began.elapsed());
            match facts {
                Ok((wanted, facts)) => {
                    actor.memory.learn(wanted, facts);
                    actor.fill_filters(ctx);
                    actor.looked_up(ctx);
                }
                Err(error) => {
                    actor.store_failed("look-up", &error);
                    let pause = actor.backoff.pause();
                    ctx.run_later(pause, move |actor, ctx| {
                        if actor.life == life {
                            actor.looked_up(ctx);
                        }
                    });
                }
            }
        }));
    }

    fn looked_up(&mut self, ctx: &mut Context<Self>) {
        if let Phase::Writing(writing) = &mut self.phase {
            writing.look_up = LookUp::Done;
        }
        self.pump(ctx);
    }
}
