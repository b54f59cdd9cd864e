//! A store with somebody who watches it: tells the log once when it fails, now and then while it
//! does so, and once when it works again, whoever notices first and however many topics wait.
//!
//! Not here: what is done about it (`topic/recovery.rs`), and what a client is told (`http/`).
//! Invariant: every call goes to the store within as it is, and every answer comes from it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    AppendError, Cause, EventSourceReader, EventSourceWriter, Facts, Hints, MoveError, Opened,
    Scan, StoreError, SurfaceScan, TopicSummary, Touched, Wanted,
};
use crate::domain::{
    Batch, Consumer, ConsumerName, Head, Key, Move, Moved, ReadEvent, Revision, Root, Seq,
    Timestamp, TopicId, TopicName, TransactionNo,
};

/// How long the log is spared before it hears of the same thing again.
const REMINDER: Duration = Duration::from_secs(10);

/// How long it may take to say that it is there. Callers may have less patience.
const PING: Duration = Duration::from_secs(4);

/// A store, and how it is.
pub struct Watched<S> {
    store: S,
    watch: Arc<Mutex<Watch>>,
}

impl<S> Watched<S> {
    /// A store that works.
    pub fn new(store: S) -> Self {
        Self { store, watch: Arc::default() }
    }

    /// Notes how a call ended, and passes it on.
    fn note<T>(&self, side: Side, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut watch = self.watch.lock();
        match &answer {
            Ok(_) => watch.works(side),
            // An answer, if a bad one: those who asked report it.
            Err(StoreError::Corrupt(_)) => {}
            Err(error) => watch.failed(side, error),
        }
        answer
    }

    /// The same of a call that moves consumers.
    fn note_move<T>(&self, answer: Result<T, MoveError>) -> Result<T, MoveError> {
        let mut watch = self.watch.lock();
        match &answer {
            Ok(_) => watch.works(Side::Preparing),
            Err(MoveError::NotMoved(StoreError::Corrupt(_))) => {}
            Err(error) => watch.failed(Side::Preparing, error),
        }
        answer
    }
}

/// What fails and recovers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Appending,
    /// Taking topics, folding, consumers: what is written besides events. Where there is little room it may
    /// work while appends do not.
    Preparing,
    Reading,
}

/// What has been seen of the store.
#[derive(Default)]
struct Watch {
    /// By side.
    fails: [bool; 3],
    /// Since when one side fails.
    failing: Option<Instant>,
    /// Whether the log knows, and when it last could have heard.
    told: bool,
    told_at: Option<Instant>,
    worked_again: Option<Instant>,
    /// Topics that could not be taken.
    waiting: HashSet<TopicName>,
    /// Batches refused since the log last heard of it.
    refused: u64,
    refusals_told: Option<Instant>,
    closed: bool,
}

/// Whether it never was, or so long ago that the log may hear of it again.
fn is_long_ago(then: Option<Instant>) -> bool {
    then.is_none_or(|then| then.elapsed() >= REMINDER)
}

impl Watch {
    fn failed(&mut self, side: Side, error: &dyn std::fmt::Display) {
        self.fails[side as usize] = true;
        if self.closed {
            return; // That is what it was told to be.
        }
        let now = Instant::now();
        let Some(since) = self.failing else {
            self.failing = Some(now);
            self.told_at = Some(now);
            // What comes back piece by piece may fail a few times more.
            self.told = is_long_ago(self.worked_again);
            if self.told {
                tracing::warn!(%error, "the store fails; trying again until it works");
            }
            return;
        };
        if is_long_ago(self.told_at) {
            self.told_at = Some(now);
            self.told = true;
            let (seconds, topics) = (since.elapsed().as_secs(), self.waiting.len());
            tracing::warn!(%error, seconds, topics_waiting = topics, "the store still fails");
        }
    }

    fn works(&mut self, side: Side) {
        self.fails[side as usize] = false;
        if !self.fails.contains(&true) {
            self.recovered();
        }
    }

