//! For those who run the service: metrics, health, version. None of it needs a token but the
//! metrics, where there are tokens at all.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use super::app::App;
use super::auth::Caller;
use super::failure::lost;
use super::problem::{ErrorCode, Problem};
use crate::metrics::{http_active, store_up};

/// How long the store may take to say that it is there.
const PING: Duration = Duration::from_secs(2);

/// `GET /`: for those who open the address in a browser, or forgot the path.
pub(super) async fn root() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "topics": "/v1/topics",
        "ready": "/health/ready",
        "metrics": "/metrics",
        "version": "/version",
        "openapi": "/openapi.json",
        "docs": "/docs",
    }))
}

/// `GET /metrics`
pub(super) async fn metrics(caller: Caller) -> Result<HttpResponse, Problem> {
    let Some(handle) = caller.app.metrics.clone() else {
        return Err(Problem::new(ErrorCode::NotFound, "this process records no metrics"));
    };
    http_active(caller.app.requests.len());
    let text = web::block(move || {
        metrics_process::Collector::default().collect();
        handle.render()
    });
    let mut text = text.await.map_err(|_| Problem::new(ErrorCode::Internal, "no metrics"))?;
    caller.app.lags.put(&mut text, &caller);
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

/// `GET /health/live`
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

/// `GET /health/ready`
pub(super) async fn ready(app: Data<App>) -> Result<HttpResponse, Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::new(ErrorCode::ShuttingDown, "the service is shutting down"));
    }
    let ping = tokio::time::timeout(PING, app.reader.ping()).await;
    store_up(matches!(ping, Ok(Ok(()))));
    match ping {
        Ok(Ok(())) => Ok(HttpResponse::Ok().json(json!({"status": "ready"}))),
        Ok(Err(error)) => Err(Problem::new(ErrorCode::Unavailable, lost(&error))),
        Err(_) => Err(Problem::new(ErrorCode::Unavailable, "the store does not answer in time")),
    }
}

/// `GET /version`
pub(super) async fn version() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "rust": env!("CARGO_PKG_RUST_VERSION"),
        "api": "v1",
    }))
}
