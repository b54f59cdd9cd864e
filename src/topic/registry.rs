//! Which actor writes which topic: at most one in this process at a time. An actor lives on the
//! thread that first asks for it, because every change of threads costs more than a whole decision.
//!
//! Invariants: an actor retires only while nobody holds a lease on it, so that no command is ever
//! sent to an actor that is about to end; an actor that died (a bug) is replaced by the next
//! lease, and the store fences the old one.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor as _, Addr};
use ahash::RandomState;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::actor::{End, Submit, TopicActor};
use super::admission::{Admission, TopicAdmission};
use super::budget::Budget;
use super::commits::Told;
use super::keys::Keys;
use super::queue::Submission;
use super::settings::Settings;
use crate::domain::TopicName;
use crate::metrics;
use crate::store::EventSourceWriter;

/// What all actors share.
pub(super) struct Registry {
    pub(super) store: Arc<dyn EventSourceWriter>,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Admission,
    /// Who folds because its topic is quiet holds a permit: one after the other.
    pub(super) quiet_folds: Arc<Semaphore>,
    /// Who reads all keys of its topic holds a permit: one after the other.
    pub(super) fillings: Arc<Semaphore>,
    pub(super) commits: Told,
    keys: Arc<Budget>,
    actors: Mutex<HashMap<TopicName, Entry, RandomState>>,
    started: AtomicUsize,
}

struct Entry {
    /// Shared with every lease.
    writer: Lease,
    generation: usize,
}

/// The right to send to a topic's actor: it does not retire while this is held.
#[derive(Clone)]
pub(super) struct Lease(Arc<Writer>);

/// Who writes a topic, and how much may wait for it.
pub(super) struct Writer {
    addr: Addr<TopicActor>,
    pub(super) admission: TopicAdmission,
    /// Submissions on their way to the actor, which plans when the last of them is there: what waits in
    /// its mailbox gets into one batch. Each that is sent arrives once; what a dead actor never took
    /// stays counted, but nobody sends to it any more. Relaxed is enough: changes of one atomic
    /// have one order, and a submission is counted before it is sent.
    on_their_way: AtomicUsize,
}

impl Lease {
    /// Hands a submission to the actor.
    pub(super) fn send(&self, submission: Submission) {
        let submit = Submit(Box::new(submission));
        // Right before it goes: from here on the others wait for it.
        self.on_their_way.fetch_add(1, Ordering::Relaxed);
        self.addr.do_send(submit);
    }

    /// The actor has taken a submission, which is to be said once for each; `true` where no other is on
    /// its way.
    pub(super) fn arrive(&self) -> bool {
        let before = self.on_their_way.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a submission arrives once");
        before == 1
    }
}

impl Deref for Lease {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.0
    }
}

impl Registry {
    pub(super) fn new(store: Arc<dyn EventSourceWriter>, settings: Settings) -> Self {
        let admission = Admission::new(
            settings.queue_events_max,
            settings.queue_bytes_max,
            settings.topic_queue_events_max,
        );
        let (actors, started) = (Mutex::default(), AtomicUsize::new(0));
        let (quiet_folds, commits) = (Arc::new(Semaphore::new(1)), Told::default());
        let keys = Budget::new(settings.keys_bytes_max, settings.keys_bytes_total_max);
        let (fillings, settings) = (Arc::new(Semaphore::new(1)), Arc::new(settings));
        Self { store, settings, admission, quiet_folds, fillings, commits, keys, actors, started }
    }

    /// The topic's actor, started on this thread, which must be one of an actix system, if need be.
    pub(super) fn lease(self: &Arc<Self>, topic: &TopicName) -> Lease {
        let mut actors = self.actors.lock();
        let entry = match actors.get(topic) {
            Some(entry) if entry.writer.addr.connected() => entry,
            found => {
                if found.is_some() {
                    tracing::error!(topic = topic.as_str(), "the topic's actor died; replacing it");
                    metrics::actor_lost();
                }
                let entry = self.start(topic);
                actors.entry(topic.clone()).insert_entry(entry).into_mut()
            }
        };
        entry.writer.clone()
    }

    fn start(self: &Arc<Self>, topic: &TopicName) -> Entry {
        let generation = self.started.fetch_add(1, Ordering::Relaxed);
        let (registry, name) = (Arc::downgrade(self), topic.clone());
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let commits = self.commits.clone();
        let keys = Keys::new(self.keys.share(), None, false);
        let actor = TopicActor::new(name, generation, store, settings, registry, commits, keys);
        let (admission, on_their_way) = (self.admission.topic(), AtomicUsize::new(0));
        let writer = Writer { addr: actor.start(), admission, on_their_way };
        Entry { writer: Lease(Arc::new(writer)), generation }
    }

    /// How many actors are known.
    pub(super) fn active(&self) -> usize {
        self.actors.lock().len()
    }

    /// Forgets an actor that has nothing to do; `false` when it may be needed.
    pub(super) fn retire(&self, topic: &TopicName, generation: usize) -> bool {
        let mut actors = self.actors.lock();
        let Some(entry) = actors.get(topic).filter(|entry| entry.generation == generation) else {
            return true; // It was replaced already.
        };
        if Arc::strong_count(&entry.writer.0) > 1 {
            return false;
        }
        actors.remove(topic);
        metrics::actor_retired();
        true
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for entry in self.actors.get_mut().values() {
            entry.writer.addr.do_send(End);
        }
    }
}
