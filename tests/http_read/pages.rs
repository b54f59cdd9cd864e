//! Pages of a topic and of a key's history: everything exactly once, no transaction in pieces, and
//! no more fetched at once than is needed.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::make::{content, write};
use crate::model::{self, commands, nasty_keys};
use crate::server::{Server, query};

fn events(page: &Value) -> &Vec<Value> {
    page["events"].as_array().expect("events")
}

/// Pages through `path` until there is no more; each page's events.
async fn pages(server: &Server, path: &str, forward: bool) -> Vec<Vec<Value>> {
    let mut found = Vec::new();
    let mut end = String::new();
    loop {
        let page = server.read(&format!("{path}{end}")).await;
        found.push(events(&page).clone());
        match page["next"].as_u64() {
            Some(next) => end = format!("&{}={next}", if forward { "from" } else { "to" }),
            None => return found,
        }
        assert!(!events(&page).is_empty(), "a page with a next page has events: {path}{end}");
    }
}

/// What `pages` should find: as many events as wanted, and then those that close the transaction.
fn expected(log: &[Value], limit: usize, forward: bool) -> Vec<Vec<Value>> {
    let ordered: Vec<&Value> =
        if forward { log.iter().collect() } else { log.iter().rev().collect() };
    let mut pages: Vec<Vec<Value>> = vec![Vec::new()];
    for event in ordered {
        let page = pages.last_mut().expect("there is one");
        let same = page.last().is_some_and(|last| last["transaction"] == event["transaction"]);
        if page.len() >= limit && !same {
            pages.push(vec![event.clone()]);
        } else {
            page.push(event.clone());
        }
    }
    pages
}

#[tokio::test]
async fn paging_gives_everything_once_and_whole_transactions_with_every_limit_both_ways() {
    for seed in 0..4 {
        let random = &mut SmallRng::seed_from_u64(seed);
        let server = Server::start().await;
        let commands = commands(random, 14, &nasty_keys());
        let book = server.seed("t", commands).await;
        let log = model::log(&book);
        for limit in 1..=log.len() + 1 {
            for (direction, forward) in [("forward", true), ("backward", false)] {
                let path = format!("/v1/topics/t/events?limit={limit}&direction={direction}");
                let found = pages(&server, &path, forward).await;
                assert_eq!(found, expected(&log, limit, forward), "seed {seed}: {path}");
            }
        }
    }
}

#[tokio::test]
async fn from_and_to_cut_where_the_client_says_even_inside_a_transaction() {
    let random = &mut SmallRng::seed_from_u64(9);
    let server = Server::start().await;
    let book = server.seed("t", commands(random, 12, &nasty_keys())).await;
    let log = model::log(&book);
    for _ in 0..200 {
        let (from, to) =
            (random.random_range(0..log.len()), random.random_range(0..=log.len() + 2));
        let limit = random.random_range(1..=log.len());
        let stretch = &log[from..(to + 1).clamp(from, log.len())];
        let path = format!("/v1/topics/t/events?limit={limit}");
        // The bound that paging moves is given by the first request alone.
        let first = server.read(&format!("{path}&from={from}&to={to}")).await;
        assert_eq!(events(&first), &expected(stretch, limit, true)[0], "{from} to {to}");
        let forward = expected(stretch, limit, true);
        let next = forward.get(1).map(|page| page[0]["seq"].clone()).unwrap_or_default();
        assert_eq!((&first["next"], &first["head"]), (&next, &model::head(&book)));
        let path = format!("{path}&direction=backward&from={from}");
        let first = server.read(&format!("{path}&to={to}")).await;
        let backward = expected(stretch, limit, false);
        assert_eq!(events(&first), &backward[0], "{to} down to {from}");
        let next = backward.get(1).map(|page| page[0]["seq"].clone()).unwrap_or_default();
        assert_eq!(first["next"], next, "{to} down to {from} by {limit}");
    }
}

