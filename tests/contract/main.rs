//! The HTTP contract, on every back-end, and the command on bad days.

mod bad_days;
mod errors;
#[path = "../support/postgres.rs"]
mod postgres;
mod reads;
mod streams;
mod support;
mod writes;
