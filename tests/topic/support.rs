//! A store that fails as told, around the memory store; and commands in short.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog::domain::{
    Batch, Command, ConsumerName, Content, Data, EventBody, Idempotency, IdempotencyKey,
    Invalidate, Json, Key, Move, Moved, ReadEvent, Receipt, Revision, Seq, Timestamp, TopicId,
    TopicName, TransactionNo, Write,
};
use tidelog::store::memory::MemoryStore;
use tidelog::store::{
    AppendError, Cause, Direction, EventSourceReader as _, EventSourceWriter, Facts, MoveError,
    Opened, Scan, StoreError, Touched, Wanted,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and that is what the store says.
    Not,
    /// The append is done, but the store says that it does not know.
    UnknownDone,
    /// The append is not done; the store says that it does not know.
    UnknownNot,
    /// The store says that it does not know; the append is done when the topic is opened next,
    /// just before.
    UnknownLate,
    /// The same, but just after: the fence has to refuse it.
    UnknownAfterFence,
    /// The actor dies in the call.
    Panic,
}

type Late = Vec<(Fault, Arc<Batch>)>;
type Append = (Arc<Batch>, usize, oneshot::Sender<Result<(), AppendError>>);

/// See the module. Appends are done one after the other by a task, as a database would.
pub struct FaultyStore {
    inner: Arc<Mutex<Arc<MemoryStore>>>,
    calls: AtomicUsize,
    pub opens: AtomicUsize,
    sent: AtomicUsize,
    pub appended: Arc<Mutex<Vec<usize>>>,
    faults: Arc<Mutex<BTreeMap<usize, Fault>>>,
    late: Arc<Mutex<Late>>,
    pub read_only: Mutex<bool>,
    pub down: Arc<Mutex<bool>>,
    /// Everything works, but nothing can be appended.
    pub full: Arc<Mutex<bool>>,
    /// The surface is never forward when a topic is opened.
    pub unfolded: Mutex<bool>,
    /// The store has no receipts of lines any more.
    pub forgetful: Mutex<bool>,
    pub lookups: AtomicUsize,
    pub keys_looked_up: AtomicUsize,
    /// One permit for each look-up that may be done.
    look_ups: Semaphore,
    /// How many pages of keys were asked for.
    pub pages: AtomicUsize,
    /// Pages of keys wait while this is locked.
    pub reading: tokio::sync::Mutex<()>,
    /// How many folds have begun.
    pub folds: AtomicUsize,
    /// Folds wait while this is locked.
    pub folding: tokio::sync::Mutex<()>,
    poison: Arc<Mutex<Option<String>>>,
    /// One permit for each append that may be done.
    pub gate: Arc<Semaphore>,
    appends: mpsc::UnboundedSender<Append>,
}

fn cause() -> Cause {
    Cause::new("a fault of the test")
}

impl FaultyStore {
    pub fn new() -> Arc<Self> {
        let (appends, mut queue) = mpsc::unbounded_channel::<Append>();
        let store = Arc::new(Self {
            inner: Arc::new(Mutex::new(Arc::default())),
            calls: AtomicUsize::new(0),
            opens: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            appended: Arc::default(),
            faults: Arc::default(),
            late: Arc::default(),
            read_only: Mutex::new(false),
            down: Arc::default(),
            full: Arc::default(),
            unfolded: Mutex::default(),
            forgetful: Mutex::default(),
            lookups: AtomicUsize::new(0),
            keys_looked_up: AtomicUsize::new(0),
            look_ups: Semaphore::new(Semaphore::MAX_PERMITS),
            pages: AtomicUsize::new(0),
            reading: tokio::sync::Mutex::default(),
            folds: AtomicUsize::new(0),
            folding: tokio::sync::Mutex::default(),
            poison: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            appends,
        });
        let (inner, gate) = (Arc::clone(&store.inner), Arc::clone(&store.gate));
        let (faults, late) = (Arc::clone(&store.faults), Arc::clone(&store.late));
        let (poison, appended) = (Arc::clone(&store.poison), Arc::clone(&store.appended));
        let (down, full) = (Arc::clone(&store.down), Arc::clone(&store.full));
        actix_rt::spawn(async move {
            while let Some((batch, call, reply)) = queue.recv().await {
                gate.acquire().await.expect("it is never closed").forget();
                let fault = faults.lock().remove(&call);
                let outcome = if *down.lock() || *full.lock() {
                    Err(AppendError::NotWritten(StoreError::Unavailable(cause())))
                } else if poison.lock().as_deref().is_some_and(|key| has(&batch, key)) {
                    Err(AppendError::Rejected(cause()))
                } else {
                    let store = Arc::clone(&inner.lock());
                    append(&store, batch, fault, &late, &appended).await
                };
                let _ = reply.send(outcome);
            }
        });
        store
    }

