//! The interface described, for programs and for people: `/openapi.json`, and `/docs`, where it can be
//! read and tried (Swagger UI, from this binary: nothing comes from anywhere else). None of it needs a
//! token, because it says nothing about what is stored.
//!
//! Not here: whether the document is true, which `tests/contract/openapi.rs` finds out.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Path;
use utoipa_swagger_ui::{Config, serve};

use super::problem::{ErrorCode, Problem};

const DOCUMENT: &str = include_str!("../../docs/openapi.json");
const PAGE: &str = include_str!("reference.html");
const START: &str = include_str!("reference.js");

/// What the page takes of Swagger UI, which has more.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// What the page may load and whom it may ask: this service.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `GET /openapi.json`
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

/// `GET /docs`
pub(super) async fn page() -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Content-Security-Policy", POLICY));
    answer.content_type("text/html; charset=utf-8").body(PAGE)
}

/// `GET /docs/{file}`: what the page is made of.
pub(super) async fn file(name: Path<String>) -> Result<HttpResponse, Problem> {
    if *name == "start.js" {
        return Ok(HttpResponse::Ok().content_type("text/javascript").body(START));
    }
    if !FILES.contains(&name.as_str()) {
        return super::nowhere().await;
    }
    match serve(&name, Arc::new(Config::default())) {
        Ok(Some(file)) => {
            Ok(HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned()))
        }
        _ => Err(Problem::new(ErrorCode::Internal, "a part of the page is missing")),
    }
}
