//! Tidelog: an event store for people who already run a database.
//!
//! `ARCHITECTURE.md` draws the layers; each module's header says what is there.

pub mod backoff;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod domain;
pub mod http;
pub mod live;
pub mod metrics;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod topic;
#[cfg(feature = "cli")]
pub mod transfer;
pub mod wire;
