//! The commands of one topic in their order, from admission to answer.
//!
//! Two cursors run over them: what is *planned* (decided, and its batch sent) and, behind it,
//! what is *settled* (durable, so that it may be told). A failure of the store moves the planned
//! cursor back to the settled one and nothing else.
//!
//! Not here: deciding, batches, the store.
//!
//! Invariants: commands are planned and settled strictly in order; a submission is answered once,
//! by [`Submission`]'s drop at the latest; a session is marked as failed before its failure is
//! answered.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::admission::Permit;
use super::outcome::{Outcome, WriteError};
use super::registry::Lease;
use crate::domain::{Command, Receipt};
use crate::metrics;

/// What the submissions of one session share.
#[derive(Default)]
pub(super) struct SessionState {
    failed: AtomicBool,
}

impl SessionState {
    /// Whether something of the session is not done: nothing later may be.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }
}

/// A command's fate, as planned.
#[derive(Debug)]
pub(super) enum Fate {
    Done(Receipt),
    Failed(WriteError),
}

/// Commands submitted together and answered together.
pub(super) struct Submission {
    commands: Vec<Command>,
    fates: Vec<Fate>,
    /// How many of `fates` are settled.
    settled: usize,
    /// The command that the store cannot hold, once it has said so.
    unstorable: Option<usize>,
    session: Option<Arc<SessionState>>,
    admitted: Instant,
    reply: Option<oneshot::Sender<Outcome>>,
    permit: Permit,
    lease: Lease,
}

impl Submission {
    pub(super) fn new(
        commands: Vec<Command>,
        session: Option<Arc<SessionState>>,
        permit: Permit,
        lease: Lease,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let submission = Self {
            fates: Vec::with_capacity(commands.len()),
            commands,
            settled: 0,
            unstorable: None,
            session,
            admitted: Instant::now(),
            reply: Some(reply),
            permit,
            lease,
        };
        (submission, outcome)
    }

    /// The actor has taken it: see [`Lease::arrive`].
    pub(super) fn arrive(&self) -> bool {
        self.lease.arrive()
    }

    /// Answers with what is settled, and with `error` for the rest. What is planned and not
    /// settled may be at the store: nothing is known of it.
    fn answer(&mut self, error: WriteError) {
        let Some(reply) = self.reply.take() else { return };
        let in_flight = matches!(self.fates.get(self.settled), Some(Fate::Done(_)));
        let open = self.settled < self.commands.len();
        self.fates.truncate(self.settled);
        let mut outcome = Outcome { receipts: Vec::with_capacity(self.settled), failure: None };
        for fate in self.fates.drain(..) {
            match fate {
                Fate::Done(receipt) => outcome.receipts.push(receipt),
                Fate::Failed(error) => {
                    outcome.failure = Some(error);
                    break;
                }
            }
        }
        if outcome.failure.is_none() && open {
            outcome.failure = Some(if in_flight { WriteError::OutcomeUnknown } else { error });
        }
        if let Some(failure) = &outcome.failure {
            metrics::commands_failed(failure.reason(), 1);
            if let Some(session) = &self.session {
                session.fail();
            }
        }
        self.permit.free();
        // Nobody may be waiting any more; that changes nothing.
        let _ = reply.send(outcome);
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.answer(WriteError::Unavailable);
    }
}

/// The next command to be planned.
pub(super) enum Next<'a> {
    /// To be decided by the rules.
    Decide(&'a Command),
    /// Fails whatever the rules say.
    Fail(WriteError),
}

/// All commands of a topic that are not answered yet.
#[derive(Default)]
pub(super) struct Queue {
    /// Boxed: of ten thousand topics each has room here, which is cold when its turn comes.
    submissions: VecDeque<Box<Submission>>,
    /// Submissions that are planned as a whole: the first ones.
    planned: usize,
    /// Sessions in which something planned has failed; told only once it is settled. Few, if any: a
    /// tree takes no memory while it is empty, and has no hasher.
    failing: BTreeSet<*const SessionState>,
}

impl Queue {
    pub(super) fn push(&mut self, submission: Box<Submission>) {
        self.submissions.push_back(submission);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.submissions.is_empty()
    }

