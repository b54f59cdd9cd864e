//! What a scrape costs, and that it does not depend on how many topics there are.

use std::time::{Duration, Instant};

use futures::StreamExt as _;

use crate::service::Service;
use crate::table;

/// What a scrape may cost.
const COST_MAX: Duration = Duration::from_millis(5);

/// Writes an event to each of some topics.
async fn write_topics(service: &Service, from: usize, to: usize) {
    let writes = futures::stream::iter(from..to).map(async |n| {
        let status = service.write(&format!("topic-{n}"), "k", n).await;
        assert_eq!(status, Some(201), "topic {n}");
    });
    writes.buffer_unordered(64).collect::<Vec<()>>().await;
}

fn series(text: &str) -> usize {
    table::exposed(text).values().map(|metric| metric.series.len()).sum()
}

#[tokio::test]
async fn a_scrape_is_as_small_and_as_cheap_with_10_000_topics_as_with_one() {
    let service = Service::start("memory:", &["--topic-idle", "1h"]);
    write_topics(&service, 0, 1).await;
    let _first = service.metrics().await;
    let one = series(&service.metrics().await);
    write_topics(&service, 1, 10_000).await;
    let text = service.metrics().await;
    assert!(text.contains("\ntidelog_topic_actors 10000\n"), "{text}");
    assert_eq!(series(&text), one, "{text}");
    // The cheapest of many: what others do on this machine at the same time is not its cost.
    let mut cost = Duration::MAX;
    for _ in 0..200 {
        let began = Instant::now();
        service.metrics().await;
        cost = cost.min(began.elapsed());
    }
    assert!(cost < COST_MAX, "a scrape costs {cost:?}");
}
