//! Consumers with a name: what is kept of them, who may move them and on what condition, and
//! reading from where they are.

use futures::future::join_all;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidelog::config::{Access, Token, TopicPattern};

use crate::feed::Feed;
use crate::support::*;

const BILLING: &str = "/v1/topics/t/consumers/billing";
const EVENTS: &str = "/v1/topics/t/events";

on_every_backend!(
    a_position_is_kept_and_shown_with_its_lag,
    conditions_are_on_the_revision,
    of_two_who_share_a_name_one_wins,
    positions_that_cannot_be_are_refused,
    what_is_not_there_is_told_as_such,
    requests_that_promise_more_than_is_kept_are_refused,
    consumers_are_listed_page_by_page,
    a_read_goes_on_behind_the_position_and_moves_nothing,
    live_reads_go_on_behind_the_position,
    what_consumer_does_not_go_with,
    who_may_read_may_move_and_nobody_else,
    a_service_that_only_reads_moves_nobody,
    a_restart_keeps_positions,
);

/// A service with a topic `t` of so many events.
async fn service(backend: &Backend, events: usize) -> Server {
    let server = Server::start(backend.config()).await;
    for n in 0..events {
        server.write("t", &format!("k{n}"), &n.to_string()).await;
    }
    server
}

fn put(server: &Server, path: &str, seq: impl Into<Value>) -> RequestBuilder {
    let body = json!({"seq": seq.into()}).to_string();
    let request = server.request(Method::PUT, path).header("Content-Type", "application/json");
    request.body(body)
}

fn delete(server: &Server, path: &str) -> RequestBuilder {
    server.request(Method::DELETE, path)
}

fn etag(answer: &Response) -> String {
    answer.headers()["etag"].to_str().expect("ASCII").to_owned()
}

/// Sends a request that is done: its status, entity tag and body.
async fn done(request: RequestBuilder) -> (u16, String, Value) {
    let answer = request.send().await.expect("an answer");
    let (status, tag) = (answer.status().as_u16(), etag(&answer));
    (status, tag, answer.json().await.expect("JSON"))
}

