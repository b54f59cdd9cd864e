//! A service that breaks one promise: it passes requests on to a real one, and tampers with the
//! answers. It holds a whole request and a whole answer, so it is for short streams only.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};

/// What is wrong with the answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// Two acks of a stream change places.
    AcksSwapped,
    /// Two acks of a stream are in place, and have each other's versions.
    SeqsSwapped,
    /// The second ack of a stream is left out.
    AnAckIsMissing,
    /// No ack says that its event was there already.
    NothingIsADuplicate,
    /// Duplicates have the version that follows the one they have.
    DuplicatesAreElsewhere,
    /// The third event of a page is left out.
    APageHasAGap,
    /// No event closes its transaction.
    TransactionsNeverEnd,
    /// The first event of a surface has an earlier version.
    TheSurfaceIsOld,
    /// The first event of a surface is left out.
    TheSurfaceLacksAKey,
    /// Reading the newest event of a key is refused.
    Overloaded,
}

/// Starts to pass requests on, on a port of its own, as long as the system runs. Answers its URL.
pub async fn lying(lie: Lie, to: String) -> String {
    let (to, client): (Arc<str>, _) = (to.into(), crate::plain::client());
    let server = HttpServer::new(move || {
        let (to, client) = (Arc::clone(&to), client.clone());
        App::new().app_data(web::PayloadConfig::new(1 << 20)).default_service(web::to(
            move |request: HttpRequest, body: Bytes| {
                let (to, client) = (Arc::clone(&to), client.clone());
                async move { pass_on(&client, &to, lie, &request, body).await }
            },
        ))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    url
}

async fn pass_on(
    client: &reqwest::Client,
    to: &str,
    lie: Lie,
    request: &HttpRequest,
    body: Bytes,
) -> HttpResponse {
    if lie == Lie::Overloaded && request.path().ends_with("/latest") {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let method = request.method().as_str().parse().expect("a method");
    let mut passed = client.request(method, format!("{to}{}", request.uri())).body(body);
    for (name, value) in request.headers() {
        if !matches!(name.as_str(), "host" | "content-length" | "connection") {
            passed = passed.header(name.as_str(), value.as_bytes());
        }
    }
    let answer = passed.send().await.expect("the service answers");
    let status = StatusCode::from_u16(answer.status().as_u16()).expect("a status");
    let mut response = HttpResponse::build(status);
    for name in ["content-type", "idempotency-replayed"] {
        if let Some(value) = answer.headers().get(name) {
            response.insert_header((name, value.as_bytes()));
        }
    }
    let text = answer.text().await.expect("a body");
    response.body(if status.is_success() { told(lie, request, text) } else { text })
}

/// The body of an answer, after the lie. Every JSON answer is lines, most are a single one.
fn told(lie: Lie, request: &HttpRequest, text: String) -> String {
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let Ok(mut lines) = lines else { return text };
    let before = lines.clone();
    let path = request.path();
    if request.method() == "POST" {
        lie_about_writes(lie, &mut lines);
    } else if path.ends_with("/events") && lines.len() == 1 {
        lie_about_a_page(lie, &mut lines[0]["events"]);
    } else if path.ends_with("/surface") {
        lie_about_a_surface(lie, &mut lines[0]["events"]);
    }
    // What was not touched stays as it was, to the byte.
    if lines == before {
        return text;
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn lie_about_writes(lie: Lie, acks: &mut Vec<Value>) {
    let stream = acks.len() > 3;
    match lie {
        Lie::AcksSwapped if stream => acks.swap(0, 1),
        Lie::SeqsSwapped if stream => {
            acks.swap(0, 1);
            for (ack, line) in acks.iter_mut().zip(1..=2) {
                ack["line"] = json!(line);
            }
        }
        Lie::AnAckIsMissing if stream => drop(acks.remove(1)),
        Lie::NothingIsADuplicate | Lie::DuplicatesAreElsewhere => {
            for ack in acks.iter_mut().filter(|ack| ack["duplicate"] == true) {
                if lie == Lie::NothingIsADuplicate {
                    ack["duplicate"] = json!(false);
                } else {
                    add(&mut ack["seq"], 1);
                }
            }
        }
        _ => {}
    }
}

fn lie_about_a_page(lie: Lie, events: &mut Value) {
    let events = events.as_array_mut().expect("a page has events");
    if lie == Lie::APageHasAGap && events.len() > 3 {
        events.remove(2);
    } else if lie == Lie::TransactionsNeverEnd {
        events.iter_mut().for_each(|event| event["last"] = json!(false));
    }
}

fn lie_about_a_surface(lie: Lie, events: &mut Value) {
    let events = events.as_array_mut().expect("a surface has events");
    if lie == Lie::TheSurfaceIsOld {
        add(&mut events[0]["seq"], -1);
    } else if lie == Lie::TheSurfaceLacksAKey {
        events.remove(0);
    }
}

fn add(number: &mut Value, more: i64) {
    *number = json!(number.as_i64().expect("a number") + more);
}
