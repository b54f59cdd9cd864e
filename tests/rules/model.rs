//! The contract once more, as plainly as it can be written: a list of what was written, and the
//! surface computed from all of it for every question. Shares with the planner only the types of
//! questions and answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::SmallVec;
use tidelog::domain::{
    Ack, Command, Content, Decided, Digest, Head, Idempotency, IdempotencyKey, Invalidate,
    Precondition, ProducerId, ProducerLine, Receipt, Rejection, Seq, TransactionNo, Version, Write,
};

/// An event, as the contract's model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Key and hash.
    Event(String, String),
    /// The transaction that was wrong.
    Invalidation(TransactionNo),
}

/// A topic.
#[derive(Default)]
pub struct Model {
    pub log: Vec<(Version, Written)>,
    answers: HashMap<IdempotencyKey, (Digest, Receipt)>,
    producers: HashMap<ProducerId, (u64, Vec<Receipt>)>,
}

impl Model {
    fn head(&self) -> Head {
        self.log.last().map(|(version, _)| *version)
    }

    /// The newest event of each key, among transactions that are not invalidated.
    fn surface(&self) -> BTreeMap<String, (Version, String)> {
        let wrong: BTreeSet<TransactionNo> = self
            .log
            .iter()
            .filter_map(|(_, written)| match written {
                Written::Invalidation(transaction) => Some(*transaction),
                Written::Event(..) => None,
            })
            .collect();
        let mut surface = BTreeMap::new();
        for (version, written) in &self.log {
            if let (Written::Event(key, hash), false) =
                (written, wrong.contains(&version.transaction))
            {
                surface.insert(key.clone(), (*version, hash.clone()));
            }
        }
        surface
    }

    pub fn decide(&mut self, command: &Command) -> Decided {
        match command {
            Command::Write(write) => self.write(write),
            Command::Invalidate(invalidate) => self.invalidate(invalidate),
            Command::Register(line) => {
                self.check_line(line)?;
                self.producers.entry(line.producer.clone()).or_default().0 = line.epoch;
                Ok(self.receipt(None, SmallVec::new()))
            }
        }
    }

    fn receipt(&self, transaction: Option<TransactionNo>, acks: SmallVec<[Ack; 1]>) -> Receipt {
        Receipt { transaction, acks, head: self.head(), replayed: false }
    }

    /// Idempotency is looked at before everything else.
    fn earlier(&self, named: Option<&Idempotency>) -> Result<Option<Receipt>, Rejection> {
        let Some(named) = named else { return Ok(None) };
        match self.answers.get(&named.key) {
            Some((request, _)) if *request != named.request => Err(Rejection::IdempotencyMismatch),
            Some((_, receipt)) => Ok(Some(Receipt { replayed: true, ..receipt.clone() })),
            None => Ok(None),
        }
    }

    fn check_line(&self, line: &ProducerLine) -> Result<(), Rejection> {
        let (epoch, next) = self
            .producers
            .get(&line.producer)
            .map_or((0, 0), |(epoch, receipts)| (*epoch, receipts.len() as u64));
        if line.epoch < epoch {
            Err(Rejection::ProducerFenced(epoch))
        } else if line.line > next {
            Err(Rejection::ProducerGap(next))
        } else {
            Ok(())
        }
    }

    fn write(&mut self, write: &Write) -> Decided {
        if let Some(answer) = self.earlier(write.idempotency.as_ref())? {
            return Ok(answer);
        }
        if let Some(line) = &write.producer {
            self.check_line(line)?;
            if let Some((epoch, receipts)) = self.producers.get_mut(&line.producer)
                && let Some(receipt) = receipts.get(line.line as usize)
            {
                *epoch = line.epoch;
                return Ok(Receipt { replayed: true, ..receipt.clone() });
            }
        }
        let head = self.head();
        let holds = match write.precondition {
            None => true,
            Some(Precondition::Empty) => head.is_none(),
            Some(Precondition::HeadIs(seq)) => head.map(|head| head.seq) == Some(seq),
        };
        if !holds {
            return Err(Rejection::PreconditionFailed(head));
        }
        let transaction = TransactionNo(head.map_or(0, |head| head.transaction.0 + 1));
        let before = self.log.len();
        let acks = write.events.iter().map(|event| self.event(event, transaction)).collect();
        let written = (self.log.len() > before).then_some(transaction);
        let receipt = self.receipt(written, acks);
        self.remember(write.idempotency.as_ref(), &receipt);
        if let Some(line) = &write.producer {
            let (epoch, receipts) = self.producers.entry(line.producer.clone()).or_default();
            *epoch = line.epoch;
            receipts.push(receipt.clone());
        }
        Ok(receipt)
    }

    fn event(&mut self, event: &Content, transaction: TransactionNo) -> Ack {
        let (key, hash) = (event.key.as_str().to_owned(), event.hash.text().to_string());
        match self.surface().get(&key) {
            Some((version, there)) if *there == hash => Ack { version: *version, duplicate: true },
            _ => {
                let version = Version { seq: Seq(self.log.len() as u64), transaction };
                self.log.push((version, Written::Event(key, hash)));
                Ack { version, duplicate: false }
            }
        }
    }

    fn invalidate(&mut self, invalidate: &Invalidate) -> Decided {
        if let Some(answer) = self.earlier(invalidate.idempotency.as_ref())? {
            return Ok(answer);
        }
        let Some(head) = self.head() else { return Err(Rejection::TopicNotFound) };
        let target = invalidate.transaction;
        let found = self.log.iter().find(|(version, _)| version.transaction == target);
        match found {
            None => return Err(Rejection::TransactionNotFound),
            Some((_, Written::Invalidation(_))) => {
                return Err(Rejection::InvalidationOfInvalidation);
            }
            Some((_, Written::Event(..))) => {}
        }
        let before = self.log.iter().find(|(_, w)| *w == Written::Invalidation(target));
        let receipt = if let Some((version, _)) = before {
            let ack = Ack { version: *version, duplicate: true };
            self.receipt(None, [ack].into_iter().collect())
        } else {
            let transaction = TransactionNo(head.transaction.0 + 1);
            let version = Version { seq: Seq(self.log.len() as u64), transaction };
            self.log.push((version, Written::Invalidation(target)));
            let ack = Ack { version, duplicate: false };
            self.receipt(Some(transaction), [ack].into_iter().collect())
        };
        self.remember(invalidate.idempotency.as_ref(), &receipt);
        Ok(receipt)
    }

    fn remember(&mut self, named: Option<&Idempotency>, receipt: &Receipt) {
        if let Some(Idempotency { key, request }) = named {
            self.answers.insert(key.clone(), (*request, receipt.clone()));
        }
    }
}
