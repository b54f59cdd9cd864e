//! The HTTP contract, on every back-end: the service in this process, on loopback, asked over
//! real connections. `days.rs` runs the real program.

#[path = "../support/postgres.rs"]
mod postgres;

#[macro_use]
mod support;

mod write;
