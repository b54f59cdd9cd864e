//! The lines of a file as what they are together: topics, each a header, whole transactions and a
//! trailer that fits.
//!
//! Invariant: events come numbered from 0 without gaps, and an end comes only where counts, head
//! and Merkle root are those of the events. So a file that was cut or changed is found out.

use std::io::{BufRead, Read as _};

use bytes::Bytes;

use super::{TransferError, size};
use crate::domain::{Event, EventBody, Frontier, Head, Seq, TopicName, TransactionNo, Version};
use crate::wire::export::{self, Header, Line, Part, Trailer};

/// The longest line that is taken: larger than any event that a service can be set up to take.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// Sections that make a piece, and their bytes.
const PIECE: (usize, usize) = (64, 1 << 20);

/// A file is not what the format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadExport {
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// A piece of a file.
#[derive(Clone, Debug)]
pub enum Section {
    /// A topic begins, which ends at this version.
    Begin(TopicName, Version),
    /// Its next transaction.
    Transaction(Vec<Event>),
    /// It has ended properly.
    End,
}

/// Reads sections until the file ends, or makes no sense. Blocks.
pub struct Sections<R> {
    input: R,
    line: u64,
    topic: Option<Topic>,
    /// Where the next topic must stand, inside an export.
    expected: Option<Part>,
    ended: bool,
}

/// The topic that is being read.
struct Topic {
    header: Header,
    head: Head,
    frontier: Frontier,
}

impl<R: BufRead> Sections<R> {
    /// Reads from the beginning.
    pub fn new(input: R) -> Self {
        Self { input, line: 0, topic: None, expected: None, ended: false }
    }

    /// The next sections, as many as make a piece; none at the end.
    pub fn piece(&mut self) -> Vec<Result<Section, TransferError>> {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while piece.len() < PIECE.0 && bytes < PIECE.1 {
            let Some(section) = self.next() else { break };
            if let Ok(Section::Transaction(events)) = &section {
                bytes += events.iter().map(size).sum::<usize>();
            }
            piece.push(section);
        }
        piece
    }

    fn step(&mut self) -> Result<Option<Section>, TransferError> {
        let Some(line) = self.read()? else {
            return match (&self.topic, &self.expected) {
                (Some(_), _) => Err(self.bad("the file ends before its trailer; it was cut")),
                (None, Some(Part { topic, topics, .. })) => {
                    Err(self.bad(format!("topic {topic} of {topics} is missing; the file was cut")))
                }
                (None, None) if self.line == 1 => {
                    Err(self.bad("is empty; an export begins with a header"))
                }
                (None, None) => Ok(None),
            };
        };
        match (line, self.topic.take()) {
            (Line::Header(header), None) => self.begin(header).map(Some),
            (Line::Event(event), Some(topic)) => self.transaction(topic, event).map(Some),
            (Line::Trailer(trailer), Some(topic)) => {
                self.end(&topic, &trailer)?;
                Ok(Some(Section::End))
            }
            (Line::Header(_), Some(_)) => Err(self.bad("a header before the trailer")),
            (_, None) => Err(self.bad("no header")),
        }
    }

    fn read(&mut self) -> Result<Option<Line>, TransferError> {
        self.line += 1;
        let mut line = Vec::new();
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            return Err(self.bad(format!("the line is longer than {} MiB", LINE_BYTES_MAX >> 20)));
        }
        if line.pop() != Some(b'\n') {
            return Err(self.bad("the line does not end; the file was cut"));
        }
        export::line(Bytes::from(line)).map(Some).map_err(|bad| self.bad(bad.to_string()))
    }

    fn begin(&mut self, header: Header) -> Result<Section, TransferError> {
        let topic = TopicName::parse(&header.topic).map_err(|bad| self.bad(bad.to_string()))?;
        let head = header.head.into();
        let part = &header.export;
        let wrong = match &self.expected {
            Some(due) => (part != due).then(|| {
                format!("topic {} of {} of the export is missing here", due.topic, due.topics)
            }),
            None => (part.topic != 1 || part.topics == 0).then(|| {
                format!("topic {} of {}, and those before it are missing", part.topic, part.topics)
            }),
        };
        if let Some(why) = wrong {
            return Err(self.bad(why));
        }
        self.expected = part.next();
        self.topic = Some(Topic { header, head: None, frontier: Frontier::default() });
        Ok(Section::Begin(topic, head))
    }

    /// Reads the rest of a transaction that begins with an event.
    fn transaction(&mut self, mut topic: Topic, event: Event) -> Result<Section, TransferError> {
        let number = TransactionNo::after(topic.head);
        let mut events = vec![event];
        loop {
            let event = events.last().expect("one was put in");
            let expected = Version { seq: Seq::after(topic.head), transaction: number };
            if event.version != expected {
                let (seq, transaction) = (expected.seq, expected.transaction);
                let why = format!("event {seq} of transaction {transaction} is expected");
                return Err(self.bad(why));
            }
            if expected.seq.0 > topic.header.head.seq {
                return Err(self.bad("an event behind the head that the header names"));
            }
            if let EventBody::Invalidation(invalidation) = &event.body
                && (events.len() > 1 || !event.last || invalidation.invalidates >= number)
            {
                return Err(self.bad("an invalidation is alone, and of an earlier transaction"));
            }
            topic.frontier.push(event);
            topic.head = Some(event.version);
            if event.last {
                break;
            }
            match self.read()? {
                Some(Line::Event(event)) => events.push(event),
                Some(_) => return Err(self.bad("the transaction does not end")),
                None => return Err(self.bad("the file ends inside a transaction; it was cut")),
            }
        }
        self.topic = Some(topic);
        Ok(Section::Transaction(events))
    }

    fn end(&self, topic: &Topic, trailer: &Trailer) -> Result<(), TransferError> {
        let (events, transactions) = (Seq::after(topic.head).0, TransactionNo::after(topic.head).0);
        let fits = trailer.end == topic.header.topic
            && (trailer.events, trailer.transactions) == (events, transactions)
            && topic.head == Some(topic.header.head.into());
        if !fits {
            return Err(self.bad("header, events and trailer do not belong together"));
        }
        if trailer.root != hex::encode(topic.frontier.root().0) {
            return Err(
                self.bad("the events are not those that were exported: another Merkle root")
            );
        }
        Ok(())
    }

    fn bad(&self, why: impl Into<String>) -> TransferError {
        BadExport { line: self.line, why: why.into() }.into()
    }
}

impl<R: BufRead> Iterator for Sections<R> {
    type Item = Result<Section, TransferError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.step().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
