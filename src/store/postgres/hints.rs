//! Hints between the instances on a database: NOTIFY and LISTEN, on a connection of their own.
//!
//! Never inside an append: a transaction that notifies takes a lock of the whole cluster when it
//! commits. What moves is gathered here, and every few milliseconds one small transaction, which
//! nobody waits for, names it all. The same connection listens, so that an instance knows its own
//! hints by their process id and does not hear them.
//!
//! Not here: what a hint means to a reader (`live/`).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_postgres::{Error, Notification};

use super::super::{Hint, Hints, TopicSummary};
use super::session::{Connector, Session};
use crate::domain::{Seq, TopicName, TransactionNo, Version};
use crate::metrics;

/// Hints are worth no flush.
const BEGIN: &str = "SET synchronous_commit = off; LISTEN tidelog_heads";
const PID: &str = "SELECT pg_backend_pid()";
const TELL: &str = "SELECT pg_notify('tidelog_heads', told) FROM unnest($1::text[]) AS t (told)";

/// PostgreSQL takes less than 8,000 bytes.
const PAYLOAD_BYTES_MAX: usize = 7_900;
/// How long what moves is gathered, after something was told.
const GATHER: Duration = Duration::from_millis(10);
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

struct Shared {
    /// What has moved and is not told yet.
    moved: Mutex<HashMap<TopicName, Version>>,
    wake: Notify,
    /// `None` once the store is closed.
    heard: Mutex<Option<broadcast::Sender<Hint>>>,
    /// The process that serves the connection.
    own: AtomicI32,
}

impl PostgresHints {
    pub(super) fn start(connector: Connector) -> Self {
        let shared = Arc::new(Shared {
            moved: Mutex::default(),
            wake: Notify::new(),
            heard: Mutex::new(Some(broadcast::channel(BEHIND_MAX).0)),
            own: AtomicI32::new(0),
        });
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
        let mut moved = self.shared.moved.lock();
        let known = moved.entry(topic.clone()).or_insert(head);
        *known = head.max(*known);
        drop(moved);
        self.shared.wake.notify_one();
    }

    fn listen(&self) -> BoxStream<'static, Hint> {
        let heard = self.shared.heard.lock().as_ref().map(broadcast::Sender::subscribe);
        let next = |heard: Option<broadcast::Receiver<Hint>>| async {
            let mut heard = heard?;
            let hint = match heard.recv().await {
                Ok(hint) => hint,
                Err(RecvError::Lagged(_)) => Hint::Missed,
                Err(RecvError::Closed) => return None,
            };
            Some((hint, Some(heard)))
        };
        stream::unfold(heard, next).boxed()
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

/// Tells what moves until the connection is lost, and says why.
async fn work(mut session: Session, shared: &Shared) -> String {
    let tell = match session.client.prepare(TELL).await {
        Ok(tell) => tell,
        Err(error) => return error.to_string(),
    };
    loop {
        tokio::select! {
            () = shared.wake.notified() => {}
            _ = &mut session.task => return "it was closed".into(),
        }
        let moved = std::mem::take(&mut *shared.moved.lock());
        if moved.is_empty() {
            continue;
        }
        metrics::hints_told(moved.len());
        if let Err(error) = session.client.execute(&tell, &[&payloads(&moved)]).await {
            shared.again(moved);
            return error.to_string();
        }
        tokio::time::sleep(GATHER).await;
    }
}

impl Shared {
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
            // What does not make sense may be from a newer version.
            self.hear(parse(line).map_or(Hint::Missed, Hint::Moved));
        }
    }

    /// What could not be told is told later, unless something newer is.
    fn again(&self, untold: HashMap<TopicName, Version>) {
        let mut moved = self.moved.lock();
        for (topic, head) in untold {
            let known = moved.entry(topic).or_insert(head);
            *known = head.max(*known);
        }
        self.wake.notify_one();
    }
}

/// Lines `<seq> <transaction> <topic>`, as many to a payload as it holds.
fn payloads(moved: &HashMap<TopicName, Version>) -> Vec<String> {
    let mut payloads = vec![String::new()];
    for (topic, head) in moved {
        let line = format!("{} {} {topic}\n", head.seq, head.transaction);
        let last = payloads.last_mut().expect("there is one from the begin on");
        if last.len() + line.len() > PAYLOAD_BYTES_MAX {
            payloads.push(line);
        } else {
            let _ = last.write_str(&line); // Writing to a String cannot fail.
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
}
