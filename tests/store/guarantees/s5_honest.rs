//! S5: whatever an outcome was, `open` and then the facts about the batch's last seq tell the
//! truth. (Lost connections are in each back-end's own tests.)

use futures::future::join_all;
use tidelog::domain::{Frontier, Seq};
use tidelog::store::{AppendError, StoreError, Wanted};

use crate::backends::Stand;
use crate::book::Book;
use crate::make::{content, invalidate, name, one, write};
use crate::writer::{Writer, everything};

on_every_backend!(
    marks_say_which_batch_ended_where,
    the_mark_is_the_winners_and_not_the_losers,
    the_kept_tree_is_the_tree_of_the_events,
    closing_leaves_no_doubt_about_what_was_sent,
    a_closed_store_says_so,
);

fn marks(seqs: std::ops::Range<u64>) -> Wanted {
    Wanted { marks: seqs.map(Seq).collect(), ..Wanted::default() }
}

async fn marks_say_which_batch_ended_where(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let one_transaction = writer.write([write([content("a", "1"), content("b", "1")])]).await;
    let two = writer.write([one("c", "1"), invalidate(0)]).await;
    let mut next = Writer::take(&stand.store, "t", writer.book.clone()).await;
    let other_epoch = next.write([one("d", "1")]).await;
    assert_ne!(two.mark().epoch, other_epoch.mark().epoch);
    let expected = [
        None,
        Some(one_transaction.mark()),
        None,
        Some(two.mark()),
        Some(other_epoch.mark()),
        None,
    ];
    assert_eq!(next.facts(marks(0..6)).await.marks, expected);
}

async fn the_mark_is_the_winners_and_not_the_losers(stand: Stand) {
    let mut loser = Writer::open(&stand.store, "t").await;
    let lost = loser.plan([one("a", "1")]);
    let mut winner = Writer::open(&stand.store, "t").await;
    let won = winner.write([one("a", "2")]).await;
    assert!(loser.send(&lost).await.is_err());
    let asked = Writer::take(&stand.store, "t", winner.book).await;
    let found = asked.facts(marks(0..1)).await.marks;
    assert_eq!(found, [Some(won.mark())]);
    assert_ne!(found, [Some(lost.mark())]);
}

async fn the_kept_tree_is_the_tree_of_the_events(stand: Stand) {
    let mut book = Book::default();
    for n in 0..20_u64 {
        let mut writer = Writer::take(&stand.store, "t", book).await;
        let mut frontier = Frontier::default();
        let events = writer.events().await;
        events.iter().for_each(|read| frontier.push(&read.event));
        assert_eq!(writer.opened.frontier, frontier);
        if n > 0 {
            let mark = writer.facts(marks(events.len() as u64 - 1..events.len() as u64)).await;
            assert_eq!(mark.marks[0].expect("a batch ended").root, frontier.root());
        }
        let events = (0..n % 4 + 1).map(|e| content(&format!("k{e}"), &n.to_string()));
        writer.write([write(events.collect::<Vec<_>>())]).await;
        book = writer.book;
    }
}

async fn closing_leaves_no_doubt_about_what_was_sent(mut stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let batches: Vec<_> = (0..100).map(|n| writer.plan([one(&format!("k{n}"), "1")])).collect();
    let sent: Vec<_> = batches.iter().map(|batch| writer.send(batch)).collect();
    if !stand.reopen().await {
        return;
    }
    let outcomes = join_all(sent).await;
    let written = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    let certain = |o: &Result<(), AppendError>| {
        matches!(o, Err(AppendError::NotWritten(_) | AppendError::Refused))
    };
    assert!(outcomes[written..].iter().all(certain), "{outcomes:?}");
    let head = stand.store.reader.head(&name("t")).await.expect("a head");
    assert_eq!(Seq::after(head), Seq(written as u64));
}

async fn a_closed_store_says_so(mut stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([one("a", "1")]).await;
    let late = writer.plan([one("b", "1")]);
    let closed = stand.store.clone();
    if !stand.reopen().await {
        return; // Nothing outlives it, so nobody asks it.
    }
    let unavailable = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    let outcome = closed.writer.append(late).await;
    let Err(AppendError::NotWritten(error)) = outcome else { panic!("{outcome:?}") };
    assert!(unavailable(error));
    let topic = &writer.name;
    assert!(unavailable(closed.writer.open(topic).await.expect_err("closed")));
    let facts = closed.writer.facts(writer.id(), marks(0..1)).await;
    assert!(unavailable(facts.expect_err("closed")));
    assert!(unavailable(closed.writer.fold(writer.id(), Seq(0), None).await.expect_err("closed")));
    assert!(unavailable(closed.reader.head(topic).await.expect_err("closed")));
    let events = closed.reader.events(topic, everything()).await;
    assert!(unavailable(events.expect_err("closed")));
    assert!(unavailable(closed.reader.ping().await.expect_err("closed")));
    closed.writer.close().await;
    stand.store.reader.ping().await.expect("the new one is open");
}
