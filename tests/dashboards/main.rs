//! What is in `dashboards/` is true: the table of metrics, the dashboard as Grafana will read it,
//! and, with a real Prometheus that scrapes a service under load, every panel of it.
//!
//! Not here: Grafana. What its model demands is in `model.rs`.

mod load;
mod model;
mod panels;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/postgres.rs"]
mod postgres;
mod prometheus;
mod scrape;
#[path = "../support/program.rs"]
mod service;
mod table;

use std::path::PathBuf;

/// A file of `dashboards/`.
fn file(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "dashboards", path].iter().collect()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).expect("the file is there")
}