    fn recovered(&mut self) {
        let Some(since) = self.failing.take() else { return };
        self.worked_again = Some(Instant::now());
        if self.told {
            tracing::info!(seconds = since.elapsed().as_secs(), "the store works again");
        }
    }

    /// A store that answers a ping may be written and read, as far as it knows.
    fn answers(&mut self) {
        self.fails = [false; 3];
        self.recovered();
    }

    /// While the store fails, and shortly after, this is a consequence: what was behind a batch whose
    /// outcome is not known, or planned before that. Else it is somebody else's doing.
    fn refused(&mut self) {
        if self.failing.is_some() || !is_long_ago(self.worked_again) || self.closed {
            return;
        }
        self.refused += 1;
        if is_long_ago(self.refusals_told) {
            self.refusals_told = Some(Instant::now());
            let batches = std::mem::take(&mut self.refused);
            tracing::warn!(
                batches,
                "the store refused batches, because another instance writes to their topics too; \
                 nothing is lost: the topics are taken back, and what was refused is written then"
            );
        }
    }

    fn appended(&mut self, outcome: &Result<(), AppendError>) {
        match outcome {
            Ok(()) => self.works(Side::Appending),
            Err(AppendError::Refused) => self.refused(),
            Err(AppendError::Rejected(_) | AppendError::NotWritten(StoreError::Corrupt(_))) => {}
            Err(AppendError::NotWritten(error)) => self.failed(Side::Appending, error),
            Err(error @ AppendError::Unknown(_)) => self.failed(Side::Appending, error),
        }
    }
}

#[async_trait]
impl<S: EventSourceWriter> EventSourceWriter for Watched<S> {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        let opened = self.store.open(topic).await;
        {
            let mut watch = self.watch.lock();
            if opened.is_err() {
                watch.waiting.insert(topic.clone());
            } else if !watch.waiting.is_empty() {
                watch.waiting.remove(topic);
            }
        }
        self.note(Side::Preparing, opened)
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        self.note(Side::Reading, self.store.facts(topic, wanted).await)
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.note(Side::Reading, self.store.keys(topic, after, limit).await)
    }

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        let watch = Arc::clone(&self.watch);
        let append = self.store.append(batch);
        append.inspect(move |outcome| watch.lock().appended(outcome)).boxed()
    }

    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError> {
        self.note(Side::Preparing, self.store.fold(topic, to, touched).await)
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.note(Side::Preparing, self.store.expire(before).await)
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        self.note_move(self.store.move_consumer(to).await)
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        self.note_move(self.store.forget_consumer(topic, name, expected).await)
    }

    async fn close(&self) {
        self.watch.lock().closed = true;
        self.store.close().await;
    }
}