    /// The `call`th call from now fails.
    pub fn fail(&self, call: usize, fault: Fault) {
        self.faults.lock().insert(self.calls.load(Ordering::SeqCst) + call, fault);
    }

    /// Whether every fault was met.
    pub fn all_met(&self) -> bool {
        self.faults.lock().is_empty()
    }

    /// Batches with this key are rejected.
    pub fn poison(&self, key: &str) {
        *self.poison.lock() = Some(key.into());
    }

    /// How many batches were sent so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// No append is done until [`Self::let_through`].
    pub fn hold(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    pub fn let_through(&self, appends: usize) {
        self.gate.add_permits(appends);
    }

    /// No look-up is done until [`Self::let_look_ups_through`].
    pub fn hold_look_ups(&self) {
        self.look_ups.forget_permits(usize::MAX);
    }

    pub fn let_look_ups_through(&self, look_ups: usize) {
        self.look_ups.add_permits(look_ups);
    }

    /// The store loses everything; returns what it had.
    pub fn lose(&self) -> Arc<MemoryStore> {
        std::mem::take(&mut self.inner.lock())
    }

    /// The store has this again.
    pub fn find(&self, lost: Arc<MemoryStore>) {
        *self.inner.lock() = lost;
    }

    pub fn inner(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.inner.lock())
    }

    /// All events of a topic.
    pub async fn log(&self, topic: &TopicName) -> Vec<ReadEvent> {
        let scan = Scan {
            from: Seq(0),
            to: Seq(u64::MAX >> 1),
            limit: usize::MAX,
            direction: Direction::Forward,
            bytes: usize::MAX,
        };
        self.inner().events(topic, scan).await.expect("memory answers")
    }

    fn call(&self) -> Result<(), StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if *self.down.lock() {
            return Err(StoreError::Unavailable(cause()));
        }
        match self.faults.lock().remove(&call) {
            None => Ok(()),
            Some(Fault::Panic) => panic!("a fault of the test"),
            Some(_) => Err(StoreError::Unavailable(cause())),
        }
    }

    async fn late(&self, wanted: Fault) {
        let due: Vec<_> = self.late.lock().extract_if(.., |(fault, _)| *fault == wanted).collect();
        for (fault, batch) in due {
            let done = self.inner().append(batch).await;
            assert_eq!(done.is_ok(), fault == Fault::UnknownLate, "the fence decides");
        }
    }
}

fn has(batch: &Batch, key: &str) -> bool {
    batch.events.iter().any(|event| match &event.body {
        EventBody::Content(content) => content.key.as_str() == key,
        EventBody::Invalidation(_) => false,
    })
}

async fn append(
    store: &MemoryStore,
    batch: Arc<Batch>,
    fault: Option<Fault>,
    late: &Mutex<Late>,
    appended: &Mutex<Vec<usize>>,
) -> Result<(), AppendError> {
    match fault {
        Some(Fault::Panic | Fault::Not) => {
            return Err(AppendError::NotWritten(StoreError::Unavailable(cause())));
        }
        Some(Fault::UnknownNot) => return Err(AppendError::Unknown(cause())),
        Some(fault @ (Fault::UnknownLate | Fault::UnknownAfterFence)) => {
            late.lock().push((fault, batch));
            return Err(AppendError::Unknown(cause()));
        }
        None | Some(Fault::UnknownDone) => {}
    }
    let events = batch.events.len();
    store.append(batch).await?;
    appended.lock().push(events);
    if fault.is_some() { Err(AppendError::Unknown(cause())) } else { Ok(()) }
}

