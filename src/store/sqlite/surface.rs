//! Reads by key: surfaces and histories.
//!
//! `latest` says where the chain of each key's versions begins; the chain says all the rest.
//! Not here: bringing `latest` forward (`fold.rs`), which the caller does when [`Found::Behind`]
//! says so.
//! Invariant: `latest` may be further than what is asked for, never behind it (S9).

use std::collections::VecDeque;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::error::corrupt;
use super::open::folded;
use super::read;
use super::row::{self, int, position, select_events};
use crate::domain::{Key, ReadEvent, Seq, TopicId, TopicName};
use crate::store::{Direction, KeyRange, Room, Scan, StoreError, SurfaceScan};

const NEWEST: &str = "SELECT newest FROM latest WHERE topic = ?1 AND key = ?2";
/// The first key is `?2` itself where `?3` is 0, and the one after it where it is 1.
const KEYS: &str = "SELECT key, newest FROM latest
    WHERE topic = ?1 AND key >= ?2 AND (?3 = 0 OR key > ?2) ORDER BY key";
const IS_VERSION: &str = "SELECT 1 FROM event WHERE topic = ?1 AND seq = ?2 AND key = ?3";
const PREV: &str = "SELECT prev FROM event WHERE topic = ?1 AND seq = ?2";
const EVENT: &str = select_events!("WHERE e.topic = ?1 AND e.seq = ?2");

/// The answer to a read by key.
pub enum Found<T = ReadEvent> {
    /// These events.
    Events(Vec<T>),
    /// None yet: the surface has to be brought forward to this seq first.
    Behind(TopicId, Seq),
}

/// Events of one key in a stretch.
pub fn history(
    conn: &Connection,
    topic: &TopicName,
    key: &Key,
    scan: Scan,
) -> Result<Found, StoreError> {
    by_version(conn, topic, key, scan, |chain, newest, scan| chain.history(newest, scan))
}

/// The seqs of a history.
pub fn versions(
    conn: &Connection,
    topic: &TopicName,
    key: &Key,
    scan: Scan,
) -> Result<Found<Seq>, StoreError> {
    by_version(conn, topic, key, scan, |chain, newest, scan| {
        Ok(chain.seqs(newest, scan)?.into_iter().map(Seq).collect())
    })
}

/// Reads down a key's chain, from where the walk begins.
fn by_version<T>(
    conn: &Connection,
    topic: &TopicName,
    key: &Key,
    scan: Scan,
    read: impl FnOnce(Chain<'_>, u64, Scan) -> Result<Vec<T>, StoreError>,
) -> Result<Found<T>, StoreError> {
    let Some((topic, head)) = read::find(conn, topic)? else {
        return Ok(Found::Events(Vec::new()));
    };
    let to = scan.to.min(head.seq);
    if folded(conn, topic)? < Some(to) {
        return Ok(Found::Behind(topic, to));
    }
    let begin =
        if is_version(conn, topic, key, to)? { Some(to.0) } else { newest(conn, topic, key)? };
    let Some(begin) = begin else { return Ok(Found::Events(Vec::new())) };
    read(Chain::new(conn, topic)?, begin, Scan { to, ..scan }).map(Found::Events)
}

/// A stretch of a surface.
pub fn surface(
    conn: &Connection,
    topic: &TopicName,
    scan: &SurfaceScan,
) -> Result<Found, StoreError> {
    let Some((topic, head)) = read::find(conn, topic)? else {
        return Ok(Found::Events(Vec::new()));
    };
    let at = scan.at.seq.min(head.seq);
    if folded(conn, topic)? < Some(at) {
        return Ok(Found::Behind(topic, at));
    }
    let mut chain = Chain::new(conn, topic)?;
    match &scan.keys {
        KeyRange::Exactly(key) => {
            let event = newest(conn, topic, key)?.map(|seq| chain.standing(seq, at)).transpose()?;
            Ok(Found::Events(event.flatten().into_iter().collect()))
        }
        KeyRange::Prefix { prefix, after } => {
            chain.surface(prefix, after.as_deref(), at, scan.room()).map(Found::Events)
        }
    }
}

fn newest(conn: &Connection, topic: TopicId, key: &Key) -> Result<Option<u64>, StoreError> {
    let mut statement = conn.prepare_cached(NEWEST)?;
    let of = params![topic.0, key.as_str()];
    statement.query_row(of, |row| Ok(position(row, 0))).optional()?.transpose()
}

fn is_version(conn: &Connection, topic: TopicId, key: &Key, at: Seq) -> Result<bool, StoreError> {
    let mut statement = conn.prepare_cached(IS_VERSION)?;
    Ok(statement.exists(params![topic.0, int(at.0), key.as_str()])?)
}

/// The walk from a key's newest event to older ones.
struct Chain<'c> {
    conn: &'c Connection,
    topic: TopicId,
    event: CachedStatement<'c>,
}

