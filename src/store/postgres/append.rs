//! The one statement that writes events, of batches of one or of many topics.
//!
//! Four prepared forms: *single* for one event with JSON data, *one* for one batch of these, *many*
//! for more batches, *full* for everything. Which topics moved is the answer; the other batches
//! were refused by the guard.
//!
//! Not here: the parameters (`parameters.rs`); which batches go together, and what an error means
//! for each (`lane.rs`).

use std::collections::HashSet;
use std::sync::Arc;

use ahash::RandomState;
use tokio_postgres::{Client, Error, Row, Statement};

use super::parameters::{EventRow, Events, Head, Heads, Marks, Parameter, Places, Records, Shared};
use crate::domain::{Batch, Data, EventBody, TopicId};

const SINGLE: &str = include_str!("../../../sql/postgres/queries/append_single.sql");
const ONE: &str = include_str!("../../../sql/postgres/queries/append_one.sql");
const MANY: &str = include_str!("../../../sql/postgres/queries/append_many.sql");
const FULL: &str = include_str!("../../../sql/postgres/queries/append_full.sql");

/// A set of topics, looked into for every batch.
pub(super) type TopicIds = HashSet<TopicId, RandomState>;

/// All forms, prepared on one connection.
#[derive(Clone)]
pub(super) struct Append {
    single: Statement,
    one: Statement,
    many: Statement,
    full: Statement,
}

impl Append {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (single, one) = (client.prepare(SINGLE).await?, client.prepare(ONE).await?);
        let (many, full) = (client.prepare(MANY).await?, client.prepare(FULL).await?);
        Ok(Self { single, one, many, full })
    }

    /// Writes batches, at most one of each topic, in order of topic; says which topics moved.
    /// The statement is on its way once the future has been polled.
    pub(super) async fn run(
        self,
        client: Arc<Client>,
        batches: Vec<Arc<Batch>>,
    ) -> Result<TopicIds, Error> {
        let plain = batches.iter().all(|batch| is_plain(batch));
        let moved: Vec<i64> = match batches.as_slice() {
            [batch] if plain => {
                let head = Head::of(batch);
                if let [event] = batch.events.as_slice() {
                    let (root, event) = (&batch.mark().root.0[..], EventRow::of(event));
                    let topic = head.values().into_iter().chain([&root as Parameter]);
                    let parameters: Vec<Parameter> = topic.chain(event.values()).collect();
                    values(&client.query(&self.single, &parameters).await?)?
                } else {
                    let (shared, mut events) = (Shared::of(batch), Events::of(&batches));
                    events.leave_out_what_follows_from(batch);
                    let topic = head.values().into_iter().chain(shared.values());
                    let parameters: Vec<Parameter> = topic.chain(events.said()).collect();
                    values(&client.query(&self.one, &parameters).await?)?
                }
            }
            _ => {
                let (heads, places) = (Heads::of(&batches), Places::of(&batches));
                let (events, marks) = (Events::of(&batches), Marks::of(&batches));
                let columns = heads.columns().into_iter().chain(places.columns());
                let plainly = columns.chain(events.said()).chain(marks.columns());
                let row = if plain {
                    let parameters: Vec<Parameter> = plainly.collect();
                    client.query_one(&self.many, &parameters).await?
                } else {
                    let records = Records::of(&batches);
                    let more = events.more().into_iter().chain(records.columns());
                    let parameters: Vec<Parameter> = plainly.chain(more).collect();
                    client.query_one(&self.full, &parameters).await?
                };
                row.try_get(0)?
            }
        };
        Ok(moved.into_iter().map(TopicId).collect())
    }
}

/// The first column of all rows.
fn values(rows: &[Row]) -> Result<Vec<i64>, Error> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Whether a batch is nothing but events with JSON data.
fn is_plain(batch: &Batch) -> bool {
    let plain = |body: &EventBody| match body {
        EventBody::Content(content) => matches!(content.data, Data::Json(_)),
        EventBody::Invalidation(_) => false,
    };
    batch.idempotency.is_empty()
        && batch.producers.is_empty()
        && batch.events.iter().all(|event| plain(&event.body))
}
