//! Whole topics as files: out of any place that can be read, into any that can be written, with
//! numbers, transactions and invalidations as they are.
//!
//! | file | what |
//! | --- | --- |
//! | `sections` | lines of a file, checked: topics, their transactions, their ends |
//! | `export` | a topic to lines |
//! | `import` | sections into a target: what is there already, what is written, and a last look |
//! | `store`, `service` | the targets: a back-end directly, a service over HTTP |
//!
//! Not here: how a line is written (`wire/export.rs`), files and their names (`cli/`).
//!
//! Invariants: what is imported has the seqs and transactions that it had, or is not written;
//! nothing is imported into a topic that has anything else, but where others write to it in a service
//! meanwhile (`docs/export-format.md`); what was interrupted goes on.

mod export;
mod import;
mod sections;
mod service;
mod store;

pub use export::{Exported, export};
pub use import::{Imported, Step, Target, import};
pub use sections::{BadExport, Section, Sections};
pub use service::IntoService;
pub use store::IntoStore;

use crate::client;
use crate::domain::{Event, EventBody, Frontier, Root, Timestamp};
use crate::store::{AppendError, StoreError};

/// Why a topic was not exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file is not an export, or not a whole one.
    #[error("{0}")]
    File(#[from] BadExport),
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The place cannot be read now, or makes no sense.
    #[error("{0}")]
    Read(#[from] StoreError),
    /// A store did not take a batch. What was taken before is there.
    #[error("{0}")]
    Append(#[from] AppendError),
    /// A service did not take a transaction. What was taken before is there.
    #[error("{0}")]
    Service(#[from] client::Error),
    /// The topic has not, or has not got, what the file says.
    #[error("{0}")]
    Differs(String),
    /// It was told to stop. The same again goes on.
    #[error("interrupted")]
    Interrupted,
}

/// The Merkle tree over a topic's events, and the same but for when they were recorded: a service
/// records events when it takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trees {
    exact: Frontier,
    timeless: Frontier,
}

impl Trees {
    fn push(&mut self, event: &Event) {
        self.exact.push(event);
        self.timeless.push(&Event { recorded_at: Timestamp(0), ..event.clone() });
    }

    fn root(&self) -> Root {
        self.exact.root()
    }
}

/// Size of an event in bytes, roughly.
fn size(event: &Event) -> usize {
    match &event.body {
        EventBody::Content(content) => content.footprint(),
        EventBody::Invalidation(_) => size_of::<Event>(),
    }
}
