//! The HTTP contract, on every back-end, and the command on bad days.

mod access;
mod arriving;
mod bad_days;
mod broken_stores;
mod consumers;
mod document;
mod errors;
#[path = "../support/feed.rs"]
mod feed;
mod framing;
mod instances;
mod live;
mod live_apart;
mod log;
mod openapi;
mod pages;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/postgres.rs"]
mod postgres;
mod reads;
mod replays;
mod streams;
mod support;
mod trouble;
mod views;
mod writes;
