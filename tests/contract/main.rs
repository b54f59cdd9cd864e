//! The HTTP contract, on every back-end, and the command on bad days.

mod access;
mod bad_days;
mod errors;
mod framing;
mod instances;
mod log;
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