#[tokio::test]
async fn histories_of_nasty_keys_page_through_exactly_once() {
    let random = &mut SmallRng::seed_from_u64(3);
    let server = Server::start().await;
    let keys = nasty_keys();
    let book = server.seed("t", commands(random, 60, &keys)).await;
    let log = model::log(&book);
    for key in &keys {
        let mut own: Vec<Value> = log.iter().filter(|e| e["key"] == **key).cloned().collect();
        for (direction, forward) in [("forward", true), ("backward", false)] {
            for limit in ["1", "3", "1000"] {
                let parameters = [("key", &**key), ("limit", limit), ("direction", direction)];
                let path = format!("/v1/topics/t/events?{}", query(&parameters));
                let found = pages(&server, &path, forward).await;
                let most: usize = limit.parse().expect("a number");
                assert!(found.iter().all(|page| page.len() <= most), "{path}");
                assert_eq!(found.concat(), own, "{path}");
            }
            own.reverse();
        }
    }
}

#[tokio::test]
async fn a_page_is_this_text_exactly() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "{ \"a\" : 1.0 }")])]).await;
    assert_eq!(
        server.text("/v1/topics/t/events").await,
        r#"{"events":[{"seq":0,"transaction":0,"last":true,"key":"k","hash":"8104cee54b42a685a2f0243d7ec560c5de846df62fa8d1b1b0a379522e835f81","data":{ "a" : 1.0 },"recorded_at":"2027-01-15T08:00:00.123457Z"}],"next":null,"head":{"seq":0,"transaction":0}}"#
    );
}

#[tokio::test]
async fn beyond_the_head_there_is_nothing_and_the_head_says_so() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "1")])]).await;
    let nothing = json!({"events": [], "next": null, "head": {"seq": 0, "transaction": 0}});
    for query in ["from=1", "from=9007199254740991", "from=1&direction=backward", "from=1&to=0"] {
        assert_eq!(server.read(&format!("/v1/topics/t/events?{query}")).await, nothing, "{query}");
    }
}

#[tokio::test]
async fn closing_a_large_transaction_takes_few_fetches() {
    let server = Server::start().await;
    let large = (0..5000).map(|n| content(&format!("k{n}"), "1"));
    server.seed("t", [write([content("a", "1")]), write(large), write([content("b", "1")])]).await;
    for query in ["from=1&limit=1", "to=5000&limit=1&direction=backward"] {
        server.watched.fetched();
        let page = server.read(&format!("/v1/topics/t/events?{query}")).await;
        assert_eq!(events(&page).len(), 5000, "{query}");
        let fetched = server.watched.fetched();
        assert!(fetched.fetches <= 12, "{query}: {fetched:?}");
    }
}

#[tokio::test]
async fn small_pages_fetch_little_and_only_once() {
    let server = Server::start().await;
    server.seed("t", (0..100).map(|n| write([content(&format!("k{n}"), "1")]))).await;
    for limit in [1, 5, 15] {
        server.watched.fetched();
        let page = server.read(&format!("/v1/topics/t/events?limit={limit}")).await;
        assert_eq!(page["next"], limit);
        let fetched = server.watched.fetched();
        assert!(fetched.fetches == 1 && fetched.events <= limit + 1, "{limit}: {fetched:?}");
    }
}

#[tokio::test]
async fn a_page_of_large_events_is_bounded_in_bytes_and_in_what_is_fetched_at_once() {
    const MIB: usize = 1 << 20;
    let server = Server::start().await;
    let data = |n: usize| format!("\"{n:05}{}\"", "x".repeat(MIB));
    server.seed("t", (0..40).map(|n| write([content("k", &data(n))]))).await;
    server.watched.fetched();
    let mut from = 0;
    loop {
        let text = server.text(&format!("/v1/topics/t/events?from={from}")).await;
        assert!(text.len() < 10 * MIB, "{} bytes", text.len());
        let fetched = server.watched.fetched();
        assert!(fetched.largest < 6 * MIB, "{fetched:?}");
        let page: Value = serde_json::from_str(&text).expect("JSON");
        let seqs: Vec<_> = events(&page).iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (from..from + seqs.len() as u64).collect::<Vec<_>>());
        from += seqs.len() as u64;
        if page["next"].is_null() {
            break;
        }
        assert_eq!(page["next"], from);
    }
    assert_eq!(from, 40);
}
