//! What is left of Tidelog's way without its rules: single events of many requests as one INSERT, two
//! of these under way on one connection a thread, everything on the thread of the requests. No order
//! of producers, numbers, hashes, de-duplication, transactions, surface, log or metrics. The
//! difference to Tidelog is what these cost; the allocator is the system's, as for all services here.

use std::cell::OnceCell;
use std::collections::VecDeque;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::baseline::Event;

const MANY: &str = "INSERT INTO plain_event (key, data)
    SELECT * FROM unnest($1::text[], $2::text[]) RETURNING id";
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

type Flight = BoxFuture<'static, (Vec<Row>, Vec<oneshot::Sender<i64>>)>;

async fn write(client: Client, statement: Statement, events: mpsc::UnboundedReceiver<Waiting>) {
    let client = std::sync::Arc::new(client);
    let mut events = tokio_stream::wrappers::UnboundedReceiverStream::new(events);
    let (mut waiting, mut flights, mut sizes) = (Vec::new(), VecDeque::new(), VecDeque::new());
    loop {
        // A group waits, and grows, while one as large is under way.
        let enough = sizes.iter().sum::<usize>().max(1);
        if flights.len() < FLIGHTS_MAX && waiting.len() >= enough {
            sizes.push_back(waiting.len());
            flights.push_back(send(client.clone(), &statement, std::mem::take(&mut waiting)));
        }
        let under_way = !flights.is_empty();
        tokio::select! {
            biased;
            done = async { flights.front_mut().expect("there is one").await }, if under_way => {
                let (rows, answers) = done;
                for (row, answer) in rows.iter().zip(answers) {
                    let _ = answer.send(row.get(0));
                }
                flights.pop_front();
                sizes.pop_front();
            }
            event = events.next() => match event {
                Some(event) => waiting.push(event),
                None => return,
            },
        }
        while let Some(Some(event)) = events.next().now_or_never() {
            waiting.push(event);
        }
    }
}

fn send(client: std::sync::Arc<Client>, statement: &Statement, waiting: Vec<Waiting>) -> Flight {
    let statement = statement.clone();
    let mut flight = async move {
        let (events, answers): (Vec<Event>, Vec<_>) = waiting.into_iter().unzip();
        let keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
        let data: Vec<&str> = events.iter().map(|event| event.data.get()).collect();
        let rows = client.query(&statement, &[&keys, &data]).await.expect("it is written");
        (rows, answers)
    }
    .boxed();
    // The first poll hands the statement to the connection.
    match (&mut flight).now_or_never() {
        Some(done) => std::future::ready(done).boxed(),
        None => flight,
    }
}
