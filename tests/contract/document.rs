//! `docs/openapi.json`, as a judge of answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use reqwest::{Method, Response};
use serde_json::Value;

/// Where the document is, for references in it.
const BASE: &str = "http://localhost/openapi.json";

/// Headers that an answer has only where the document says so.
const TOLD: [&str; 5] =
    ["ETag", "Idempotency-Replayed", "Retry-After", "WWW-Authenticate", "Accept-Encoding"];

pub static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::read);

pub struct Document {
    pub json: Value,
    schemas: Schemas,
    /// The schemas of bodies, by their texts.
    compiled: HashMap<String, SchemaIndex>,
}

/// All bodies below here: what has a schema, and maybe an example.
fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.extend(value["content"].as_object().into_iter().flat_map(|content| content.values()));
    match value {
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        Value::Array(members) => members.iter().for_each(|member| collect(member, found)),
        _ => {}
    }
}

/// The same schema, with references that are good outside of the document.
fn absolute(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(place) if name == "$ref" => place.insert_str(0, BASE),
                    member => *member = absolute(member.take()),
                }
            }
        }
        Value::Array(members) => {
            members.iter_mut().for_each(|member| *member = absolute(member.take()));
        }
        _ => {}
    }
    schema
}

impl Document {
    fn read() -> Self {
        let text = include_str!("../../docs/openapi.json");
        let json: Value = serde_json::from_str(text).expect("JSON");
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.enable_format_assertions();
        compiler.add_resource(BASE, json.clone()).expect("a document");
        let (mut found, mut compiled) = (Vec::new(), HashMap::new());
        collect(&json, &mut found);
        for (number, schema) in found.iter().map(|body| &body["schema"]).enumerate() {
            let place = format!("http://localhost/{number}");
            compiler.add_resource(&place, absolute(schema.clone())).expect("a schema");
            let index = compiler.compile(&place, &mut schemas);
            let index = index.unwrap_or_else(|error| panic!("{schema}: {error:#}"));
            compiled.insert(schema.to_string(), index);
        }
        Self { json, schemas, compiled }
    }

    /// All bodies, of requests and of answers.
    pub fn bodies(&self) -> Vec<&Value> {
        let mut found = Vec::new();
        collect(&self.json, &mut found);
        found
    }

    fn paths(&self) -> impl Iterator<Item = (&str, &Value)> {
        let paths = self.json["paths"].as_object().expect("paths");
        paths.iter().map(|(path, methods)| (path.as_str(), methods))
    }

    /// The paths, and the methods that each has; `HEAD` goes without saying where there is `GET`.
    pub fn methods(&self) -> Vec<(&str, BTreeSet<String>)> {
        let names = |operations: &Value| -> BTreeSet<String> {
            let operations = operations.as_object().expect("operations");
            let mut methods: BTreeSet<String> =
                operations.keys().map(|name| name.to_uppercase()).collect();
            if methods.contains("GET") {
                methods.insert("HEAD".into());
            }
            methods
        };
        self.paths().map(|(path, operations)| (path, names(operations))).collect()
    }

    /// Every operation with every answer that it may have, without references: method, path, status, answer.
    pub fn answers(&self) -> Vec<(String, &str, u16, &Value)> {
        let mut answers = Vec::new();
        for (path, operations) in self.paths() {
            for (method, operation) in operations.as_object().expect("operations") {
                for (status, response) in operation["responses"].as_object().expect("answers") {
                    let status = status.parse().expect("a status");
                    answers.push((method.to_uppercase(), path, status, self.resolve(response)));
                }
            }
        }
        answers
    }

    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let place = reference.strip_prefix('#').expect("the document refers to itself");
        self.json.pointer(place).unwrap_or_else(|| panic!("{reference} is nowhere"))
    }

    /// The path of the document that a path asked for is.
    fn template(&self, path: &str) -> Option<&str> {
        let asked: Vec<&str> = path.split('/').collect();
        let fits = |template: &&str| {
            let named: Vec<&str> = template.split('/').collect();
            let same = |(asked, named): (&&str, &&str)| named.starts_with('{') || named == asked;
            asked.len() == named.len() && asked.iter().zip(&named).all(same)
        };
        self.paths().map(|(template, _)| template).find(fits)
    }

    /// Checks an answer, and says which one of the document it is: operation, status and media type.
    ///
    /// # Panics
    /// Where the document does not have it.
    pub async fn check(&self, method: &Method, answer: Response) -> (String, String) {
        let (status, path) = (answer.status().as_u16(), answer.url().path().to_owned());
        let headers = answer.headers().clone();
        let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("a text"));
        let media =
            header("Content-Type").map_or("", |media| media.split(';').next().unwrap_or(""));
        let text = answer.text().await.expect("a body");
        let here = format!("{method} {path}: {status} {media}");
        let Some(template) = self.template(&path) else {
            assert!([400, 404].contains(&status), "{here}: the document has no such path");
            return (here, text);
        };
        let operation = if method == Method::HEAD { Method::GET } else { method.clone() };
        let operations = &self.json["paths"][template];
        let operation = &operations[operation.as_str().to_lowercase()];
        if operation.is_null() {
            assert_eq!(status, 405, "{here}: the document has no such method");
            return (here, text);
        }
        let response = self.resolve(&operation["responses"][status.to_string()]);
        assert!(!response.is_null(), "{here} is not in the document: {text}");
        for name in TOLD {
            let told = self.resolve(&response["headers"][name]);
            if told["required"] == true {
                assert!(header(name).is_some(), "{here}: there is no {name}");
            }
            assert!(header(name).is_none() || told.is_object(), "{here}: nobody told of {name}");
        }
        let which = format!("{method} {template}: {status} {media}");
        let content = &response["content"];
        assert!(content.is_object() || text.is_empty(), "{here} has a body: {text}");
        if content.is_null() || method == Method::HEAD {
            return (which, text);
        }
        let schema = &content[media]["schema"];
        assert!(!schema.is_null(), "{here}: the document has no such media type");
        if media == "application/x-ndjson" {
            for line in text.lines() {
                self.validate(schema, &serde_json::from_str(line).expect("JSON"), &here);
            }
        } else if media.ends_with("json") {
            self.validate(schema, &serde_json::from_str(&text).expect("JSON"), &here);
        }
        (which, text)
    }

    /// Why a value is not as a schema of the document says.
    pub fn fault(&self, schema: &Value, value: &Value) -> Option<String> {
        let fault = self.schemas.validate(value, self.compiled[&schema.to_string()]).err();
        fault.map(|error| format!("{error:#}"))
    }

    fn validate(&self, schema: &Value, value: &Value, here: &str) {
        if let Some(fault) = self.fault(schema, value) {
            panic!("{here}: {value}\n{fault}");
        }
    }
}