fn seqs(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

async fn a_position_is_kept_and_shown_with_its_lag(backend: &Backend) {
    let server = service(backend, 5).await;
    let (status, tag, made) = done(put(&server, BILLING, 1)).await;
    assert_eq!(status, 201);
    assert_eq!((&made["topic"], &made["consumer"]), (&json!("t"), &json!("billing")));
    assert_eq!((&made["seq"], &made["head"]["seq"]), (&json!(1), &json!(4)));
    assert_eq!(made["lag"]["events"], 3);
    assert_eq!(tag, format!("\"{}\"", made["revision"]));
    let events = server.read(EVENTS).await;
    assert_eq!(made["lag"]["since"], events["events"][2]["recorded_at"]);
    let waited = made["lag"]["seconds"].as_f64().expect("a number");
    assert!((0.0..600.0).contains(&waited), "{made}");

    let (status, same, read) = done(server.get(BILLING)).await;
    assert_eq!((status, &same), (200, &tag));
    let later = read["lag"]["seconds"].as_f64().expect("a number");
    assert!(later >= waited, "{read}");
    let head = server.request(Method::HEAD, BILLING).send().await.expect("an answer");
    assert_eq!((head.status().as_u16(), etag(&head)), (200, tag.clone()));

    let (status, moved, there) = done(put(&server, BILLING, 4)).await;
    assert_eq!(status, 200);
    assert_ne!(moved, tag);
    assert_eq!(there["lag"], json!({"events": 0, "seconds": 0.0}));
    assert!(there["updated_at"].as_str() >= made["updated_at"].as_str());
    // The same again is another move: who expects the one before must not win.
    assert_ne!(done(put(&server, BILLING, 4)).await.1, moved);
    // Back, to read again; and before the first.
    assert_eq!(done(put(&server, BILLING, 0)).await.2["lag"]["events"], 4);
    let (_, _, begin) = done(put(&server, BILLING, Value::Null)).await;
    assert_eq!((&begin["seq"], &begin["lag"]["events"]), (&Value::Null, &json!(5)));
    assert_eq!(begin["lag"]["since"], events["events"][0]["recorded_at"]);

    let gone = delete(&server, BILLING).send().await.expect("an answer");
    assert_eq!(gone.status(), 204);
    problem(server.get(BILLING), expect(404, "consumer-not-found")).await;
    assert_eq!(server.read("/v1/topics/t").await["events"], 5, "events are not touched");
}

async fn conditions_are_on_the_revision(backend: &Backend) {
    let server = service(backend, 5).await;
    let fails = || expect(412, "precondition-failed");
    problem(put(&server, BILLING, 1).header("If-Match", "\"1\""), fails()).await;
    let (status, first, _) = done(put(&server, BILLING, 1).header("If-None-Match", "*")).await;
    assert_eq!(status, 201);
    problem(put(&server, BILLING, 2).header("If-None-Match", "*"), fails()).await;
    let (status, second, _) = done(put(&server, BILLING, 2).header("If-Match", &first)).await;
    assert_eq!(status, 200);
    let told = problem(put(&server, BILLING, 3).header("If-Match", &first), fails()).await;
    assert_eq!(told["head"]["seq"], 4, "{told}");
    problem(delete(&server, BILLING).header("If-Match", &first), fails()).await;
    assert_eq!(done(server.get(BILLING)).await.1, second, "nothing was moved");

    // Moved on and back again: the seq is the old one, the revision is not.
    done(put(&server, BILLING, 1)).await;
    problem(put(&server, BILLING, 3).header("If-Match", &first), fails()).await;
    // Forgotten and made anew: neither.
    let (_, third, _) = done(server.get(BILLING)).await;
    let gone = delete(&server, BILLING).header("If-Match", &third).send().await;
    assert_eq!(gone.expect("an answer").status(), 204);
    done(put(&server, BILLING, 1)).await;
    for tag in [&first, &second, &third] {
        problem(put(&server, BILLING, 3).header("If-Match", tag), fails()).await;
        problem(delete(&server, BILLING).header("If-Match", tag), fails()).await;
    }
    delete(&server, BILLING).send().await.expect("an answer");
    problem(delete(&server, BILLING).header("If-Match", third), fails()).await;
}

async fn of_two_who_share_a_name_one_wins(backend: &Backend) {
    let server = service(backend, 9).await;
    let (_, mut tag, _) = done(put(&server, BILLING, Value::Null)).await;
    for round in 0..9 {
        // Both have handled the same event.
        let race = (0..2).map(|_| put(&server, BILLING, round).header("If-Match", &tag).send());
        let answers: Vec<Response> =
            join_all(race).await.into_iter().map(|answer| answer.expect("an answer")).collect();
        let mut statuses: Vec<u16> = answers.iter().map(|a| a.status().as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "round {round}");
        let winner = answers.iter().find(|answer| answer.status() == 200).expect("one");
        tag = etag(winner);
    }
    let race = (0..8)
        .map(|_| put(&server, "/v1/topics/t/consumers/new", 1).header("If-None-Match", "*").send());
    let made = join_all(race).await.into_iter().map(|answer| answer.expect("an answer").status());
    assert_eq!(made.filter(|status| *status == 201).count(), 1);
}

async fn positions_that_cannot_be_are_refused(backend: &Backend) {
    let server = service(backend, 3).await;
    for beyond in [3, (1_u64 << 53) - 1, 1 << 53, u64::MAX] {
        let told = problem(put(&server, BILLING, beyond), expect(422, "invalid")).await;
        assert_eq!(told["pointer"], "/seq");
    }
    let send = |body: &str| {
        let request = server.request(Method::PUT, BILLING);
        request.header("Content-Type", "application/json").body(body.to_owned())
    };
    for (body, pointer) in [
        ("{}", "/seq"),
        ("{\"seq\":-1}", "/seq"),
        ("{\"seq\":\"1\"}", "/seq"),
        ("{\"seq\":1,\"revision\":1}", "/revision"),
        ("1", ""),
    ] {
        let told = problem(send(body), expect(422, "invalid")).await;
        assert_eq!(told["pointer"], pointer, "{body}");
        assert!(!told["detail"].to_string().contains("u64"), "{told}");
    }
    for body in ["", "{", "{\"seq\":1}{}"] {
        problem(send(body), expect(400, "malformed")).await;
    }
    let text = send("{\"seq\":1}").header("Content-Type", "text/plain");
    problem(text, expect(400, "malformed")).await;
    let lines = server.request(Method::PUT, BILLING).body("{\"seq\":1}");
    let lines = lines.header("Content-Type", "application/x-ndjson");
    problem(lines, expect(415, "unsupported-media-type")).await;
    let page = server.get(BILLING).header("Accept", "text/html");
    problem(page, expect(406, "not-acceptable")).await;
    problem(server.get(BILLING), expect(404, "consumer-not-found")).await;
}

async fn what_is_not_there_is_told_as_such(backend: &Backend) {
    let server = service(backend, 1).await;
    problem(delete(&server, BILLING), expect(404, "consumer-not-found")).await;
    let nowhere = "/v1/topics/none/consumers/billing";
    for request in [
        server.get(nowhere),
        server.get("/v1/topics/none/consumers"),
        put(&server, nowhere, Value::Null),
        put(&server, nowhere, 0),
        delete(&server, nowhere),
        delete(&server, nowhere).header("If-Match", "\"1\""),
        server.get("/v1/topics/none/events?consumer=billing"),
        server.get("/v1/topics/none/events?consumer=billing&follow=true"),
    ] {
        problem(request, expect(404, "topic-not-found")).await;
    }
    let read = server.get(&format!("{EVENTS}?consumer=billing"));
    problem(read, expect(404, "consumer-not-found")).await;
    let long = "x".repeat(201);
    for name in [".a", "a%2Fb", "a%20b", "%00", "%C3%A9", &long] {
        let path = format!("/v1/topics/t/consumers/{name}");
        for request in [server.get(&path), put(&server, &path, 0), delete(&server, &path)] {
            problem(request, expect(400, "malformed")).await;
        }
        let read = server.get(&format!("{EVENTS}?consumer={name}"));
        problem(read, expect(400, "malformed")).await;
    }
    let longest = format!("/v1/topics/t/consumers/{}", "x".repeat(200));
    assert_eq!(done(put(&server, &longest, 0)).await.0, 201);
    problem(server.json(BILLING, "{}"), expect(405, "method-not-allowed")).await;
    let list = server.json("/v1/topics/t/consumers", "{}");
    problem(list, expect(405, "method-not-allowed")).await;
}

async fn requests_that_promise_more_than_is_kept_are_refused(backend: &Backend) {
    let server = service(backend, 1).await;
    for (name, value) in [
        ("Idempotency-Key", "k"),
        ("Producer-Id", "p"),
        ("If-Match", "1"),
        ("If-Match", "*"),
        ("If-Match", "W/\"1\""),
        ("If-None-Match", "\"1\""),
    ] {
        for request in [put(&server, BILLING, 0), delete(&server, BILLING)] {
            problem(request.header(name, value), expect(400, "malformed")).await;
        }
    }
    let both = put(&server, BILLING, 0).header("If-Match", "\"1\"").header("If-None-Match", "*");
    problem(both, expect(400, "malformed")).await;
    let none = delete(&server, BILLING).header("If-None-Match", "*");
    problem(none, expect(400, "malformed")).await;
    let more = format!("{BILLING}?force=true");
    for request in [server.get(&more), put(&server, &more, 0), delete(&server, &more)] {
        problem(request, expect(400, "malformed")).await;
    }
    problem(server.get(BILLING), expect(404, "consumer-not-found")).await;
}

async fn consumers_are_listed_page_by_page(backend: &Backend) {
    let server = service(backend, 4).await;
    server.write("u", "k", "1").await;
    let mut names = ["b", "a", "a-1", "A", "a~", "ab"];
    for (n, name) in names.into_iter().enumerate() {
        let path = format!("/v1/topics/t/consumers/{name}");
        assert_eq!(done(put(&server, &path, n as u64 % 4)).await.0, 201);
    }
    names.sort_unstable();
    let list = "/v1/topics/t/consumers";
    let all = server.read(list).await;
    assert_eq!(all["next"], Value::Null);
    for consumer in all["consumers"].as_array().expect("consumers") {
        let name = consumer["consumer"].as_str().expect("a name");
        let mut one = server.read(&format!("{list}/{name}")).await;
        one["lag"]["seconds"] = consumer["lag"]["seconds"].clone();
        assert_eq!(one, *consumer, "the same as alone");
    }
    for limit in 1..=7 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = server.read(&format!("{list}?limit={limit}{after}")).await;
            let consumers = page["consumers"].as_array().expect("consumers");
            assert!(consumers.len() <= limit);
            found.extend(consumers.iter().map(|one| one["consumer"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(consumers.len(), limit, "pages are full");
            after = format!("&after={next}");
        }
        assert_eq!(found, names, "{limit}");
    }
    let some = server.read(&format!("{list}?prefix=a&after=a&limit=2")).await;
    let some = some["consumers"].as_array().expect("consumers");
    assert_eq!(some.iter().map(|one| &one["consumer"]).collect::<Vec<_>>(), ["a-1", "ab"]);
    assert_eq!(server.read("/v1/topics/u/consumers").await["consumers"], json!([]));
    for query in ["limit=0", "limit=10001", "x=1", "from=1"] {
        problem(server.get(&format!("{list}?{query}")), expect(400, "malformed")).await;
    }
}

async fn a_read_goes_on_behind_the_position_and_moves_nothing(backend: &Backend) {
    let server = service(backend, 6).await;
    let (_, tag, _) = done(put(&server, BILLING, Value::Null)).await;
    let page = format!("{EVENTS}?consumer=billing");
    assert_eq!(seqs(&server.read(&page).await), [0, 1, 2, 3, 4, 5], "nothing is handled yet");
    assert_eq!(done(server.get(BILLING)).await.1, tag, "a read moves nothing");
    done(put(&server, BILLING, 3)).await;
    assert_eq!(seqs(&server.read(&page).await), [4, 5]);
    assert_eq!(seqs(&server.read(&format!("{page}&limit=1")).await), [4]);
    assert_eq!(seqs(&server.read(&format!("{page}&to=4")).await), [4]);
    assert_eq!(seqs(&server.read(&format!("{page}&key=k5")).await), [5]);
    assert_eq!(seqs(&server.read(&format!("{page}&key=k2")).await), [0_u64; 0]);
    let lines = server.read_lines(&page).await;
    assert_eq!(lines.iter().map(|line| &line["seq"]).collect::<Vec<_>>(), [4, 5]);
    done(put(&server, BILLING, 5)).await;
    assert_eq!(seqs(&server.read(&page).await), [0_u64; 0]);
    // Waits for what comes behind the position, and handles it.
    let waiting = server.get(&format!("{page}&wait=60")).send();
    let (answer, _) = futures::join!(waiting, server.write("t", "k6", "6"));
    let got: Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(seqs(&got), [6]);
}

async fn live_reads_go_on_behind_the_position(backend: &Backend) {
    let server = service(backend, 6).await;
    done(put(&server, BILLING, 3)).await;
    let live = format!("{EVENTS}?consumer=billing");
    let mut messages = Feed::messages(server.get(&live)).await;
    let mut lines = Feed::lines(server.get(&format!("{live}&follow=true"))).await;
    messages.events(4, 2).await;
    for n in 6..40_u64 {
        server.write("t", &format!("k{n}"), &n.to_string()).await;
        // Moving is for the next one who begins: these two are where they are.
        done(put(&server, BILLING, n)).await;
    }
    messages.events(6, 34).await;
    for seq in 4..40 {
        assert_eq!(lines.line().await.expect("it goes on")["seq"], seq);
    }
    // Who resumes goes on behind what he has, wherever the consumer is.
    let resumed = server.get(&live).header("Last-Event-ID", "36");
    Feed::messages(resumed).await.events(37, 3).await;
    // Then it need not even be there.
    assert_eq!(delete(&server, BILLING).send().await.expect("an answer").status(), 204);
    let resumed = server.get(&live).header("Last-Event-ID", "38");
    Feed::messages(resumed).await.events(39, 1).await;
    let begins = server.get(&live).header("Accept", "text/event-stream");
    problem(begins, expect(404, "consumer-not-found")).await;
}

async fn what_consumer_does_not_go_with(backend: &Backend) {
    let server = service(backend, 2).await;
    done(put(&server, BILLING, 0)).await;
    for more in ["from=0", "from=1", "direction=backward", "consumer=other"] {
        let path = format!("{EVENTS}?consumer=billing&{more}");
        problem(server.get(&path), expect(400, "malformed")).await;
    }
    for path in ["/v1/topics/t/surface", "/v1/topics/t", "/v1/topics/t/transactions/0"] {
        let path = format!("{path}?consumer=billing");
        problem(server.get(&path), expect(400, "malformed")).await;
    }
    let forward = format!("{EVENTS}?consumer=billing&direction=forward");
    assert_eq!(seqs(&server.read(&forward).await), [1]);
}

async fn who_may_read_may_move_and_nobody_else(backend: &Backend) {
    let token = |name: &str, topic: &str, access| Token {
        name: name.into(),
        sha256: Sha256::digest(name).into(),
        topics: vec![TopicPattern::Prefix(topic.into())],
        access,
    };
    let tokens = vec![
        token("writer", "", Access::Write),
        token("reader", "t", Access::Read),
        token("other", "u", Access::Write),
    ];
    let server = Server::start(Config { tokens, ..backend.config() }).await;
    for _ in 0..2 {
        let write = server.json(EVENTS, r#"{"key":"k","data":1}"#).bearer_auth("writer");
        assert!(write.send().await.expect("an answer").status().is_success());
    }
    let requests = || {
        [
            put(&server, BILLING, 0),
            server.get(BILLING),
            server.get("/v1/topics/t/consumers"),
            server.get(&format!("{EVENTS}?consumer=billing")),
            delete(&server, BILLING),
        ]
    };
    for request in requests() {
        problem(request, expect(401, "unauthenticated")).await;
    }
    for request in requests() {
        problem(request.bearer_auth("other"), expect(403, "forbidden")).await;
    }
    for who in ["reader", "writer"] {
        for request in requests() {
            let answer = request.bearer_auth(who).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{who}: {}", answer.status());
        }
    }
    let write = server.json(EVENTS, r#"{"key":"k","data":2}"#).bearer_auth("reader");
    problem(write, expect(403, "forbidden")).await;
}

async fn a_service_that_only_reads_moves_nobody(backend: &Backend) {
    if backend.url == "memory:" {
        return; // Nothing outlives the service that writes.
    }
    let server = service(backend, 2).await;
    let (_, tag, _) = done(put(&server, BILLING, 0)).await;
    drop(server);
    let server = Server::start(Config { read_only: true, ..backend.config() }).await;
    problem(put(&server, BILLING, 1), expect(503, "read-only")).await;
    problem(delete(&server, BILLING), expect(503, "read-only")).await;
    assert_eq!(done(server.get(BILLING)).await.1, tag);
    assert_eq!(seqs(&server.read(&format!("{EVENTS}?consumer=billing")).await), [1]);
}

async fn a_restart_keeps_positions(backend: &Backend) {
    if backend.url == "memory:" {
        return; // Everything of it is gone with the process.
    }
    let server = service(backend, 4).await;
    let (_, tag, before) = done(put(&server, BILLING, 2)).await;
    drop(server);
    let server = Server::start(backend.config()).await;
    let (_, same, after) = done(server.get(BILLING)).await;
    assert_eq!((&same, &after["seq"]), (&tag, &before["seq"]));
    assert_eq!(after["updated_at"], before["updated_at"]);
    assert_eq!(seqs(&server.read(&format!("{EVENTS}?consumer=billing")).await), [3]);
    let (status, ..) = done(put(&server, BILLING, 3).header("If-Match", same)).await;
    assert_eq!(status, 200, "conditions go on over a restart");
}
