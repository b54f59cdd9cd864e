//! How a topic learns, in the background, which keys were ever written: it reads them from the
//! store, page by page, into filters. Without that every new key would be looked up for as long as
//! the actor lives, where it has not seen the topic from its first event.
//!
//! Why the filters are complete at the end: when the reading begins, every key of the topic is in
//! the store's surface or pinned in memory. What is in the surface stays there, so the pages have
//! it; what is pinned, or written later, goes into the filters when it is forgotten.
//!
//! Not here: when it is worth it, and the filters (`forgotten.rs`).
//! Invariants: one topic at a time; a life that has ended fills no filters.

use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::OwnedSemaphorePermit;

use super::{Phase, TopicActor};
use crate::domain::{Key, Seq};

/// Keys of a page: few enough that adding them keeps no batch waiting.
const PAGE: usize = 4_000;

impl TopicActor {
    /// Begins to fill filters where they are worth it.
    pub(super) fn fill_filters(&mut self, ctx: &mut Context<Self>) {
        let Some(registry) = self.registry.upgrade() else { return };
        if self.fold_first > self.memory.keys.folded() {
            return;
        }
        let events = Seq::after(self.durable_head()).0;
        let Some(number) = self.memory.keys.fill(events) else { return };
        let (turn, life) = (Arc::clone(&registry.fillings).acquire_owned(), self.life);
        ctx.spawn(turn.into_actor(self).map(move |turn, actor, ctx| {
            if let (Ok(turn), true) = (turn, actor.life == life) {
                actor.read_keys(number, None, turn, ctx);
            }
        }));
    }

    fn read_keys(
        &mut self,
        number: u64,
        after: Option<Key>,
        turn: OwnedSemaphorePermit,
        ctx: &mut Context<Self>,
    ) {
        let Phase::Writing(writing) = &self.phase else { return };
        let (store, id, life) = (Arc::clone(&self.store), writing.id, self.life);
        let page = async move { (store.keys(id, after.as_ref(), PAGE).await, turn) };
        ctx.spawn(page.into_actor(self).map(move |(page, turn), actor, ctx| {
            if actor.life != life {
                return;
            }
            match page {
                Ok(page) => {
                    let last = page.len() < PAGE;
                    if actor.memory.keys.filled(number, &page, last) {
                        actor.read_keys(number, page.last().map(Key::detached), turn, ctx);
                    }
                }
                Err(error) => {
                    actor.store_failed("reading keys", &error);
                    actor.memory.keys.not_filled(number);
                }
            }
        }));
    }
}