    /// When the oldest unanswered command was admitted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.submissions.front().map(|submission| submission.admitted)
    }

    /// When the first unplanned command was admitted.
    pub(super) fn oldest_unplanned(&self) -> Option<Instant> {
        self.submissions.get(self.planned).map(|submission| submission.admitted)
    }

    /// Whether at least `count` commands are not planned yet.
    pub(super) fn has_unplanned(&self, count: usize) -> bool {
        let mut open = self.submissions.range(self.planned..);
        let enough = open.try_fold(0, |sum, submission| {
            let sum = sum + submission.commands.len() - submission.fates.len();
            if sum < count { Ok(sum) } else { Err(()) }
        });
        enough.is_err()
    }

    /// The commands that are not planned yet and that the rules will have to decide.
    pub(super) fn unplanned(&self) -> impl Iterator<Item = Next<'_>> {
        self.submissions.range(self.planned..).flat_map(|submission| {
            (submission.fates.len()..submission.commands.len())
                .map(|index| self.look(submission, index))
        })
    }

    fn look<'a>(&self, submission: &'a Submission, index: usize) -> Next<'a> {
        let failing = submission.session.as_ref().is_some_and(|session| {
            session.has_failed() || self.failing.contains(&Arc::as_ptr(session))
        });
        if failing {
            Next::Fail(WriteError::EarlierFailed)
        } else if submission.unstorable == Some(index) {
            Next::Fail(WriteError::Unstorable)
        } else {
            Next::Decide(&submission.commands[index])
        }
    }

    /// Plans the next command: `decide` gets it, unless it fails anyway.
    pub(super) fn plan(&mut self, decide: impl FnOnce(&Command) -> Result<Receipt, WriteError>) {
        let submission = &self.submissions[self.planned];
        let fate = match self.look(submission, submission.fates.len()) {
            Next::Fail(error) => Err(error),
            Next::Decide(command) => decide(command),
        };
        let submission = &mut self.submissions[self.planned];
        submission.fates.push(match fate {
            Ok(receipt) => Fate::Done(receipt),
            Err(error) => {
                if let Some(session) = &submission.session {
                    self.failing.insert(Arc::as_ptr(session));
                }
                Fate::Failed(error)
            }
        });
        if submission.fates.len() == submission.commands.len() {
            self.planned += 1;
        }
    }

    /// The next `count` planned commands are durable: those submissions that are complete are
    /// answered.
    pub(super) fn settle(&mut self, mut count: usize) {
        while count > 0 {
            let front = self.submissions.front_mut().expect("what is settled was planned");
            let now = count.min(front.fates.len() - front.settled);
            assert!(now > 0, "what is settled was planned");
            front.settled += now;
            count -= now;
            if front.settled == front.commands.len() {
                let mut done = self.submissions.pop_front().expect("it is the front");
                self.planned -= 1;
                done.answer(WriteError::Unavailable);
                if let Some(session) = done.session.as_ref().filter(|s| s.has_failed()) {
                    // From here on the session itself knows that it has failed.
                    self.failing.remove(&Arc::as_ptr(session));
                }
            }
        }
        if self.submissions.is_empty() {
            // Its memory would be cold when the topic's next turn comes; new memory is not.
            self.submissions = VecDeque::new();
        }
    }

    /// Everything planned and not settled is to be planned again.
    pub(super) fn rewind(&mut self) {
        let mut again = 0;
        for submission in self.submissions.iter_mut().take(self.planned + 1) {
            again += submission.fates.len() - submission.settled;
            submission.fates.truncate(submission.settled);
        }
        metrics::commands_replanned(again);
        self.planned = 0;
        self.failing.clear();
        // A failure settled inside a submission that is not complete still counts.
        if let Some(front) = self.submissions.front()
            && front.fates.iter().any(|fate| matches!(fate, Fate::Failed(_)))
            && let Some(session) = &front.session
        {
            self.failing.insert(Arc::as_ptr(session));
        }
    }

    /// The first unplanned command cannot be held by the store: it will fail when it is planned.
    pub(super) fn mark_unstorable(&mut self) {
        if let Some(submission) = self.submissions.get_mut(self.planned) {
            submission.unstorable = Some(submission.fates.len());
        }
    }

    /// Answers everything: what may be at the store as unknown, the rest with `error`.
    pub(super) fn fail(&mut self, error: &WriteError) {
        for mut submission in self.submissions.drain(..) {
            submission.answer(error.clone());
        }
        self.planned = 0;
        self.failing.clear();
    }
}
