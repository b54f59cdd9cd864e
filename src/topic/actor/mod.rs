//! The actor that writes one topic: takes submissions, plans batches, keeps several in flight,
//! settles them in order, and takes the topic again when the store fails.
//!
//! Everything that may take time is a future whose result comes back as a call of a method here,
//! together with the *life* it belongs to: each time the topic is taken or given up a new life
//! begins, and results of earlier lives are ignored.
//!
//! Here: the way from the mailbox to the store and back. How the topic is taken is in `taking.rs`,
//! how a batch's needs are looked up in `looking_up.rs`, how the surface is brought forward in
//! `folding.rs`, how the actor learns which keys there are in `filling.rs`, when it gives up or ends
//! in `timer.rs`.
//!
//! Invariant: batches are only planned in the phase `Writing`, on the planned head of this life.

mod filling;
mod folding;
mod looking_up;
mod taking;
mod timer;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext as _, AsyncContext as _, Context, Handler, Message, SpawnHandle};
use actix::{ActorFutureExt as _, WrapFuture as _};
use tokio::sync::OwnedSemaphorePermit;

use super::commits::Told;
use super::flight::{Flight, written};
use super::keys::Keys;
use super::memory::{Gathered, Memory};
use super::now;
use super::outcome::WriteError;
use super::queue::{Queue, Submission};
use super::recovery::Durable;
use super::registry::Registry;
use super::settings::Settings;
use crate::backoff::Backoff;
use crate::domain::{Head, Planner, Seq, TopicId, TopicName};
use crate::metrics;
use crate::store::{AppendError, EventSourceWriter, StoreError};
use folding::Folding;
use looking_up::LookUp;
use timer::Timer;

/// Most small batches in flight: the one that the store works on and the one that it finds next.
const SMALL_IN_FLIGHT: usize = 2;

/// Commands for the actor. There is no answer through the mailbox: the submission carries its own.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Submit(pub(super) Box<Submission>);

/// Nobody can submit any more: end, whatever waits.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct End;

/// What the actor is doing.
enum Phase {
    /// The topic is not taken.
    Idle,
    /// The topic is being taken.
    Taking,
    /// Batches may be planned.
    Writing(Writing),
}

struct Writing {
    id: TopicId,
    planner: Planner,
    look_up: LookUp,
}

/// See the module.
pub(super) struct TopicActor {
    topic: TopicName,
    generation: usize,
    store: Arc<dyn EventSourceWriter>,
    settings: Arc<Settings>,
    registry: Weak<Registry>,
    commits: Told,
    phase: Phase,
    life: u64,
    queue: Queue,
    memory: Memory,
    in_flight: VecDeque<Flight>,
    flights: u64,
    durable: Option<Durable>,
    /// The store has lost what was durable, and has not found it since.
    rewound: bool,
    folding: Folding,
    /// The actor waits for its turn to fold.
    awaiting_turn: bool,
    turn: Option<OwnedSemaphorePermit>,
    fold_backoff: Backoff,
    /// Nothing is planned before the surface is folded up to here.
    fold_first: Option<Seq>,
    /// Since when planning waits for the surface.
    held: Option<Instant>,
    reported_unfolded: u64,
    /// A batch was rejected: so many commands are now sent one by one, to find the culprit.
    one_by_one: usize,
    rejected: Option<u64>,
    backoff: Backoff,
    /// The last failure of the store was for lack of room.
    full: bool,
    /// When something was last settled, or work began, or the topic was taken. But only the first
    /// take after what was settled counts: a store may be fine but for appending.
    progress: Instant,
    taken_in_vain: bool,
    timer: Option<Timer>,
    /// The topic is being taken, or will be after a pause.
    taking: Option<SpawnHandle>,
}

impl Actor for TopicActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        metrics::actor_started();
        self.set_timer(ctx); // Maybe nothing will ever be submitted.
    }
}

impl Drop for TopicActor {
    fn drop(&mut self) {
        metrics::actor_stopped();
        self.report_unfolded(0);
    }
}

impl Handler<Submit> for TopicActor {
    type Result = ();

    fn handle(&mut self, Submit(submission): Submit, ctx: &mut Self::Context) {
        let last = submission.arrive();
        if self.queue.is_empty() {
            self.progress = Instant::now();
        }
        self.queue.push(submission);
        self.set_timer(ctx);
        if last {
            self.pump(ctx);
        }
    }
}

