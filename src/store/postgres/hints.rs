//! Hints between the instances on a database: NOTIFY and LISTEN, on a connection of their own.
//!
//! Never inside an append: a transaction that notifies takes a lock of the whole cluster when it
//! commits. What moves is gathered here, and every few milliseconds one small transaction, which
//! nobody waits for, names it all. The same connection listens, so that an instance knows its own
//! words by their process id and does not hear them.
//!
//! Nobody tells where nobody listens: with ten thousand topics telling is a twentieth of all that
//! writing costs (decision 16). Who listens says so every second, and is told what moves until
//! three seconds after the last time. Who begins to tell says that as well, for those who listened
//! too early: they hear [`Hint::Missed`].
//!
//! Not here: what a hint means to a reader (`live/`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Error, Notification};

use super::super::{Hint, Hints, TopicSummary};
use super::session::{Connector, Session};
use crate::domain::{Seq, TopicName, TransactionNo, Version};
use crate::metrics;

/// Hints are worth no flush.
const BEGIN: &str = "SET synchronous_commit = off; LISTEN tidelog_heads";
const PID: &str = "SELECT pg_backend_pid()";
const TELL: &str = "SELECT pg_notify('tidelog_heads', told) FROM unnest($1::text[]) AS t (told)";

/// Said by who listens.
const LISTENS: &str = "listens";
/// Said by who begins to tell.
const TELLS: &str = "tells";

/// PostgreSQL takes less than 8,000 bytes.
const PAYLOAD_BYTES_MAX: usize = 7_900;
/// How long what moves is gathered, after something was told.
const GATHER: Duration = Duration::from_millis(10);
/// How often an instance says that it listens.
const LISTENS_EVERY: Duration = Duration::from_secs(1);
/// How long it is believed.
const LISTENS_FOR: Duration = Duration::from_secs(3);
/// Hints that a listener may be behind.
const BEHIND_MAX: usize = 4_096;
/// The pause after the first failure to connect; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// See the module. Its connection ends with `close` or with the store's runtime.
pub(super) struct PostgresHints {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// What has moved and is not told yet.
    moved: Mutex<HashMap<TopicName, Version>>,
    /// Somebody else listens. Changes while `listens` is locked.
    telling: AtomicBool,
    /// When another instance last said that it listens.
    listens: Mutex<Option<Instant>>,
    /// To be said: this instance begins to tell.
    begins: AtomicBool,
    wake: Notify,
    /// `None` once the store is closed.
    heard: Mutex<Option<broadcast::Sender<Hint>>>,
    /// The process that serves the connection.
    own: AtomicI32,
}

impl PostgresHints {
    pub(super) fn start(connector: Connector) -> Self {
        let heard = Mutex::new(Some(broadcast::channel(BEHIND_MAX).0));
        let shared = Arc::new(Shared { heard, ..Shared::default() });
        let runtime = connector.runtime.clone();
        let task = runtime.spawn(run(connector, Arc::clone(&shared)));
        Self { shared, task }
    }

    pub(super) fn close(&self) {
        self.task.abort();
        self.shared.heard.lock().take();
    }
}

impl Hints for PostgresHints {
    fn tell(&self, topic: &TopicName, head: Version) {
        self.shared.tell(topic, head);
    }

    fn listen(&self) -> BoxStream<'static, Hint> {
        let heard = self.shared.heard.lock().as_ref().map(broadcast::Sender::subscribe);
        self.shared.wake.notify_one(); // To be said, if it was not within the last second.
        let first = stream::iter(heard.is_some().then_some(Hint::Missed));
        let next = |heard: Option<broadcast::Receiver<Hint>>| async {
            let mut heard = heard?;
            let hint = match heard.recv().await {
                Ok(hint) => hint,
                Err(RecvError::Lagged(_)) => Hint::Missed,
                Err(RecvError::Closed) => return None,
            };
            Some((hint, Some(heard)))
        };
        first.chain(stream::unfold(heard, next)).boxed()
    }
}

