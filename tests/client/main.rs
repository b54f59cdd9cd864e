//! The client library against services in this process and of their own, over connections that
//! are cut.
//!
//! Not here: what the reader reads; `tests/store` runs every guarantee through it.

mod consumers;
mod cuts;
#[path = "../support/cutter.rs"]
mod cutter;
mod killed;
mod live;
#[path = "../support/make.rs"]
mod make;
#[path = "../support/port.rs"]
mod port;
mod requests;
#[path = "../support/service.rs"]
mod service;
mod streams;
mod world;