#[async_trait]
impl EventSourceWriter for FaultyStore {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        if *self.read_only.lock() {
            return Err(StoreError::ReadOnly(cause()));
        }
        self.opens.fetch_add(1, Ordering::SeqCst);
        self.call()?;
        self.late(Fault::UnknownLate).await;
        let opened = self.inner().open(topic).await;
        self.late(Fault::UnknownAfterFence).await;
        let unfolded = *self.unfolded.lock();
        opened.map(|opened| if unfolded { Opened { folded: None, ..opened } } else { opened })
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        self.call()?;
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.keys_looked_up.fetch_add(wanted.keys.len(), Ordering::SeqCst);
        self.look_ups.acquire().await.expect("it is never closed").forget();
        let mut facts = self.inner().facts(topic, wanted).await?;
        if *self.forgetful.lock() {
            facts.replays.iter_mut().for_each(Vec::clear);
        }
        Ok(facts)
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.call()?;
        self.pages.fetch_add(1, Ordering::SeqCst);
        let _turn = self.reading.lock().await;
        self.inner().keys(topic, after, limit).await
    }

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let panics = self.faults.lock().remove_entry(&call);
        match panics {
            Some((_, Fault::Panic)) => panic!("a fault of the test"),
            Some((call, fault)) => drop(self.faults.lock().insert(call, fault)),
            None => {}
        }
        self.sent.fetch_add(1, Ordering::SeqCst);
        let (reply, outcome) = oneshot::channel();
        self.appends.send((batch, call, reply)).expect("the task runs");
        async { outcome.await.expect("the task answers") }.boxed()
    }

    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError> {
        self.call()?;
        self.folds.fetch_add(1, Ordering::SeqCst);
        let _turn = self.folding.lock().await;
        self.inner().fold(topic, to, touched).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner().expire(before).await
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        self.inner().move_consumer(to).await
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        self.inner().forget_consumer(topic, name, expected).await
    }

    async fn close(&self) {}
}

pub fn topic() -> TopicName {
    TopicName::parse("t").expect("a topic name")
}

/// One event; its data decides its hash.
pub fn content(key: &str, data: &str) -> Content {
    let key = Key::parse(key.into()).expect("a key");
    let data = Data::Json(Json::from_valid(data.into()).expect("JSON"));
    Content::new(key, None, None, data, None)
}

pub fn write(key: &str, data: &str) -> Command {
    group(&[(key, data)])
}

pub fn group(events: &[(&str, &str)]) -> Command {
    let events = events.iter().map(|(key, data)| content(key, data)).collect();
    Command::Write(Write { events, precondition: None, idempotency: None, producer: None })
}

pub fn named(name: &str, key: &str, data: &str) -> Command {
    let Command::Write(write) = write(key, data) else { unreachable!("it is a write") };
    let key = IdempotencyKey::parse(name).expect("an idempotency key");
    let idempotency = Some(Idempotency { key, request: write.events[0].digest });
    Command::Write(Write { idempotency, ..write })
}

pub fn invalidate(transaction: u64) -> Command {
    Command::Invalidate(Invalidate {
        transaction: TransactionNo(transaction),
        reason: None,
        idempotency: None,
    })
}

/// The seq of a receipt's only ack.
pub fn seq(receipt: &Receipt) -> u64 {
    assert_eq!(receipt.acks.len(), 1);
    receipt.acks[0].version.seq.0
}

/// How often each key is in a log.
pub fn keys(log: &[ReadEvent]) -> HashMap<String, usize> {
    let mut keys = HashMap::new();
    for read in log {
        if let EventBody::Content(content) = &read.event.body {
            *keys.entry(content.key.as_str().to_owned()).or_default() += 1;
        }
    }
    keys
}
