//! Answers of writes, as a client reads them.

use serde::Deserialize;
use smallvec::SmallVec;

use super::ack::{AckJson, SummaryJson, TransactionJson};
use super::problem::ProblemJson;
use super::received::BadAnswer;
use crate::domain::{Ack, TransactionNo};

/// One for each event, in order.
pub type Acks = SmallVec<[Ack; 1]>;

pub use super::ack::SummaryJson as Summary;

/// A line of the answer to a stream.
#[derive(Clone, Debug)]
pub enum Line {
    /// A line of the request is done and durable.
    Done {
        /// Its number in the request, from 1.
        line: u64,
        /// Its transaction; `None` where nothing was written.
        transaction: Option<TransactionNo>,
        /// Where its events are.
        acks: Acks,
        /// Whether an earlier sending of it was written.
        replayed: bool,
    },
    /// A line failed, and with it all that follow.
    Failed(ProblemJson<'static>),
    /// The end.
    Summary(SummaryJson),
}

/// All members that a line can have. (An untagged enum would parse most lines twice.)
#[derive(Deserialize)]
struct LineJson {
    line: Option<u64>,
    seq: Option<u64>,
    transaction: Option<u64>,
    duplicate: Option<bool>,
    events: Option<Vec<AckJson>>,
    #[serde(default)]
    replayed: bool,
    error: Option<ProblemJson<'static>>,
    summary: Option<SummaryJson>,
}

/// Reads a line of the answer to a stream.
///
/// # Errors
/// When it is none.
pub fn line(bytes: &[u8]) -> Result<Line, BadAnswer> {
    let json: LineJson = serde_json::from_slice(bytes)?;
    let LineJson { line, seq, transaction, duplicate, events, replayed, error, summary } = json;
    if let Some(problem) = error {
        return Ok(Line::Failed(problem));
    }
    if let Some(summary) = summary {
        return Ok(Line::Summary(summary));
    }
    let Some(line) = line else { return Err(BadAnswer::new("a line without a number")) };
    if let Some(events) = events {
        let acks = events.into_iter().map(Ack::from).collect();
        let transaction = transaction.map(TransactionNo);
        return Ok(Line::Done { line, transaction, acks, replayed });
    }
    let (Some(seq), Some(number), Some(duplicate)) = (seq, transaction, duplicate) else {
        return Err(BadAnswer::new("an ack without a version"));
    };
    let ack = Ack::from(AckJson { seq, transaction: number, duplicate });
    let transaction = (!duplicate).then_some(TransactionNo(number));
    Ok(Line::Done { line, transaction, acks: Acks::from_buf([ack]), replayed })
}

/// Reads the answer to a single event or an invalidation.
///
/// # Errors
/// When it is none.
pub fn ack(bytes: &[u8]) -> Result<Ack, BadAnswer> {
    let ack: AckJson = serde_json::from_slice(bytes)?;
    Ok(ack.into())
}

/// Reads the answer to a transaction.
///
/// # Errors
/// When it is none.
pub fn transaction(bytes: &[u8]) -> Result<TransactionJson<'static>, BadAnswer> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Receipt, Seq, Version};
    use crate::wire::ack;

    fn receipt(acks: &[(u64, u64, bool)], transaction: Option<u64>) -> Receipt {
        let ack = |(seq, transaction, duplicate): &(u64, u64, bool)| Ack {
            version: Version { seq: Seq(*seq), transaction: TransactionNo(*transaction) },
            duplicate: *duplicate,
        };
        let acks = acks.iter().map(ack).collect();
        let transaction = transaction.map(TransactionNo);
        Receipt { transaction, acks, head: None, replayed: true }
    }

    #[test]
    fn acks_are_read_as_they_are_written() {
        let cases = [
            (receipt(&[(3, 2, false)], Some(2)), false),
            (receipt(&[(3, 2, true)], None), false),
            (receipt(&[(3, 2, true)], None), true),
            (receipt(&[(3, 2, false), (1, 1, true)], Some(2)), true),
        ];
        for (given, group) in cases {
            let text = serde_json::to_vec(&ack::LineJson::new(7, group, &given)).expect("JSON");
            let Ok(Line::Done { line, transaction, acks, replayed }) = line(&text) else {
                panic!("{given:?}");
            };
            assert_eq!((line, replayed), (7, true));
            assert_eq!((transaction, acks), (given.transaction, given.acks));
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in ["", "{}", "[]", "{\"line\":1}", "{\"seq\":1,\"transaction\":1}", "null"] {
            assert!(line(text.as_bytes()).is_err(), "{text}");
        }
        assert!(ack(b"{\"seq\":1}").is_err());
        assert!(transaction(b"{}").is_err());
    }
}
