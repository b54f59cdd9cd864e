//! Reading over HTTP, over a store in memory that counts what it is asked and fails when told to:
//! every page against a naive model, how much is fetched at once, and what is there when the
//! store goes away in the middle.
//!
//! Not here: what holds on every back-end (`tests/contract`).

#[path = "../support/book.rs"]
mod book;
#[path = "../support/feed.rs"]
mod feed;
mod live;
#[path = "../support/make.rs"]
mod make;
mod model;
mod operation;
mod pages;
#[path = "../support/plain.rs"]
mod plain;
mod queries;
mod server;
mod streams;
mod surfaces;
mod watched;
