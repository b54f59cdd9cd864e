//! A client of a Tidelog service, for any tokio program.
//!
//! * [`HttpReader`] reads topics. It implements [`EventSourceReader`](crate::store::EventSourceReader),
//!   so a program that reads a database can read a remote Tidelog instead; and it follows a topic
//!   live, over lost connections.
//! * [`HttpWriter`] appends events, transactions, invalidations and streams. What it sends again
//!   after a failure is never written twice and never in another order.
//! * [`HttpConsumers`] keeps the positions of readers at the service, under names.
//! * [`Error`] says whether trying again may help, and what is certain about what was written.
//!
//! ```no_run
//! use futures::StreamExt as _;
//! use tidelog::client::{Client, event};
//! use tidelog::domain::{Seq, TopicName};
//!
//! # async fn example() -> Result<(), tidelog::client::Error> {
//! let client = Client::new("http://127.0.0.1:4810")?;
//! let orders = TopicName::parse("orders")?;
//!
//! let written = client.writer().append(&orders, &event("order-1", r#"{"state":"new"}"#)?).await?;
//! println!("at seq {}", written.events[0].version.seq);
//!
//! let mut events = client.reader().follow(&orders, Seq(0));
//! while let Some(read) = events.next().await {
//!     println!("{:?}", read?.event.body);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program that keeps its position at the service goes on where it was, whatever became of it:
//!
//! ```no_run
//! use futures::StreamExt as _;
//! use tidelog::client::Client;
//! use tidelog::domain::{ConsumerName, TopicName};
//!
//! # async fn example() -> Result<(), tidelog::client::Error> {
//! let consumers = Client::new("http://127.0.0.1:4810")?.consumers();
//! let (orders, billing) = (TopicName::parse("orders")?, ConsumerName::parse("billing")?);
//! if consumers.get(&orders, &billing).await?.is_none() {
//!     consumers.put(&orders, &billing, None, None).await?;
//! }
//! let mut events = consumers.follow(&orders, &billing).await?;
//! while let Some(read) = events.next().await {
//!     let read = read?;
//!     println!("{:?}", read.event.body);
//!     consumers.put(&orders, &billing, Some(read.event.version.seq), None).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Not here: JSON (`wire/`), and any rule of the contract: the client asks, the service decides.

mod connect;
mod consumers;
mod error;
mod exchange;
mod follow;
mod lines;
mod reader;
mod retry;
mod sse;
mod stream;
mod tls;
mod writer;

use bytestring::ByteString;

pub use connect::{Builder, Client};
pub use consumers::HttpConsumers;
pub use error::{Committed, Error};
pub use follow::{Live, Stretch};
pub use reader::HttpReader;
pub use stream::{Acks, LineAck, Producer, Sender, StreamOptions, Totals};
pub use writer::{HttpWriter, Terms, Written};

use crate::domain::{Content, Data, Key};
use crate::wire::submitted::{self, Submitted};

/// An event with JSON data, and nothing else. [`Content::new`] has the rest.
///
/// # Errors
/// When the key is none, or the data is not JSON.
pub fn event(key: &str, data: &str) -> Result<Content, Error> {
    let key = Key::parse(key.into())?;
    Ok(Content::new(key, None, None, Data::Json(submitted::json_text(data.into())?), None))
}

/// One line of NDJSON as the contract has it: an event, or `{"events":[…]}`.
///
/// # Errors
/// When it is neither.
pub fn line(json: impl Into<ByteString>) -> Result<Submitted, Error> {
    Ok(submitted::line(json.into().into_bytes())?)
}
