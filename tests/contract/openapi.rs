//! The OpenAPI document against the service, both ways: what is there is in it, and what is in it is there.
//! (What goes wrong is compared with it wherever a test provokes it: `support::problem`.)

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tidelog::http::problem::ErrorCode;

use crate::document::DOCUMENT;
use crate::support::*;

/// Some that are taken, and some that are not.
const EVENTS: [&str; 18] = [
    r#"{"key":"k","data":1}"#,
    r#"{"key":"k","data":null}"#,
    r#"{"key":"k","data":{"a":[]},"type":"t","hash":"h","metadata":[1]}"#,
    r#"{"key":"k","data":1,"type":null,"hash":null,"metadata":null,"data_base64":null,"content_type":null}"#,
    r#"{"key":"k","data_base64":"AP8=","content_type":"image/png"}"#,
    r#"{"key":"k"}"#,
    r#"{"data":1}"#,
    r#"{"key":"","data":1}"#,
    r#"{"key":1,"data":1}"#,
    r#"{"key":"k","data":1,"more":1}"#,
    r#"{"key":"k","data":1,"type":""}"#,
    r#"{"key":"k","data":1,"hash":""}"#,
    r#"{"key":"k","data":1,"hash":7}"#,
    r#"{"key":"k","data_base64":"AP8="}"#,
    r#"{"key":"k","data_base64":7,"content_type":"image/png"}"#,
    r#"{"key":"k","data_base64":"AP8=","content_type":""}"#,
    r#"{"key":"k","content_type":"image/png"}"#,
    r#"[]"#,
];

on_every_backend!(
    what_the_document_takes_the_service_takes,
    every_path_has_the_methods_of_the_document,
    every_good_answer_is_as_the_document_says
);

const NDJSON: &str = "application/x-ndjson";

#[test]
fn the_document_has_the_paths_of_the_routes() {
    let routes = include_str!("../../src/http/mod.rs");
    let resources = routes.split("resource(\"").skip(1);
    let routes: BTreeSet<&str> =
        resources.map(|rest| rest.split('"').next().expect("a path")).collect();
    let mut documented: BTreeSet<&str> =
        DOCUMENT.methods().into_iter().map(|(path, _)| path).collect();
    documented.insert("/docs/{file}"); // What a page is made of is its own affair.
    assert_eq!(routes, documented);
}

/// Swagger UI does not resolve references that a path has for all of its operations.
#[test]
fn every_operation_has_the_parameters_of_its_path() {
    for (path, operations) in DOCUMENT.json["paths"].as_object().expect("paths") {
        let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let named: BTreeSet<&str> = named.collect();
        for (method, operation) in operations.as_object().expect("operations") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let parameters = parameters.map(|parameter| DOCUMENT.resolve(parameter));
            let in_path = parameters.filter(|parameter| parameter["in"] == "path");
            let names = in_path.map(|parameter| parameter["name"].as_str().expect("a name"));
            assert_eq!(names.collect::<BTreeSet<_>>(), named, "{method} {path}");
        }
    }
}

#[test]
fn the_document_has_the_errors_of_the_contract() {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
    let schemas = &DOCUMENT.json["components"]["schemas"];
    assert_eq!(schemas["ErrorCode"]["enum"], Value::from(codes));
    let answers = DOCUMENT.answers();
    for code in ErrorCode::ALL {
        let name = format!("`{}`", code.code());
        let tells =
            |response: &Value| response["description"].as_str().unwrap_or("").contains(&name);
        let statuses: BTreeSet<u16> = answers
            .iter()
            .filter(|(_, _, _, response)| tells(response))
            .map(|(_, _, status, _)| *status)
            .collect();
        // What a path does not have is no operation of the document.
        let expected = [code.status().as_u16()].into_iter().filter(|status| *status != 405);
        assert_eq!(statuses, expected.collect(), "{name}");
    }
}

#[test]
fn the_document_is_of_this_version() {
    assert_eq!(DOCUMENT.json["info"]["version"], env!("CARGO_PKG_VERSION"));
}

