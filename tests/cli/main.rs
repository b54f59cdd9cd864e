//! The command `tidelog`, run as people and scripts run it: against services on every back-end,
//! and directly on stores.
//!
//! Not here: `serve`, `config` and `token` (`tests/config.rs`), and what the client library does
//! when connections are lost (`tests/client`).

#[macro_use]
mod places;

#[path = "../support/postgres.rs"]
mod cluster;
mod commands;
mod consumers;
mod ends;
mod input;
mod interrupted;
mod manual;
mod run;
#[path = "../support/service.rs"]
mod service;
mod serving;
mod tail;
mod transfer;
