//! A topic to lines.

use std::io::Write;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_util::sync::CancellationToken;

use super::TransferError;
use crate::domain::{Frontier, Seq, TopicName};
use crate::live::walk::Walk;
use crate::store::{Direction, EventSourceReader};
use crate::wire::export::{FORMAT, Header, Part, Trailer, put_event, put_frame};

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The topic.
    pub topic: TopicName,
    /// How many events.
    pub events: u64,
    /// How many transactions.
    pub transactions: u64,
    /// The Merkle root over the events, in hexadecimal.
    pub root: String,
    /// Whether the place keeps a Merkle root itself, which is the same.
    pub compared: bool,
}

/// Writes a topic as it is now, as this part of an export.
/// `progress` is told how many events are written, and of how many. The root that is computed from
/// what was read is compared with the one that the place keeps.
///
/// # Errors
/// What was written until then is no whole export, and has no trailer to say so.
pub async fn export(
    reader: Arc<dyn EventSourceReader>,
    topic: &TopicName,
    part: &Part,
    out: &mut impl Write,
    stop: &CancellationToken,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, TransferError> {
    let none = || TransferError::Differs(format!("there is no topic {topic}"));
    let head = reader.head(topic).await?.ok_or_else(none)?;
    let (events, transactions) = (head.seq.next().0, head.transaction.0 + 1);
    let name = topic.as_str().to_owned();
    let mut lines = BytesMut::new();
    let header = Header {
        tidelog_export: FORMAT,
        topic: name.clone(),
        head: head.into(),
        export: part.clone(),
    };
    put_frame(&mut lines, &header);
    let mut walk = Walk::new(Arc::clone(&reader), topic.clone(), None, Direction::Forward);
    walk.stretch(Seq(0), head.seq);
    let mut frontier = Frontier::default();
    while frontier.leaves() < events {
        if stop.is_cancelled() {
            return Err(TransferError::Interrupted);
        }
        let found = walk.next().await?;
        for read in &found {
            if read.event.version.seq.0 != frontier.leaves() {
                break;
            }
            frontier.push(&read.event);
            put_event(&mut lines, &read.event);
        }
        if found.last().map(|read| read.event.version.seq.next().0) != Some(frontier.leaves()) {
            let text = format!("event {} of {topic} is missing", frontier.leaves());
            return Err(TransferError::Differs(text));
        }
        out.write_all(&lines)?;
        lines.clear();
        progress(frontier.leaves(), events);
    }
    let computed = frontier.root();
    let kept = reader.root(topic, head.seq).await?;
    if kept.is_some_and(|kept| kept != computed) {
        let text = format!(
            "the events of {topic} are not those that were written: their Merkle \
            root is {computed:?}, the store keeps {:?}",
            kept.unwrap_or(computed)
        );
        return Err(TransferError::Differs(text));
    }
    let root = hex::encode(computed.0);
    put_frame(&mut lines, &Trailer { end: name, events, transactions, root: root.clone() });
    out.write_all(&lines)?;
    let compared = kept.is_some();
    Ok(Exported { topic: topic.clone(), events, transactions, root, compared })
}
