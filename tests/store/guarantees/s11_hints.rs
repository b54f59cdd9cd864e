//! S11: what one instance tells, the others hear soon; usually all of it, never anything else.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use tidelog::domain::{Seq, TopicName, TransactionNo, Version};
use tidelog::store::Hint;

use crate::backends::Stand;
use crate::make::name;

/// Those back-ends that more than one instance may write to.
mod postgres {
    on_backend!(Postgres:
        what_one_instance_tells_the_others_hear_and_itself_does_not,
        of_many_moves_at_least_the_newest_are_heard,
        a_closed_store_tells_nothing_any_more);
}

fn head(seq: u64) -> Version {
    Version { seq: Seq(seq), transaction: TransactionNo(seq / 2) }
}

/// Tells until it is heard: nothing says when the others have begun to listen.
async fn what_one_instance_tells_the_others_hear_and_itself_does_not(stand: Stand) {
    let hints = stand.store.reader.hints().expect("there may be others");
    let others = [stand.other().await, stand.other().await];
    let mut own = hints.listen();
    let mut told = 0;
    for other in &others {
        let mut heard = other.reader.hints().expect("it has them as well").listen();
        let hearing = async {
            loop {
                match heard.next().await.expect("it goes on") {
                    Hint::Missed => {}
                    Hint::Moved(moved) => return moved,
                }
            }
        };
        tokio::pin!(hearing);
        let moved = loop {
            told += 1;
            hints.tell(&name("t"), head(told));
            let wait = tokio::time::timeout(Duration::from_millis(20), &mut hearing);
            if let Ok(moved) = wait.await {
                break moved;
            }
        };
        assert_eq!(moved.name, name("t"));
        assert!((1..=told).any(|seq| moved.head == head(seq)), "{moved:?}");
    }
    while let Some(Some(hint)) = futures::FutureExt::now_or_never(own.next()) {
        assert_eq!(hint, Hint::Missed, "nobody else has told anything");
    }
}

async fn of_many_moves_at_least_the_newest_are_heard(stand: Stand) {
    const TOPICS: u64 = 500;
    let hints = stand.store.reader.hints().expect("there may be others");
    let other = stand.other().await;
    let mut heard = other.reader.hints().expect("it has them as well").listen();
    // Once this has been heard, both are connected.
    let ready = name("ready");
    loop {
        hints.tell(&ready, head(0));
        let next = tokio::time::timeout(Duration::from_millis(20), heard.next()).await;
        if matches!(next, Ok(Some(Hint::Moved(_)))) {
            break;
        }
    }
    let names: Vec<TopicName> =
        (0..TOPICS).map(|n| name(&format!("{n}~{}", "x".repeat(150)))).collect();
    for seq in 0..20 {
        names.iter().for_each(|name| hints.tell(name, head(seq)));
    }
    let mut heads: HashMap<TopicName, Version> = HashMap::new();
    let mut count = 0;
    while heads.len() < names.len() || heads.values().any(|found| *found != head(19)) {
        let Hint::Moved(moved) = heard.next().await.expect("it goes on") else { continue };
        if moved.name != ready {
            heads.insert(moved.name, moved.head);
            count += 1;
        }
    }
    assert!(count < 10 * TOPICS, "they are gathered: {count}");
}

async fn a_closed_store_tells_nothing_any_more(stand: Stand) {
    let hints = stand.store.reader.hints().expect("there may be others");
    let mut heard = hints.listen();
    assert_eq!(heard.next().await, Some(Hint::Missed), "what was told before it listened");
    stand.store.writer.close().await;
    while let Some(hint) = heard.next().await {
        assert_eq!(hint, Hint::Missed);
    }
    hints.tell(&name("t"), head(1));
    assert_eq!(hints.listen().next().await, None);
}