#[async_trait]
impl<S: EventSourceReader> EventSourceReader for Watched<S> {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        self.note(Side::Reading, self.store.topics(prefix, after, limit).await)
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        self.note(Side::Reading, self.store.head(topic).await)
    }

    async fn heads(&self, topics: &[TopicName]) -> Result<Vec<Head>, StoreError> {
        self.note(Side::Reading, self.store.heads(topics).await)
    }

    fn hints(&self) -> Option<Arc<dyn Hints>> {
        self.store.hints()
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        self.note(Side::Reading, self.store.events(topic, scan).await)
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.note(Side::Reading, self.store.history(topic, key, scan).await)
    }

    async fn versions(
        &self,
        topic: &TopicName,
        key: &Key,
        stretch: (Seq, Seq),
        limit: usize,
    ) -> Result<Vec<Seq>, StoreError> {
        self.note(Side::Reading, self.store.versions(topic, key, stretch, limit).await)
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        self.note(Side::Reading, self.store.transaction(topic, transaction).await)
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.note(Side::Reading, self.store.surface(topic, scan).await)
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        self.note(Side::Reading, self.store.consumer(topic, name).await)
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        self.note(Side::Reading, self.store.consumers(topic, prefix, after, limit).await)
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        self.note(Side::Reading, self.store.all_consumers(after, limit).await)
    }

    async fn root(&self, topic: &TopicName, at: Seq) -> Result<Option<Root>, StoreError> {
        self.note(Side::Reading, self.store.root(topic, at).await)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let late = |_| Err(StoreError::Unavailable(Cause::new("no answer in time")));
        let answer = tokio::time::timeout(PING, self.store.ping()).await.unwrap_or_else(late);
        if answer.is_ok() {
            self.watch.lock().answers();
            return answer;
        }
        self.note(Side::Reading, answer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::store::memory::MemoryStore;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are logged, at INFO and above.
    fn logged(what: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).without_time();
        let subscriber = lines.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, what);
        let text = String::from_utf8(log.0.lock().clone()).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    fn down() -> AppendError {
        AppendError::NotWritten(StoreError::Unavailable(Cause::new("no route")))
    }

    /// Methods of the traits that have a default would otherwise be lost here without a word.
    #[test]
    fn every_method_of_a_store_is_passed_on() {
        let methods = |text: &'static str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
            let methods = lines.filter_map(|line| {
                line.strip_prefix("async fn ")
                    .or_else(|| line.strip_prefix("fn "))?
                    .split('(')
                    .next()
            });
            methods.collect::<HashSet<_>>()
        };
        let of_traits = methods(include_str!("mod.rs"));
        assert!(of_traits.contains("append") && of_traits.contains("ping"), "{of_traits:?}");
        let here = methods(include_str!("watched.rs"));
        let missing: Vec<_> = of_traits.difference(&here).collect();
        assert!(missing.is_empty(), "not passed on: {missing:?}");
    }

    #[test]
    fn an_outage_is_told_once_whoever_notices_it_and_so_is_its_end() {
        let mut watch = Watch::default();
        let lines = logged(|| {
            for _ in 0..100 {
                watch.appended(&Err(down()));
                watch.appended(&Err(AppendError::Refused));
                watch.failed(Side::Reading, &"no route");
            }
            watch.works(Side::Appending);
            watch.works(Side::Reading);
            watch.works(Side::Reading);
        });
        let [lost, back] = &lines[..] else { panic!("{lines:#?}") };
        assert!(lost.contains("WARN") && lost.contains("no route"), "{lost}");
        assert!(back.contains("INFO") && back.contains("works again"), "{back}");
        let again = logged(|| {
            watch.appended(&Err(down()));
            watch.answers();
            watch.appended(&Err(AppendError::Refused));
        });
        assert_eq!(again, Vec::<String>::new(), "the other lane, and what was behind");
    }

    #[test]
    fn a_long_outage_is_recalled_now_and_then_with_how_many_wait() {
        let mut watch = Watch::default();
        watch.failed(Side::Appending, &"no route");
        watch.told_at = Instant::now().checked_sub(REMINDER);
        watch.waiting.insert(TopicName::parse("t").expect("a name"));
        let lines = logged(|| (0..100).for_each(|_| watch.failed(Side::Appending, &"no route")));
        assert!(lines.len() == 1 && lines[0].contains("topics_waiting=1"), "{lines:#?}");
    }

    #[test]
    fn refusals_without_an_outage_are_told_as_what_they_are() {
        let mut watch = Watch::default();
        let refused = || (0..50).for_each(|_| watch.appended(&Err(AppendError::Refused)));
        let lines = logged(refused);
        assert!(lines.len() == 1 && lines[0].contains("nothing is lost"), "{lines:#?}");
    }

    #[tokio::test]
    async fn a_store_that_was_closed_does_not_fail() {
        let store = Watched::new(MemoryStore::default());
        store.close().await;
        let mut watch = store.watch.lock();
        let lines = logged(|| watch.appended(&Err(down())));
        assert_eq!(lines, Vec::<String>::new());
    }
}
