//! Streams: acks in order, bounded on their way, and what is known when they fail.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tidelog::client::{Client, Committed, LineAck, Producer, StreamOptions, event, line};
use tidelog::domain::{Content, ProducerId, Seq};
use tokio::time::{Duration, timeout};

use crate::cutter::{Cut, Cutter, From, Plan};
use crate::make::name;
use crate::world::{World, check_acks};

fn numbered(number: usize) -> Content {
    event(&format!("k{number}"), &number.to_string()).expect("an event")
}

fn pairs(numbers: impl IntoIterator<Item = usize>) -> Vec<(String, String)> {
    numbers.into_iter().map(|n| (format!("k{n}"), n.to_string())).collect()
}

#[tokio::test]
async fn acks_come_in_order_for_events_groups_and_duplicates() {
    let world = World::new().await;
    let topic = name("t");
    let options = StreamOptions::default();
    let (mut lines, acks) = world.client.writer().stream(&topic, options).expect("a stream");
    assert_eq!(lines.send(numbered(0)).await.expect("sent"), 0);
    assert_eq!(lines.send(vec![numbered(1), numbered(2)]).await.expect("sent"), 1);
    assert_eq!(lines.send(numbered(0)).await.expect("sent"), 2);
    assert_eq!(lines.send(vec![numbered(1)]).await.expect("sent"), 3);
    let text = r#"{"events":[{"key":"k3","data":3},{"key":"k0","data":0}]}"#;
    assert_eq!(lines.send(line(text).expect("a group")).await.expect("sent"), 4);
    assert!(lines.send(Vec::new()).await.is_err(), "a transaction has an event");
    drop(lines);
    let acks: Vec<LineAck> = acks.try_collect().await.expect("all is acknowledged");
    let log = world.events(&topic).await;
    let expected = [pairs([0]), pairs([1, 2]), pairs([0]), pairs([1]), pairs([3, 0])];
    check_acks(&acks, &log, &expected);
    let transactions: Vec<_> = acks.iter().map(|ack| ack.transaction.map(|t| t.0)).collect();
    assert_eq!(transactions, [Some(0), Some(1), None, None, Some(2)]);
    assert!(acks.iter().all(|ack| !ack.replayed));
    assert_eq!(world.log(&topic).await, [pairs([0]), pairs([1, 2]), pairs([3])]);
}

#[tokio::test]
async fn acks_come_while_the_stream_goes_on() {
    let world = World::new().await;
    let options = StreamOptions::default();
    let stream = world.client.writer().stream(&name("t"), options).expect("a stream");
    let (mut lines, mut acks) = stream;
    for number in 0..20 {
        lines.send(numbered(number)).await.expect("sent");
        let ack = acks.next().await.expect("an ack").expect("it is written");
        assert_eq!(ack.events[0].version.seq, Seq(number as u64));
    }
    drop(lines);
    assert!(acks.next().await.is_none());
}

#[tokio::test]
async fn no_more_is_on_its_way_than_there_is_room_for() {
    let world = World::new().await;
    let options = |events_max, bytes_max| StreamOptions { producer: None, events_max, bytes_max };
    for (topic, options) in [("events", options(5, 1 << 20)), ("bytes", options(100, 5 * 22))] {
        let stream = world.client.writer().stream(&name(topic), options).expect("a stream");
        let (mut lines, mut acks) = stream;
        for number in 0..5 {
            lines.send(numbered(number)).await.expect("there is room");
        }
        let full = timeout(Duration::from_millis(50), lines.send(numbered(5))).await;
        assert!(full.is_err(), "{topic}: acks that are not taken take room");
        acks.next().await.expect("an ack").expect("it is written");
        assert_eq!(lines.send(numbered(5)).await.expect("there is room again"), 5);
        drop(lines);
        let totals = acks.finish().await.expect("the rest is written");
        assert_eq!((totals.lines, totals.written), (5, 5));
        assert_eq!(totals.newest.map(|version| version.seq), Some(Seq(5)));
    }
    // What is larger than all room goes alone.
    let stream = world.client.writer().stream(&name("large"), options(2, 10)).expect("a stream");
    let (mut lines, acks) = stream;
    let send = async {
        lines.send((0..9).map(numbered).collect::<Vec<_>>()).await.expect("sent");
        lines.send(numbered(9)).await.expect("sent");
        drop(lines);
    };
    let ((), totals) = tokio::join!(send, acks.finish());
    assert_eq!(totals.expect("all is written").written, 10);
}

#[tokio::test]
async fn a_stream_of_a_stream_sends_and_acknowledges_by_itself() {
    let world = World::new().await;
    let topic = name("t");
    let options = StreamOptions { events_max: 10, ..StreamOptions::default() };
    let lines = stream::iter((0..500).map(numbered));
    let acks = world.client.writer().append_all(&topic, options, lines).expect("a stream");
    let acks: Vec<LineAck> = acks.try_collect().await.expect("all is acknowledged");
    let lines: Vec<_> = (0..500).map(|number| pairs([number])).collect();
    check_acks(&acks, &world.events(&topic).await, &lines);
    assert_eq!(world.log(&topic).await, lines);
}