impl Handler<End> for TopicActor {
    type Result = ();

    fn handle(&mut self, End: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl TopicActor {
    pub(super) fn new(
        topic: TopicName,
        generation: usize,
        store: Arc<dyn EventSourceWriter>,
        settings: Arc<Settings>,
        registry: Weak<Registry>,
        commits: Told,
        keys: Keys,
    ) -> Self {
        Self {
            topic,
            generation,
            store,
            settings,
            registry,
            commits,
            phase: Phase::Idle,
            life: 0,
            queue: Queue::default(),
            memory: Memory::new(keys),
            in_flight: VecDeque::new(),
            flights: 0,
            durable: None,
            rewound: false,
            folding: Folding::No,
            awaiting_turn: false,
            turn: None,
            fold_backoff: Backoff::default(),
            fold_first: None,
            held: None,
            reported_unfolded: 0,
            one_by_one: 0,
            rejected: None,
            backoff: Backoff::default(),
            full: false,
            progress: Instant::now(),
            taken_in_vain: false,
            timer: None,
            taking: None,
        }
    }

    /// The newest event that is known to be durable.
    fn durable_head(&self) -> Head {
        self.durable.as_ref().map(|durable| durable.head)
    }

    /// Plans batches until something has to be waited for.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(oldest) = self.queue.oldest_unplanned() {
            match &self.phase {
                Phase::Idle => return self.take(Duration::ZERO, ctx),
                Phase::Taking => return,
                Phase::Writing(writing) if writing.look_up == LookUp::Running => return,
                Phase::Writing(_) => {}
            }
            if !self.may_plan(ctx) {
                return;
            }
            let idle = self.in_flight.is_empty();
            match self.memory.gather(self.queue.unplanned(), idle, &self.settings) {
                Gathered::Wait => return,
                Gathered::LookUp(wanted, ready) => {
                    if idle && self.is_worth_going_ahead(ready) {
                        self.plan(ready, oldest, ctx); // The store has nothing else to do.
                    }
                    return self.look_up(wanted, ctx);
                }
                Gathered::Plan(count) => self.plan(count, oldest, ctx),
            }
        }
    }

    /// Whether a further batch may be planned now.
    fn may_plan(&mut self, ctx: &mut Context<Self>) -> bool {
        let max = if self.one_by_one > 0 { 1 } else { self.settings.commits_in_flight_max.max(1) };
        if self.in_flight.len() >= max || self.in_flight.back().is_some_and(Flight::bars) {
            return false;
        }
        if !self.is_worth_a_commit() {
            return false;
        }
        let full = self.memory.keys.is_over()
            || self.unfolded() > self.settings.unfolded_events_max as u64;
        let folded = self.memory.keys.folded();
        let behind = self.durable_head().map(|head| head.seq) > folded;
        if self.fold_first > folded || full && behind {
            self.held.get_or_insert_with(Instant::now);
            self.fold(ctx);
            return false;
        }
        if let Some(since) = self.held.take() {
            metrics::fold_waited(since.elapsed());
        }
        true
    }

    /// Whether what waits should go now. A small batch waits, and grows, while one as large is in
    /// flight: otherwise producers that wait for their acks would fall into ever smaller groups, each with
    /// a commit of its own.
    fn is_worth_a_commit(&self) -> bool {
        let in_flight: usize = self.in_flight.iter().map(|flight| flight.commands).sum();
        let large = self.settings.batch_events_max / 4;
        let enough =
            if self.in_flight.len() < SMALL_IN_FLIGHT { in_flight.min(large) } else { large };
        in_flight == 0 || self.queue.has_unplanned(enough)
    }

