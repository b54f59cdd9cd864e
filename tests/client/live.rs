//! Live reading over connections that are lost, against a service that says what a script tells
//! it to.
//!
//! Not here: a real service's live reads (`tests/contract`).

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use parking_lot::Mutex;
use tidelog::client::{Client, Error, HttpReader, Live, Stretch};
use tidelog::domain::{Event, EventBody, ReadEvent, Seq, Timestamp, TransactionNo, Version};
use tidelog::wire::read::put_event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::make::{content, key, name};

/// Answers each request with what the script says to its number and the `from` that it has.
struct Script {
    url: String,
    /// The targets of the requests.
    asked: Arc<Mutex<Vec<String>>>,
    /// How long its client endures that nothing comes.
    silence: Duration,
    _tasks: JoinSet<()>,
}

/// What is sent, and whether the answer ends properly; `None` leaves it open.
type Said = (Vec<u8>, Option<bool>);

impl Script {
    async fn new(says: impl Fn(usize, u64) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, seen) = (JoinSet::new(), asked.clone());
        tasks.spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let target = target(&mut stream).await;
                let number = seen.lock().len();
                let from = parameter(&target, "from").expect("it says from where");
                seen.lock().push(target);
                let (bytes, end) = says(number, from.parse().expect("a seq"));
                let _ = stream.write_all(&bytes).await;
                match end {
                    Some(true) => drop(stream.write_all(b"0\r\n\r\n").await),
                    Some(false) => {}
                    None => open.push(stream),
                }
            }
        });
        Self { url, asked, silence: Duration::from_secs(60), _tasks: tasks }
    }

    fn reader(&self) -> HttpReader {
        let builder = Client::builder(&self.url).silence(self.silence);
        let builder = builder.pauses(Duration::from_millis(1), Duration::from_millis(5));
        builder.build().expect("a client").reader()
    }

    /// The `from` of each request.
    fn from(&self) -> Vec<String> {
        let asked = self.asked.lock();
        asked.iter().filter_map(|target| parameter(target, "from")).collect()
    }
}

/// Reads the head of a request.
async fn target(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.to_lowercase().contains("accept: text/event-stream\r\n"), "{head}");
    head.split(' ').nth(1).expect("a target").to_owned()
}

