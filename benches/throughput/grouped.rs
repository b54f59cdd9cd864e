//! What is left of Tidelog's way without its rules: single events of many requests as one INSERT, two
//! of these under way on one connection a thread, everything on the thread of the requests. No order
//! of producers, numbers, hashes, de-duplication, transactions, surface, log or metrics. The
//! difference to Tidelog is what these cost; the allocator is the system's, as for all services here.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::baseline::{Event, MANY};

/// Statements under way.
const FLIGHTS_MAX: usize = 2;

type Waiting = (Event, oneshot::Sender<i64>);

thread_local! {
    static WRITER: OnceCell<mpsc::UnboundedSender<Waiting>> = const { OnceCell::new() };
}

/// Inserts an event with others; its id, once it is durable.
pub async fn insert(url: &str, event: Event) -> Option<i64> {
    let (done, id) = oneshot::channel();
    let writer = WRITER.with(|writer| writer.get_or_init(|| start(url.to_owned())).clone());
    writer.send((event, done)).ok()?;
    id.await.ok()
}

fn start(url: String) -> mpsc::UnboundedSender<Waiting> {
    let (sender, events) = mpsc::unbounded_channel();
    actix_web::rt::spawn(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("it answers");
        actix_web::rt::spawn(connection);
        let statement = client.prepare(MANY).await.expect("it can be prepared");
        write(client, statement, events).await;
    });
    sender
}

/// A statement under way: who waits for it, and its rows.
struct Flight {
    answers: Vec<oneshot::Sender<i64>>,
    rows: BoxFuture<'static, Vec<Row>>,
}

async fn write(client: Client, statement: Statement, mut events: mpsc::UnboundedReceiver<Waiting>) {
    let client = Arc::new(client);
    let (mut waiting, mut flights) = (Vec::new(), VecDeque::<Flight>::new());
    loop {
        while let Ok(event) = events.try_recv() {
            waiting.push(event);
        }
        // A group waits, and grows, while one as large is under way.
        let under_way: usize = flights.iter().map(|flight| flight.answers.len()).sum();
        if flights.len() < FLIGHTS_MAX && waiting.len() >= under_way.max(1) {
            flights.push_back(send(client.clone(), &statement, std::mem::take(&mut waiting)));
        }
        let rows = flights.front_mut().map(|flight| &mut flight.rows);
        let idle = rows.is_none();
        tokio::select! {
            biased;
            rows = async { rows.expect("not idle").await }, if !idle => {
                let flight = flights.pop_front().expect("its rows have come");
                for (row, answer) in rows.iter().zip(flight.answers) {
                    let _ = answer.send(row.get(0));
                }
            }
            event = events.recv() => match event {
                Some(event) => waiting.push(event),
                None => return,
            },
        }
    }
}

fn send(client: Arc<Client>, statement: &Statement, waiting: Vec<Waiting>) -> Flight {
    let statement = statement.clone();
    let (events, answers): (Vec<Event>, Vec<_>) = waiting.into_iter().unzip();
    let mut rows = async move {
        let keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
        let data: Vec<&str> = events.iter().map(|event| event.data.get()).collect();
        client.query(&statement, &[&keys, &data]).await.expect("it is written")
    }
    .boxed();
    // The first poll hands the statement to the connection.
    let early = (&mut rows).now_or_never();
    let rows = early.map_or(rows, |early| std::future::ready(early).boxed());
    Flight { answers, rows }
}