async fn every_path_has_the_methods_of_the_document(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (path, methods) in DOCUMENT.methods() {
        let path = path.replace("{topic}", "t").replace("{n}", "0").replace("{consumer}", "c");
        let answer = server.request(Method::PATCH, &path).send().await.expect("an answer");
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["Allow"].to_str().expect("a text");
        let allowed: BTreeSet<String> = allowed.split(", ").map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

async fn what_the_document_takes_the_service_takes(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let post = |path: &str| &DOCUMENT.json["paths"][path]["post"]["requestBody"]["content"];
    let schema = &post("/v1/topics/{topic}/events")["application/json"]["schema"];
    for event in EVENTS {
        let fault = DOCUMENT.fault(schema, &serde_json::from_str(event).expect("JSON"));
        let answer = server.json("/v1/topics/t/events", event).send().await.expect("an answer");
        let taken = answer.status().is_success();
        assert_eq!(taken, fault.is_none(), "{event}: {} {fault:?}", answer.status());
    }
}

#[test]
fn the_examples_are_as_their_schemas_say() {
    let with_examples = DOCUMENT.bodies().into_iter().filter(|body| !body["example"].is_null());
    let mut examples = 0;
    for body in with_examples {
        let values: Vec<Value> = match &body["example"] {
            Value::String(lines) => {
                lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
            }
            json => vec![json.clone()],
        };
        for value in values {
            assert_eq!(DOCUMENT.fault(&body["schema"], &value), None, "{value}");
            examples += 1;
        }
    }
    assert!(examples > 0, "the document shows nothing");
}

/// A program that sends what is taken where a parameter is absent must not be refused for it.
#[test]
fn no_parameter_has_a_default() {
    let parameters = DOCUMENT.json.to_string();
    assert!(!parameters.contains("\"default\":"), "some refuse it in some requests");
}

/// The examples of a request of the document.
fn example(path: &str, media: &str) -> String {
    match &DOCUMENT.json["paths"][path]["post"]["requestBody"]["content"][media]["example"] {
        Value::String(lines) => lines.clone(),
        json => json.to_string(),
    }
}

async fn every_good_answer_is_as_the_document_says(backend: &Backend) {
    const PATH: &str = "/v1/topics/t/events";
    const TRANSACTIONS: &str = "/v1/topics/t/transactions";
    let server = Server::start(backend.config()).await;
    let (of_events, of_transactions) =
        ("/v1/topics/{topic}/events", "/v1/topics/{topic}/transactions");
    let moved = |seq: &str| {
        let body = format!("{{\"seq\":{seq}}}");
        let consumer = server.request(Method::PUT, "/v1/topics/t/consumers/c");
        consumer.header("Content-Type", "application/json").body(body)
    };
    let lines = |path: &str| server.get(path).header("Accept", NDJSON);
    let live = |path: &str| server.get(path).header("Accept", "text/event-stream");
    let all = "{\"key\":\"bin\",\"data_base64\":\"AP8=\",\"content_type\":\"image/png\",\"type\":\"t\",\
               \"hash\":\"h\",\"metadata\":{\"m\":1}}";
    let bad = format!("{all}\n{{\"key\":\"\",\"data\":1}}\n");
    let invalidation = "/v1/topics/t/transactions/0/invalidation";
    let group = example(of_events, NDJSON);
    let numbered =
        || server.lines(PATH, &group).header("Producer-Id", "p").header("Producer-Seq", "0");
    let pair = "{\"events\":[{\"key\":\"a\",\"data\":1},{\"key\":\"b\",\"data\":null}]}";
    let keyed = || server.json(TRANSACTIONS, pair).header("Idempotency-Key", "i");
    let requests: Vec<RequestBuilder> = vec![
        server.json(PATH, &example(of_events, "application/json")),
        server.json(PATH, &example(of_events, "application/json")),
        server.lines(PATH, &group),
        server.lines(PATH, &bad),
        numbered(),
        numbered(),
        server.json(TRANSACTIONS, &example(of_transactions, "application/json")),
        server.lines(TRANSACTIONS, &example(of_transactions, NDJSON)),
        server.lines(TRANSACTIONS, &example(of_transactions, NDJSON)),
        keyed(),
        keyed(),
        server.json(invalidation, "{\"reason\":\"imported twice\"}"),
        server.json(invalidation, ""),
        server.get("/v1/topics"),
        server.get("/v1/topics?limit=1"),
        server.get("/v1/topics/t"),
        server.get(PATH),
        server.get("/v1/topics/t/events?limit=2&direction=backward"),
        lines(PATH),
        live("/v1/topics/t/events?to=3"),
        server.get("/v1/topics/t/transactions/0"),
        server.get("/v1/topics/t/transactions/1"),
        server.get("/v1/topics/t/latest?key=bin"),
        server.get("/v1/topics/t/surface"),
        lines("/v1/topics/t/surface"),
        moved("null"),
        moved("2"),
        server.get("/v1/topics/t/consumers"),
        server.get("/v1/topics/t/consumers/c"),
        server.request(Method::DELETE, "/v1/topics/t/consumers/c"),
        server.get("/"),
        server.get("/health/live"),
        server.get("/health/ready"),
        server.get("/version"),
        server.get("/openapi.json"),
        server.get("/docs"),
    ];
    let mut seen = BTreeSet::new();
    for request in requests {
        seen.insert(checked(request).await.0);
    }
    for path in ["/v1/topics", PATH, "/openapi.json", "/docs"] {
        let answer = checked(server.request(Method::HEAD, path)).await;
        assert_eq!(answer.1, "", "{path}");
    }
    for (method, path, status, response) in DOCUMENT.answers() {
        // A process has one recorder of metrics, and this service is not the process; and heads have no end.
        if status >= 300 || ["/metrics", "/v1/notifications"].contains(&path) {
            continue;
        }
        let medias = response["content"].as_object().into_iter().flat_map(|medias| medias.keys());
        let mut medias: Vec<&str> = medias.map(String::as_str).collect();
        if medias.is_empty() {
            medias.push("");
        }
        for media in medias {
            let answer = format!("{method} {path}: {status} {media}");
            assert!(seen.contains(&answer), "nothing shows {answer}");
        }
    }
    let page = checked(server.get("/docs")).await.1;
    for part in page.split("=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        if part.contains('.') && !part.contains(' ') {
            let answer = server.get(&format!("/{part}")).send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{part}");
        }
    }
}
