//! What every back-end must do, run on each of them: the guarantees S1 to S13 of `store/mod.rs`,
//! the reads, and random commands against the memory store.
//!
//! To run it on another back-end: an entry in `backends.rs`. What only one back-end has is tested
//! in `tests/sqlite/` and `tests/postgres/`.

#[macro_use]
mod backends;
#[path = "../support/book.rs"]
mod book;
mod bounds;
#[path = "../support/postgres.rs"]
mod cluster;
mod guarantees;
#[path = "../support/make.rs"]
mod make;
mod model;
#[cfg(feature = "client")]
mod over_http;
mod reads;
#[cfg(feature = "client")]
#[path = "../support/service.rs"]
mod service;
mod writer;