async fn run(connector: Connector, shared: Arc<Shared>) {
    let mut pause = PAUSE_MIN;
    loop {
        let opening = tokio::time::timeout(connector.patience(), open(&connector, &shared)).await;
        match opening {
            Ok(Ok(session)) => {
                pause = PAUSE_MIN;
                shared.hear(Hint::Missed);
                let ended = work(session, &shared).await;
                tracing::debug!(why = %ended, "lost the connection for hints; connecting again");
            }
            // An outage is told by `watched.rs`, once.
            Ok(Err(error)) => tracing::debug!(%error, "no connection for hints to postgres"),
            Err(_) => tracing::debug!("no connection for hints to postgres in time"),
        }
        metrics::store_error("hints");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn open(connector: &Connector, shared: &Arc<Shared>) -> Result<Session, Error> {
    let hearing = Arc::clone(shared);
    let session = connector.connect_and_hear(move |told| hearing.notified(told)).await?;
    let pid = session.client.query_one(PID, &[]).await?.try_get(0)?;
    shared.own.store(pid, Ordering::Relaxed);
    session.client.batch_execute(BEGIN).await?;
    Ok(session)
}

/// Tells what moves, and that somebody listens, until the connection is lost; says why.
async fn work(mut session: Session, shared: &Shared) -> String {
    let tell = match session.client.prepare(TELL).await {
        Ok(tell) => tell,
        Err(error) => return error.to_string(),
    };
    let mut tick = tokio::time::interval(LISTENS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said: Option<Instant> = None;
    loop {
        let ticked = tokio::select! {
            () = shared.wake.notified() => false,
            _ = tick.tick() => true,
            _ = &mut session.task => return "it was closed".into(),
        };
        let now = Instant::now();
        shared.believe(now);
        let due = ticked || said.is_none_or(|said| now.duration_since(said) >= LISTENS_EVERY);
        let listens = due && shared.has_listeners();
        let begins = shared.begins.swap(false, Ordering::AcqRel);
        let moved = std::mem::take(&mut *shared.moved.lock());
        let mut told = payloads(&moved);
        told.extend(listens.then(|| LISTENS.to_owned()));
        told.extend(begins.then(|| TELLS.to_owned()));
        if told.is_empty() {
            continue;
        }
        if let Err(error) = session.client.execute(&tell, &[&told]).await {
            shared.begins.fetch_or(begins, Ordering::AcqRel);
            shared.gather(moved); // Later.
            return error.to_string();
        }
        metrics::hints_told(moved.len());
        if listens {
            said = Some(now);
        }
        tokio::time::sleep(GATHER).await;
    }
}

impl Shared {
    fn tell(&self, topic: &TopicName, head: Version) {
        if !self.telling.load(Ordering::Acquire) {
            return;
        }
        self.gather([(topic.clone(), head)]);
    }

    fn hear(&self, hint: Hint) {
        if let Some(heard) = &*self.heard.lock() {
            let _ = heard.send(hint); // Nobody need be listening.
        }
    }

    fn notified(&self, told: &Notification) {
        if told.process_id() == self.own.load(Ordering::Relaxed) {
            return;
        }
        for line in told.payload().lines() {
            match line {
                LISTENS => self.listened(Instant::now()),
                TELLS => self.hear(Hint::Missed),
                // What does not make sense may be from a newer version.
                line => self.hear(parse(line).map_or(Hint::Missed, Hint::Moved)),
            }
        }
    }

    /// Another instance listens.
    fn listened(&self, now: Instant) {
        let mut listens = self.listens.lock();
        *listens = Some(now);
        if !self.telling.swap(true, Ordering::AcqRel) {
            self.begins.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }

    /// Tells no more once nobody has said for long that it listens.
    fn believe(&self, now: Instant) {
        let listens = self.listens.lock();
        if listens.is_none_or(|said| now.duration_since(said) > LISTENS_FOR)
            && self.telling.swap(false, Ordering::AcqRel)
        {
            self.moved.lock().clear();
        }
    }

    /// Whether somebody in this instance listens.
    fn has_listeners(&self) -> bool {
        self.heard.lock().as_ref().is_some_and(|heard| heard.receiver_count() > 0)
    }

    /// These are to be told; of each topic the newest.
    fn gather(&self, heads: impl IntoIterator<Item = (TopicName, Version)>) {
        let mut moved = self.moved.lock();
        for (topic, head) in heads {
            let known = moved.entry(topic).or_insert(head);
            *known = head.max(*known);
        }
        drop(moved);
        self.wake.notify_one();
    }
}

/// Lines `<seq> <transaction> <topic>`, as many to a payload as it holds.
fn payloads(moved: &HashMap<TopicName, Version>) -> Vec<String> {
    let mut payloads: Vec<String> = Vec::new();
    for (topic, head) in moved {
        let line = format!("{} {} {topic}\n", head.seq, head.transaction);
        match payloads.last_mut() {
            Some(last) if last.len() + line.len() <= PAYLOAD_BYTES_MAX => last.push_str(&line),
            _ => payloads.push(line),
        }
    }
    payloads
}

fn parse(line: &str) -> Option<TopicSummary> {
    let mut parts = line.split(' ');
    let mut number = || parts.next()?.parse().ok();
    let head = Version { seq: Seq(number()?), transaction: TransactionNo(number()?) };
    Some(TopicSummary { name: TopicName::parse(parts.next()?).ok()?, head })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard_in_payloads_that_are_not_too_long() {
        let name = |n: u64| TopicName::parse(&format!("{n}{}", "x".repeat(150))).expect("a name");
        let head = |n: u64| Version { seq: Seq(n * 7), transaction: TransactionNo(n) };
        let moved: HashMap<_, _> = (0..1000).map(|n| (name(n), head(n))).collect();
        let payloads = payloads(&moved);
        assert!(payloads.iter().all(|payload| payload.len() < 8000 && payload.len() > 4000));
        let lines = payloads.iter().flat_map(|payload| payload.lines());
        let heard = lines.map(|line| parse(line).expect("it was told"));
        let heard: HashMap<_, _> = heard.map(|moved| (moved.name, moved.head)).collect();
        assert_eq!(heard, moved);
        for nonsense in ["", "1", "1 2", "1 2 ", "x 2 t", "-1 2 t", "1 2 .t"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn what_moves_is_only_gathered_while_somebody_listens() {
        let (shared, topic) = (Shared::default(), TopicName::parse("t").expect("a name"));
        let begun = Instant::now();
        let moves_after = |seconds: u64| {
            shared.believe(begun + Duration::from_secs(seconds));
            shared.tell(&topic, Version { seq: Seq(7), transaction: TransactionNo(1) });
            shared.moved.lock().len()
        };
        assert_eq!(moves_after(0), 0, "nobody has ever listened");
        shared.listened(begun);
        assert!(shared.begins.swap(false, Ordering::AcqRel), "who listened too early hears of it");
        assert_eq!(moves_after(0), 1);
        shared.listened(begun + Duration::from_secs(1));
        assert!(!shared.begins.load(Ordering::Acquire), "nothing was missed meanwhile");
        assert_eq!(moves_after(4), 1, "who listens may be late");
        assert_eq!(moves_after(5), 0, "nobody listens any more: what was to be told is let go");
    }
}