fn parameter(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    parameters.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";

fn answer(messages: &str) -> Vec<u8> {
    let mut answer = HEAD.as_bytes().to_vec();
    if !messages.is_empty() {
        answer.extend(format!("{:x}\r\n{messages}\r\n", messages.len()).into_bytes());
    }
    answer
}

fn read(seq: u64) -> ReadEvent {
    let version = Version { seq: Seq(seq), transaction: TransactionNo(seq) };
    let body = EventBody::Content(content(&format!("k{seq}"), &seq.to_string()));
    let event = Event { version, last: true, recorded_at: Timestamp(1), prev: None, body };
    ReadEvent { event, invalidated_by: None }
}

fn message(seq: u64) -> String {
    let mut json = BytesMut::new();
    put_event(&mut json, &read(seq));
    let json = String::from_utf8(json.to_vec()).expect("text");
    format!("id: {seq}\nevent: event\ndata: {json}\n\n")
}

fn messages(seqs: impl IntoIterator<Item = u64>) -> String {
    seqs.into_iter().map(message).collect()
}

const LIVES: &str = "event: heartbeat\ndata: {\"head\":null}\n\n";

/// Follows from `from` until so many events have come.
async fn events(script: &Script, from: u64, count: usize) -> Vec<u64> {
    let events = script.reader().follow(&name("t"), Seq(from)).take(count);
    let events = events.map(|read| read.expect("it goes on").event.version.seq.0);
    let all = tokio::time::timeout(Duration::from_secs(20), events.collect()).await;
    all.expect("they come")
}

/// All that comes, up to and with the first error, or until so much has come.
async fn all(script: &Script, stretch: Stretch, count: usize) -> Vec<Result<Live, Error>> {
    let live = script.reader().live(&name("t"), stretch).take(count);
    let all = tokio::time::timeout(Duration::from_secs(20), live.collect()).await;
    all.expect("they come")
}

#[tokio::test]
async fn a_stream_that_is_cut_at_any_byte_misses_and_repeats_nothing() {
    let whole = answer(&format!("{}{LIVES}{}", messages(3..6), messages(6..8)));
    for cut in 0..=whole.len() {
        let first = whole[..cut].to_vec();
        let script = Script::new(move |number, from| match number {
            0 => (first.clone(), Some(false)),
            _ => (answer(&messages(from..9)), None),
        });
        let script = script.await;
        assert_eq!(events(&script, 3, 6).await, (3..9).collect::<Vec<_>>(), "cut at {cut}");
        let from = script.from();
        let next: u64 = from[1].parse().expect("a seq");
        assert_eq!((from[0].as_str(), from.len()), ("3", 2), "cut at {cut}");
        assert!((3..9).contains(&next), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_the_service_says_beside_events_is_told() {
    let head = r#"{"head":{"seq":4,"transaction":4}}"#;
    let text = format!(
        ": a comment\r\nevent: caught-up\r\ndata:{{\"head\":null}}\r\n\r\n{}retry: 1\nevent: new\n\
         data: []\n\nevent: caught-up\ndata: {head}\n\nevent: heartbeat\ndata: {head}\n\n",
        message(4)
    );
    let script = Script::new(move |_, _| (answer(&text), None)).await;
    let said: Vec<String> = all(&script, Stretch::from(Seq(4)), 4)
        .await
        .into_iter()
        .map(|live| match live.expect("it goes on") {
            Live::Event(event) => {
                assert_eq!(event, read(4));
                "event".into()
            }
            Live::CaughtUp(head) => format!("caught up {:?}", head.map(|head| head.seq.0)),
            Live::Heartbeat(head) => format!("heartbeat {:?}", head.map(|head| head.seq.0)),
            Live::Lost(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(said, ["caught up None", "event", "caught up Some(4)", "heartbeat Some(4)"]);
}

#[tokio::test]
async fn an_end_a_silence_and_an_error_that_may_pass_are_gone_over() {
    let problem = r#"{"status":503,"code":"unavailable","retryable":true,"committed":"no"}"#;
    let script = Script::new(move |number, from| match number {
        0 => (answer(&format!("{}event: end\ndata: {{}}\n\n", message(from))), Some(true)),
        1 => (answer(&message(from)), None),
        2 => (answer(&format!("{}event: error\ndata: {problem}\n\n", message(from))), None),
        3 => (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno".to_vec(), None),
        _ => (answer(&messages(from..from + 2)), None),
    });
    let script = Script { silence: Duration::from_secs(1), ..script.await };
    assert_eq!(events(&script, 0, 5).await, [0, 1, 2, 3, 4]);
    assert_eq!(script.from(), ["0", "1", "2", "3", "3"]);
}

#[tokio::test]
async fn an_error_that_does_not_pass_ends_the_stream() {
    let problem = r#"{"status":403,"code":"forbidden","retryable":false,"committed":"no"}"#;
    let refused = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\n\
         Content-Length: {}\r\n\r\n{problem}",
        problem.len()
    );
    let said = format!("{}event: error\ndata: {problem}\n\n", message(0));
    for (bytes, events) in [(refused.into_bytes(), 0), (answer(&said), 1)] {
        let script = Script::new(move |_, _| (bytes.clone(), None)).await;
        let all = all(&script, Stretch::from(Seq(0)), 10).await;
        assert_eq!(all.len(), events + 1);
        let error = all.last().expect("an end").as_ref().expect_err("an error");
        assert_eq!((error.code(), error.retryable()), (Some("forbidden"), false));
    }
}

#[tokio::test]
async fn a_service_that_leaves_out_or_repeats_an_event_is_found_out() {
    for wrong in [4, 2] {
        let text = messages([2, wrong]);
        let script = Script::new(move |_, _| (answer(&text), None)).await;
        let all = all(&script, Stretch::from(Seq(2)), 10).await;
        assert_eq!(all.len(), 2);
        let error = all[1].as_ref().expect_err("an error");
        assert!(error.to_string().contains("instead of 3"), "{error}");
    }
}

#[tokio::test]
async fn a_stretch_ends_and_one_of_a_key_has_gaps() {
    let whole = Stretch { from: Seq(1), to: Some(Seq(3)), key: None };
    // Without its end it goes on where it was.
    let script = Script::new(|number, from| match number {
        0 => (answer(&message(from)), Some(true)),
        _ => (answer(&messages(from..4)), None),
    });
    let script = script.await;
    let seqs = |all: Vec<Result<Live, Error>>| -> Vec<u64> {
        let seq = |live| match live {
            Ok(Live::Event(read)) => Some(read.event.version.seq.0),
            _ => None,
        };
        all.into_iter().filter_map(seq).collect()
    };
    assert_eq!(seqs(all(&script, whole, 10).await), [1, 2, 3]);

    let of_key = Stretch { from: Seq(1), to: Some(Seq(30)), key: Some(key("a b&c")) };
    let script = Script::new(|number, from| match number {
        0 => (answer(&messages([4, 7])), Some(false)),
        _ => (answer(&message(from + 1)), Some(true)),
    });
    let script = script.await;
    assert_eq!(seqs(all(&script, of_key, 10).await), [4, 7, 9]);
    let asked = script.asked.lock().clone();
    assert_eq!(asked[0], "/v1/topics/t/events?from=1&to=30&key=a%20b%26c");
    assert_eq!(asked[1], "/v1/topics/t/events?from=8&to=30&key=a%20b%26c");
}
