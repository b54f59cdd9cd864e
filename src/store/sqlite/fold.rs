//! Bringing surfaces forward, and forgetting old records: work that can wait, in steps that are
//! short enough for appends in between.
//!
//! Not here: reading a surface (`surface.rs`).
//! Invariant: after a step, `latest` says of every key its newest event, and its newest event
//! whose transaction is not invalidated, both as of the seq in `fold`; all in one commit.

use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};

use super::error::corrupt;
use super::open::folded;
use super::read;
use super::row::{int, position};
use crate::domain::{Key, Seq, Timestamp, TopicId};
use crate::metrics;
use crate::store::{StoreError, Touched};

/// Most events of one step, and most keys of one that goes by what the writer remembers.
const STEP_EVENTS: u64 = 5_000;
/// A step ends with the invalidation at which the invalidated events exceed this.
const STEP_INVALIDATED_EVENTS: u64 = 20_000;
/// Most records that one step forgets.
pub const STEP_RECORDS: u64 = 1_000;

const NEWEST: &str = include_str!("../../../sql/sqlite/queries/fold_newest.sql");
const TOUCHED: &str = "INSERT INTO latest (topic, key, newest, standing) VALUES (?1, ?2, ?3, ?3)
    ON CONFLICT (topic, key) DO UPDATE SET newest = excluded.newest, standing = excluded.newest";
const RESTAND: &str = include_str!("../../../sql/sqlite/queries/fold_restand.sql");
const INVALIDATED: &str = "SELECT first_seq, last_seq, by_seq FROM invalidation
    WHERE topic = ?1 AND by_seq > ?2 AND by_seq <= ?3 ORDER BY by_seq";
const FOLDED: &str = "INSERT INTO fold (topic, seq) VALUES (?1, ?2)
    ON CONFLICT (topic) DO UPDATE SET seq = excluded.seq";
const EXPIRE: &str = "DELETE FROM idempotency WHERE (topic, key) IN
    (SELECT topic, key FROM idempotency WHERE recorded_at < ?1 LIMIT ?2)";

/// What the writer remembers of a stretch, in order of key and in parts, each a transaction.
pub struct Parts {
    after: Option<Seq>,
    to: Seq,
    keys: std::iter::Peekable<std::vec::IntoIter<(Key, Seq)>>,
}

/// Some of the keys; the last part moves the watermark.
pub struct Part {
    after: Option<Seq>,
    keys: Vec<(Key, Seq)>,
    end: Option<Seq>,
}

impl Parts {
    /// Sorts the keys, which takes a moment.
    pub fn of(Touched { after, new, known }: Touched, to: Seq) -> Self {
        let mut keys = new;
        keys.extend(known);
        keys.sort();
        Self { after, to, keys: keys.into_iter().peekable() }
    }

    /// The next part, where there is one.
    pub fn next(&mut self) -> Option<Part> {
        self.keys.peek()?;
        let keys = self.keys.by_ref().take(STEP_EVENTS as usize).collect();
        let end = self.keys.peek().is_none().then_some(self.to);
        Some(Part { after: self.after, keys, end })
    }
}

impl Part {
    /// Brings these keys forward; `false` where the watermark is not where the writer thinks. A
    /// part that is not the last leaves keys ahead of the watermark, which is no harm: reads go
    /// down from a key's newest event to the one they want, and the next fold sets them again.
    pub fn fold(self, conn: &mut Connection, topic: TopicId) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if folded(&transaction, topic)? != self.after {
            return Ok(false);
        }
        {
            let mut upsert = transaction.prepare_cached(TOUCHED)?;
            for (key, seq) in &self.keys {
                upsert.execute(params![topic.0, key.as_str(), int(seq.0)])?;
            }
        }
        if let Some(end) = self.end {
            ensure_within(&transaction, topic, end)?;
            transaction.prepare_cached(FOLDED)?.execute(params![topic.0, int(end.0)])?;
        }
        transaction.commit()?;
        if let Some(end) = self.end {
            metrics::folded(end.0 + 1 - self.after.map_or(0, |seq| seq.0 + 1), begun.elapsed());
        }
        Ok(true)
    }
}

/// Brings the surface one step forward towards `to`, and says how far it is.
pub fn step(conn: &mut Connection, topic: TopicId, to: Seq) -> Result<Seq, StoreError> {
    let begun = Instant::now();
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = folded(&transaction, topic)?;
    if let Some(before) = before.filter(|before| *before >= to) {
        return Ok(before);
    }
    ensure_within(&transaction, topic, to)?;
    let next = before.map_or(0, |before| before.0 + 1);
    let end = to.0.min(next + STEP_EVENTS - 1);
    let (end, invalidated) = invalidated(&transaction, topic, next, end)?;

    let after = int(next) - 1;
    transaction.prepare_cached(NEWEST)?.execute(params![topic.0, after, int(end)])?;
    for (first, last) in invalidated {
        let keys = params![topic.0, int(first), int(last), int(end)];
        transaction.prepare_cached(RESTAND)?.execute(keys)?;
    }
    transaction.prepare_cached(FOLDED)?.execute(params![topic.0, int(end)])?;
    transaction.commit()?;
    metrics::folded(end + 1 - next, begun.elapsed());
    Ok(Seq(end))
}

fn ensure_within(conn: &Connection, topic: TopicId, to: Seq) -> Result<(), StoreError> {
    let head = read::bounds(conn, topic)?.and_then(|bounds| bounds.head);
    if head.is_none_or(|head| head.seq < to) {
        return Err(corrupt("a surface cannot be brought forward beyond its topic's head"));
    }
    Ok(())
}

/// The stretches of events that were invalidated by an event from `next` to the end of the step,
/// and that end: an invalidation can be of any size, so it may come before `end`.
fn invalidated(
    conn: &Connection,
    topic: TopicId,
    next: u64,
    end: u64,
) -> Result<(u64, Vec<(u64, u64)>), StoreError> {
    let mut statement = conn.prepare_cached(INVALIDATED)?;
    let mut rows = statement.query(params![topic.0, int(next) - 1, int(end)])?;
    let (mut stretches, mut events) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (first, last) = (position(row, 0)?, position(row, 1)?);
        stretches.push((first, last));
        events += last.saturating_sub(first) + 1;
        if events > STEP_INVALIDATED_EVENTS {
            return Ok((position(row, 2)?, stretches));
        }
    }
    Ok((end, stretches))
}

/// Forgets some idempotency records that are older than `before`, and says how many.
pub fn expire(conn: &mut Connection, before: Timestamp) -> Result<u64, StoreError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let forgotten =
        transaction.prepare_cached(EXPIRE)?.execute(params![before.0, int(STEP_RECORDS)])?;
    transaction.commit()?;
    Ok(forgotten as u64)
}