    /// Decides `count` commands, or one where a culprit is looked for, and sends the batch that they
    /// make.
    fn plan(&mut self, count: usize, oldest: Instant, ctx: &mut Context<Self>) {
        let Phase::Writing(Writing { planner, look_up, .. }) = &mut self.phase else { return };
        *look_up = LookUp::No;
        let memory = &mut self.memory;
        let count = if self.one_by_one > 0 { 1 } else { count };
        let began = Instant::now();
        let mut batch = planner.begin(now());
        batch.events.reserve(count); // Nearly every command is one event.
        let (mut events, mut duplicates, mut replayed) = (0, 0, 0);
        for _ in 0..count {
            self.queue.plan(|command| {
                events += command.events();
                let records = batch.idempotency.len();
                let receipt = planner.decide(command, memory, &mut batch);
                if let Some(record) = batch.idempotency.get(records) {
                    memory.planned(record);
                }
                let receipt = receipt.map_err(WriteError::Rejected)?;
                replayed += u64::from(receipt.replayed);
                duplicates += receipt.acks.iter().filter(|ack| ack.duplicate).count() as u64;
                Ok(receipt)
            });
        }
        planner.seal(&mut batch);
        metrics::decided(events, began.elapsed());
        memory.batch_planned();
        // Not earlier: what was looked up for a batch would have to be looked up again.
        memory.keys.sweep();
        self.one_by_one = self.one_by_one.saturating_sub(count);

        // Also a batch without anything in it goes to the store: that the topic is still where these
        // decisions were made, and still ours, is only true once the store says so.
        let written = metrics::Written { duplicates, replayed, ..written(&batch) };
        let batch = Arc::new(batch);
        let (number, sent, life) = (self.flights, Instant::now(), self.life);
        self.flights += 1;
        metrics::commit_sent(batch.events.len(), sent - oldest);
        let append = self.store.append(Arc::clone(&batch));
        ctx.spawn(append.into_actor(self).map(move |outcome, actor, ctx| {
            if actor.life == life {
                actor.appended(number, outcome, ctx);
            }
        }));
        let flight = Flight { number, commands: count, batch, sent, landed: false, written };
        self.in_flight.push_back(flight);
    }

    fn appended(&mut self, number: u64, outcome: Result<(), AppendError>, ctx: &mut Context<Self>) {
        let error = match outcome {
            Ok(()) => {
                let flight = self.in_flight.iter_mut().find(|flight| flight.number == number);
                flight.expect("it is in flight until it is settled").land();
                self.full = false;
                self.settle(ctx);
                return self.pump(ctx);
            }
            Err(error) => error,
        };
        let topic = self.topic.as_str();
        tracing::debug!(topic, %error, "a batch was not acknowledged; taking the topic again");
        let (kind, pause) = match &error {
            // Maybe another instance writes here: do not take it back in the same moment.
            AppendError::Refused => ("refused", self.backoff.pause()),
            AppendError::Rejected(_) => ("rejected", Duration::ZERO),
            AppendError::NotWritten(_) => ("not_written", self.backoff.pause()),
            AppendError::Unknown(_) => ("unknown", self.backoff.pause()),
        };
        metrics::append_error(kind);
        if let AppendError::NotWritten(error) = &error {
            self.full = matches!(error, StoreError::Full(_));
        }
        self.rejected = matches!(error, AppendError::Rejected(_)).then_some(number);
        let first = self.in_flight.front().is_some_and(|flight| flight.number == number);
        if first && !matches!(error, AppendError::Unknown(_)) {
            // It is certain that this is not written, and so is all that was conditional on it.
            self.plan_again();
        }
        self.take(pause, ctx);
    }

    /// Answers, in order, what has landed.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        while self.in_flight.front().is_some_and(|flight| flight.landed) {
            let flight = self.in_flight.pop_front().expect("there is a front");
            self.progress = Instant::now();
            self.taken_in_vain = false;
            self.backoff.reset();
            self.durable = flight.durable().or_else(|| self.durable.take());
            let batch = &flight.batch;
            self.commits.committed(&self.topic, batch);
            self.memory.batch_durable(batch, self.in_flight.is_empty());
            if !batch.invalidations.is_empty() {
                // Keys fell back to earlier events: only the store knows to which.
                self.memory.keys.fell_back();
                self.fold_first = batch.head().map(|head| head.seq);
            }
            metrics::acknowledged(flight.written);
            self.queue.settle(flight.commands);
        }
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new(); // As the queue does.
        }
        self.report_unfolded(self.unfolded());
        self.fold_planned(ctx);
        if self.is_worth_a_fold() {
            self.fold(ctx);
        } else if self.queue.is_empty() {
            self.set_timer(ctx);
        }
    }
}
