//! The courier: takes lines to the service and brings their acks back, over as many connections
//! as it needs.
//!
//! It holds every line until its ack. When a connection is lost, the next one begins with the
//! first line that has no ack, under the same number: what of it was written before is not written
//! again, and its ack comes all the same. Lines are only ever sent in order, and a line only after
//! all before it on the same connection; so nothing is written twice, left out or reordered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use reqwest::Body;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::super::connect::Client;
use super::super::error::{Committed, Error};
use super::answers::Answers;
use super::{Acked, LineAck, Open, Producer, request};
use crate::domain::TopicName;
use crate::wire::answer::{self, Line};
use crate::wire::received::BadAnswer;

/// Lines are put together to pieces of about this size, as far as they are there.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the connection to take them.
const PIECES: usize = 2;
/// How long a connection is kept with nothing to send: less than anybody on the way waits.
const IDLE: Duration = Duration::from_secs(5);

/// The program's ends of the stream.
pub(super) struct End {
    pub(super) acks: mpsc::UnboundedSender<Acked>,
    pub(super) failure: Arc<OnceLock<Error>>,
    pub(super) room: [Arc<Semaphore>; 2],
}

/// Whoever waits for room learns that there is none to come.
impl Drop for End {
    fn drop(&mut self) {
        self.room.iter().for_each(|room| room.close());
    }
}

/// See the module.
pub(super) struct Courier {
    client: Client,
    topic: TopicName,
    /// `next_line` is the number of the first of `open`.
    producer: Producer,
    /// Lines without an ack.
    open: VecDeque<Open>,
    /// Lines below this number may have been written by a connection that was lost.
    doubtful: u64,
    lines: mpsc::UnboundedReceiver<Open>,
    /// No more lines come.
    complete: bool,
    end: End,
}

/// How a connection ended.
enum Ended {
    /// Properly.
    Done,
    Failed(Error),
    /// Nobody wants acks any more.
    Gone,
}

impl Courier {
    pub(super) fn new(
        client: &Client,
        topic: &TopicName,
        producer: Producer,
        lines: mpsc::UnboundedReceiver<Open>,
        end: End,
    ) -> Self {
        Self {
            client: client.clone(),
            topic: topic.clone(),
            producer,
            open: VecDeque::new(),
            doubtful: 0,
            lines,
            complete: false,
            end,
        }
    }

    pub(super) async fn run(mut self) {
        let mut patience = self.client.patience();
        loop {
            if self.open.is_empty() {
                if !self.something_to_send().await {
                    return;
                }
                patience.renew();
            }
            let first = self.producer.next_line;
            let ended = Connection::new(&self).run(&mut self).await;
            if self.producer.next_line > first {
                patience.renew();
            }
            match ended {
                Ended::Done => {}
                Ended::Gone => return,
                // It failed with nothing on its way.
                Ended::Failed(_) if self.open.is_empty() => {}
                Ended::Failed(error) => {
                    let again = tokio::select! {
                        again = patience.again(&error) => again,
                        () = self.end.acks.closed() => return,
                    };
                    if !again {
                        return self.fail(error);
                    }
                }
            }
        }
    }

    /// Waits for a line; `false` where none will come.
    async fn something_to_send(&mut self) -> bool {
        if !self.complete {
            tokio::select! {
                line = self.lines.recv() => self.take(line),
                () = self.end.acks.closed() => return false,
            }
        }
        !self.open.is_empty()
    }

    /// Takes a line, and those that have come with it.
    fn take(&mut self, line: Option<Open>) {
        let Some(line) = line else {
            self.complete = true;
            return;
        };
        self.open.push_back(line);
        while let Ok(line) = self.lines.try_recv() {
            self.open.push_back(line);
        }
    }

    /// The first open line failed for good.
    fn fail(self, error: Error) {
        let line = self.producer.next_line;
        let in_doubt = line < self.doubtful;
        let error = if in_doubt { error.with(Committed::Unknown) } else { error };
        let error = error.on_line(line);
        let _ = self.end.failure.set(error.clone());
        let _ = self.end.acks.send(Err(error));
    }

    /// The first open line is done.
    fn acknowledge(&mut self, done: LineAck) -> Result<(), Error> {
        let matches = |open: &Open| open.events == done.events.len();
        if !self.open.front().is_some_and(matches) {
            return Err(BadAnswer::new("the acks do not fit what was sent").into());
        }
        if let Some(Open { room, .. }) = self.open.pop_front() {
            self.producer.next_line += 1;
            let _ = self.end.acks.send(Ok((done, room)));
        }
        Ok(())
    }
}