#[tokio::test]
async fn nothing_behind_a_line_that_is_refused_is_written() {
    let world = World::with(tidelog::config::Config {
        transaction_events_max: 3,
        ..tidelog::config::Config::default()
    })
    .await;
    let topic = name("t");
    let options = StreamOptions::default();
    let stream = world.client.writer().stream(&topic, options.clone()).expect("a stream");
    let (mut lines, mut acks) = stream;
    lines.send(numbered(0)).await.expect("sent");
    lines.send((1..5).map(numbered).collect::<Vec<_>>()).await.expect("sent");
    lines.send(numbered(5)).await.expect("sent");
    assert!(acks.next().await.expect("an ack").is_ok());
    let error = acks.next().await.expect("an end").expect_err("it is too large");
    assert_eq!((error.code(), error.line()), (Some("too-large"), Some(1)));
    assert_eq!((error.retryable(), error.committed()), (false, Committed::No));
    assert!(acks.next().await.is_none());
    let error = lines.send(numbered(6)).await.expect_err("the stream has ended");
    assert_eq!(error.code(), Some("too-large"));
    assert_eq!(world.log(&topic).await, [pairs([0])]);

    let lines = stream::iter([vec![numbered(7)], (8..12).map(numbered).collect(), vec![]]);
    let acks = world.client.writer().append_all(&topic, options, lines).expect("a stream");
    let acks: Vec<_> = acks.collect().await;
    assert_eq!(acks.iter().map(|ack| ack.is_ok()).collect::<Vec<_>>(), [true, false]);

    let (writer, options) = (world.client.writer(), StreamOptions::default());
    let lines = stream::iter([vec![numbered(8)], vec![numbered(9)], vec![], vec![numbered(10)]]);
    let acks = writer.append_all(&topic, options, lines).expect("a stream");
    let acks: Vec<_> = acks.collect().await;
    assert_eq!(acks.iter().map(|ack| ack.is_ok()).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(world.log(&topic).await, [0, 7, 8, 9].map(|n| pairs([n])));
}

fn producer(epoch: u64, next_line: u64) -> Option<Producer> {
    let id = ProducerId::parse("import").expect("a name");
    Some(Producer { id, epoch, next_line })
}

#[tokio::test]
async fn a_producer_goes_on_where_it_was_and_its_predecessor_is_refused() {
    let world = World::new().await;
    let (writer, topic) = (world.client.writer(), name("t"));
    let id = ProducerId::parse("import").expect("a name");
    let begin = writer.resume(&topic, &id, 0).await.expect("an answer");
    assert_eq!(Some(begin), producer(0, 0));
    let options = |producer| StreamOptions { producer, ..StreamOptions::default() };
    let (mut old, mut old_acks) = writer.stream(&topic, options(producer(0, 0))).expect("a stream");
    for number in 0..3 {
        old.send(numbered(number)).await.expect("sent");
        old_acks.next().await.expect("an ack").expect("it is written");
    }

    let resumed = writer.resume(&topic, &id, 1).await.expect("an answer");
    assert_eq!(resumed.next_line, 3);
    // It does not know that its line 2 was written, and sends it again.
    let resumed = Producer { next_line: 2, ..resumed };
    let (mut new, new_acks) = writer.stream(&topic, options(Some(resumed))).expect("a stream");
    for number in 2..5 {
        assert_eq!(new.send(numbered(number)).await.expect("sent"), number as u64);
    }
    drop(new);
    let acks: Vec<LineAck> = new_acks.try_collect().await.expect("all is acknowledged");
    assert_eq!(acks.iter().map(|ack| ack.replayed).collect::<Vec<_>>(), [true, false, false]);

    let _ = old.send(numbered(9)).await;
    let error = old_acks.next().await.expect("an end").expect_err("it is fenced");
    assert_eq!((error.code(), error.committed()), (Some("producer-fenced"), Committed::No));
    let error = writer.resume(&topic, &id, 0).await.expect_err("it is fenced");
    assert_eq!(error.code(), Some("producer-fenced"));
    let expected: Vec<_> = (0..5).map(|number| pairs([number])).collect();
    assert_eq!(world.log(&topic).await, expected);
}

#[tokio::test]
async fn a_service_that_has_lost_lines_is_found_out() {
    let world = World::new().await;
    let options = StreamOptions { producer: producer(0, 7), ..StreamOptions::default() };
    let stream = world.client.writer().stream(&name("t"), options).expect("a stream");
    let (mut lines, mut acks) = stream;
    lines.send(numbered(7)).await.expect("sent");
    let error = acks.next().await.expect("an end").expect_err("lines 0 to 6 are not there");
    assert_eq!((error.code(), error.committed()), (Some("producer-gap"), Committed::No));
}

#[tokio::test]
async fn patience_begins_with_the_line_and_not_with_the_stream() {
    let world = World::new().await;
    let cut = Plan { from: From::Service, after: 0, cut: Cut::Both };
    let proxy = Cutter::start(world.service.port, [cut; 3]).await;
    let within = Duration::from_secs(1);
    let builder = Client::builder(&proxy.url()).retry_within(within);
    let builder = builder.pauses(Duration::from_millis(1), Duration::from_millis(1));
    let writer = builder.build().expect("a client").writer();
    let stream = writer.stream(&name("t"), StreamOptions::default()).expect("a stream");
    let (mut lines, mut acks) = stream;
    assert!(timeout(within, acks.next()).await.is_err(), "there is nothing to send");
    lines.send(numbered(0)).await.expect("sent");
    acks.next().await.expect("an ack").expect("it is tried again");
    assert_eq!(proxy.cuts(), 3);
}

#[tokio::test]
async fn who_gives_up_the_acks_gives_up_the_stream() {
    let world = World::new().await;
    let options = StreamOptions::default();
    let stream = world.client.writer().stream(&name("t"), options).expect("a stream");
    let (mut lines, acks) = stream;
    drop(acks);
    let mut sent = 0;
    let error = loop {
        match lines.send(numbered(sent)).await {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert!(error.to_string().contains("dropped"), "{error}");
}
