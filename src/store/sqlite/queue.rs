//! What waits for the writer thread: appends and other urgent jobs in the order of the calls,
//! and, behind them, work that can wait.
//!
//! Not here: the thread (`writer.rs`).
//! Invariants: urgent work keeps its order, so that a job pushed after an append runs after it;
//! work that can wait never waits for more than [`PATIENCE`] turns.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::commit::Fate;
use crate::domain::Batch;
use crate::store::StoreError;

/// Most batches that share one transaction of the database.
pub const GROUP_BATCHES_MAX: usize = 64;
/// Events at which a group is full. One batch may hold more.
pub const GROUP_EVENTS_MAX: usize = 16_384;
/// Turns of urgent work for which work that can wait is passed over, at most.
const PATIENCE: u32 = 8;

/// Something to be done with the write connection, or with the news that there is none. After an
/// error the connection is not used further.
pub type Job =
    Box<dyn FnOnce(Result<&mut Connection, StoreError>) -> Result<(), StoreError> + Send>;

/// A batch and who waits for its outcome.
pub struct Append {
    pub batch: Arc<Batch>,
    pub answer: oneshot::Sender<Fate>,
}

/// What the thread does next.
pub enum Work {
    /// Commit these together.
    Group(Vec<Append>),
    /// Do this.
    Job(Job),
}

enum Urgent {
    Append(Append),
    Job(Job),
}

/// The queue between any number of callers and one thread.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Urgent>,
    later: VecDeque<Job>,
    /// How many turns of urgent work the first of `later` has been passed over for.
    passed: u32,
    closed: bool,
}

impl Queue {
    /// Adds a batch; gives it back when the queue is closed.
    pub fn append(&self, append: Append) -> Result<(), Append> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(append);
        }
        waiting.urgent.push_back(Urgent::Append(append));
        self.changed.notify_one();
        Ok(())
    }

    /// Adds a job, behind all urgent work so far or behind all that can wait; `false` when the
    /// queue is closed.
    pub fn job(&self, urgent: bool, job: Job) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return false;
        }
        if urgent {
            waiting.urgent.push_back(Urgent::Job(job));
        } else {
            waiting.later.push_back(job);
        }
        self.changed.notify_one();
        true
    }

    /// Takes nothing more; what is there will still be done.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for the next work; `None` when the queue is closed and empty.
    pub fn take(&self) -> Option<Work> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(work) = waiting.next() {
                return Some(work);
            }
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Work> {
        if self.urgent.is_empty() || self.passed >= PATIENCE {
            self.passed = 0;
            if let Some(job) = self.later.pop_front() {
                return Some(Work::Job(job));
            }
        }
        self.passed += u32::from(!self.later.is_empty());
        match self.urgent.pop_front()? {
            Urgent::Job(job) => Some(Work::Job(job)),
            Urgent::Append(first) => Some(Work::Group(self.group(first))),
        }
    }

    /// The appends that can share a transaction with `first`.
    fn group(&mut self, first: Append) -> Vec<Append> {
        let mut events = first.batch.events.len();
        let mut group = vec![first];
        while let Some(Urgent::Append(next)) = self.urgent.front() {
            events += next.batch.events.len();
            if group.len() == GROUP_BATCHES_MAX || events > GROUP_EVENTS_MAX {
                break;
            }
            if let Some(Urgent::Append(next)) = self.urgent.pop_front() {
                group.push(next);
            }
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(work: Option<Work>) -> String {
        match work {
            Some(Work::Group(group)) => format!("group of {}", group.len()),
            Some(Work::Job(_)) => "job".into(),
            None => "none".into(),
        }
    }

    fn append(queue: &Queue) {
        let planner = crate::domain::Planner::new(
            crate::domain::TopicId(1),
            crate::domain::Epoch(1),
            None,
            crate::domain::Frontier::default(),
        );
        let batch = Arc::new(planner.begin(crate::domain::Timestamp(0)));
        assert!(queue.append(Append { batch, answer: oneshot::channel().0 }).is_ok());
    }

    #[test]
    fn a_job_divides_the_appends_before_it_from_those_after_it() {
        let queue = Queue::default();
        (0..3).for_each(|_| append(&queue));
        assert!(queue.job(true, Box::new(|_| Ok(()))));
        (0..70).for_each(|_| append(&queue));
        let order: Vec<_> = (0..4).map(|_| name(queue.take())).collect();
        assert_eq!(order, ["group of 3", "job", "group of 64", "group of 6"]);
    }

    #[test]
    fn work_that_can_wait_is_passed_over_but_not_for_ever() {
        let queue = Queue::default();
        assert!(queue.job(false, Box::new(|_| Ok(()))));
        (0..64 * 20).for_each(|_| append(&queue));
        let before = (0..).take_while(|_| name(queue.take()) != "job").count();
        assert_eq!(before as u32, PATIENCE);
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
        let queue = Queue::default();
        append(&queue);
        assert!(queue.job(false, Box::new(|_| Ok(()))));
        queue.close();
        assert!(!queue.job(true, Box::new(|_| Ok(()))));
        let order: Vec<_> = (0..3).map(|_| name(queue.take())).collect();
        assert_eq!(order, ["group of 1", "job", "none"]);
    }
}