impl<'c> Chain<'c> {
    fn new(conn: &'c Connection, topic: TopicId) -> Result<Self, StoreError> {
        Ok(Self { conn, topic, event: conn.prepare_cached(EVENT)? })
    }

    /// The first event from `seq` down that stands as of `at`: invalidations after `at` do not
    /// count.
    fn standing(&mut self, seq: u64, at: Seq) -> Result<Option<ReadEvent>, StoreError> {
        let mut next = Some(seq);
        while let Some(seq) = next {
            let mut rows = self.event.query(params![self.topic.0, int(seq)])?;
            let row = rows.next()?.ok_or_else(|| corrupt("a chain of versions is broken"))?;
            let stands = row::invalidated_at(row)?.is_none_or(|by| by > at.0);
            if seq <= at.0 && stands {
                return row::event(row).map(Some);
            }
            next = row::prev(row)?;
            check_falls(seq, next)?;
        }
        Ok(None)
    }

    fn surface(
        &mut self,
        prefix: &str,
        after: Option<&str>,
        at: Seq,
        mut room: Room,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let (from, exclusive) = read::start(prefix, after);
        let mut keys = self.conn.prepare_cached(KEYS)?;
        let mut rows = keys.query(params![self.topic.0, from, exclusive])?;
        let mut events = Vec::new();
        while !room.is_full()
            && let Some(row) = rows.next()?
        {
            let key = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            if let Some(read) = self.standing(position(row, 1)?, at)? {
                room.take(&read);
                events.push(read);
            }
        }
        Ok(events)
    }

    fn history(mut self, newest: u64, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        let seqs = self.seqs(newest, scan)?;
        let read = |seq| {
            let mut rows = self.event.query(params![self.topic.0, int(seq)])?;
            let row = rows.next()?.ok_or_else(|| corrupt("a chain of versions is broken"))?;
            row::event(row)
        };
        match scan.direction {
            Direction::Backward => scan.room().fill(seqs.into_iter().map(read)),
            Direction::Forward => scan.room().fill(seqs.into_iter().rev().map(read)),
        }
    }

    /// The seqs of the chain that the scan returns, falling. Forward, these are the last of the
    /// walk, so it has to be walked to its end.
    fn seqs(&self, newest: u64, scan: Scan) -> Result<VecDeque<u64>, StoreError> {
        let mut prev = self.conn.prepare_cached(PREV)?;
        let mut seqs = VecDeque::new();
        let mut next = Some(newest);
        while let Some(seq) = next.filter(|seq| *seq >= scan.from.0) {
            if seq <= scan.to.0 {
                seqs.push_back(seq);
            }
            if seqs.len() >= scan.limit && scan.direction == Direction::Backward {
                break;
            }
            if seqs.len() > scan.limit {
                seqs.pop_front();
            }
            let at = params![self.topic.0, int(seq)];
            let found = prev.query_row(at, |row| Ok(row::maybe(row, 0))).optional()?;
            next = found.ok_or_else(|| corrupt("a chain of versions is broken"))??;
            check_falls(seq, next)?;
        }
        Ok(seqs)
    }
}

/// A chain that does not fall would be walked for ever.
fn check_falls(seq: u64, next: Option<u64>) -> Result<(), StoreError> {
    if next.is_some_and(|next| next >= seq) {
        return Err(corrupt("a chain of versions does not fall"));
    }
    Ok(())
}
