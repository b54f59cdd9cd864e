//! `docs/openapi.json`, as a judge of answers.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use boon::{Compiler, Schemas};
use reqwest::{Method, Response};
use serde_json::Value;

/// Where the document is, for references in it.
const BASE: &str = "http://localhost/openapi.json";

pub static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    Document(serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON"))
});

pub struct Document(pub Value);

impl Document {
    fn paths(&self) -> impl Iterator<Item = (&str, &Value)> {
        let paths = self.0["paths"].as_object().expect("paths");
        paths.iter().map(|(path, methods)| (path.as_str(), methods))
    }

    /// The paths, and the methods that each has; `HEAD` goes without saying where there is `GET`.
    pub fn methods(&self) -> Vec<(&str, BTreeSet<String>)> {
        let names = |operations: &Value| -> BTreeSet<String> {
            let operations = operations.as_object().expect("operations");
            let methods = operations.keys().filter(|key| *key != "parameters");
            let mut methods: BTreeSet<String> = methods.map(|name| name.to_uppercase()).collect();
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
                let Some(responses) = operation["responses"].as_object() else { continue };
                for (status, response) in responses {
                    let status = status.parse().expect("a status");
                    answers.push((method.to_uppercase(), path, status, self.resolve(response)));
                }
            }
        }
        answers
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let place = reference.strip_prefix('#').expect("the document refers to itself");
        self.0.pointer(place).unwrap_or_else(|| panic!("{reference} is nowhere"))
    }

    /// The path of the document that a path asked for is.
    fn template(&self, path: &str) -> Option<&str> {
        let fits = |template: &&str| {
            let (mut asked, mut named) = (path.split('/'), template.split('/'));
            let fits = |(asked, named): (&str, &str)| named.starts_with('{') || named == asked;
            asked.by_ref().zip(named.by_ref()).all(fits)
                && path.split('/').count() == template.split('/').count()
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
        let operations = &self.0["paths"][template];
        let operation = &operations[operation.as_str().to_lowercase()];
        if operation.is_null() {
            assert_eq!(status, 405, "{here}: the document has no such method");
            return (here, text);
        }
        let response = self.resolve(&operation["responses"][status.to_string()]);
        assert!(!response.is_null(), "{here} is not in the document: {text}");
        for (name, about) in response["headers"].as_object().into_iter().flatten() {
            if self.resolve(about)["required"] == true {
                assert!(header(name).is_some(), "{here}: there is no {name}");
            }
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

    fn validate(&self, schema: &Value, value: &Value, here: &str) {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(BASE, self.0.clone()).expect("a document");
        // A schema of its own, so that it need not be looked for in the document.
        let mut schema = schema.clone();
        if let Some(reference) = schema["$ref"].as_str() {
            schema["$ref"] = format!("{BASE}{reference}").into();
        }
        compiler.add_resource("http://localhost/schema", schema).expect("a schema");
        let mut schemas = Schemas::new();
        let compiled = compiler.compile("http://localhost/schema", &mut schemas);
        let compiled = compiled.unwrap_or_else(|error| panic!("{here}: {error:#}"));
        if let Err(error) = schemas.validate(value, compiled) {
            panic!("{here}: {value}\n{error:#}");
        }
    }
}
