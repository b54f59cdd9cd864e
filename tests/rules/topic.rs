//! A topic that is planned and never stored, and its answers as short texts.

use tidelog::domain::{
    Batch, Command, Decided, Epoch, Frontier, Head, Planner, Receipt, Root, TopicId, Version,
};

use crate::book::Book;
use crate::make::NOW;

/// A topic and all that was decided for it.
#[derive(Clone, Debug)]
pub struct Topic {
    pub planner: Planner,
    pub book: Book,
}

impl Topic {
    pub fn new() -> Self {
        let planner = Planner::new(TopicId(1), Epoch(1), None, Frontier::default());
        Self { planner, book: Book::default() }
    }

    /// Decides the commands in one batch.
    pub fn batch(&mut self, commands: &[Command]) -> (Batch, Vec<Decided>) {
        let mut batch = self.planner.begin(NOW);
        let decided = commands.iter().map(|command| self.decide(command, &mut batch)).collect();
        self.planner.seal(&mut batch);
        (batch, decided)
    }

    /// Decides one command into a batch.
    pub fn decide(&mut self, command: &Command, batch: &mut Batch) -> Decided {
        let decided = self.planner.decide(command, &mut self.book, batch);
        self.book.keep(batch);
        decided
    }

    /// The Merkle root over everything planned.
    pub fn root(&self) -> Root {
        let mut batch = self.planner.begin(NOW);
        self.planner.seal(&mut batch);
        batch.frontier.root()
    }
}

/// An answer in short: `1: 2/1 0/0=; head 2/1` says that transaction 1 was written, that its
/// first event is seq 2 of transaction 1, that its second is a duplicate of seq 0, and where the
/// head is; `-` in place of a number says that nothing was written.
pub fn short(decided: &Decided) -> String {
    match decided {
        Ok(receipt) => short_receipt(receipt),
        Err(rejection) => format!("{rejection:?}"),
    }
}

fn short_receipt(receipt: &Receipt) -> String {
    let replayed = if receipt.replayed { "replayed " } else { "" };
    let transaction = receipt.transaction.map_or("-".to_owned(), |n| n.to_string());
    let acks: String = receipt
        .acks
        .iter()
        .map(|ack| format!(" {}{}", at(ack.version), if ack.duplicate { "=" } else { "" }))
        .collect();
    format!("{replayed}{transaction}:{acks}; head {}", head(receipt.head))
}

fn at(version: Version) -> String {
    format!("{}/{}", version.seq, version.transaction)
}

fn head(head: Head) -> String {
    head.map_or("none".to_owned(), at)
}