/// One request, for as long as it goes well.
struct Connection {
    /// `None` once all is sent, or the request takes no more.
    body: Option<mpsc::Sender<Bytes>>,
    answers: Answers,
    /// How many of the open lines are sent.
    sent: usize,
    /// How many lines were acknowledged.
    acked: u64,
    idle_at: Instant,
}

impl Connection {
    fn new(courier: &Courier) -> Self {
        let (body, pieces) = mpsc::channel::<Bytes>(PIECES);
        let pieces = futures::stream::unfold(pieces, |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((piece, pieces))
        });
        let body_of = Body::wrap_stream(pieces.map(Ok::<Bytes, Infallible>));
        let request = request(&courier.client, &courier.topic, &courier.producer).body(body_of);
        let (body, answers) = (Some(body), Answers::to(request));
        Self { body, answers, sent: 0, acked: 0, idle_at: Instant::now() + IDLE }
    }

    async fn run(mut self, courier: &mut Courier) -> Ended {
        loop {
            if courier.complete && self.sent == courier.open.len() {
                self.body = None;
            }
            let unsent = self.sent < courier.open.len();
            let idle = self.body.is_some() && courier.open.is_empty();
            let ended = tokio::select! {
                answer = self.answers.next() => self.hear(answer, courier),
                () = send(&self.body, &courier.open, &mut self.sent), if unsent => None,
                line = courier.lines.recv(), if !courier.complete => {
                    courier.take(line);
                    None
                }
                () = sleep_until(self.idle_at), if idle => {
                    self.body = None;
                    None
                }
                () = courier.end.acks.closed() => Some(Ended::Gone),
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Takes what the service says.
    fn hear(
        &mut self,
        answer: Result<Option<Line>, Error>,
        courier: &mut Courier,
    ) -> Option<Ended> {
        let mut answer = answer;
        loop {
            let ended = match answer {
                Ok(Some(Line::Done { line, transaction, acks, replayed })) => {
                    let ack = LineAck {
                        line: courier.producer.next_line,
                        transaction,
                        events: acks,
                        replayed,
                    };
                    self.done(line, ack, courier)
                }
                Ok(Some(Line::Failed(problem))) => Err(Error::of_problem(problem)),
                Ok(Some(Line::Summary(summary))) => {
                    return Some(self.summed_up(&summary, courier));
                }
                Ok(None) => Err(Error::cut_short("the answer")),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                return Some(self.failed(error, courier));
            }
            answer = match self.answers.ready() {
                Ok(None) => return None,
                more => more,
            };
        }
    }

    fn done(&mut self, line: u64, ack: LineAck, courier: &mut Courier) -> Result<(), Error> {
        if line != self.acked + 1 || self.sent == 0 {
            return Err(BadAnswer::new("the acks are not in order").into());
        }
        courier.acknowledge(ack)?;
        self.acked += 1;
        self.sent -= 1;
        self.idle_at = Instant::now() + IDLE;
        Ok(())
    }

    /// The answer ended properly; lines that have come meanwhile want another request.
    fn summed_up(&self, summary: &answer::Summary, courier: &mut Courier) -> Ended {
        if summary.complete && self.sent == 0 && self.body.is_none() {
            return Ended::Done;
        }
        self.failed(BadAnswer::new("a summary before its time").into(), courier)
    }

    fn failed(&self, error: Error, courier: &mut Courier) -> Ended {
        if error.committed() != Committed::No {
            let end = courier.producer.next_line + self.sent as u64;
            courier.doubtful = courier.doubtful.max(end);
        }
        Ended::Failed(error)
    }
}

/// Sends a piece once there is room for it. Never ready where the request takes no more: its
/// answer will say why.
async fn send(body: &Option<mpsc::Sender<Bytes>>, open: &VecDeque<Open>, sent: &mut usize) {
    if let Some(body) = body
        && let Ok(room) = body.reserve().await
    {
        return room.send(piece(open, sent));
    }
    std::future::pending().await
}

/// The next open lines, as many as make a piece.
fn piece(open: &VecDeque<Open>, sent: &mut usize) -> Bytes {
    let first = &open[*sent].bytes;
    let next = open.get(*sent + 1);
    if first.len() >= PIECE_BYTES || next.is_none() {
        *sent += 1;
        return first.clone();
    }
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    for line in open.range(*sent..) {
        if !piece.is_empty() && piece.len() + line.bytes.len() > PIECE_BYTES {
            break;
        }
        piece.extend_from_slice(&line.bytes);
        *sent += 1;
    }
    piece.freeze()
}
